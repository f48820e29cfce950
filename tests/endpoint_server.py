"""An HTTP server on this machine that answers, and misbehaves, as a test plans."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stillage.models.served import Endpoint

FINE = {"choices": [{"message": {"role": "assistant", "content": "well"}}]}


@dataclass
class Given:
    """What the server gives back: a status, headers and bytes; stated: a Content-Length that may lie."""

    content: bytes = json.dumps(FINE).encode()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stated: int | None = -1  # -1: the truth; None: none
    slow_s: float = 0.0  # before it answers
    drip_s: float = 0.0  # before each byte


@dataclass
class Server:
    url: str = ""
    plan: Callable[[int, dict[str, Any]], Given] = lambda number, body: Given()
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def endpoint(self, **changes: object) -> Endpoint:
        usual = Endpoint(url=self.url, model="small", wait_s=0.001, timeout_s=5.0, tries=3)
        return replace(usual, **changes)  # pyright: ignore[reportArgumentType]


@contextmanager
def serving() -> Iterator[Server]:
    """Serve on a free port while the body runs."""
    state, lock = Server(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.bodies.append(body)
                state.headers.append(dict(self.headers))
                state.paths.append(self.path)
                number = len(state.bodies)
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            given = state.plan(number, body)
            time.sleep(given.slow_s)
            with lock:
                state.at_once -= 1
            try:
                self.send_response(given.status)
                stated = len(given.content) if given.stated == -1 else given.stated
                if stated is not None:
                    self.send_header("Content-Length", str(stated))
                for name, value in given.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                step = 1 if given.drip_s else max(len(given.content), 1)
                for first in range(0, len(given.content), step):
                    time.sleep(given.drip_s)
                    self.wfile.write(given.content[first : first + step])
            except OSError:  # who asked has gone
                pass

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    yield state
    http.shutdown()
    http.server_close()


def says(text: str) -> Given:
    """A reply of the model."""
    return Given(json.dumps({"choices": [{"message": {"content": text}}]}).encode())


def in_turn(*given: Given) -> Callable[[int, dict[str, Any]], Given]:
    """The first answer, then the second, ...; the last for ever."""
    return lambda number, body: given[min(number, len(given)) - 1]
