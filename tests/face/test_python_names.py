"""What a flag is called where Python called: an argument, a setting, or as it is."""

from __future__ import annotations

import pytest

from stillage.errors import DataError, UserError
from stillage.face.python_names import with_python_names


@with_python_names(data="data.files.public", plugins="plugin")
def refuse(*, members: str, data: str, plugins: str, line: str) -> None:
    """Fail, as what is called does."""
    raise DataError(line, "values", "fix")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Give --members FILE, or --data.files.members.", "Give members=FILE, or members=."),
        ("Give --data.files.private FILE.", "Give members=FILE."),
        ("--data.files.public FILE; or --data FILE", "data=FILE; or data.source FILE"),
        (
            "Give --student FOLDER or --audit.no-teacher false.",
            "Give student.path FOLDER or audit.no_teacher false.",
        ),
        (
            "Give --accept-changes, or --plugin X",
            "Give run_experiment's accept_changes=, or plugins= X",
        ),
        ("no x--seed/a.jsonl, no /my--data/model", "no x--seed/a.jsonl, no /my--data/model"),
        (
            "--debug shows -- and a-b and --no-such-thing",
            "--debug shows -- and a-b and --no-such-thing",
        ),
    ],
)
def test_a_flag_is_named_as_python_has_it(line: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        refuse(members="", data="", plugins="", line=line)
    assert type(caught.value) is DataError
    assert str(caught.value) == f"{said}\nvalues\nfix" and caught.value.what == said
    assert caught.value.args == (said, "values", "fix")
