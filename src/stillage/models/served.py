"""Models behind an OpenAI-compatible endpoint: one client for all that asks them.

Nothing is sent unless somebody calls `ask_endpoint`, and only to the address given. The key comes
from the environment, goes over https or to this machine alone, and stands in no message and no
file.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stillage.errors import ConfigError, Interrupted, ModelError
from stillage.models.kept_answers import keep_answer, kept_answer
from stillage.models.posting import Fault, answer_in, is_loopback, post, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from stillage.run.progress import Done
    from stillage.types import Decoding

log = logging.getLogger("stillage")
KEY = "STILLAGE_ENDPOINT_KEY"
CHAT = "/chat/completions"
LONGEST_WAIT_S = 60.0
"""Between two tries. Who wants to be left alone for longer is, and the work ends in an error."""
POLL_S = 0.1  # between two looks at whether to stop
LEAVE_S = 5.0  # for the answers on their way, once a signal came


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model at an address, and how it is asked."""

    url: str  # up to where /chat/completions follows, usually .../v1
    model: str
    key: str = field(default="", repr=False)
    timeout_s: float = 120.0  # of one whole answer
    tries: int = 6
    at_once: int = 8
    wait_s: float = 1.0  # before the second try; twice as long before each further one

    def __post_init__(self) -> None:
        """Raise ConfigError for what cannot be asked, or not with this key."""
        check_endpoint_address(self.url)
        wrong = {
            "the name of a model, which the endpoint needs": not self.model,
            "timeout_s above 0": not self.timeout_s > 0,
            "tries and at_once from 1 on": min(self.tries, self.at_once) < 1,
            "a key of letters, digits and signs": not (
                self.key.isascii() and self.key.isprintable() and " " not in self.key
            ),
            "https for the key, or an address of this machine": bool(self.key)
            and not may_have_key(self.url),
        }
        if missing := [name for name, is_wrong in wrong.items() if is_wrong]:
            raise ConfigError(
                "The endpoint cannot be asked like this.",
                f"{self.url}; wanted: {'; '.join(missing)}",
                "Change its settings.",
            )

    def hide(self, text: str) -> str:
        """Take the key out of a text: an endpoint may quote it."""
        return text.replace(self.key, "[key]") if self.key else text


