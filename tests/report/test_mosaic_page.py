"""The report of a mosaic run: numbers, sentences with their power, and odd runs."""

from __future__ import annotations

import csv
import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fixture_mosaic
import pytest
from chromium import Chromium
from fixture_mosaic import ATTACKS, AUCS, RHO, point, points
from scipy.stats import spearmanr

from stillage.errors import DataError
from stillage.functional.equivalence import FLAGS, exact_duplicate_equivalent
from stillage.mosaic.table_columns import POINTS
from stillage.report.mosaic_axis import Axis, axis_of
from stillage.report.mosaic_figures import Drawing, drawing_of, experiment_pictures
from stillage.report.mosaic_made import (
    dose_words,
    flag_sentences,
    guide,
    injection_words,
    other_canaries_words,
)
from stillage.report.mosaic_page import write_mosaic_report
from stillage.report.mosaic_tables import experiment_tables, flags_cell, rho_correlation
from stillage.report.mosaic_view import (
    Canaries,
    MosaicView,
    Shown,
    read_mosaic_view,
    shown_experiments,
    without_nulls,
)
from stillage.report.mosaic_words import (
    curve_flaw,
    header_keys,
    mosaic_detail,
    mosaic_headline,
    open_questions,
)
from stillage.run.folder import read_table
from stillage.run.results import read_results, write_results
from stillage.types import Result

