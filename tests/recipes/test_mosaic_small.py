"""The recipe of mosaic memory in small, on made-up people: its main claims.

Two and a half minutes of processor time. Each claim stood by four standard errors or more where it was
written, so that another machine's last digits do not undo it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stillage.cli import main
from stillage.data.synthetic import people
from stillage.functional.delong import auc_interval
from stillage.functional.pooled import paired_auc_test
from stillage.run.folder import read_table

if TYPE_CHECKING:
    from stillage.types import Array

pytestmark = pytest.mark.slow
SETTINGS = """
stages: [mosaic]
jobs: 1
threads: 1
tokenizer: {vocab_size: 1024}
teacher: {layers: 2, width: 96, heads: 4, context: 256}
teacher_train: {epochs: 1, batch_size: 4, lr_peak: 2e-3}
student: {layers: 2, width: 96, heads: 4, context: 256}
student_train: {epochs: 2, batch_size: 8, lr_peak: 2e-3}
mosaic:
  block_tokens: 256
  copies: 5
  attacks: [reference, loss]
  pretrain_epochs: 1
  pretrain_lr: 2e-3
  student_windows: 512
  experiments: [exact_copies, replacement, distillation]
  canaries: {members: 60, nonmembers: 60, length: 40, max_jaccard: 0.8}
  params:
    replacement.replaced: "4 20"
    distillation.methods: kd
    distillation.replaced: "4"
"""
DOCUMENTS, PEOPLE = 20, 350  # the base reads 19 of them, the canaries go into one


def write_books(folder: Path) -> None:
    """Documents of made-up people, one after the other."""
    folder.mkdir()
    for number in range(DOCUMENTS):
        texts = [record.response for record in people(number + 1, PEOPLE)["private"]]
        (folder / f"{number:02d}.txt").write_text("\n".join(texts) + "\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mosaic")
    write_books(folder / "books")
    (folder / "config.yaml").write_text(SETTINGS)
    words = [str(folder / "config.yaml"), "--mosaic.books", str(folder / "books")]
    assert main(["mosaic", "run", *words, "--out", str(folder / "run")]) == 0
    return folder / "run"


def scores_of(run: Path, condition: str) -> tuple[Array, Array]:
    """What the reference attack says of each canary, and which are members."""
    table = read_table(run / condition / "scores.parquet").to_pandas()
    one = table[table["attack"] == "reference"].sort_values("canary")
    assert len(one) == 120
    return one["score"].to_numpy(float), (one["role"] == "member").to_numpy(bool)


def test_members_are_told_the_better_the_more_exact_copies(run: Path) -> None:
    (five, is_member), (one, _) = (scores_of(run, name) for name in ("exact_05", "exact_01"))
    test = paired_auc_test(five, one, is_member)
    assert test.low > 0.1 and test.p < 1e-3, test
    found = [auc_interval(*scores_of(run, f"exact_{copies:02d}")) for copies in range(1, 6)]
    assert found[4].low > 0.7 and found[4].value > found[2].value > found[0].value


def test_a_near_copy_is_worth_less_the_more_of_it_is_replaced(run: Path) -> None:
    points = read_table(run / "mosaic" / "points.parquet").to_pandas()
    near = points[(points["experiment"] == "replacement") & (points["attack"] == "reference")]
    few, many = (near[near["x"] == replaced].iloc[0] for replaced in (4, 20))
    assert 0 < many["rho"] < few["rho"] < 1.2
    assert few["rho_isotonic"] > many["rho_isotonic"] > 0
    assert few["auc"] > many["auc"]
    assert 3.9 < few["levenshtein"] <= 4 and 19 < many["levenshtein"] <= 20
    assert few["survived"] == 1


def test_a_student_that_never_saw_a_canary_tells_the_teachers_members(run: Path) -> None:
    interval = auc_interval(*scores_of(run, "student_kd_exact_05"))
    assert interval.low > 0.5, interval
    points = read_table(run / "mosaic" / "points.parquet").to_pandas()
    student = points[(points["series"] == "kd") & (points["attack"] == "reference")].iloc[0]
    assert student["condition"] == "student_kd_replace_4_n5" and student["auc_low"] > 0.5
    assert (run / "report" / "report.html").is_file()
