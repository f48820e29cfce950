"""One JSON request over HTTP: its answer, a fault or an error.

By Python's own urllib: no redirect is followed (a key would go along), this machine is asked
without a proxy, other addresses through those of the environment, and the time-out is that of the
whole answer, however slowly it comes.
"""

from __future__ import annotations

import functools
import json
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPErrorProcessor,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from stillage.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_BYTES = 2**28
"""Of one answer: what is longer is no answer to a request of ours."""
MOST_QUOTED = 200  # characters of an answer that an error shows
PASSING = (408, 425, 429)
"""Statuses below 500 that are asked again: too slow, too early, too many."""


class Fault(Exception):
    """A request came to nothing, and may be made again after so many seconds."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        """reason: half a sentence; after_s: what the other side asks for; 0: nothing."""
        super().__init__(reason)
        self.reason, self.after_s = reason, after_s


@dataclass(frozen=True, slots=True)
class Posted:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class AnyStatus(HTTPErrorProcessor):
    """Gives every status back as it came, and so follows no redirect.

    urllib would send the key along, and the request as a GET.
    """

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:
        """Return the answer."""
        return response

    https_response = http_response


def is_loopback(url: str) -> bool:
    """Tell whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


@functools.cache
def opener(loopback: bool) -> OpenerDirector:
    """Make what opens connections; once, as certificates take a while to read."""
    return build_opener(AnyStatus, *([ProxyHandler({})] if loopback else []))


def post(url: str, body: Mapping[str, Any], headers: Mapping[str, str], timeout_s: float) -> Posted:
    """Send JSON and read what comes back, whatever its status.

    Raises Fault where no whole answer came in time, ModelError for a certificate that is not to be
    trusted.
    """
    content = json.dumps(body, allow_nan=False).encode()
    request = Request(url, content, {"Content-Type": "application/json", **headers}, method="POST")
    deadline = time.monotonic() + timeout_s
    try:
        with opener(is_loopback(url)).open(request, timeout=timeout_s) as response:
            return Posted(response.status, response.headers, read_body(response, deadline))
    except TimeoutError as error:
        raise Fault(f"no whole answer within {timeout_s:g} s") from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise ModelError(
                "The certificate of the endpoint is not to be trusted.",
                f"{url}: {reason.verify_message}",
                "Check the address; a certificate of your own is named by SSL_CERT_FILE.",
            ) from error
        if isinstance(reason, TimeoutError):
            raise Fault(f"no connection within {timeout_s:g} s") from error
        raise Fault(f"{type(reason).__name__}: {reason}") from error


def read_body(response: HTTPResponse, deadline: float) -> bytes:
    """Read an answer to its end.

    Raises Fault for half of one, TimeoutError for a slow one.
    """
    stated = response.headers.get("Content-Length", "")
    content = bytearray()
    while piece := response.read1(2**16):
        content += piece
        if time.monotonic() > deadline:
            raise TimeoutError
        if len(content) > MOST_BYTES:
            raise Fault(f"an answer of more than {MOST_BYTES} bytes")
    if stated.isdigit() and len(content) < int(stated):
        raise Fault(f"half an answer: {len(content)} of {stated} bytes")
    return bytes(content)


def answer_in(posted: Posted, url: str, hide: Callable[[str], str]) -> dict[str, Any]:
    """Return the JSON object of an answer.

    hide: takes secrets out of what is quoted. Raises Fault, whose reason is as long as the answer
    and not hidden yet, for a status or a content that may be better next time; ModelError for a
    status that will not.
    """
    if posted.status in PASSING or posted.status >= 500:
        raise Fault(f"status {posted.status}: {says(posted)}", retry_after_s(posted.headers))
    if posted.status != 200:
        raise refusal(posted, url, hide)
    try:
        answer = json.loads(posted.content)
    except (ValueError, RecursionError) as error:  # half of one, where no length was stated
        raise Fault(f"not JSON: {says(posted)}") from error
    if not isinstance(answer, dict):
        raise Fault(f"not a JSON object: {says(posted)}")
    return answer


def refusal(posted: Posted, url: str, hide: Callable[[str], str]) -> ModelError:
    """Make the error for a status that no further try will change."""
    status = posted.status
    values = f"{url}: status {status}: {quoted(hide(says(posted)))}"
    if 300 <= status < 400:
        return ModelError(
            "The endpoint sends elsewhere, and nothing is sent on: a key would go along.",
            f"{url}: status {status}, to {quoted(hide(posted.headers.get('Location', '')))}",
            "Give that address yourself, if you trust it.",
        )
    if status in (401, 403):
        what, fix = "The endpoint refuses the key.", "Set STILLAGE_ENDPOINT_KEY to a valid one."
    elif status in (404, 405):
        what = "The endpoint does not know this address or model."
        fix = "Check both; the address usually ends with /v1, and ADDRESS/models lists the models."
    else:
        what, fix = "The endpoint refuses the request.", "Change what it names."
    return ModelError(what, values, fix)


def says(posted: Posted) -> str:
    """Quote what an answer says about itself: its error's message, or its beginning."""
    text = posted.content.decode(errors="replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for name in ("error", "message", "detail"):
        if isinstance(content, dict) and content.get(name):
            content = content[name]
    return content if isinstance(content, str) else json.dumps(content)


def quoted(text: str) -> str:
    """Put a foreign text on one line, cut to what an error shows, and printable."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    line = " ".join(line.split())
    return (line if len(line) <= MOST_QUOTED else line[:MOST_QUOTED] + "...") or "(nothing)"


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Read for how long the other side wants to be left alone; 0: it does not say."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
