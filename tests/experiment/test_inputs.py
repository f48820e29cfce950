"""What the log says of records as they are read: of which model and which part."""

from __future__ import annotations

import logging
from functools import partial

import pytest

from stillage.data.bpe import train_bpe
from stillage.experiment.inputs import examples_of
from stillage.run.config import DataConfig
from stillage.types import Record


def test_what_was_cut_is_said_of_model_and_part(caplog: pytest.LogCaptureFixture) -> None:
    records = [Record(id="a", prompt="Who?", response="w1 w2 w3 " * 20)]
    read = partial(examples_of, records, train_bpe(["w1 w2 w3"], 300), DataConfig(max_tokens=32, template="raw"))
    with caplog.at_level(logging.WARNING, logger="stillage"):
        read(what="student, test")
    lines = [line.getMessage() for line in caplog.records if "tokenised" in line.getMessage()]
    assert [line.partition(": 1 examples")[0] for line in lines] == ["student, test: tokenised"]
