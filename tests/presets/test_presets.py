"""Every published training script is a preset that loads, fits its method and plans, and the table says what was published."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.cli.command_line import read_settings
from stillage.distill.methods import METHODS
from stillage.distill.settings import params_from
from stillage.errors import ConfigError, ModelError
from stillage.experiment.context import make_context
from stillage.experiment.run import describe_plan
from stillage.presets.needs import how_to_train, missing, trained_by
from stillage.presets.published import AS_RELEASED, MODELS, Script, published
from stillage.presets.script_settings import script_settings
from stillage.run.config import Config
from stillage.run.parse import build
from stillage.run.stop import Stop

PARTS = ("private", "public", "validation", "nonmembers", "test")
EXTRAS = {
    "gc",
    "seed",
    "dev",
    "phi0",
    "eps",
    "cap",
    "mix",
    "mp",
    "sched",
    "chunk",
    "ds",
    "a_corr",
    "meth",
    "hidden",
}
SCRIPTS = {"distillm": 59, "minillm": 49, "kd_llms": 13, "distillation_privacy": 26}
COMMIT = "0" * 40


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags that give a tiny file for each part, a corpus and commits; the working folder is empty."""
    monkeypatch.chdir(tmp_path)
    words: list[str] = []
    for part in PARTS:
        file = tmp_path / "files" / f"{part}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"instruction": "Say a", "input": "", "output": part}) + "\n")
        words += [f"--data.files.{part}", str(file)]
    (tmp_path / "files" / "corpus.txt").write_text("one document\n")
    return [*words, "--student.revision", COMMIT, "--teacher.revision", COMMIT]


def config_of(name: str) -> Config:
    return build(script_settings(published()[name]))


def test_every_script_of_the_tables_is_there() -> None:
    released = [script for name, script in published().items() if not name.endswith(AS_RELEASED)]
    assert Counter(script.source for script in released) == SCRIPTS
    assert len({(script.source, script.script) for script in released}) == len(released) == 147
    assert {script.method for script in released} <= set(METHODS)


def test_every_preset_loads_and_plans(files: list[str], tmp_path: Path) -> None:
    skipped: list[str] = []
    for name, script in published().items():
        flat = script_settings(script)
        for word, path in zip(files[::2], files[1::2], strict=True):
            flat[word[2:]] = [path]
        if script.corpus != "-":
            flat["lm.path"] = [str(tmp_path / "files" / "corpus.txt")]
        if script.teacher == "given":
            flat["teacher.path"] = [str(tmp_path)]
        config = build(flat)
        if config.distill.method not in METHODS:
            skipped.append(f"{name}: no method {config.distill.method} yet")
            continue
        check(name, script, config)
        context = make_context(config, Stop(), lambda stage, facts: None)
        found, refusal = describe_plan({"": context})
        assert refusal is None or isinstance(refusal, ModelError), (
            refusal
        )  # its folders are not here
        trained = {spec.name for spec in context.specs if spec.is_trained}
        assert trained == {script.group}, name
        assert list(found.tasks) == ["data", "tokenizer", script.group, "report"]
        assert not any(task.state.is_done for task in found.tasks.values())
    assert not skipped, "\n".join(skipped)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files"]


def check(name: str, script: Script, config: Config) -> None:
    """A row and its config say the same; read off the row as text, by another way than the code under test."""
    params = params_from(METHODS[config.distill.method], config.distill.params)
    trained = config.teacher_train if script.split == "private" else config.student_train
    assert trained.lr_peak == float(script.lr) and trained.epochs == float(script.epochs), name
    assert set(script.extra) <= EXTRAS, name
    assert trained.max_steps == (0 if script.steps == "-" else int(script.steps))
    if script.method == "kd" and script.kd_ratio == "0.5":
        assert (params.kd_weight, params.ce_weight) == (0.5, 0.5)  # pyright: ignore[reportAttributeAccessIssue]
    start = config.teacher if script.split == "private" else config.student
    assert bool(start.lora_rank or start.adapter) == (script.lora != "-")
    assert config.teacher.revision == config.student.revision == COMMIT
    assert bool(config.lm.path) == (script.corpus != "-")
    assert str(config.out) == f"runs/{name}"


