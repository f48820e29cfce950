"""`stillage compare`: the same records or none, every pair once, seeds pooled, and nothing left out in silence."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from stillage.audit.compare import RunScores, compare
from stillage.audit.membership import Audited, score_rows
from stillage.cli import main
from stillage.errors import DataError
from stillage.functional.stats import auc_interval, paired_auc_test
from stillage.run.folder import sha256_file, write_json, write_table, write_text
from stillage.run.results import read_results, write_results
from stillage.types import Result

N = 200
MEMBER = np.arange(N) < 100
BASE = Result(run="", stage="compare", model="student", metric="", value=math.nan, attack="loss")


def finished(
    run: Path, seed: int, method: str, shift: float, *, people: int = N, verdict: str = "valid"
) -> Path:
    """The files that a finished run leaves and the comparison reads; the records depend on the seed."""
    rng, common = (
        np.random.default_rng([seed, len(method)]),
        np.random.default_rng(seed).normal(size=people),
    )
    audited = Audited(
        ids=tuple(f"s{seed}-{i:03}" for i in range(people)),
        parts=("private",) * (people // 2) + ("nonmembers",) * (people - people // 2),
        texts=("",) * people,
        groups=("",) * people,
    )
    scores = common + shift * audited.is_member + 0.5 * rng.normal(size=people)
    control = common + 0.5 * np.random.default_rng([seed, 99]).normal(size=people)
    named = {"student": scores, "teacher": scores, "student_no_teacher": control}
    tables = [
        score_rows(audited, model, attack, values)
        for model, values in named.items()
        for attack in ("loss", "zlib")
    ]
    write_text(
        run / "config.yaml",
        f"out: {run}\nseed: {seed}\njobs: {seed}\ndistill: {{method: {method}}}\naudit: {{attacks: [loss, zlib]}}\n",
    )
    write_table(run / "audit" / "scores.parquet", pa.concat_tables(tables))
    write_json(run / "audit" / "validity.json", {"verdict": verdict})
    for stage in ("audit", "evaluate"):
        write_json(run / stage / "manifest.json", {"key": "k", "files": {}})
    summary = {
        "validation_loss": 2.0 + seed,
        "best_validation_loss": 1.0 + seed,
        "trained_tokens": 5000,
        "steps": 9,
    }
    write_json(
        run / "student" / "summary.json", {**summary, "model_step": 9 if method == "kd" else 5}
    )
    rouge = Result(
        run="r",
        stage="evaluate",
        model="student",
        metric="rouge_l",
        value=0.25 * seed,
        low=0.1,
        high=0.9,
        n=50,
        dataset="test",
    )
    write_results(run / "evaluate" / "results.parquet", [rouge])
    return run


def grid(
    out: Path, shifts: dict[str, float], seeds: tuple[int, ...], unfinished: tuple[str, ...] = ()
) -> Path:
    points = []
    for method, shift in shifts.items():
        for seed in seeds:
            name = f"method={method}_seed={seed}"
            points.append(
                {"name": name, "values": {"distill.method": method, "seed": str(seed)}, "run": name}
            )
            if name in unfinished:
                write_text(out / name / "config.yaml", "seed: 1\n")
            else:
                finished(out / name, seed, method, shift)
    write_json(out / "sweep.json", {"points": points})
    return out


def said(words: Sequence[str | Path], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    capsys.readouterr()
    assert main(["compare", *map(str, words)]) == code
    printed = capsys.readouterr()
    return printed.out if code == 0 else printed.err


def test_two_runs_and_the_numbers_of_one_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [finished(tmp_path / "a", 1, "kd", 1.5), finished(tmp_path / "b", 1, "sft", 0.0)]
    printed = said([*runs, "--out", tmp_path / "out"], capsys)
    assert "a minus b" in " ".join(printed.split()) and "a leaks more" in printed
    results = read_results(tmp_path / "out" / "compare.parquet")
    by = {(row.metric, row.method): row for row in results}
    scores = {
        run.name: np.array(pa.parquet.read_table(run / "audit" / "scores.parquet")["score"])[:N]
        for run in runs
    }
    test = paired_auc_test(scores["a"], scores["b"], MEMBER)
    row = by["auc_difference", "a"]
    assert (row.value, row.low, row.high) == pytest.approx(
        (test.difference, test.low, test.high)
    ) and row.n == N
    assert row.p == pytest.approx(test.p) and (row.against, row.seeds) == ("b", 1)
    assert by["auc", "a"].low == pytest.approx(auc_interval(scores["a"], MEMBER).low)
    assert (
        by["validation_loss", "a"].value == 3.0 and by["validation_loss", "b"].value == 2.0
    )  # of the weights in use
    assert by["trained_tokens", "a"].value == 5000 and by["rouge_l", "b"].high == 0.9
    described = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [one["variant"] for one in described["runs"]] == ["a", "b"] and described[
        "unfinished"
    ] == []
    plain = sha256_file(runs[0] / "audit" / "scores.parquet")
    assert len(described["runs"][0]["scores_keyed_sha256"]) == 16 and plain not in json.dumps(
        described
    )


def test_a_variant_leaks_more_only_above_its_own_controls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [finished(tmp_path / "a", 1, "kd", 1.5), finished(tmp_path / "b", 1, "sft", 0.0)]
    said([*runs, "--out", tmp_path / "out"], capsys)
    rows = read_results(tmp_path / "out" / "compare.parquet")
    beyond = {row.method: row for row in rows if row.metric == "auc_beyond_control"}
    assert {row.against for row in beyond.values()} == {"student_no_teacher"}
    assert beyond["a"].low > 0 > beyond["b"].low
    path = runs[0] / "audit" / "scores.parquet"
    table = pa.parquet.read_table(path)
    write_table(path, table.filter(pc.field("model") != "student_no_teacher"))
    assert "a tells members apart better" in said(runs, capsys)
    write_table(path, table)
    write_json(
        runs[0] / "audit" / "validity.json",
        {"verdict": "cannot tell leakage from a difference of the groups"},
    )
    assert "a tells members apart better" in said(runs, capsys)


def test_equal_scores_differ_by_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        finished(tmp_path / name, 1, method, 0.4) for name, method in (("a", "kd"), ("b", "gk"))
    ]
    printed = said([*runs, "--model", "teacher", "--attack", "zlib", "--out", tmp_path], capsys)
    row = next(
        r for r in read_results(tmp_path / "compare.parquet") if r.metric == "auc_difference"
    )
    assert row.value == 0 and row.p == 1 and row.low < 0 < row.high
    assert "no difference shown" in printed and "teacher" in printed and "AUC, zlib" in printed


def test_a_grid_is_pooled_over_its_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = grid(
        tmp_path / "grid", {"kd": 1.5, "sft": 0.0, "gkd": 1.4}, (1, 2), ("method=gkd_seed=2",)
    )
    printed = said([out, "--out", tmp_path], capsys)
    assert f"left out, their audit is not finished: {out / 'method=gkd_seed=2'}" in printed
    results = read_results(tmp_path / "compare.parquet")
    found = {(row.method, row.against): row for row in results if row.metric == "auc_difference"}
    pair = found["method=kd", "method=sft"]
    assert pair.n == 2 * N and pair.note == "2 seeds of other records each" and pair.low > 0
    assert found["method=sft", "method=gkd"].n == N
    assert all(row.tests == 3 for row in found.values())
    by = {(row.metric, row.method): row for row in results}
    assert by["rouge_l", "method=kd"].value == 0.375 and by["rouge_l", "method=kd"].n == 2
    assert by["rouge_l", "method=gkd"].low == 0.1  # its only seed's own interval


def test_records_are_paired_for_quality_and_unequal_training_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shift = {"kd": 0.2, "sft": 0.0, "gkd": 0.0}
    out = grid(
        tmp_path / "grid", {"kd": 0.0, "sft": 0.0, "gkd": 0.0}, (1, 2), ("method=gkd_seed=2",)
    )
    for method, more in shift.items():
        for seed in (1, 2):
            if (out / f"method={method}_seed={seed}" / "audit").exists():
                answered(out / f"method={method}_seed={seed}", seed, more, needed=method != "gkd")
    for seed in (1, 2):
        summary = out / f"method=sft_seed={seed}" / "student" / "summary.json"
        write_json(summary, {**json.loads(summary.read_text()), "trained_tokens": 12000})
    printed = said([out, "--out", tmp_path], capsys)
    rows = {
        (row.metric, row.method, row.against): row
        for row in read_results(tmp_path / "compare.parquet")
    }
    row = rows["rouge_l_difference", "method=kd", "method=sft"]
    assert (
        row.value == pytest.approx(0.2, abs=0.02)
        and row.low > 0.1
        and row.n == 2 * 60
        and row.dataset == "test"
    )
    assert row.tests == 3 and row.note == "2 seeds of other records each" and row.attack == ""
    assert ("needed_exact_difference", "method=kd", "method=sft") in rows
    assert (
        "needed_exact_difference",
        "method=kd",
        "minus method=gkd",
    ) not in rows  # nobody said what is needed there
    assert "method=kd is better" in printed and "Who answers better: ROUGE-L" in printed
    assert "not trained equally: method=sft on 12 k tokens, 2.4 times as many as" in printed
    assert printed.count("left out, their audit is not finished") == 1


def answered(run: Path, seed: int, shift: float, *, needed: bool = True, records: int = 60) -> Path:
    """The table of answers that an evaluation leaves; the records depend on the seed, their difficulty too."""
    hard, own = (
        np.random.default_rng([seed, 5]).random(records),
        np.random.default_rng([seed, int(100 * shift), 6]),
    )
    rouge = np.clip(0.7 * hard + shift + 0.05 * own.normal(size=records), 0, 1)
    rows = [
        {
            "model": "student",
            "id": f"s{seed}-{k}",
            "rouge_l": float(rouge[k]),
            "exact_match": bool(rouge[k] > 0.6),
            "needed_exact": bool(rouge[k] > 0.4) if needed else None,
        }
        for k in range(records)
    ]
    write_table(run / "evaluate" / "samples.parquet", pa.Table.from_pylist(rows))
    return run


def unaudited(
    run: Path, seed: int, method: str, shift: float, stages: str = "[distill, evaluate]"
) -> Path:
    """A finished run whose config asks for no audit."""
    finished(run, seed, method, 0.0)
    shutil.rmtree(run / "audit")
    text = (run / "config.yaml").read_text()
    write_text(run / "config.yaml", f"{text}stages: {stages}\n")
    return answered(run, seed, shift)


def test_without_an_audit_quality_is_compared_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = unaudited(tmp_path / "a", 1, "kd", 0.2), unaudited(tmp_path / "b", 1, "sft", 0.0)
    printed = said([a, b], capsys)
    assert "nothing was audited, so that only quality is compared" in printed
    assert "a is better" in printed and "AUC" not in printed and "leaks" not in printed
    both = said(
        [a, b, finished(tmp_path / "c", 1, "gkd", 1.0), finished(tmp_path / "d", 1, "seqkd", 0.0)],
        capsys,
    )
    assert "not audited, so that only quality is compared: a, b" in both and "c leaks more" in both
    planned = [
        unaudited(tmp_path / name, 1, name, 0.1, "[evaluate, audit]") for name in ("kd", "sft")
    ]
    assert "nothing was audited" in said(
        planned, capsys
    )  # an audit is planned, and none is there yet
    printed = said([*planned, tmp_path / "c"], capsys, code=2)
    assert (
        f"Finish it first: stillage audit {planned[0]}" in printed
        and len(printed.splitlines()) == 3
    )


def test_parts_that_do_not_end_alike_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [unaudited(tmp_path / name, 1, name, 0.2) for name in ("kd", "sft")]
    for run, end in zip(runs, (";", "mentor"), strict=True):
        text = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(f"{text}data: {{needed_until: '{end}'}}\n")
    printed = said(runs, capsys)
    assert (
        "the needed part does not end alike (';', 'mentor')" in printed
        and "needed part exact" not in printed
    )
    (runs[1] / "config.yaml").write_text(
        (runs[1] / "config.yaml").read_text().replace("mentor", ";")
    )
    assert "Who answers better: needed part exact" in said(runs, capsys)


def test_answers_to_other_records_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = unaudited(tmp_path / "a", 1, "kd", 0.2), unaudited(tmp_path / "b", 1, "sft", 0.0)
    answered(b, 1, 0.0, records=40)
    printed = said([a, b], capsys, code=2)
    assert printed.splitlines()[:2] == [
        f"stillage: {a} and {b} did not evaluate the same records.",
        "60 and 40 records, 40 of them in both and in one part",
    ]
    c, d = (
        finished(tmp_path / name, 1, method, 1.0) for name, method in (("c", "kd"), ("d", "sft"))
    )
    answered(c, 1, 0.2)
    answered(d, 1, 0.0, records=40)
    printed = said([c, d], capsys)
    assert (
        "Who leaks more" in printed and "quality is not compared by pairs everywhere: " in printed
    )


def test_a_damaged_audit_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        finished(tmp_path / name, 1, method, 1.0) for name, method in (("a", "kd"), ("b", "sft"))
    ]
    write_json(
        runs[1] / "audit" / "manifest.json", {"key": "k", "files": {"scores.parquet": "0" * 64}}
    )
    printed = said([*runs, "--out", tmp_path / "out"], capsys, code=2)
    assert f"{runs[1]} has no finished audit.\naudit: scores.parquet has changed\n" in printed
    assert len(printed.splitlines()) == 3 and not (tmp_path / "out").exists()


def test_audits_that_failed_their_checks_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        finished(tmp_path / "a", 1, "kd", 1.5, verdict="contaminated"),
        finished(tmp_path / "b", 1, "sft", 0.0),
    ]
    assert f"need not be leakage: {runs[0]} (contaminated)" in said(runs, capsys)


@pytest.mark.parametrize(
    "case",
    ["records", "seeds", "alone", "twice", "folder", "unfinished", "attack", "none", "level"],
)
def test_what_cannot_be_compared_is_refused_in_three_lines(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = finished(tmp_path / "a", 1, "kd", 1.0), finished(tmp_path / "b", 1, "sft", 0.0)
    smaller, again = (
        finished(tmp_path / "c", 1, "sft", 0.0, people=150),
        finished(tmp_path / "d", 1, "kd", 1.0),
    )
    later = [finished(tmp_path / f"{seed}", seed, "gkd", 0.0) for seed in (2, 3)]
    (tmp_path / "empty").mkdir()
    write_text(tmp_path / "begun" / "config.yaml", "seed: 1\n")
    words, expected = {
        "records": (
            [a, smaller],
            f"{a} and {smaller} did not audit the same records.\n200 and 150 records, 125 of them",
        ),
        "seeds": ([a, *later], f"{a} and {later[0]} share no seed"),
        "alone": ([a], "nothing to compare"),
        "twice": ([a, b, again], "one and the same experiment"),
        "folder": ([a, tmp_path / "empty"], "neither a run nor a grid"),
        "unfinished": ([a, tmp_path / "begun"], f"stillage audit {tmp_path / 'begun'}"),
        "attack": ([a, b, "--attack", "min_k"], "attacks on student: loss, zlib"),
        "none": ([], "Which runs?"),
        "level": ([a, b, "--level", "95"], "between 0 and 1"),
    }[case]
    printed = said(words, capsys, code=2)
    assert expected in printed and len(printed.strip().splitlines()) == 3


def test_a_comparison_never_loads_torch(tmp_path: Path) -> None:
    runs = [finished(tmp_path / "a", 1, "kd", 1.5), finished(tmp_path / "b", 1, "sft", 0.0)]
    code = (
        "import sys; from stillage.cli import main; code = main(sys.argv[1:]);"
        "print('HEAVY', [n for n in ('torch', 'transformers', 'sklearn', 'matplotlib') if n in sys.modules], code)"
    )
    words = [sys.executable, "-c", code, "compare", *map(str, runs)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "HEAVY [] 0" in done.stdout


def scores_of(run: str, values: np.ndarray, copies: int = 1) -> RunScores:
    return RunScores(
        run=run,
        seed=1,
        ids=tuple(f"{i:04}" for i in range(N * copies)),
        is_member=np.repeat(MEMBER, copies),
        groups=tuple(f"g{i // copies}" for i in range(N * copies)),
        scores=np.repeat(values, copies),
    )


def test_near_duplicates_count_once_and_missing_scores_are_said() -> None:
    rng = np.random.default_rng(3)
    common = rng.normal(size=N)
    values = {
        name: common + shift * MEMBER + rng.normal(size=N)
        for name, shift in (("a", 0.4), ("b", 0.0))
    }
    once, twice = (
        compare(
            {name: [scores_of(name, x, copies)] for name, x in values.items()},
            level=0.95,
            base=BASE,
        )[-1]
        for copies in (1, 4)
    )
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=1e-3)
    values["b"][[3, 7]] = np.nan
    row = compare(
        {name: [scores_of(name, x)] for name, x in values.items()}, level=0.95, base=BASE
    )[-1]
    assert row.n == N - 2 and row.missing == 2


def test_one_split_trained_under_several_seeds_is_one_sample_of_records() -> None:
    rng = np.random.default_rng(4)
    common = rng.normal(size=N)
    runs = {
        name: [
            RunScores(
                run=name,
                seed=seed,
                ids=tuple(map(str, range(N))),
                groups=("",) * N,
                is_member=MEMBER,
                scores=common * scale + 0.5 * MEMBER + 0.01 * rng.normal(size=N),
            )
            for seed in range(6)
        ]
        for name, scale in (("a", 0.5), ("b", 1.0))
    }
    six = compare(runs, level=0.95, base=BASE)[-1]
    one = compare({name: found[:1] for name, found in runs.items()}, level=0.95, base=BASE)[-1]
    assert six.n == N and six.high - six.low == pytest.approx(one.high - one.low, rel=0.1)
    assert (six.seeds, six.note) == (6, "6 seeds of the same records")
    with pytest.raises(DataError, match="share no seed"):
        compare({"a": runs["a"][:2], "b": runs["b"][2:]}, level=0.95, base=BASE)


@pytest.mark.parametrize("same_records", [True, False])
def test_the_note_counts_records_without_score_as_n_counts_those_with_one(
    same_records: bool,
) -> None:
    rng = np.random.default_rng(5)
    runs = {
        name: [
            RunScores(
                run=name,
                seed=seed,
                ids=tuple(f"{0 if same_records else seed}-{i}" for i in range(N)),
                groups=("",) * N,
                is_member=MEMBER,
                scores=rng.normal(size=N),
            )
            for seed in range(3)
        ]
        for name in ("a", "b")
    }
    runs["a"][0].scores[[3, 150]] = np.nan
    runs["b"][2].scores[[3, 160]] = np.nan
    rows = {(row.metric, row.method): row for row in compare(runs, level=0.95, base=BASE)}
    records = N if same_records else 3 * N
    seeds = "3 seeds of the same records" if same_records else "3 seeds of other records each"
    for row, missing in (
        (rows["auc", "a"], 2),
        (rows["auc_difference", "a"], 3 if same_records else 4),
    ):
        assert (row.note, row.missing, row.n) == (seeds, missing, records - missing)