def check_endpoint_address(url: str) -> None:
    """Require an http(s) address without password or query; its text is not repeated."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # ValueError for what is no number
    except ValueError:
        parts = urlsplit("")
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ConfigError(
            "This is not the address of an endpoint.",
            f"given: {url or '(nothing)' if not set(url) & set('@?#') else '(with @, ? or #)'}",
            "Give one such as http://localhost:8000/v1 or https://HOST/v1.",
        )
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(
            "The address of an endpoint holds neither a name, a password nor a query.",
            f"given: {parts.scheme}://.../, with @, ? or #",
            f"Give the plain address, usually .../v1, and the key in {KEY}.",
        )


def may_have_key(url: str) -> bool:
    """Tell whether nobody on the way can read what is sent."""
    return urlsplit(url).scheme == "https" or is_loopback(url)


def endpoint_at(url: str, model: str) -> Endpoint:
    """Make an endpoint with the key of the environment, where it may be sent there."""
    check_endpoint_address(url)
    key = os.environ.get(KEY, "").strip()
    if key and not may_have_key(url):
        log.warning("%s is not sent to %s: it is neither https nor this machine", KEY, url)
        key = ""
    return Endpoint(url=url.rstrip("/").removesuffix(CHAT), model=model, key=key)


def nothing(answer: Mapping[str, Any]) -> str:
    """Miss nothing in an answer."""
    return ""


def never() -> bool:
    """Stop never."""
    return False


def ask_endpoint(
    endpoint: Endpoint,
    path: str,
    body: Mapping[str, Any],
    *,
    keep: Path | None = None,
    lacks: Callable[[dict[str, Any]], str] = nothing,
    pause: Callable[[float], object] = time.sleep,
) -> dict[str, Any]:
    """Post a question, and return the JSON object of the answer.

    Args:
        path: behind the endpoint's address, e.g. CHAT.
        body: without the model, which is the endpoint's.
        keep: folder of answers; one to the same address, model and body is not asked for again.
        lacks: says what an answer lacks to be used, e.g. "no choices"; it is then asked for again.
        pause: waits so many seconds; true: to stop.

    Too many requests (429), a fault of the server or the connection, half an answer: tried again,
    `tries` times in all, after wait_s, then twice as long each time, or as long as the answer wants
    (Retry-After). Raises ModelError after that, and at once for a refusal (400, 401, 404, a
    redirect); Interrupted where pause says so.
    """
    url = endpoint.url + path
    asked = {"url": url, "body": {**body, "model": endpoint.model}}
    if keep is not None and (known := kept_answer(keep, asked)) is not None and not lacks(known):
        return known
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    for number in range(1, endpoint.tries + 1):
        try:
            posted = post(url, asked["body"], headers, endpoint.timeout_s)
            answer = answer_in(posted, url, endpoint.hide)
            if lack := lacks(answer):
                raise Fault(lack)
        except Fault as fault:
            wait_s = max(min(endpoint.wait_s * 2 ** (number - 1), LONGEST_WAIT_S), fault.after_s)
            if number == endpoint.tries or wait_s > LONGEST_WAIT_S:
                raise gave_up(endpoint, url, number, fault, keep) from None
            reason = quoted(endpoint.hide(fault.reason))
            log.info("%s: %s; asking again in %.3g s", url, reason, wait_s)
        else:
            if keep is not None:
                keep_answer(keep, asked, answer)
            return answer
        if pause(wait_s):
            raise stopped_at(url)
    raise AssertionError("the last try returns or raises")


def gave_up(
    endpoint: Endpoint, url: str, tries: int, fault: Fault, keep: Path | None
) -> ModelError:
    """Make the error for an endpoint that never answered, or wants to be left alone."""
    asks = f"; it asks to wait {fault.after_s:.0f} s" if fault.after_s else ""
    kept = ": the answers so far are kept" if keep is not None else ""
    return ModelError(
        f"The endpoint did not answer, asked {tries} time{'s' if tries > 1 else ''}.",
        f"{url}, model {endpoint.model}: {quoted(endpoint.hide(fault.reason))}{asks}",
        f"See that it runs, and run the same command again{kept}.",
    )


def stopped_at(url: str) -> Interrupted:
    """Make the error for a wait that a signal ended."""
    return Interrupted("Stopped while asking an endpoint.", url, "Run the same command again.")


def ask_all(
    endpoint: Endpoint,
    path: str,
    bodies: Sequence[Mapping[str, Any]],
    *,
    keep: Path | None = None,
    lacks: Callable[[dict[str, Any]], str] = nothing,
    progress: Done | None = None,
    should_stop: Callable[[], bool] = never,
) -> list[dict[str, Any]]:
    """Ask many questions, `at_once` at a time; the answers in the questions' order.

    Arguments and errors as of `ask_endpoint`; the first error ends all. Once should_stop is true
    nothing more is asked, what is on its way gets LEAVE_S to be kept, and Interrupted is raised.
    """
    if not bodies:
        return []
    answers: dict[int, dict[str, Any]] = {}
    stopped = threading.Event()

    def answer(row: int) -> tuple[int, dict[str, Any]]:
        if stopped.is_set():
            raise stopped_at(endpoint.url)
        pause = stopped.wait
        return row, ask_endpoint(endpoint, path, bodies[row], keep=keep, lacks=lacks, pause=pause)

    # its threads are daemons: a process that ends does not wait for an answer
    with ThreadPool(min(endpoint.at_once, len(bodies))) as pool:
        coming = pool.imap_unordered(answer, range(len(bodies)))
        leave_by = float("inf")
        try:
            while len(answers) < len(bodies) and time.monotonic() < leave_by:
                if not stopped.is_set() and should_stop():
                    stopped.set()
                    leave_by = time.monotonic() + (LEAVE_S if keep is not None else 0.0)
                try:
                    row, found = coming.next(POLL_S)
                except multiprocessing.TimeoutError:
                    continue
                except Interrupted:
                    if not stopped.is_set():  # a full disk
                        raise
                    continue
                answers[row] = found
                if progress is not None:
                    progress(len(answers), len(bodies), len(answers) / len(bodies))
        except StopIteration:  # every question was answered, or left
            pass
        finally:
            stopped.set()
    if len(answers) < len(bodies):
        raise Interrupted(
            f"Stopped after {len(answers)} of {len(bodies)} answers of an endpoint.",
            f"{endpoint.url}" + ("" if keep is None else f"; kept in {keep}"),
            "Run the same command again.",
        )
    return [answers[row] for row in range(len(bodies))]


def ask_chat(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, str]],
    decoding: Decoding,
    *,
    seed: int,
    keep: Path | None = None,
) -> str:
    """Return the answer to a conversation; keep and errors as of `ask_endpoint`."""
    body = chat_body(messages, decoding, seed)
    return reply_text(ask_endpoint(endpoint, CHAT, body, keep=keep, lacks=chat_lacks))


def chat_body(
    messages: Sequence[Mapping[str, str]], decoding: Decoding, seed: int
) -> dict[str, Any]:
    """Write the question for an answer to a conversation: every setting is said.

    messages: {"role", "content"} each. top_k, which the protocol lacks and most servers know, is
    sent where it is set. seed: 31 bits of it.
    """
    assert decoding.no_repeat_ngram == 0, "no endpoint knows it"
    body: dict[str, Any] = {
        "messages": [dict(message) for message in messages],
        "max_tokens": decoding.max_new_tokens,
        "temperature": decoding.sampling_temperature,
        "top_p": decoding.top_p,
        "seed": seed % 2**31,
        "n": 1,
        "stream": False,
    }
    return body | ({"top_k": decoding.top_k} if decoding.top_k else {})


def chat_lacks(answer: Mapping[str, Any]) -> str:
    """Say what an answer lacks to hold a reply: some endpoints send errors as answers."""
    if answer.get("error"):
        return f"an error as an answer: {answer['error']}"
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        return "an answer without choices"
    message = choices[0].get("message") if isinstance(choices[0], dict) else None
    return "" if isinstance(message, dict) else "a choice without a message"


def reply_text(answer: Mapping[str, Any]) -> str:
    """Return the text of a reply; empty where the model said nothing."""
    content = answer["choices"][0]["message"].get("content")
    return content if isinstance(content, str) else ""