def test_no_preset_makes_up_a_commit_or_a_data_source() -> None:
    for script in published().values():
        flat = script_settings(script)
        assert not [
            path
            for path in flat
            if path.endswith("revision") or path.startswith(("data.source", "data.files"))
        ]
        assert missing(script, flat)[0][0] == "records"


def test_known_rows() -> None:
    """Read off the published scripts' tables by hand."""
    base = config_of("distillm/gpt2/distillm_0.1B_1.5B")
    assert base.distill.params["divergence"] == "sfkl" and base.distill.params["loss_eps"] == "0.1"
    assert (
        base.student_train.batch_size,
        base.student_train.lr_peak,
        base.student_train.lr_final,
    ) == (32, 5e-4, 1e-7)
    assert base.student.path == "runs/distillm/gpt2/init_base/student/model"
    assert (
        base.teacher.path == "runs/distillm/gpt2/sft_xlarge/student/model"
        and base.teacher_train.epochs == 0
    )
    assert (base.seed, base.data.max_tokens, base.data.max_prompt_tokens, base.lm.batch_size) == (
        10,
        512,
        256,
        32,
    )

    opt = config_of(
        "minillm/opt/minillm_6.7B_13B"
    )  # 4 x 4 on 16 GPUs, 4 to a model: the paper's 64
    assert (opt.student_train.batch_size, opt.student_train.micro_batch_size) == (64, 4)
    assert (opt.student_train.max_steps, opt.student_train.lr_peak, opt.student_train.lr_final) == (
        5000,
        5e-6,
        5e-6,
    )
    assert opt.student_train.warmup_fraction * 5000 == pytest.approx(100)
    assert (opt.student_train.weight_decay, opt.student_train.beta2) == (1e-6, 0.95)
    assert (
        opt.student.path == "runs/minillm/opt/sft_6.7B-init/student/model"
        and opt.student_train.gradient_checkpointing
    )
    made_by = how_to_train(trained_by(opt.student.path))
    assert (
        made_by
        == "stillage run minillm/opt/sft_6.7B --method init --out runs/minillm/opt/sft_6.7B-init"
    )

    kd = config_of("kd_llms/gpt2/kd_medium")
    assert kd.distill.params == {"kd_weight": "0.5", "ce_weight": "0.5", "divergence": "fkl"}
    qwen = config_of("minillm/qwen2.5/sft_1.5B")
    assert qwen.student_train.precision == "bf16" and qwen.student.path == "Qwen/Qwen2.5-1.5B"

    lora = config_of("distillm/openllama2/gkd_3B_7B_teacher_lora")
    assert (
        lora.student.adapter == "runs/distillm/openllama2/init_3B_lora/student/model"
        and lora.student.lora_rank == 0
    )
    init = config_of("distillm/openllama2/init_3B_lora")
    assert (init.seed, init.student.lora_rank, init.distill.method) == (20, 16, "init")

    privacy = config_of(
        "distillation_privacy/gpt2/minillm"
    )  # 10 rounds of 256 texts, 4 passes, 64 records a step
    assert privacy.student_train.max_steps == 10 * 256 * 4 // 64
    teacher = config_of("distillation_privacy/llama/teacher_sft")
    assert (
        teacher.teacher_train.epochs,
        teacher.student_train.epochs,
        teacher.teacher.lora_rank,
    ) == (20, 0, 16)
    assert config_of("distillation_privacy/opt/kd").teacher_train.batch_size == 16


def test_a_broken_script_has_two_presets() -> None:
    name = "distillm/openllama2/distillm_3B_7B_teacher_lora"
    meant, shipped = config_of(name), config_of(name + AS_RELEASED)
    assert meant.distill.method == "distillm" and meant.distill.params["init_threshold"] == "0.2"
    assert shipped.distill.method == "kd"
    assert shipped.distill.params == {"divergence": "srkl", "kd_weight": "1.0", "ce_weight": "0"}
    assert config_of("distillm/gpt2/seqkd_base").distill.params["decoding"] == "sampling"
    assert config_of("distillm/gpt2/seqkd_base" + AS_RELEASED).distill.params["divergence"] == "fkl"
    assert config_of("minillm/mistral/sft_7B" + AS_RELEASED).student.path == MODELS["llama2-7B"]
    assert all(script.note for script in published().values() if script.shipped != "-")


