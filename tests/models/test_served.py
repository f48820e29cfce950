"""The client for endpoints, against a real HTTP server on this machine that misbehaves in known ways."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from endpoint_server import FINE, Given, Server, in_turn
from stillage.errors import ConfigError, Interrupted, ModelError
from stillage.models import served
from stillage.models.kept_answers import answer_file
from stillage.models.posting import is_loopback, opener, quoted
from stillage.models.served import (
    CHAT,
    KEY,
    Endpoint,
    ask_all,
    ask_chat,
    ask_endpoint,
    chat_body,
    chat_lacks,
    endpoint_at,
)
from stillage.types import Decoding

SECRET = "sk-very-secret"
MESSAGES = [{"role": "user", "content": "how are you?"}]


def three_lines(error: BaseException) -> str:
    text = str(error)
    assert len(text.splitlines()) == 3 and SECRET not in text
    return text


def test_a_chat_says_every_setting_and_returns_the_text(server: Server) -> None:
    decoding = Decoding(max_new_tokens=7, sampling_temperature=0.6, top_p=0.9, top_k=5)
    assert ask_chat(server.endpoint(key=SECRET), MESSAGES, decoding, seed=2**40 + 3) == "well"
    assert server.bodies == [
        {
            "model": "small",
            "messages": MESSAGES,
            "max_tokens": 7,
            "temperature": 0.6,
            "top_p": 0.9,
            "top_k": 5,
            "seed": 3,
            "n": 1,
            "stream": False,
        }
    ]
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    ask_chat(server.endpoint(), MESSAGES, Decoding(), seed=1)
    assert "Authorization" not in server.headers[1] and "top_k" not in server.bodies[1]


@pytest.mark.parametrize(
    "fault",
    [
        Given(status=500, content=b"oops"),
        Given(status=503),
        Given(status=529),
        Given(status=429, content=b'{"error": {"message": "too many"}}'),
        Given(status=408),
        Given(stated=1000),  # the connection is cut in the middle
        Given(content=b'{"choices": [{"mess', stated=None),  # cut, and no length was stated
        Given(content=b"<html>starting up</html>"),
        Given(content=b"[]"),
        Given(content=b"[" * 100_000),
        Given(content=b'{"choices": []}'),
        Given(content=b'{"choices": [{"index": 0}]}'),
        Given(content=b'{"error": {"message": "upstream"}}'),
    ],
)
def test_a_fault_that_may_pass_is_asked_again(server: Server, fault: Given) -> None:
    server.plan = in_turn(fault, fault, Given())
    assert ask_chat(server.endpoint(), MESSAGES, Decoding(), seed=1) == "well"
    assert len(server.bodies) == 3 and len({json.dumps(body) for body in server.bodies}) == 1


def test_waits_double_and_end_in_an_error_that_says_why(server: Server, tmp_path: Path) -> None:
    waits: list[float] = []
    server.plan = in_turn(Given(status=500, content=f"no {SECRET} today".encode()))
    endpoint = server.endpoint(key=SECRET, tries=5, wait_s=1.0)
    with pytest.raises(ModelError) as raised:
        ask_endpoint(endpoint, CHAT, {}, keep=tmp_path, pause=lambda wait_s: waits.append(wait_s))
    text = three_lines(raised.value)
    assert waits == [1, 2, 4, 8] and len(server.bodies) == 5
    assert "asked 5 times" in text and "status 500: no [key] today" in text and "small" in text
    assert "are kept" in text and not list(tmp_path.iterdir())


def test_a_server_that_wants_rest_gets_it_or_the_work_ends(server: Server) -> None:
    waits: list[float] = []
    date = formatdate(time.time() + 30, usegmt=True)
    nonsense = "in a while"
    plan = [Given(status=429, headers={"Retry-After": value}) for value in ("7", date, nonsense)]
    server.plan = in_turn(*plan, Given())
    endpoint = server.endpoint(wait_s=1.0, tries=4)
    ask_endpoint(endpoint, CHAT, {}, pause=lambda wait_s: waits.append(wait_s))
    assert waits[0] == 7 and 27 < waits[1] <= 30 and waits[2] == 4
    server.plan = in_turn(Given(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(ModelError, match="it asks to wait 3600 s"):
        ask_endpoint(endpoint, CHAT, {}, pause=lambda wait_s: pytest.fail("it must not wait"))
    assert len(server.bodies) == 5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given(status=400, content=b'{"message": "seed: not allowed"}'), "seed: not allowed"),
        (Given(status=422, content=b'{"detail": [{"loc": ["seed"]}]}'), '"seed"'),
        (Given(status=401, content=f'{{"error": "bad {SECRET}"}}'.encode()), KEY),
        (Given(status=403), "refuses the key"),
        (Given(status=404, content=b'{"error": {"message": "no model small"}}'), "no model small"),
        (Given(status=405), "does not know this address"),
        (Given(status=401, content=(b"x" * 190 + SECRET.encode())), "xxx[key]"),
    ],
)
def test_a_refusal_is_told_at_once_without_the_key(
    server: Server, given: Given, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.plan = in_turn(given)
    with pytest.raises(ModelError) as raised:
        ask_endpoint(server.endpoint(key=SECRET), CHAT, {})
    assert words in three_lines(raised.value) and f"status {given.status}" in str(raised.value)
    assert len(server.bodies) == 1 and "sk-" not in str(raised.value) + caplog.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(server: Server, status: int) -> None:
    server.plan = in_turn(Given(status=status, headers={"Location": f"/v2?{SECRET}"}))
    with pytest.raises(ModelError, match="sends elsewhere") as raised:
        ask_endpoint(server.endpoint(key=SECRET), CHAT, {})
    assert "/v2?[key]" in three_lines(raised.value)
    assert server.paths == ["/v1/chat/completions"]


def test_slow_is_too_late_however_it_is_slow(server: Server) -> None:
    server.plan = in_turn(Given(slow_s=0.5))
    with pytest.raises(ModelError, match=r"no whole answer within 0\.05 s"):
        ask_endpoint(server.endpoint(timeout_s=0.05, tries=1), CHAT, {})

    server.plan = in_turn(Given(drip_s=0.05))  # each byte is in time, the whole answer is not
    with pytest.raises(ModelError, match=r"no whole answer within 0\.2 s"):
        ask_endpoint(server.endpoint(timeout_s=0.2, tries=1), CHAT, {})


def test_nobody_there(server: Server) -> None:
    endpoint = Endpoint(url="http://127.0.0.1:9/v1", model="m", tries=2, wait_s=0.001, key=SECRET)
    with pytest.raises(ModelError, match="asked 2 times") as raised:
        ask_endpoint(endpoint, CHAT, {})
    assert "ConnectionRefusedError" in three_lines(raised.value)


def test_what_was_answered_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    endpoint = server.endpoint(key=SECRET)
    for seed in (1, 1, 2):
        ask_chat(endpoint, MESSAGES, Decoding(), seed=seed, keep=tmp_path)
    assert len(server.bodies) == 2 and len(list(tmp_path.iterdir())) == 2
    ask_chat(replace(endpoint, model="large"), MESSAGES, Decoding(), seed=1, keep=tmp_path)
    assert len(server.bodies) == 3
    ask_endpoint(endpoint, "/other", chat_body(MESSAGES, Decoding(), 1), keep=tmp_path)
    assert len(server.bodies) == 4
    ask_chat(replace(endpoint, tries=9, key=""), MESSAGES, Decoding(), seed=1, keep=tmp_path)
    assert len(server.bodies) == 4  # how it is asked decides no answer
    assert not any(SECRET in file.read_text() for file in tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", '{"answer": {}}', '{"asked": {}, "answer": {}}', "[1]"])
def test_a_kept_answer_that_is_damaged_is_asked_for(
    server: Server, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = chat_body(MESSAGES, Decoding(), 1)
    asked = {"url": server.url + CHAT, "body": {**body, "model": "small"}}
    answer_file(tmp_path, asked).write_text(content)
    assert ask_endpoint(server.endpoint(), CHAT, body, keep=tmp_path) == FINE
    assert "cannot be used" in caplog.text and len(server.bodies) == 1
    assert ask_endpoint(server.endpoint(), CHAT, body, keep=tmp_path) == FINE
    assert len(server.bodies) == 1


def test_many_are_asked_at_once_but_no_more_and_in_order(server: Server) -> None:
    server.plan = lambda number, body: Given(json.dumps({"n": body["n"]}).encode(), slow_s=0.01)
    told: list[tuple[int, int, float]] = []
    answers = ask_all(
        server.endpoint(at_once=3),
        "/x",
        [{"n": number} for number in range(12)],
        progress=lambda *facts: told.append(facts),
    )
    assert [answer["n"] for answer in answers] == list(range(12))
    assert server.most_at_once == 3
    assert told == [(k, 12, k / 12) for k in range(1, 13)]
    assert ask_all(server.endpoint(), "/x", []) == []


def test_the_first_error_ends_all(server: Server) -> None:
    server.plan = in_turn(Given(), Given(status=404), Given(status=500))
    started = time.monotonic()
    with pytest.raises(ModelError, match="does not know"):
        ask_all(server.endpoint(at_once=1, wait_s=50.0), "/x", [{"n": k} for k in range(9)])
    assert time.monotonic() - started < 3 and len(server.bodies) <= 3


def test_a_signal_stops_and_the_same_call_continues(server: Server, tmp_path: Path) -> None:
    server.plan = lambda number, body: Given(json.dumps(body).encode(), slow_s=0.02)
    questions = [{"n": number} for number in range(30)]
    endpoint = server.endpoint(at_once=2)
    with pytest.raises(Interrupted, match="of 30 answers") as raised:
        ask_all(
            endpoint, "/x", questions, keep=tmp_path, should_stop=lambda: len(server.bodies) > 3
        )
    three_lines(raised.value)
    first, kept = len(server.bodies), len(list(tmp_path.glob("*.json")))
    assert 3 < first < 30 and kept == first  # those on their way were kept too
    answers = ask_all(endpoint, "/x", questions, keep=tmp_path)
    assert [answer["n"] for answer in answers] == list(range(30)) and len(server.bodies) == 30


def test_a_signal_ends_a_long_wait(server: Server) -> None:
    server.plan = in_turn(Given(status=500))
    started = time.monotonic()
    with pytest.raises(Interrupted):
        ask_all(server.endpoint(wait_s=50.0), "/x", [{}], should_stop=lambda: bool(server.bodies))
    assert time.monotonic() - started < 3


def test_an_answer_on_its_way_that_nobody_keeps_is_not_waited_for(server: Server) -> None:
    server.plan = in_turn(Given(slow_s=3.0))
    started = time.monotonic()
    with pytest.raises(Interrupted):
        ask_all(server.endpoint(), "/x", [{}], should_stop=lambda: bool(server.bodies))
    assert time.monotonic() - started < 2


def test_a_full_disk_is_told_as_such(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Interrupted("The disk is full.")

    monkeypatch.setattr(served, "keep_answer", full)
    with pytest.raises(Interrupted, match="disk is full"):
        ask_all(server.endpoint(), "/x", [{}], keep=tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host/v1",
        "http://",
        "http://host:port/v1",
        "/a/folder",
        "http://h/v 1",
        "http://h/é",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match="not the address of an endpoint"):
        Endpoint(url=url, model="m")


@pytest.mark.parametrize(
    "url", [f"https://me:{SECRET}@host/v1", f"https://host/v1?key={SECRET}", "https://host/#a"]
)
def test_an_address_with_a_secret_in_it_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="nor a query") as raised:
        endpoint_at(url, "m")
    three_lines(raised.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": ""}, "the name of a model"),
        ({"timeout_s": 0.0}, "timeout_s above 0"),
        ({"tries": 0}, "from 1 on"),
        ({"at_once": 0}, "from 1 on"),
        ({"key": "a\nb"}, "a key of letters"),
        ({"key": "ключ"}, "a key of letters"),
        ({"url": "http://host/v1", "key": SECRET}, "https for the key"),
    ],
)
def test_settings_without_meaning(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        replace(Endpoint(url="https://host/v1", model="m"), **changes)
    assert SECRET not in three_lines(raised.value) and "ключ" not in str(raised.value)


def test_the_key_goes_where_nobody_can_read_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY, f" {SECRET}\n")
    for url in ("https://host/v1", "http://localhost:1", "http://[::1]:1/v1", "http://127.9.9.9"):
        assert endpoint_at(url, "m").key == SECRET
    assert not caplog.text
    for url in ("http://host/v1", "http://localhost.host/v1", "http://10.0.0.1/v1"):
        assert endpoint_at(url, "m").key == "" and f"is not sent to {url}" in caplog.text
    assert SECRET not in caplog.text + repr(endpoint_at("https://host/v1", "m"))
    monkeypatch.delenv(KEY)
    endpoint = endpoint_at("https://host/v1/chat/completions", "m")
    assert (endpoint.url, endpoint.key) == ("https://host/v1", "")


def test_this_machine_is_asked_without_a_proxy(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener.cache_clear()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert is_loopback(server.url)
    assert ask_endpoint(server.endpoint(), CHAT, {}) == FINE


def test_a_foreign_text_is_quoted_on_one_short_line() -> None:
    assert quoted("a\r\n\x1b[31mb\u202e  c") == "a [31mb c"
    assert quoted("") == "(nothing)" and len(quoted("x" * 999)) == 203


@pytest.mark.parametrize("choices", [None, {}, ["text"], [{"message": "hi"}]])
def test_odd_choices_are_no_reply(choices: Sequence[object]) -> None:
    assert chat_lacks({"choices": choices})


def test_a_model_that_says_nothing_said_an_empty_text(server: Server) -> None:
    server.plan = in_turn(Given(b'{"choices": [{"message": {"content": null}}]}'))
    assert ask_chat(server.endpoint(), MESSAGES, Decoding(), seed=1) == ""
    assert len(server.bodies) == 1
