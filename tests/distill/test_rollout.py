"""Written texts: whose they are, that they depend on nothing but (seed, step, record), and that what was written is trained."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from stillage.distill import writer as writer_module
from stillage.distill.answer import answer, score
from stillage.distill.methods import METHODS
from stillage.distill.settings import params_from
from stillage.distill.texts import answered, from_tensors, to_tensors, with_extras
from stillage.distill.train import desk_of
from stillage.errors import CheckpointError, ConfigError, Interrupted
from stillage.models.generate import Decoding, Partner, generate
from stillage.models.load import load_model
from stillage.models.padding import collate
from stillage.models.prompts import Prompts, TextRules
from stillage.rng import derive
from stillage.run.config import ModelConfig
from stillage.types import Example, Rollout

EOS = 0


@pytest.fixture
def desk(small: SimpleNamespace) -> object:
    return desk_of(small.tokenizer(), small.model(), None, small.options, seed=3)


def kept_texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Example]]]:
    """(source, texts) of every step of the trainings that follow."""
    found: list[tuple[str, list[Example]]] = []
    original = writer_module.Writer.texts

    def texts(self: writer_module.Writer, step: int, place: float) -> list[Example]:
        made = original(self, step, place)
        found.append((self.source, made))
        return made

    monkeypatch.setattr(writer_module.Writer, "texts", texts)
    return found


def test_the_same_text_for_any_batch_and_order(small: SimpleNamespace, desk: object) -> None:
    model, examples = small.model(seed=2), small.examples(9)
    rollout = Rollout(max_new_tokens=7)
    names = [f"4 {example.record_id}" for example in examples]
    whole = answer(desk, model, examples, names, rollout)
    for row in (5, 0, 8):
        alone = answer(desk, model, [examples[row]], [names[row]], rollout)[0]
        assert np.array_equal(alone.ids_T, whole[row].ids_T)
    others = answer(
        desk, model, examples, [f"5 {example.record_id}" for example in examples], rollout
    )
    assert any(
        not np.array_equal(one.ids_T, other.ids_T) for one, other in zip(whole, others, strict=True)
    )
    for example, text in zip(examples, whole, strict=True):
        prompt = example.prompt_ids
        assert (
            np.array_equal(text.ids_T[: len(prompt)], prompt)
            and text.record_id == example.record_id
        )
        assert text.response_T.sum() == len(text.ids_T) - len(prompt) <= 7


def test_the_model_writes_in_eval_mode_and_is_left_in_train_mode(
    small: SimpleNamespace, desk: object
) -> None:
    model, examples = small.model(seed=2, dropout=0.5), small.examples(5)
    model.train()
    names = [example.record_id for example in examples]
    one, two = (answer(desk, model, examples, names, Rollout(max_new_tokens=6)) for _ in range(2))
    assert all(np.array_equal(a.ids_T, b.ids_T) for a, b in zip(one, two, strict=True))
    assert all(module.training for module in model.modules())


def test_labels_of_a_written_text_are_its_tokens_shifted_once_and_the_end_is_trained() -> None:
    example = Example(
        record_id="a",
        ids_T=np.array([5, 6, 7, 8], np.int32),
        response_T=np.array([False, False, True, True]),
    )
    text = answered(example, np.array([9, 4, EOS], np.int32))
    batch = collate([text], torch.device("cpu"))
    assert batch.positions_T.tolist() == [1, 2, 3] and batch.labels_T.tolist() == [9, 4, EOS]


def test_a_student_that_stops_at_once_has_written_the_end_of_text(
    small: SimpleNamespace, desk: object
) -> None:
    student = small.model(seed=2)
    with torch.no_grad():  # whatever is read, the end of text follows: its row of the tied head is the final norm's bias
        student.transformer.ln_f.weight.zero_()
        student.transformer.ln_f.bias.fill_(1.0)
        student.get_input_embeddings().weight[EOS] = 5.0
    examples = small.examples(6)
    texts = answer(
        desk,
        student,
        examples,
        [example.record_id for example in examples],
        Rollout(max_new_tokens=8),
    )
    assert [text.ids_T[text.response_T].tolist() for text in texts] == [[EOS]] * 6


@pytest.mark.parametrize("method", ["gkd", "minillm", "seqkd"])
def test_no_text_is_longer_than_what_every_model_can_read(
    small: SimpleNamespace, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's context is 16 tokens, the student's 32; and the other way round."""
    found = kept_texts(monkeypatch)
    short = load_model(
        ModelConfig(layers=1, width=16, heads=2, context=16), vocab_size=small.VOCAB, seed=3
    )
    examples = [example for example in small.examples(30) if len(example.ids_T) <= 14]
    for name, student, teacher in (
        ("a", small.model(seed=2), short),
        ("b", short, small.model(seed=1, width=48)),
    ):
        small.train(
            tmp_path / name,
            method=method,
            student=student,
            teacher=teacher,
            examples=examples,
            validation=[],
            settings={"max_new_tokens": 40},
            max_steps=2,
        )
    assert all(len(text.ids_T) <= 16 for _, texts in found for text in texts)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("gkd", {}),
        ("imitkd", {"data_rate_end": 0.0}),
        ("distillm", {"init_threshold": 1.0}),
        ("minillm", {"num_rollouts": 8, "inner_epochs": 1}),
        ("seqkd", {"decoding": "sampling", "kd_weight": 1.0}),
        ("seqkd", {"decoding": "beam", "kd_weight": 1.0}),
    ],
)
def test_no_text_has_an_id_that_a_model_cannot_read(
    small: SimpleNamespace,
    tmp_path: Path,
    method: str,
    settings: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The head of one model is padded to 90 rows, and the padding is likely; the other has 61. And the other way round."""
    found = kept_texts(monkeypatch)
    padded = load_model(ModelConfig(layers=1, width=16, heads=2, context=32), vocab_size=90, seed=3)
    with torch.no_grad():
        padded.get_input_embeddings().weight[small.VOCAB :] *= 20
    for name, student, teacher in (
        ("a", small.model(seed=2), padded),
        ("b", padded, small.model(seed=1, width=48)),
    ):
        summary, _ = small.train(
            tmp_path / name,
            method=method,
            settings={"max_new_tokens": 6, **settings},
            student=student,
            teacher=teacher,
            max_steps=2,
        )
        assert summary.steps == 2
    assert all(int(text.ids_T.max()) < small.VOCAB for _, texts in found for text in texts)


def test_training_on_texts_of_one_token(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept_texts(monkeypatch)
    summary, _ = small.train(tmp_path, method="gkd", settings={"max_new_tokens": 1}, max_steps=3)
    assert summary.steps == 3 and summary.trained_tokens == sum(len(texts) for _, texts in found)


@pytest.mark.parametrize(
    "method", [name for name, method in METHODS.items() if method.rollout is not None]
)
@pytest.mark.parametrize(
    ("name", "value"),
    [("max_new_tokens", "0"), ("top_p", "0"), ("top_k", "-1"), ("sampling_temperature", "-1")],
)
def test_settings_that_write_no_text_are_refused(method: str, name: str, value: str) -> None:
    if name not in METHODS[method].params.__dataclass_fields__:
        assert method == "minillm"
        return
    with pytest.raises(ConfigError, match=name):
        params_from(METHODS[method], {name: value})


def test_texts_survive_as_tensors(small: SimpleNamespace) -> None:
    texts = [answered(example, example.ids_T[-3:]) for example in small.examples(5)]
    texts = [
        with_extras(text, {"logq": np.arange(3, dtype=np.float32) + k})
        for k, text in enumerate(texts)
    ]
    for kept in (texts, texts[:1], []):
        back = from_tensors({**to_tensors(kept, "a"), **to_tensors([], "b")}, "a")
        assert [text.record_id for text in back] == [text.record_id for text in kept]
        for one, two in zip(back, kept, strict=True):
            assert np.array_equal(one.ids_T, two.ids_T) and np.array_equal(
                one.response_T, two.response_T
            )
            assert np.array_equal(one.extras["logq"], two.extras["logq"])


def test_texts_are_the_students_of_that_very_step(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first texts, by `generate` alone; later ones differ, because the student has moved."""
    found = kept_texts(monkeypatch)
    student = small.model(seed=2)
    small.train(tmp_path, method="gkd", settings={"max_new_tokens": 6}, max_steps=3, seed=7)
    assert [source for source, _ in found] == ["student"] * 3
    for step, same in ((0, True), (2, False)):
        texts = found[step][1]
        written = generate(
            student,
            Prompts(
                [text.prompt_ids for text in texts],
                [f"{step} {text.record_id}" for text in texts],
                derive(7, "rollout"),
            ),
            Decoding(max_new_tokens=6, sampling_temperature=1.0),
            TextRules(EOS, 1),
        )
        equal = [
            np.array_equal(text.ids_T[text.response_T], ids)
            for text, ids in zip(texts, written, strict=True)
        ]
        assert all(equal) == same


def test_the_gradient_is_that_of_the_written_text(small: SimpleNamespace, tmp_path: Path) -> None:
    """One step of on-policy distillation = one step on records whose responses are those texts."""
    from stillage.distill.answer import answer as write

    student, examples = small.model(seed=2), small.examples(8)
    desk = desk_of(small.tokenizer(), small.model(), None, small.options, seed=7)
    names = [f"0 {example.record_id}" for example in examples]
    texts = write(desk, student, examples, names, Rollout(max_new_tokens=6))
    small.train(
        tmp_path / "on",
        method="gkd",
        settings={"max_new_tokens": 6},
        examples=examples,
        max_steps=1,
    )
    small.train(
        tmp_path / "off", method="kd", settings={"divergence": "jsd"}, examples=texts, max_steps=1
    )
    one, two = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("on", "off")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_buffer_is_drawn_from_without_repetition_and_its_prompts_are_recorded(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept_texts(monkeypatch)
    settings = {
        "init_threshold": 1.0,
        "replay_ratio": "increasing",
        "capacity": 12,
        "max_new_tokens": 5,
    }
    small.train(tmp_path, method="distillm", settings=settings, epochs=4, batch_size=5)
    sources = [source for source, _ in found]
    assert sources[:3] == ["student"] * 3 and "replay" in sources and "data" not in sources
    buffer: list[bytes] = []
    for source, texts in found:
        ids = [text.ids_T.tobytes() for text in texts]
        if source == "replay":
            assert len(buffer) == 12 and set(ids) <= set(buffer) and len(texts) == 5
        else:
            buffer = [*buffer, *ids][-12:]
    times: dict[str, int] = {}
    for _, texts in found:
        for text in texts:
            times[text.record_id] = times.get(text.record_id, 0) + 1
    table = pq.read_table(tmp_path / "provenance.parquet").to_pylist()
    assert {row["id"]: row["times"] for row in table} == times
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["texts"] for line in lines if "loss" in line] == sources


def test_a_rising_validation_loss_makes_the_student_write(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept_texts(monkeypatch)
    small.train(tmp_path / "calm", method="distillm", settings={"max_new_tokens": 5}, epochs=6)
    assert {source for source, _ in found} == {"data"}
    found.clear()
    settings = {"max_new_tokens": 5, "loss_eps": 0.0}
    monkeypatch.setattr("stillage.distill.loop.validation_sums", rising())
    small.train(tmp_path / "risen", method="distillm", settings=settings, epochs=12)
    assert [source for source, _ in found][:3] == ["data"] * 3 and "student" in {
        source for source, _ in found
    }


def rising() -> object:
    """Validation losses 1, 2, 3, ..."""
    asked = [0]

    def sums(*_: object) -> torch.Tensor:
        asked[0] += 1
        return torch.tensor([float(asked[0]), 1.0], dtype=torch.float64)

    return sums


def test_a_schedule_that_no_validation_moves_says_so_once(
    small: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In train.log and as a notice: with no validation records, or none asked for; never where validations happen."""
    said = "no validation will raise the share of the student's own texts, so it stays at 0.2"
    settings = {"init_threshold": 0.2, "capacity": 8, "max_new_tokens": 3}

    def times(folder: Path) -> int:
        return (folder / "train.log").read_text().count(said)

    blind = {"method": "distillm", "settings": settings, "max_steps": 4, "validation": ()}
    with pytest.raises(Interrupted):
        small.train(tmp_path / "a", **blind, should_stop=small.stop_after(2))
    small.train(tmp_path / "a", **blind)
    assert times(tmp_path / "a") == caplog.text.count(said) == 1
    assert "distillm" in caplog.text and "validation records: 0" in caplog.text
    small.train(tmp_path / "b", method="distillm", settings=settings, max_steps=2, validate_every=0)
    assert (
        times(tmp_path / "b") == 1
        and caplog.text.count(said) == 2
        and "validate_every: 0" in caplog.text
    )
    small.train(tmp_path / "c", method="distillm", settings=settings, max_steps=2)
    small.train(
        tmp_path / "d", method="gkd", settings={"max_new_tokens": 3}, max_steps=2, validation=()
    )
    assert times(tmp_path / "c") == times(tmp_path / "d") == 0 and caplog.text.count(said) == 2


def test_a_cycle_of_minillm_is_written_once_and_trained_inner_epochs_times(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept_texts(monkeypatch)
    settings = {"num_rollouts": 16, "inner_epochs": 3, "max_new_tokens": 5}
    small.train(
        tmp_path, method="minillm", settings=settings, examples=small.examples(32), max_steps=12
    )
    cycles = [[text for _, texts in found[start : start + 6] for text in texts] for start in (0, 6)]
    assert [source for source, _ in found] == ["mixed"] * 12
    for texts in cycles:
        ids = [text.ids_T.tobytes() for text in texts]
        assert (
            len(ids) == 48 and all(ids.count(one) == 3 for one in set(ids)) and len(set(ids)) == 16
        )
        assert len({text.record_id for text in texts}) == 16, "one text per prompt"
    assert {text.record_id for text in cycles[0]}.isdisjoint({text.record_id for text in cycles[1]})
    for _, texts in found:
        advantages = np.concatenate([text.extras["advantage"] for text in texts])
        assert abs(advantages.mean()) < 1e-5 and advantages.std() == pytest.approx(1, abs=1e-3)


def test_scores_are_the_log_probabilities_of_the_written_tokens(
    small: SimpleNamespace, desk: object
) -> None:
    model, texts = small.model(seed=2), small.examples(7)
    for text, logp_T in zip(texts, score(desk, model, texts, size=3, width=9), strict=True):
        with torch.no_grad():
            logits = model(torch.from_numpy(text.ids_T.astype(np.int64))[None]).logits[0]
        kept = np.flatnonzero(text.response_T)
        oracle = torch.log_softmax(logits, -1)[kept - 1, text.ids_T[kept].astype(np.int64)]
        assert np.allclose(logp_T, oracle.numpy(), atol=1e-5)


def test_the_mixture_draws_from_both_in_proportion(small: SimpleNamespace) -> None:
    student, teacher, prompt = (
        small.model(seed=2),
        small.model(seed=1, width=48),
        small.examples(1)[0].prompt_ids,
    )
    with torch.no_grad():
        teacher.get_input_embeddings().weight.mul_(20)
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        q, p = (torch.softmax(model(ids).logits[0, -1], -1) for model in (student, teacher))
    draws = 4000
    for share in (0.0, 0.3, 1.0):
        found = generate(
            student,
            Prompts([prompt] * draws, [str(k) for k in range(draws)], 1),
            Decoding(max_new_tokens=1, sampling_temperature=1.0),
            TextRules(EOS, 1),
            partner=Partner(teacher, share),
        )
        counts = np.bincount([int(ids[0]) for ids in found], minlength=small.VOCAB) / draws
        wanted = ((1 - share) * q + share * p).numpy()
        assert np.abs(counts - wanted).max() < 4 * np.sqrt(wanted.max() / draws)


def test_the_teachers_texts_replace_the_responses_and_are_written_once(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SeqKD = fine-tuning on what the teacher wrote. A second student finds the texts in the folder."""
    teacher, examples = small.model(seed=1, width=48), small.examples(12)
    settings = {"decoding": "greedy", "max_new_tokens": 6}
    small.train(
        tmp_path / "seqkd", method="seqkd", settings=settings, teacher=teacher, examples=examples
    )
    prompts, names = [text.prompt_ids for text in examples], [text.record_id for text in examples]
    written = generate(
        teacher,
        Prompts(prompts, names),
        Decoding(max_new_tokens=6),
        TextRules(EOS, 1),
    )
    rows = pq.read_table(tmp_path / "seqkd" / "texts.parquet").to_pylist()
    assert {row["id"]: row["ids"] for row in rows} == {
        n: ids.tolist() for n, ids in zip(names, written, strict=True)
    }
    assert all(
        row["finished"] == (row["ids"][-1] == EOS) and row["text"] is not None for row in rows
    )
    texts = [answered(example, ids) for example, ids in zip(examples, written, strict=True)]
    small.train(tmp_path / "sft", method="sft", examples=texts)
    one, two = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("seqkd", "sft")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)

    def nobody(*_: object, **__: object) -> None:
        raise AssertionError("the texts are there")

    monkeypatch.setattr("stillage.distill.answers_once.answer", nobody)
    for path in (tmp_path / "seqkd").iterdir():
        if not path.name.startswith("texts."):
            path.rename(tmp_path / path.name)
    small.train(
        tmp_path / "seqkd", method="seqkd", settings=settings, teacher=teacher, examples=examples
    )
    (tmp_path / "seqkd" / "summary.json").unlink()
    with pytest.raises(AssertionError, match="the texts are there"):
        small.train(
            tmp_path / "seqkd",
            method="seqkd",
            settings=settings,
            teacher=small.model(3),
            examples=examples,
        )


def test_writing_goes_on_where_it_was_stopped(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stillage.distill.answers_once.PART", 5)
    settings: dict[str, object] = {"decoding": "sampling", "max_new_tokens": 6}
    small.train(tmp_path / "whole", method="seqkd", settings=settings)
    with pytest.raises(Interrupted, match="answers to 10 of 20"):
        small.train(
            tmp_path / "parts", method="seqkd", settings=settings, should_stop=small.stop_after(3)
        )
    assert len(list((tmp_path / "parts" / "texts").iterdir())) == 2
    small.train(tmp_path / "parts", method="seqkd", settings=settings)
    for name in ("texts.parquet", "model/model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert not (tmp_path / "parts" / "texts").exists()


@pytest.mark.parametrize("decoding", ["beam", "sampling", "greedy"])
def test_soft_targets_on_the_teachers_texts(
    small: SimpleNamespace, tmp_path: Path, decoding: str
) -> None:
    settings = {"decoding": decoding, "max_new_tokens": 4, "kd_weight": 0.5, "ce_weight": 0.5}
    small.train(tmp_path, method="seqkd", settings=settings, max_steps=2)
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[1])
    assert (
        line["kd"] > 0 and line["ce"] > 0 and line["loss"] == pytest.approx(line["kd"] + line["ce"])
    )


def test_sampling_settings_of_a_search_are_refused() -> None:
    with pytest.raises(ConfigError, match="top_p means nothing here"):
        params_from(METHODS["seqkd"], {"top_p": "0.9"})


def test_student_initialisation_keeps_the_best_of_three_epochs(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    summary, _ = small.train(tmp_path, method="init", epochs=30, lr_peak=0.05)
    assert summary.epochs == 3 and summary.model_step == summary.best_step
    with pytest.raises(ConfigError, match="best weights"):
        small.train(tmp_path / "blind", method="init", validation=[])


def test_a_checkpoint_of_another_method_or_batch_size_is_refused(
    small: SimpleNamespace, tmp_path: Path
) -> None:
    settings = {"max_new_tokens": 4, "init_threshold": 0.9}
    with pytest.raises(Interrupted):
        small.train(tmp_path, method="distillm", settings=settings, should_stop=small.stop_after(2))
    with pytest.raises(CheckpointError, match="method: distillm there, gkd here"):
        small.train(tmp_path, method="gkd", settings={"max_new_tokens": 4})
    with pytest.raises(CheckpointError, match="batch_size: 8 there, 4 here"):
        small.train(tmp_path, method="distillm", settings=settings, batch_size=4)
    with pytest.raises(CheckpointError, match="init_threshold"):
        small.train(tmp_path, method="distillm", settings={**settings, "init_threshold": 0.5})


@pytest.mark.parametrize("method", ["gkd", "minillm"])
def test_written_texts_in_shared_rows_change_nothing(
    small: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    lines = []
    for packing in (False, True):
        folder = tmp_path / str(packing)
        small.train(
            folder, method=method, settings={"max_new_tokens": 6}, max_steps=4, packing=packing
        )
        steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        lines.append(
            [[step["loss"], step["tokens"], step["grad_norm"]] for step in steps if "loss" in step]
        )
    assert np.allclose(lines[0], lines[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["gkd", "minillm"])
def test_half_precision_writes_and_trains(
    small: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    summary, _ = small.train(
        tmp_path, method=method, settings={"max_new_tokens": 6}, max_steps=3, precision="bf16"
    )
    assert summary.steps == 3 and summary.validation_loss is not None