def test_what_is_missing_is_said_at_once(files: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings("run", ["distillm/gpt2/distillm_0.1B_1.5B"])
    said = str(caught.value)
    assert len(said.splitlines()) == 3
    assert all(
        part in said
        for part in (
            "records",
            "--lm.path ''",
            "`stillage run distillm/gpt2/init_base`",
            "sft_xlarge",
        )
    )
    with pytest.raises(ConfigError, match=r"student\.revision COMMIT"):
        read_settings("run", ["distillm/gpt2/sft_base", *files[:4]])
    assert read_settings("run", ["distillm/gpt2/sft_base", *files])["student.path"] == [
        MODELS["gpt2-base"]
    ]
    assert read_settings("run", ["distillm/gpt2/sft_base", *files[:4], "--student", str(tmp_path)])
    assert read_settings("data", ["distillm/gpt2/distillm_0.1B_1.5B", *files[:4]])
    with pytest.raises(ConfigError, match="--teacher FOLDER"):
        read_settings(
            "run",
            [
                "minillm/qwen2.5/minillm_1.5B_7B",
                *files,
                "--lm.path",
                "",
                "--student",
                str(tmp_path),
            ],
        )
    for made in ("init_base", "sft_xlarge"):
        (tmp_path / f"runs/distillm/gpt2/{made}/student/model").mkdir(parents=True)
    assert read_settings("run", ["distillm/gpt2/distillm_0.1B_1.5B", *files, "--lm.path", ""])[
        "lm.path"
    ] == [""]


def test_the_command_line_knows_them(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", "presets"]) == 0
    printed = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in printed[1:] if line]
    own = [name for name in listed if name not in published()]
    assert listed == [*own, *published()] and {"quickstart", "membership_and_memorization"} <= set(
        own
    )
    line = next(line for line in printed if line.startswith("distillm/gpt2/kd_base "))
    assert "kd (kd), gpt2-base <- sft_xlarge, lr 0.0005, 8 records a step, 20 epochs" in line
    assert main(["run", "distillm/gpt2/kd_bse"]) == 2
    assert "Did you mean distillm/gpt2/kd_base?" in capsys.readouterr().err
    assert main(["run", "distillm/gpt2/sft_base", *files, "--dry-run"]) == 0
    assert "student" in capsys.readouterr().out
    assert main(["ls", "presets", "minillm/gpt2/kd_base"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# minillm/gpt2/kd_base: kd") and "--student.revision COMMIT" in text
    (tmp_path / "mine.yaml").write_text(text)
    assert (
        build(read_settings("run", ["mine.yaml"])).student_train
        == config_of("minillm/gpt2/kd_base").student_train
    )
    assert main(["run", "mine.yaml", "--dry-run"]) == 2  # its data files are placeholders
    assert "train.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("membership_and_memorization", 42),
        ("membership_and_memorization-as_released-gpt2", 18),
        ("membership_and_memorization-as_released-opt", 18),
        ("membership_and_memorization-as_released-openllama", 6),
    ],
)
def test_the_published_grid_is_configured_and_plans(
    name: str,
    points: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every point trains a teacher on private records, a student and its control, and audits them; no model is needed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dolly.jsonl").write_text(
        json.dumps({"instruction": "a", "response": "b", "category": "c"}) + "\n"
    )
    assert main(["run", name, "--data.source", "dolly.jsonl", "--dry-run"]) == 2
    said = capsys.readouterr()
    assert "is neither a folder here nor a hub id" in said.err  # the plan is printed all the same
    stages = [line.split(": ")[1].split()[0] for line in said.out.splitlines()]
    assert said.err.endswith(f"\n{points} points, {len(stages)} stages, {len(stages)} to run\n")
    for stage in ("student", "audit", "blocks", "report"):
        assert stages.count(stage) == points, stage
    for stage in ("data", "teacher", "student_no_teacher"):  # equal ones are done, and listed, once
        assert 1 <= stages.count(stage) < points, stage
