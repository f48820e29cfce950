"""What stands first on the page: the strongest attack, the worst group, models by their own names, and nothing that is empty."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from test_report_verdict import auc, best, plain, rate

from stillage.report.cells import Cell, Table, share, without_dashes
from stillage.report.claim_words import recital_words
from stillage.report.html import checks, page
from stillage.report.key_numbers import MOST, key_numbers
from stillage.report.run_view import read_run
from stillage.report.summary import checked
from stillage.report.tables import auc_table
from stillage.report.verdict import verdict
from stillage.report.worst_group import group_words
from stillage.run.config import ReportConfig
from stillage.run.folder import read_json, write_json, write_text
from stillage.run.results import read_results, write_results
from stillage.types import Result


def shown(run: Path) -> str:
    """The page without its figures."""
    view = read_run(run)
    return page(view, verdict(view), {}, ReportConfig(), title="quickstart")


def test_the_strongest_attack_heads_the_page_and_the_one_named_first_stands_beside_it() -> None:
    tail = rate("tpr_at_fpr", "student", 0.1, 0.05, 0.15, attack="loss", fpr=0.01)
    recited = rate("extraction_rate", "student", 0.1, 0.05, 0.15, "private")
    good = rate("rouge_l", "student", 0.6, 0.5, 0.7)
    view = plain(
        auc("student", 0.68),
        auc("student", 0.8, attack="zlib"),
        *best(0.8, 0.76, 0.0005),
        tail,
        recited,
        good,
    )
    keys = key_numbers(view)
    assert [key.label for key in keys] == [
        "AUC, zlib attack",
        "AUC, loss attack",
        "Found at 1 % FPR",
        "Recited",
        "ROUGE-L",
    ]
    assert (keys[0].value, keys[0].small) == ("0.80", "[0.76, 0.83]")
    assert (
        "strongest of 2, p = 0.0005" in keys[0].note
        and "named first" in keys[1].note
        and len(keys) <= MOST
    )
    same = key_numbers(
        plain(
            auc("student", 0.8),
            auc("student", 0.6, attack="zlib"),
            *best(0.8, 0.76, 0.0005, "loss"),
        )
    )
    assert [key.label for key in same] == ["AUC, loss attack"]
    alone = key_numbers(plain(auc("student", 0.8), *best(0.8, 0.76, 0.0005, "loss")))
    assert (
        alone[0].small == "[0.77, 0.83]" and "strongest" not in alone[0].note
    )  # one attack was not chosen among any


def test_a_rate_without_value_says_how_many_nonmembers_it_needs() -> None:
    none = rate("tpr_at_fpr", "student", math.nan, math.nan, math.nan, attack="loss", fpr=0.01)
    none = replace(none, n_nonmembers=60, needed=300, reason="Too few nonmembers")
    (_, tile) = key_numbers(plain(auc("student", 0.8), none))
    assert (tile.label, tile.value, tile.small) == ("Found at 1 % FPR", "no value", "")
    assert tile.note.startswith("60 nonmembers, 300 needed; ")
    ten = rate("tpr_at_fpr", "student", 0.3, 0.2, 0.4, attack="loss", fpr=0.1)
    (_, tile) = key_numbers(plain(auc("student", 0.8), none, ten))
    assert tile.value == "30.0 %" and "at 1 % FPR no value (60 nonmembers, 300 needed)" in tile.note
    assert share(none).plain == "– 60 nonmembers, 300 needed"


def test_a_target_is_named_where_its_recital_is_told() -> None:
    rows = (
        auc("student", 0.8),
        rate("extraction_rate", "student", 0.026, 0.01, 0.05, "private"),
        rate("extraction_rate", "student", 0.0, 0.0, 0.02, "nonmembers"),
    )
    tokens, column = plain(*rows), plain(*rows, audit={"attacks": ["loss"], "extract": "mentor"})
    assert "the first 32 tokens of 2.6 % [1.0, 5.0] of members" in recital_words(tokens, "student")
    assert "the mentor of 2.6 % [1.0, 5.0] of members" in recital_words(column, "student")
    assert key_numbers(column)[-1].note == "members: the mentor; nonmembers 0.0 %"


def group(model: str, name: str, value: float, p: float, half: float = 0.05) -> Result:
    row = replace(auc(model, value, half), metric="slice_auc", dataset=name, n=80)
    return replace(row, p=p / 2, p_adjusted=p, tests=3)


def test_the_worst_group_is_told_after_correction_over_groups_and_beside_its_controls() -> None:
    rows = (auc("student", 0.6), auc("student_no_teacher", 0.5))
    groups = (
        group("student", "kind: a", 0.94, 1e-6),
        group("student", "kind: b", 0.6, 0.04),
        group("student", "kind: c", 0.97, 0.3, 0.49),
    )
    said = group_words(plain(*rows, *groups, group("student_no_teacher", "kind: a", 0.55, 0.4)))
    assert said.startswith(
        "Told apart best of 3 groups: kind: a, AUC 0.94 [0.89, 0.99] (loss attack, n = 80, p = 1e-06"
    )
    assert "above every control there (student, no teacher: 0.55 [0.50, 0.60])" in said
    shared = group_words(plain(*rows, *groups, group("student_no_teacher", "kind: a", 0.9, 0.01)))
    assert "not clearly above a control there" in shared
    assert "no control model shows the cause" in group_words(plain(rows[0], *groups))
    quiet = group_words(
        plain(
            *rows,
            group("student", "kind: a", 0.6, 0.2),
            replace(groups[1], p_adjusted=0.2),
        )
    )
    assert (
        quiet
        == "None of 2 groups is told apart beyond chance, allowing for their number (loss attack)."
    )
    unmeasured = replace(groups[0], value=math.nan, low=math.nan, high=math.nan)
    assert group_words(plain(*rows)) == "" and group_words(plain(*rows, unmeasured)) == ""
    assert group_words(plain(*rows, *groups, validity="contaminated")) == ""


def test_a_column_of_dashes_is_not_shown_and_neither_is_a_table_of_them() -> None:
    dash, refused = Cell(text="–"), Cell(text="–", small="too few nonmembers")
    table = Table(
        caption="c",
        columns=("model", "a", "b", "c"),
        rows=(
            (Cell(text="x"), dash, Cell(text="1"), refused),
            (Cell(text="y"), Cell(text="–", small="no value"), dash, refused),
        ),
    )
    kept = without_dashes(table)
    assert (
        kept is not None
        and kept.columns == ("model", "b", "c")
        and [len(row) for row in kept.rows] == [3, 3]
    )
    assert (
        without_dashes(replace(table, rows=tuple((row[0], dash, dash, dash) for row in table.rows)))
        is None
    )
    whole = replace(kept, columns=kept.columns)
    assert without_dashes(whole) is whole


def test_no_table_of_the_page_has_an_empty_column(run: Path) -> None:
    path = run / "evaluate" / "results.parquet"
    write_results(
        path, [row for row in read_results(path) if row.metric not in ("perplexity", "exact_match")]
    )
    html = shown(run)
    assert ">ROUGE-L<" in html and ">perplexity<" not in html and ">exact match<" not in html


def test_a_reference_from_elsewhere_stands_under_its_own_name_in_every_table(run: Path) -> None:
    path = run / "audit" / "results.parquet"
    rows = read_results(path)
    write_results(
        path,
        [
            *rows,
            *(
                replace(row, model="outside_reference")
                for row in rows
                if row.model == "student_no_teacher"
            ),
        ],
    )
    config = (run / "config.yaml").read_text(encoding="utf-8")
    write_text(
        run / "config.yaml", config.replace("audit:\n", "audit:\n  reference: org/pythia-70m\n")
    )
    view = read_run(run)
    assert "pythia-70m" in auc_table(view).columns
    html = shown(run)
    assert "outside reference" not in html and "pythia-70m" in html[: html.index("<main>")]


def test_a_check_that_could_not_tell_is_neither_passed_nor_failed(run: Path) -> None:
    path = run / "audit" / "validity.json"
    stated = read_json(path)
    stated["checks"][2] |= {"undecided": True, "detail": "It would have seen an AUC of 0.8."}
    write_json(
        path,
        stated | {"verdict": "too few records to tell", "headline": "Controls: too few records."},
    )
    view = read_run(run)
    states = [check.state for check in checks(view)]
    assert states == ["too few records to tell", "passed", "passed", "passed"]
    assert (
        checked(view) == "; split too few records to tell, 3 of 4 checks passed, 1 could not tell"
    )
    html = shown(run)
    assert (
        '<p class="badge unknown">too few records to tell</p>' in html
        and html.count(" too few records to tell</span>") == 1
    )


def test_the_meaning_of_an_auc_stands_where_it_is_first_printed(reported: Path) -> None:
    html = (reported / "report" / "report.html").read_text(encoding="utf-8")
    head = html[html.index("<h1>") :]
    assert "of a random pair of a member and a nonmember" in head[: head.index("AUC")]


def test_a_check_that_can_be_read_either_way_is_no_pass() -> None:
    """ "Prompts say nothing here, or were not read" stands under a question mark; the verdict stays."""
    lists = [
        {"name": "prompts", "passed": True, "says_nothing": True, "detail": "either"},
        {"name": "overlap", "passed": True, "detail": "fine"},
        {"name": "order", "passed": True, "undecided": True, "detail": "few"},
        {"name": "truncation", "passed": False, "detail": "cut"},
    ]
    view = replace(plain(auc("student", 0.6)), validity={"verdict": "valid", "checks": lists})
    assert [(check.name, check.state) for check in checks(view)] == [
        ("truncation", "failed"),
        ("order", "too few records to tell"),
        ("prompts", "open"),
        ("overlap", "passed"),
    ]
    assert checked(view) == "; split valid, 1 of 4 checks passed, 2 could not tell"
    shown = page(view, verdict(view), {}, ReportConfig(), title="t")
    assert '<li class="open"><b><i aria-hidden="true">?</i> prompts' in shown


def test_head_and_table_say_why_their_intervals_differ() -> None:
    view = plain(auc("student", 0.7), auc("student", 0.8, attack="zlib"), *best(0.8, 0.76, 0.0005))
    assert "the choice among 2 attacks, the table's does not" in key_numbers(view)[0].note
    assert "hold for each attack alone" in auc_table(view).note
