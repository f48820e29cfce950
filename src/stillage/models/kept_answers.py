"""Answers to questions that cost something, each kept in a file as it comes.

A file is named by all that decides its answer, so that work that was killed asks nothing twice. One
that is damaged, or holds another question's answer, is asked for again.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from stillage.run.folder import read_json, sha256_text, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger("stillage")


def answer_file(folder: Path, asked: Mapping[str, Any]) -> Path:
    """Name the file of a question's answer by the sha256 of the question."""
    return folder / f"{sha256_text(json.dumps(asked, sort_keys=True))}.json"


def kept_answer(folder: Path, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the answer to a question back; None where there is none to be trusted."""
    file = answer_file(folder, asked)
    try:
        content = read_json(file)
        if content["asked"] == asked and isinstance(content["answer"], dict):
            return content["answer"]
        why = "it is another question's"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        why = type(error).__name__
    log.warning("the kept answer %s cannot be used (%s): asking again", file.name, why)
    return None


def keep_answer(folder: Path, asked: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """Write a question with its answer. Interrupted where the disk is full."""
    write_json(answer_file(folder, asked), {"asked": asked, "answer": answer})
