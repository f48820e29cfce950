"""Take rephrasings out of an instruct model's reply, and say which are of no use.

What the canary has itself (a numbered list, quotes, "Here is ...:") is never taken off a reply.
"""

from __future__ import annotations

import re

BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+(?=\S|$)")
THOUGHT = re.compile(r"^.*?</think>\s*", re.DOTALL)
FENCE = re.compile(r"^```[\w-]*[ \t]*\n(.*?)\n?```\s*$", re.DOTALL)
RULE = re.compile(r"(?:^|\n)[ \t]*(?:-{3,}|\*{3,}|_{3,})[ \t]*(?=\n|$)")
SIGN = r"(?:rephras\w+|paraphras\w+|version|variation|option|rewrite|text)"
LINE_NUMBER = re.compile(
    rf"^[ \t>]*(?:\#+[ \t]*)?(?:\*\*|__)?[ \t]*(?:{SIGN}[ \t]*\#?[ \t]*(?P<named>\d{{1,2}})"
    r"(?:[ \t]*[.:)\]]|[ \t]+[-–—]|(?=[ \t]*(?:\*\*|__)?[ \t]*$))"
    r"|[(\[]?(?P<bare>\d{1,2})(?:[.:)\]]+|[ \t]+[-–—])(?=\s|\*|_|[\"“«'‘]|$))"
    r"[ \t]*(?:\*\*|__)?[ \t]*:?[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
INLINE_NUMBER = re.compile(r"(?:(?<=\s)|^)[(\[]?(?P<bare>\d{1,2})[.)\]](?P<named>)\s+")
NUMBERS = (LINE_NUMBER, INLINE_NUMBER)
BULLET = re.compile(r"^[ \t]*[-*•][ \t]+", re.MULTILINE)
PREFACE = re.compile(
    r"^\s*(?:\*\*)?(?:(?:sure|certainly|of course|absolutely|okay|ok)\b[^\n:]{0,120}[:!.]\s*)?"
    r"(?:here(?:['’]s| is| are)\b[^\n:]{0,120}:"
    r"|(?:the |my |a )?(?:\w+ )?(?:rephrased|rewritten|reworded|paraphrased|new)(?: \w+){0,3}"
    r"(?: is)?:|(?:rephrasing|paraphrase|in other words)[:,])(?:\*\*)?\s*",
    re.IGNORECASE,
)
AGREED = re.compile(
    r"^\s*(?:sure|certainly|of course|absolutely)\b[^\n:]{0,60}[!:]\s*", re.IGNORECASE
)
AFTERWORD = re.compile(
    r"\n\n[ \t]*(?:(?:rephrased|rewritten|paraphrased|original|new) (?:text|version)\b"
    r"|\(?(?:note|explanation|changes)\b[^\n]{0,40}:"
    r"|I(?:['’]ve| have)? (?:made|changed|added|used|replaced|removed|rephrased|reworded|tried)\b"
    r"|I hope\b|let me know\b|feel free\b|would you like\b|these rephrasings\b).*$",
    re.IGNORECASE | re.DOTALL,
)
QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'", "‘": "’", "`": "`"}
REFUSAL = re.compile(
    r"^\W*(?:i['’]?m (?:so |very )?sorry|i am sorry|sorry[,.!]|i apologi[sz]e|my apologies"
    r"|(?:unfortunately,? )?i (?:can(?:no|['’])t|can not|won['’]t|will not|am (?:not able|unable))"
    r"|(?:unfortunately,? )?i['’]m (?:not able|unable|ready to)|as an ai\b|please provide\b)",
    re.IGNORECASE,
)
REMARK = re.compile(
    r"\b(?:the|this|your) (?:original|given|rephrased|rewritten|revised) "
    r"(?:text|sentence|passage|version)\b",
    re.IGNORECASE,
)
LONGEST = 3  # times the canary's tokens; and at least 1 / LONGEST of them


def rephrasings_in(reply: str, canary: str) -> list[str]:
    """Return the rephrasings in a reply: those of a list, or the whole.

    Numbers (1. 1) (1) **1.** "Version 1:", in lines or in one), bullets, rules (---), quotes,
    fences, thoughts, prefaces and afterwords are taken off.
    """
    reply = BLANK_LINES.sub("\n\n", reply.replace("\r\n", "\n"))
    text = THOUGHT.sub("", reply) if "</think>" in reply else reply
    if found := FENCE.match(text.strip()):
        text = found[1]
    text = text.strip()
    if not AFTERWORD.search(canary):
        text = AFTERWORD.sub("", text)
    return [without_preface(part, canary) for part in list_parts(text, canary)]


def list_parts(text: str, canary: str) -> list[str]:
    """Cut a reply where its list has its marks; a text without any is one part."""
    kinds = [pattern for pattern in NUMBERS if len(counted(pattern, canary)) < 2]
    marks = max((counted(pattern, text) for pattern in kinds), key=len, default=[])
    leads = bool(marks) and not PREFACE.sub("", text[: marks[0].start()], count=1).strip()
    if leads or (marks and marks[0].re is LINE_NUMBER and len(marks) > 1):
        starts = [mark.end() for mark in marks]
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        parts = [RULE.sub("", text[a:b]) for a, b in zip(starts, ends, strict=True)]
        return [*parts[:-1], without_farewell(parts)]
    if not RULE.search(canary) and len(parts := RULE.split(text)) > 1:
        return [part for part in parts if PREFACE.sub("", part, count=1).strip()] or [""]
    lines = [line for line in PREFACE.sub("", text, count=1).splitlines() if line.strip()]
    if len(lines) > 1 and not BULLET.search(canary) and all(map(BULLET.match, lines)):
        return [BULLET.sub("", line) for line in lines]
    return [text]


def counted(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Find the marks that count 1, 2, 3, ...; numbers out of turn belong to the text."""
    marks: list[re.Match[str]] = []
    for mark in pattern.finditer(text):
        if int(mark["named"] or mark["bare"]) == len(marks) + 1:
            marks.append(mark)
    return marks


def without_farewell(parts: list[str]) -> str:
    """Cut the last part of a list after its paragraph, where the others have one each."""
    last = parts[-1].strip()
    one_each = len(parts) > 1 and not any("\n\n" in part.strip() for part in parts[:-1])
    return last.partition("\n\n")[0] if one_each else last


def without_preface(text: str, canary: str) -> str:
    """Take preface and quotes off a rephrasing, unless the canary has them itself."""
    for pattern in (PREFACE, AGREED):
        if not pattern.match(canary):
            text = pattern.sub("", text, count=1)
    text = text.strip().removeprefix("**").removesuffix("**").strip()
    first, last = text[:1], text[-1:]
    is_quoted = (
        len(text) > 1 and QUOTES.get(first) == last and not canary.lstrip().startswith(first)
    )
    if is_quoted and not {first, last} & set(text[1:-1].replace("’", "")):
        text = text[1:-1].strip()
    return text


def fault_of(text: str, canary: str, n_tokens: int, n_canary: int) -> str:
    """Say why a rephrasing is of no use, in a word or three; empty where it is.

    n_tokens, n_canary: of the text and of the canary, under the trained model's tokenizer.
    """
    if not text or not n_tokens:
        return "empty"
    if REFUSAL.match(text) and not REFUSAL.match(canary):
        return "refusal"
    if REMARK.search(text) and not REMARK.search(canary):
        return "about the text"
    if single_spaced(text) == single_spaced(canary):
        return "the canary itself"
    if n_tokens > LONGEST * n_canary:
        return "too long"
    return "too short" if LONGEST * n_tokens < n_canary else ""


def single_spaced(text: str) -> str:
    """Return a text with single spaces.

    Two that differ by white space alone are the same then.
    """
    return " ".join(text.split())
