"""The command line: `stillage VERB ...`.

Verbs are names until one is called, so that `--help` is instant.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from stillage import __version__
from stillage.cli.verbs import ONE_PROCESS, SAME_AS, VERBS
from stillage.errors import UserError, did_you_mean

HELP = """Stillage distils language models and measures what the student kept.

usage: stillage VERB [arguments]     (stillage VERB --help for its settings)

{verbs}

examples:
  stillage quickstart                                  the embedded experiment
  stillage run experiment.yaml --seed 2 --out runs/2   your own, with two settings changed
  stillage run experiment.yaml --dry-run               what would be done, and why
  stillage audit --student S --teacher T --members A.jsonl --nonmembers B.jsonl
  stillage generate runs/quickstart/student/model --prompt TEXT

The same command again continues a run. --debug shows a traceback.
Exit codes: 0 done, 2 yours to fix, 1 our bug, 75 interrupted but resumable, 130 Ctrl-C."""


def help_text() -> str:
    """Return the text of `stillage --help`."""
    verbs = "\n".join(f"  {verb:<12}{words}" for verb, (_, words) in VERBS.items())
    return HELP.format(verbs=verbs)


def set_up_logging() -> None:
    """Send the library's notices to standard error, one line each, each once."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        before = len(said)
        said.add(record.getMessage())
        return len(said) > before

    handler = logging.StreamHandler()
    handler.addFilter(is_new)
    handler.setFormatter(logging.Formatter("stillage: %(message)s"))
    logger = logging.getLogger("stillage")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING)
    logger.propagate = False


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    A user's error is three lines, without a traceback.
    """
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if words[:1] == ["help"] and words[1:] and SAME_AS.get(words[1], words[1]) in VERBS:
        section = words[2:] if words[2:3] != ["plain-text"] else []
        words = [*words[1 : len(words) - len(section)], "--help", *section]
    if words[:1] in (["--version"], ["-V"]):
        print(f"stillage {__version__}")
        return 0
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it warns about forks otherwise
    set_up_logging()
    try:
        if not words or words[0] in ("-h", "--help", "help"):
            print(help_text(), flush=True)
            return 0
        return call(SAME_AS.get(words[0], words[0]), words[1:])
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"stillage: {error}", file=sys.stderr)
        return error.exit_code
    except BaseException as error:  # noqa: BLE001 - the outermost frame
        return last_words(error, debug, is_child="--only" in words or is_one_of_many())


def is_one_of_many() -> bool:
    """Tell whether another process of this run speaks for it."""
    from stillage.run.team import is_helper

    return is_helper()


def call(verb: str, words: Sequence[str]) -> int:
    """Import the verb's module and run it."""
    if verb not in VERBS:
        fix = did_you_mean(verb, VERBS, "`stillage --help` lists the verbs.")
        raise UserError(f"There is no verb {verb!r}.", f"known: {', '.join(VERBS)}", fix)
    if verb in ONE_PROCESS and is_one_of_many():
        return 0
    module = importlib.import_module(f"stillage.cli.{VERBS[verb][0]}")
    if "--help" in words or "-h" in words:
        from stillage.cli.help import settings_help

        own = getattr(module, "help_text", None)
        print(
            own(verb, list(words)) if own else settings_help(module.USAGE, module.SETTINGS(), words)
        )
        return 0
    return module.main(verb, list(words))


def last_words(error: BaseException, debug: bool, *, is_child: bool = False) -> int:
    """Return the exit code of what nobody caught: a signal, a pipe, a bug of ours.

    is_child: another process of the run says that it was stopped, once for all of them.
    """
    from stillage.run.stop import Stopped

    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 2
    if isinstance(error, (Stopped, KeyboardInterrupt)):
        if not is_child:
            print("stillage: stopped; the same command continues.", file=sys.stderr)
        return error.exit_code if isinstance(error, Stopped) else 130
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if debug:
        traceback.print_exception(error)
    print(f"stillage: a bug of ours: {type(error).__name__}: {error}", file=sys.stderr)
    fix = "Run it again with --debug and send us the traceback, with the output of"
    print(f"{fix} `stillage doctor`.", file=sys.stderr)
    return 1