Row = dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its report; not to be changed."""
    folder = fixture_mosaic.build(tmp_path_factory.mktemp("mosaic") / "books")
    write_mosaic_report(folder, "books", "ab12cd34")
    return folder


def page_of(folder: Path) -> str:
    """The page as written."""
    return (folder / "report" / "report.html").read_text(encoding="utf-8")


def text_of(folder: Path) -> str:
    """What a reader of the page sees."""
    body = re.sub(r"<(style|svg).*?</\1>", "", page_of(folder), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", body)).replace("\u00a0", " ").split())


def view_of(
    rows: Sequence[Mapping[str, Any]],
    told: Sequence[Mapping[str, Any]] | None = None,
    **about: object,
) -> MosaicView:
    """A view of points, without a folder."""
    shown = [without_nulls(row) for row in rows]
    listed = shown_experiments(fixture_mosaic.experiments() if told is None else told, shown)
    about = {**fixture_mosaic.about(), **about}
    return MosaicView(title="run", run_id="", about=about, experiments=listed, points=shown)


def exact(change: Callable[[float], float], wide: float = 0.06) -> list[Row]:
    """The usual points, the AUC of exact copies under the loss attack another."""
    rows = points()
    for row in rows:
        if row["experiment"] == "exact_copies" and row["attack"] == "loss":
            row["auc"] = change(row["x"])
            row |= {"auc_low": row["auc"] - wide, "auc_high": row["auc"] + wide}
    return rows


def test_the_first_screen_says_what_a_near_copy_is_worth_and_how_surely(run: Path) -> None:
    said = text_of(run)
    assert (
        "A near-copy with 10 of 100 tokens replaced is worth 0.64 of an exact copy (95 %: 0.55 to "
        "0.73; loss attack, 100 + 100 canaries)"
    ) in said
    assert "0.995 [0.993, 0.996] of 10 exact copies; 0.5 is chance." in said
    assert "The canary and its 9 near-copies leave the trace of 6.8 exact copies." in said
    assert "By the isotonic curve: 0.62 (0.54 to 0.71). Other attacks: ratio 0.64" in said
    summary = (run / "report" / "summary.txt").read_text()
    assert summary.startswith("books: A near-copy with 10 of 100 tokens replaced is worth 0.64")


def test_sections_come_in_order_and_say_how_it_was_made(run: Path) -> None:
    said = text_of(run)
    ids = re.findall(r'<section id="([^"]+)"', page_of(run))
    asked = [f"experiment-{one['name']}" for one in fixture_mosaic.experiments()[1:]]
    assert ids == ["exact", *asked, "unknown", "made", "guide"]
    assert "1 of 8 documents holds canaries: “pride_and_prejudice”." in said
    assert "100 canaries of 100 tokens went into the documents, 100 of the same kind" in said
    assert "26 other texts were not kept" in said and "too like another 3" in said
    assert "As tokens, 5,491 of 5,500 injected pieces (99.84 %) were found again" in said
    assert "extrapolated " + html.unescape(FLAGS["extrapolated"]) in said
    assert "Hollow: published (GPT-Neo 1.3B, ratio attack), 10 copies, canaries of 100 tok" in said
    assert "10 trainings were compared. The usual model: models/from_scratch_4x192." in said
    assert "99.84 %) were found again token for token, 99.5 % to 100 % by training." in said
    assert "{" not in said
    assert "secret words of a canary" not in page_of(run)


def test_tables_and_csv_hold_the_numbers_of_the_points(run: Path) -> None:
    rows = read_table(run / "mosaic" / "points.parquet").to_pylist()
    with (run / "report" / "points.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert len(written) == len(rows) and list(written[0]) == list(POINTS)
    for row, cells in zip(rows, written, strict=True):
        assert float(cells["rho"]) == row["rho"] and cells["flags"] == ";".join(row["flags"])
    view = read_mosaic_view(run, title="books")
    shown = next(one for one in view.experiments if one.name == "replacement")
    tables = experiment_tables(view, shown)
    assert len(tables) == len(ATTACKS)
    for table, attack in zip(tables, ATTACKS, strict=True):
        for cells, (x, rho) in zip(table.rows, RHO.items(), strict=True):
            named = dict(zip(table.columns, cells, strict=True))
            assert named["tokens replaced, of 100"].text == str(x)
            assert float(named["rho, as published"].text) == pytest.approx(
                rho + ATTACKS[attack], abs=0.00501
            )
            assert ("flags" in named) == (attack == "ratio")


def test_figures_are_on_the_page_and_as_files(run: Path) -> None:
    drawn = {path.stem for path in (run / "report" / "figures").glob("*.svg")}
    names = {f"exact_{name}" for name in ATTACKS} | {"monitor", "extraction_bleu"}
    assert names | {"replacement_rho", "extraction_edit_similarity"} < drawn
    assert len(drawn) == len(ATTACKS) + 4 + 2 + 6 + 1
    assert page_of(run).count('class="figure"') == len(drawn)
    with (run / "report" / "figures" / "exact_loss.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["auc"]) for row in rows] == list(AUCS.values())
    assert [float(row["isotonic"]) for row in rows] == list(AUCS.values())
    assert float(rows[1]["moving_average"]) == pytest.approx((0.61 + 0.71 + 0.77) / 3)
    assert "published (GPT-Neo 1.3B, ratio attack)" in page_of(run)


@pytest.mark.parametrize(
    ("auc", "wide", "why"),
    [
        (lambda x: 0.5 + 0.001 * x, 0.06, "exact copies themselves cannot be told from chance"),
        (lambda x: 0.6, math.nan, "exact copies themselves cannot be told from chance"),
        (lambda x: 0.8 - 0.001 * x, 0.06, "10 exact copies leave no more trace than 1"),
        (lambda x: math.nan, 0.06, "exact copies have no AUC"),
    ],
)
def test_without_power_nothing_is_said(
    auc: Callable[[float], float], wide: float, why: str
) -> None:
    view = view_of(exact(auc, wide))
    assert mosaic_headline(view).startswith("What near-copies are worth cannot be judged: ")
    assert why in mosaic_headline(view) and "0.64" not in mosaic_headline(view)
    assert any(why in line for line in open_questions(view))
    if not math.isnan(auc(1)):
        assert "Other attacks can tell: ratio." in " ".join(mosaic_detail(view))
        assert "0.62" not in " ".join(mosaic_detail(view))
    assert curve_flaw(view, "ratio") == ""


def test_a_curve_that_cannot_be_told_from_a_level_one_says_nothing() -> None:
    """The flag is of a paired test, which the intervals of the AUCs do not show."""
    rows = points()
    for row in rows:
        if row["attack"] == "loss" and row["experiment"] != "exact_copies":
            row["flags"] = ["not_judged"]
    view = view_of(rows)
    said = "cannot be judged: the trace of 10 exact copies cannot be told from that of 1"
    assert said in mosaic_headline(view)
    shown = next(one for one in view.experiments if one.name == "shuffle")
    notes = [table.note for table in experiment_tables(view, shown)]
    assert "These numbers say nothing: the trace of" in notes[0] and not any(notes[1:])
    for row in rows:  # the models of another experiment alone
        if row["experiment"] == "shuffle":
            row["flags"] = []
    assert mosaic_headline(view_of(rows)).startswith("A near-copy (Pieces in another order: n = 2")


def test_an_interval_without_end_says_so() -> None:
    rows = points()
    for row in rows:
        if row["experiment"] == "replacement":
            row |= {"rho_high": None, "flags": ["no_upper_limit", "isotonic_clamped"]}
    view = view_of(rows)
    assert "worth 0.64 of an exact copy (95 %: 0.55 or more; loss attack" in mosaic_headline(view)
    assert "Flagged: no upper limit, isotonic clamped" in " ".join(mosaic_detail(view))
    shown = next(one for one in view.experiments if one.name == "replacement")
    assert experiment_tables(view, shown)[0].rows[2][3].small == "[0.55, no limit]"
    assert drawing_of(view, shown, "rho").beyond == len(RHO)
    assert dict(flag_sentences(view))["isotonic clamped"] == FLAGS["isotonic_clamped"]


def test_what_may_be_nothing_is_not_called_something() -> None:
    near = point("replacement", "loss", 10, 0.03)
    view = view_of([*exact(lambda x: AUCS[int(x)])[:10], near])
    assert (
        "is worth 0.03 of an exact copy, which cannot be told from nothing (95 %: -0.02 to 0.08;"
        in mosaic_headline(view)
    )
    bare = {**near, "rho_low": None, "rho_high": None}
    view = view_of([*exact(lambda x: AUCS[int(x)])[:10], bare])
    assert "worth 0.03 of an exact copy; how far off that may be is not known (" in mosaic_headline(
        view
    )


def headline_of(**changed: object) -> tuple[str, str]:
    """The headline and what stands beside it, where the only point is so changed."""
    near = {**point("replacement", "loss", 10, 0.64), **changed}
    view = view_of([*exact(lambda x: AUCS[int(x)])[:10], near])
    return mosaic_headline(view), " ".join(mosaic_detail(view))


def test_a_curve_that_falls_where_it_is_read_is_read_isotonically() -> None:
    """Curve .60 at 1 copy, .92 at 4, .74 at 10; near-copies .93."""
    phi = [0.6, 0.71, 0.82, 0.92, 0.89, 0.86, 0.83, 0.8, 0.77, 0.74]
    one = exact_duplicate_equivalent(phi, 0.93)
    other = exact_duplicate_equivalent(phi, 0.93, smoothing="isotonic")
    assert one.rho > 1.5 and "falling_end" in one.flags and "flat_end" in other.flags
    flags = [*one.flags, *(f"isotonic_{name}" for name in other.flags), "no_upper_limit"]
    values = {"rho": one.rho, "rho_low": 0.4, "rho_high": 5.0, "copies": one.copies}
    values |= {"rho_isotonic": 1.0, "rho_isotonic_low": 0.3, "rho_isotonic_high": None}
    said, beside = headline_of(**values, flags=flags)
    assert "is worth 1.00 of an exact copy or more by the isotonic curve (95 %: 0.30 or" in said
    assert f"the published reading, {one.rho:.2f}, counts a falling curve as a rising one" in said
    assert f"As published: {one.rho:.2f} (" in beside and "leave the trace of" not in beside
    near = {**point("replacement", "loss", 10, 0.64), **values, "flags": flags}
    view = view_of([*exact(lambda x: AUCS[int(x)])[:10], near])
    assert [key.value for key in header_keys(view)][2:] == ["1.00"]


def test_readings_that_do_not_meet_are_said() -> None:
    apart = {"rho_isotonic": 0.2, "rho_isotonic_low": 0.1, "rho_isotonic_high": 0.3}
    said, _ = headline_of(**apart)
    assert "worth 0.20 of an exact copy by the isotonic curve (95 %: 0.10 to 0.30;" in said
    assert said.endswith("the published reading, 0.64, lies outside its limits")
    assert "isotonic" not in headline_of(**(apart | {"rho_isotonic_high": 0.56}))[0]


def test_a_reading_that_stops_at_nothing_is_no_certainty() -> None:
    none = dict.fromkeys(("rho", "rho_low", "rho_high"), 0.0) | {"copies": 1.0, "auc": 0.1}
    none |= dict.fromkeys(("rho_isotonic", "rho_isotonic_low", "rho_isotonic_high"), 0.0)
    said, beside = headline_of(**none, flags=["clamped"])
    assert "is worth less than can be measured: a canary with its near-copies leaves less" in said
    assert "than one exact copy, and the published procedure stops at 0 (loss attack" in said
    assert "0.00 to 0.00" not in said and "leave the trace" not in beside
    some = headline_of(**(none | {"rho_high": 0.3}), flags=["clamped"])[0]
    assert "stops at 0 (95 %: up to 0.30; loss attack" in some
    endless = headline_of(**(none | {"rho_high": None}), flags=["clamped"])[0]
    assert "nor from a whole copy (95 %: no upper limit; loss" in endless


def test_less_than_every_exact_copy_is_not_worth_something() -> None:
    """As published, an AUC below all of a curve that begins with a fall counts for many copies."""
    phi = [0.62, 0.6, 0.59, 0.7, 0.8]
    one = exact_duplicate_equivalent(phi, 0.572)
    other = exact_duplicate_equivalent(phi, 0.572, smoothing="isotonic")
    assert one.rho > 0.7 and other.rho == 0
    flags = [*one.flags, *(f"isotonic_{name}" for name in other.flags)]
    values = {"rho_isotonic": 0.0, "rho_isotonic_low": 0.0, "rho_isotonic_high": 0.4}
    said, _ = headline_of(rho=one.rho, rho_low=0.0, rho_high=0.9, flags=flags, **values)
    assert "falling_start" in flags and "less trace than one exact copy, and the isotonic" in said
    assert "the published reading, 0.72, counts a falling curve as a rising one" in said


def test_an_interval_from_nothing_to_a_copy_says_neither() -> None:
    said, _ = headline_of(rho=0.67, rho_low=0.0, rho_high=1.0)
    assert "0.67 of an exact copy, which cannot be told from nothing nor from a whole copy" in said
    assert "nor from a whole" not in headline_of(rho=0.67, rho_low=0.0, rho_high=0.9)[0]


def test_points_are_judged_by_their_own_curve() -> None:
    """The usual curve is level, that of another learning rate is good."""
    rows = exact(lambda x: 0.5 + 0.001 * x)
    told = [*fixture_mosaic.experiments(), {"name": "rates", "title": "Rates", "copies": 2}]
    rows += [point("rates", "loss", 10, 0.5, series="0.004", condition="near_lr0.004")]
    usual = view_of(rows, told)
    assert mosaic_headline(usual).startswith("What near-copies are worth cannot be judged")
    view = replace(usual, curves={"near_lr0.004": "exact_01_lr0.004"})
    assert mosaic_headline(view).startswith("A near-copy (Rates: 0.004, point 10) is worth 0.50")
    assert (
        "Other models, settings and students have a curve of their own." in mosaic_detail(view)[0]
    )
    rates, shuffle = (
        next(one for one in view.experiments if one.name == name) for name in ("rates", "shuffle")
    )
    assert not experiment_tables(view, rates)[0].note
    assert "These numbers say nothing: exact" in experiment_tables(view, shuffle)[0].note
    assert "1 near-copy leave the trace" in " ".join(mosaic_detail(view))
    assert dose_words(
        view, rates
    ) == "Here N = 2: the canary with 1 near-copy, read off 1 to 2 " + ("exact copies.")
    assert "(worth in exact copies − 1) / N − 1" not in str(guide(view))
    assert "N is named in each section" in dict(guide(view))["Near-copy"]


def test_lost_copies_and_other_canaries_are_said() -> None:
    lost = {"exact_01": (59, 100), "exact_02": (198, 200)}
    scan = Canaries(perplexity={"member": [1] * 5, "nonmember": [1] * 4}, lengths=(30, 30))
    view = replace(view_of(points()), survived=lost, others={"canaries_scan": scan})
    assert "257 of 300 injected pieces (85.67 %)" in injection_words(view)
    assert "59 % to 99 % by training" in injection_words(view)
    assert any(
        "43 of 300 injected pieces (14.3 %, from 1 % to 41 % " in s for s in open_questions(view)
    )
    (said,) = other_canaries_words(view)
    assert "5 members and 4 nonmembers, targets of a corpus scan" in said and "30 tokens" in said


def test_the_flags_that_matter_come_first_and_none_is_left_out() -> None:
    cell = flags_cell(["extrapolated", "pooled", "flat_end", "saturated", "copies_lost"])
    assert cell.text == "copies lost; extrapolated; pooled" and cell.small == "flat end; saturated"


def test_a_curve_that_is_not_there_is_an_open_question() -> None:
    rows = [row for row in points() if row["experiment"] != "exact_copies"]
    told = [one for one in fixture_mosaic.experiments() if one["name"] != "exact_copies"]
    view = view_of(rows, told)
    assert "is worth 0.64" in mosaic_headline(view)
    assert any(
        "no experiment of this run shows their curve" in line for line in open_questions(view)
    )
    flat = [{**row, "flags": ["not_rising"]} for row in rows]
    assert "more exact copies leave no more trace" in mosaic_headline(view_of(flat, told))


def test_other_experiments_can_speak_first() -> None:
    rows = [row for row in points() if row["experiment"] in ("exact_copies", "shuffle")]
    assert mosaic_headline(view_of(rows)).startswith(
        "A near-copy (Pieces in another order: n = 2, tau 0."
    )
    rows = [row for row in rows if row["experiment"] == "exact_copies"]
    assert mosaic_headline(view_of(rows)) == "No near-copy has a worth"
    alone = mosaic_headline(view_of(rows, fixture_mosaic.experiments()[:1]))
    assert alone.startswith("10 exact copies of a canary give an AUC of 0.99 [0.99, 1.00] (loss")


ODD = '<script>alert("1")</script> \x00\x0b& $x_1$'


def odd_points() -> dict[str, list[Row]]:
    """Points that a run should not have."""
    usual = point("replacement", "loss", 10, 0.6)
    null = {**dict.fromkeys(POINTS), "experiment": "replacement"}
    nan = {name: math.nan if kind == "double" else usual[name] for name, kind in POINTS.items()}
    one = point("exact_copies", "loss", 1, 0.0)
    return {
        "empty": [],
        "one": [usual],
        "one exact": [one],
        "null": [null, {**null, "experiment": None}],
        "nan": [nan, {**nan, "experiment": "distances"}, {**nan, "experiment": "exact_copies"}],
        "flags": [one, {**usual, "flags": [*FLAGS, "unheard_of"]}],
        "endless": [{**usual, "rho": math.inf, "rho_high": math.inf, "x": math.inf}, usual],
        "names": [{**usual, "series": ODD, "label": ODD}],
        "many": [
            {**usual, "series": f"series {at}", "x": float(at % 20), "label": "name " * (at % 20)}
            for at in range(60)
        ],
    }


@pytest.mark.parametrize("kind", list(odd_points()))
def test_odd_points_have_a_page(kind: str, tmp_path: Path) -> None:
    folder = fixture_mosaic.build(tmp_path / "run", rows=odd_points()[kind], titles=[ODD] * 9)
    write_mosaic_report(folder, ODD)
    page, said = page_of(folder), text_of(folder)
    assert "<script" not in page and "&lt;script&gt;alert" in page
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"<dl class=.facts.*?</dl>", "", said))
    if kind in ("empty", "null", "nan"):
        assert "Nothing can be judged: no AUC was measured" in said
    if kind == "flags":
        assert all(name.replace("_", " ") in said for name in (*FLAGS, "unheard_of"))
        assert "No explanation is known." in said


def test_a_run_without_anything_but_points_has_a_page(tmp_path: Path) -> None:
    folder = fixture_mosaic.build(tmp_path / "whole", rows=points()[8:12], told={})
    bare = tmp_path / "bare"
    (bare / "mosaic").mkdir(parents=True)
    (folder / "mosaic" / "points.parquet").rename(bare / "mosaic" / "points.parquet")
    write_mosaic_report(bare, "bare")
    files = sorted((bare / "report").rglob("*.*"))
    told = {path.name: path.read_bytes() for path in files}
    one = Result(run="", stage="mosaic", model="near-1", metric="rho", value=0.5)
    write_results(bare / "mosaic" / "results.parquet", [one])
    write_mosaic_report(bare, "bare", run_id="ab12")
    (row,) = read_results(bare / "report" / "results.parquet")
    assert (row.run, row.value) == ("ab12", 0.5) and "bare · ab12" in text_of(bare)
    write_mosaic_report(bare, "bare")
    assert told == {path.name: path.read_bytes() for path in files}
    assert "holds canaries" not in text_of(bare)
    with pytest.raises(DataError, match="holds no mosaic run"):
        write_mosaic_report(tmp_path, "none")


def test_the_axis_fits_what_lies_on_it() -> None:
    def axis(xs: Sequence[float], label: str = "") -> Axis:
        return axis_of([(x, label) for x in xs])

    assert axis([1, 2, 5, 10, 20, 50]).is_log and not axis(list(RHO)).is_log
    assert not axis([0, 1, 10, 100]).is_log and not axis([5]).is_log
    assert axis([math.inf, 5, 2]).names == ("2", "5", "∞") and not axis([math.inf]).is_list
    named = axis([1, 0], label="top")
    assert named.names == ("top", "top") and named.place(0, "top", 0, 1) == 1
    assert axis([0, 1], label="any token of the vocabulary").is_list and not named.is_list
    lines = [axis([10, 20]).place(10, "", at, 3) for at in range(3)]
    assert lines[1] == 10 and lines[0] < 10 < lines[2] < 10.2
    alone = [axis([2]).place(2, "", at, 3) for at in range(3)]
    assert alone[1] == 2 and alone[0] < 2 < alone[2], "else they hide each other"


def test_published_values_lie_where_ours_do() -> None:
    rows = [point("extraction", "loss", 10, 0.5, series=name, label=f"{name} 10") for name in "ab"]
    rows = [without_nulls({**row, "bleu": 0.1}) for row in rows]
    told = (("a", 10.0, 0.2), ("b", 10.0, 0.1), ("b", 15.0, 0.05), ("GPT-4o", 10.0, 0.3))
    shown = Shown(name="extraction", title="", shows="recital", published=told)
    drawing = drawing_of(view_of(rows), shown, "bleu")
    assert drawing.axis.names == ("a 10", "b 10", "b 15", "GPT-4o 10")
    assert [one.place for one in drawing.published] == list(drawing.axis.keys)
    assert not drawing_of(view_of(rows), shown, "edit_similarity").published
    numbers = [without_nulls({**row, "label": "", "series": ""}) for row in rows[:1]]
    bare = drawing_of(view_of(numbers), replace(shown, published=told[1:3]), "bleu")
    assert [one.place for one in bare.published] == [(10, ""), (15, "")] and not bare.axis.names
    assert {one.series for one in bare.published} == {""}  # the only line of both
    numbers = [without_nulls({**row, "label": ""}) for row in rows]
    some = drawing_of(view_of(numbers), shown, "bleu")
    assert {one.series for one in some.published} == {"a", "b"}  # not GPT-4o, which has no line


def test_published_series_that_the_run_lacks_can_be_told_apart() -> None:
    told = (("n = 2", 0.1, 0.5), ("n = 2", 0.2, 0.3), ("n = 5", 0.1, 0.6))
    view = view_of([point("shuffle", "loss", 0.1, 0.5, series="n = 4")])
    (picture,) = experiment_pictures(view, Shown(name="shuffle", title="", published=told))
    assert "published: n = 2" in picture.svg and "published: n = 5" in picture.svg


def test_a_useless_interval_does_not_flatten_the_others() -> None:
    rows = [point("replacement", "loss", x, 0.5) for x in (1, 2, 3)]
    rows[0] |= {"rho_low": -40.0, "rho_high": 60.0}
    view = view_of(rows)
    drawing: Drawing = drawing_of(view, Shown(name="replacement", title=""), "rho")
    assert drawing.beyond == 1 and -0.4 < drawing.limits[0] < 0 and 1.5 < drawing.limits[1] < 1.7
    narrow = drawing_of(view_of(rows[1:]), Shown(name="replacement", title=""), "rho")
    assert narrow.beyond == 0 and narrow.limits[1] < 1.1


def test_distances_are_ranked_as_scipy_ranks_them() -> None:
    view = view_of(points())
    shown = next(one for one in view.experiments if one.shows == "distance")
    found = [row for row in view.of("distances", "loss") if row["rho"] is not None]
    expected = spearmanr([row["indel"] for row in found], [row["rho"] for row in found])[0]
    ranked = rho_correlation(view, shown, "indel")
    assert ranked.value == pytest.approx(expected) and ranked.low < ranked.value
    level = [{**row, "flags": ["not_judged"] if row["x"] < 50 else []} for row in found]
    assert rho_correlation(replace(view, points=level), shown, "indel").n == 4
    few = replace(view, points=view.of("distances", "loss")[:3])
    assert rho_correlation(few, shown, "indel").reason == "fewer than 4 points"


EDGES = """[...document.querySelectorAll('.scroll')].every(e => e.scrollWidth <= e.clientWidth ||
getComputedStyle(e).backgroundAttachment.includes('scroll'))"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1200])
def test_it_fits_and_asks_nobody(browser: Chromium, run: Path, width: int) -> None:
    page = run / "report" / "report.html"
    browser.open(page, width=width)
    assert browser.requests == [page.as_uri()] and browser.complaints == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelector('.keys').getBoundingClientRect().bottom") < 900
    assert browser.run(EDGES)
