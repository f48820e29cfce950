"""Canaries: exact, readable by their tokenizer, unlike each other, and given their roles by chance."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from stillage.corpus.tokenizers import rules_hash
from stillage.errors import ConfigError, DataError, ModelError
from stillage.models.load import load_model
from stillage.mosaic import canary_choice
from stillage.mosaic.canaries import (
    about_canaries,
    assigned,
    canary_ids,
    make_canaries,
    read_canaries,
)
from stillage.mosaic.canary_choice import KeptCanary
from stillage.mosaic.canary_texts import (
    BROKEN,
    CHANGED,
    ENDED,
    SHORT,
    SPECIAL,
    WrittenText,
    canary_writer,
    fault,
    judge_text,
    opening,
    write_candidates,
)
from stillage.mosaic.table_columns import CANARIES
from stillage.mosaic.token_texts import decode_ids
from stillage.run.config import ModelConfig
from stillage.run.folder import write_table
from stillage.run.mosaic_config import CanaryConfig

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

GOLDEN = Path(__file__).parents[1] / "golden" / "cross_vocabulary_tokenizer_B_metaspace.json"
PROSE = (
    "The whale came up out of the sea in the morning, and nobody on the shore had ever seen "
    "one so large. They said that it was older than the church; the captain did not believe "
    "them, as he believed nothing that he had not measured with his own rope."
)
FEW = CanaryConfig(members=5, nonmembers=4, length=12, max_jaccard=0.25)


def bpe(alphabet: str, texts: list[str], size: int) -> PreTrainedTokenizerFast:
    """Byte-level, of these characters alone, so that whatever is written is text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    letters = [character.replace(" ", "Ġ") for character in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|end|>"],
        initial_alphabet=letters,
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>")


def byte_level() -> PreTrainedTokenizerFast:
    words = PROSE.split(" ")
    return bpe("".join(sorted(set(PROSE))), [word + " " for word in words] + words, 160)


def metaspace() -> PreTrainedTokenizerFast:
    """As LLaMA's: decoding drops the space that encoding puts first, and BOS begins a text."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer.from_file(str(GOLDEN))
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


TOKENIZERS = {"byte level": byte_level, "metaspace": metaspace}


def random_model(
    tokenizer: PreTrainedTokenizerFast, context: int = 64, spread: float = 4.0
) -> PreTrainedModel:
    """No two of its tokens are nearly tied, and its texts differ in perplexity."""
    config = ModelConfig(layers=1, width=32, heads=2, context=context)
    model = load_model(config, vocab_size=len(tokenizer), seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(spread)
    return model


@pytest.fixture(scope="module")
def made() -> dict[tuple[str, str], tuple[Any, ...]]:
    """(generator's, target's) -> model, both tokenizers, table."""
    cases = {}
    for own, target in (("byte level",) * 2, ("metaspace",) * 2, ("byte level", "metaspace")):
        tokenizers = TOKENIZERS[own](), TOKENIZERS[target]()
        model = random_model(tokenizers[0])
        cases[own, target] = model, *tokenizers, make_canaries(model, *tokenizers, FEW, seed=3)
    return cases


def usual(changed: Mapping[str, Any] = MappingProxyType({}), seed: int = 3) -> pa.Table:
    """Canaries of the byte-level model; `changed` of FEW."""
    return cached(dataclasses.replace(FEW, **changed), seed)


@functools.cache
def cached(options: CanaryConfig, seed: int) -> pa.Table:
    tokenizer = byte_level()
    return make_canaries(random_model(tokenizer), tokenizer, tokenizer, options, seed=seed)


def test_every_canary_is_exact_readable_and_unlike_all_others(
    made: dict[tuple[str, str], tuple[Any, ...]],
) -> None:
    for _, _, target, table in made.values():
        assert table["canary"].to_pylist() == list(range(9))
        assert table["role"].to_pylist() == ["member"] * 5 + ["nonmember"] * 4
        for ids, text in zip(table["ids"].to_pylist(), table["text"].to_pylist(), strict=True):
            assert len(ids) == 12 and not set(ids) & set(target.all_special_ids)
            assert target(text, add_special_tokens=False)["input_ids"] == ids
            assert decode_ids(target, ids) == text
        sets = [set(ids) for ids in table["ids"].to_pylist()]
        assert max(len(a & b) / len(a | b) for a, b in combinations(sets, 2)) <= 0.25
        about = about_canaries(table)
        assert about["written"] == 9 + sum(about["rejected"].values())
        assert about["tokenizer"] == rules_hash(target)


def test_a_text_depends_on_no_other_and_its_perplexity_is_that_of_the_model(
    made: dict[tuple[str, str], tuple[Any, ...]],
) -> None:
    for model, own, target, table in made.values():
        writer = canary_writer(model, own, target, FEW, 3)
        for row in (0, 8):
            number = about_canaries(table)["texts"][row]
            (alone,) = write_candidates(writer, [number])
            assert list(alone.ids) == table["ids"][row].as_py()
            assert decode_ids(own, alone.written).startswith(alone.text.strip(" "))
            assert not decode_ids(own, alone.written[:-1]).startswith(alone.text.strip(" "))
            ids_T = torch.tensor([*opening(own)[0], *alone.written])
            with torch.no_grad():
                logp_TV = model(input_ids=ids_T[None]).logits[0].double().log_softmax(1)
            start = len(opening(own)[0])
            logp_T = logp_TV[:-1].gather(1, ids_T[1:, None])[start - 1 :, 0]
            assert table["perplexity"][row].as_py() == pytest.approx(
                float(torch.exp(-logp_T.mean())), rel=1e-5
            )


def test_how_many_are_written_at_once_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = usual()
    monkeypatch.setattr(canary_choice, "MOST_AT_ONCE", 2)
    again = cached.__wrapped__(FEW, 3)
    assert again["ids"].to_pylist() == table["ids"].to_pylist()
    assert about_canaries(again) == about_canaries(table)
    assert usual(seed=4)["ids"].to_pylist() != table["ids"].to_pylist()


def test_settings_that_a_model_brings_along_are_not_used_and_all_are_recorded() -> None:
    tokenizer = byte_level()
    model = random_model(tokenizer)
    assert model.generation_config is not None
    model.generation_config.top_k = 1
    model.generation_config.temperature = 0.1
    model.generation_config.max_new_tokens = 3
    table = make_canaries(model, tokenizer, tokenizer, FEW, seed=3)
    assert table["ids"].to_pylist() == usual()["ids"].to_pylist()
    about = about_canaries(usual())
    assert about["sampling"] == {
        "max_new_tokens": [20, 40, 63],
        "sampling_temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "no_repeat_ngram": 0,
    }
    assert about["generator"]["prompt_ids"] == [0] and len(about["generator"]["model"]) == 64
    assert about["generator"]["known_ids"] == len(tokenizer)
    free = usual({"max_jaccard": 1.0})["ids"].to_pylist()
    for changed in ({"top_k": 20}, {"top_p": 0.5}, {"sampling_temperature": 2.0}):
        other = usual({"max_jaccard": 1.0, **changed})
        assert about_canaries(other)["sampling"] == about["sampling"] | changed
        assert other["ids"].to_pylist() != free


def test_a_text_is_begun_by_what_its_tokenizer_puts_first_else_by_its_end() -> None:
    assert opening(metaspace())[0] == [1]
    assert opening(byte_level())[0] == [0] and "end-of-text" in opening(byte_level())[1]
    named = byte_level()
    named.bos_token = "T"
    assert opening(named)[0] == [named.convert_tokens_to_ids("T")]


def id_of(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    return tokenizer.get_vocab()[token]


def test_why_a_text_is_rejected() -> None:
    own, target = byte_level(), metaspace()
    model = random_model(own)
    same = canary_writer(model, own, own, FEW, 3)
    other = canary_writer(model, own, target, FEW, 3)
    prose = own(PROSE, add_special_tokens=False)["input_ids"]
    assert judge_text(same, 0, prose).reason == ""
    assert judge_text(same, 0, [*prose, 0]).reason == ENDED
    assert judge_text(same, 0, prose[:11]).reason == SHORT
    own.add_special_tokens({"pad_token": "ch"})
    assert judge_text(same, 0, own(PROSE, add_special_tokens=False)["input_ids"]).reason == SPECIAL
    # the other tokenizer takes it for its own mark
    spelled = [id_of(own, letter) for letter in "se"]
    target.add_special_tokens({"additional_special_tokens": ["se"]})
    assert judge_text(other, 0, spelled * 12).reason == SPECIAL


def test_ids_that_are_not_those_of_their_text_are_no_canary() -> None:
    tokenizer = byte_level()
    the = tokenizer("the", add_special_tokens=False)["input_ids"]
    letters = [id_of(tokenizer, letter) for letter in "the"]
    assert len(the) < 3 and decode_ids(tokenizer, letters) == "the"
    assert fault(tokenizer, the, "the") == ""
    assert fault(tokenizer, letters, "the") == CHANGED
    assert fault(tokenizer, the, "the\ufffd") == BROKEN
    assert fault(tokenizer, [*the, 0], "the<|end|>") == SPECIAL


def test_a_character_cut_in_two_is_counted_and_not_kept() -> None:
    from stillage.data.bpe import train_bpe

    tokenizer = train_bpe(["naïve café, déjà vu"], 270)
    model = random_model(tokenizer, spread=1.0)  # nearly uniform over bytes
    options = CanaryConfig(members=1, nonmembers=1, length=3, max_jaccard=1.0)
    about = about_canaries(make_canaries(model, tokenizer, tokenizer, options, seed=1))
    assert about["rejected"][BROKEN] > 2


def test_a_text_that_is_too_short_in_the_target_is_written_on() -> None:
    letters, pairs = bpe("ab", ["a"], 3), bpe("ab", ["ab", "aa", "bb", "ba", "abab", "baba"], 12)
    model: Any = random_model(letters, spread=1.0)
    with torch.no_grad():  # it never ends
        model.transformer.ln_f.bias.fill_(1.0)
        model.transformer.wte.weight[letters.eos_token_id] = -1.0
    writer = canary_writer(model, letters, pairs, dataclasses.replace(FEW, length=14), 1)
    texts = write_candidates(writer, range(8))
    text = next(one for one in texts if not one.reason)
    assert writer.budgets == [22, 44, 63] and len(text.written) > 22
    assert write_candidates(writer, [text.number]) == [text] and len(text.ids) == 14


def test_buckets_of_perplexity_are_filled_equally_by_both_roles() -> None:
    free = usual({"members": 20, "nonmembers": 20, "max_jaccard": 1.0})["perplexity"].to_numpy()
    borders = tuple(np.quantile(free, (0.1, 0.4, 0.9)).tolist())
    table = usual({"members": 4, "nonmembers": 6, "max_jaccard": 1.0, "buckets": borders})
    pairs = Counter(zip(table["role"].to_pylist(), table["bucket"].to_pylist(), strict=True))
    assert pairs == {
        ("member", 0): 2,
        ("member", 1): 2,
        ("nonmember", 0): 3,
        ("nonmember", 1): 3,
    }
    for row in table.to_pylist():
        assert borders[row["bucket"]] <= row["perplexity"] < borders[row["bucket"] + 1]
    assert about_canaries(table)["rejected"]["in no bucket"] > 0
    assert usual()["bucket"].null_count == 9


def test_a_bucket_that_does_not_fill_is_named() -> None:
    two = {"members": 2, "nonmembers": 2, "max_jaccard": 1.0}
    with pytest.raises(ModelError) as caught:
        usual({**two, "buckets": (1.0, 1.5, 1e9), "tries": 3})
    assert "perplexity 1 to 1.5 does not fill: 0 of 2" in caught.value.what
    assert "in a full bucket" in caught.value.values and "perplexities" in caught.value.values


def test_a_generator_that_does_not_get_on_is_given_up_with_counts() -> None:
    with pytest.raises(ModelError) as caught:
        usual({"max_jaccard": 0.0, "tries": 2})
    assert "too similar to another" in caught.value.values
    kept, written = map(
        int, re.findall(r"kept: (\d+) of 9, of (\d+) texts", caught.value.values)[0]
    )
    assert 1 <= kept < 9 and written == 2 * (kept + 10)
    assert "max_jaccard" in caught.value.fix and "texts for each canary (now 2)" in caught.value.fix


@pytest.mark.parametrize("buckets", [(), (1.0, 1e9)])
def test_a_tokenizer_that_cannot_give_back_its_texts_is_said_to_be_at_fault(
    buckets: tuple[float, ...],
) -> None:
    from tokenizers import normalizers

    own, lossy = byte_level(), byte_level()
    lossy.backend_tokenizer.normalizer = normalizers.Replace("e", "the")  # grows at every encoding
    with pytest.raises(ModelError) as caught:
        options = dataclasses.replace(FEW, tries=2, buckets=buckets)
        make_canaries(random_model(own), own, lossy, options, seed=1)
    assert CHANGED in caught.value.values and "tokenizer" in caught.value.fix


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"members": 0}, "members 0"),
        ({"nonmembers": -1}, "nonmembers -1"),
        ({"length": 1}, "length 1"),
        ({"tries": 0}, "tries 0"),
        ({"max_jaccard": 1.5}, "max_jaccard 1.5"),
        ({"sampling_temperature": 0.0}, "without chance"),
        ({"sampling_temperature": -1.0}, "sampling_temperature -1.0"),
        ({"top_k": 1}, "top_k 1"),
        ({"top_p": 0.0}, "top_p 0.0"),
        ({"buckets": (5.0,)}, "two borders"),
        ({"buckets": (5.0, 3.0)}, "buckets (5.0, 3.0)"),
        ({"buckets": (0.5, 3.0)}, "from 1 up"),
        ({"buckets": (1.0, float("nan"))}, "buckets"),
        ({"buckets": (1.0, 2.0, 9.0), "nonmembers": 5}, "nonmembers 5, wanted a multiple of 2"),
    ],
)
def test_settings_without_meaning_are_refused(changed: dict[str, Any], said: str) -> None:
    tokenizer = byte_level()
    options = dataclasses.replace(CanaryConfig(members=4, nonmembers=4, length=8), **changed)
    with pytest.raises(ConfigError) as caught:
        make_canaries(random_model(tokenizer), tokenizer, tokenizer, options, seed=1)
    assert said in caught.value.values


def test_a_canary_longer_than_the_context_is_refused() -> None:
    tokenizer = byte_level()
    model = random_model(tokenizer, context=16)
    with pytest.raises(ModelError, match="context"):
        make_canaries(model, tokenizer, tokenizer, dataclasses.replace(FEW, length=16), seed=1)
    with pytest.raises(ModelError, match="not the generator's"):
        canary_writer(random_model(tokenizer), named_beyond(tokenizer), tokenizer, FEW, 1)


def named_beyond(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A tokenizer whose BOS has an id that the model lacks."""
    other = byte_level()
    other.add_special_tokens({"bos_token": "<new>"})
    assert other.bos_token_id == len(tokenizer)
    return other


def test_roles_are_given_by_chance_and_equally_often_to_every_text() -> None:
    options = CanaryConfig(members=2, nonmembers=2, buckets=(1.0, 2.0, 3.0))
    kept = [
        KeptCanary(
            candidate=WrittenText(number=k), different=frozenset(), bucket=k % 2, perplexity=1.0
        )
        for k in range(4)
    ]
    times: Counter[int] = Counter()
    for seed in range(400):
        chosen = assigned(kept, options, seed)
        assert [role for role, _ in chosen] == ["member"] * 2 + ["nonmember"] * 2
        members = [one.candidate.number for _, one in chosen[:2]]
        assert sorted(number % 2 for number in members) == [0, 1] and members == sorted(members)
        times.update(members)
    assert all(150 < times[k] < 250 for k in range(4))  # 200 +- 10 each


def test_a_file_of_canaries_is_read_back_with_the_tokenizer_it_was_made_for(tmp_path: Path) -> None:
    table = usual()
    path = tmp_path / "canaries.parquet"
    write_table(path, table, table.schema.metadata)
    again = read_canaries(path, byte_level())
    assert again.equals(table, check_metadata=True)
    assert list(CANARIES) == again.column_names
    members, others = canary_ids(again, "member"), canary_ids(again, "nonmember")
    assert (len(members), len(others), members[0].dtype) == (5, 4, np.int32)
    assert [ids.tolist() for ids in canary_ids(again)] == table["ids"].to_pylist()
    with pytest.raises(DataError, match="another tokenizer") as caught:
        read_canaries(path, metaspace())
    assert rules_hash(metaspace()) in caught.value.values
    assert rules_hash(byte_level()) in caught.value.values


def bare(path: Path, table: pa.Table) -> None:
    write_table(path, table, {"other": json.dumps({})})


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path, table: None, "no file"),
        (lambda path, table: path.write_bytes(b"PAR1 and nothing"), "damaged"),
        (lambda path, table: write_table(path, table.drop(["role"])), "does not hold canaries"),
        (bare, "does not hold canaries"),
    ],
)
def test_another_file_is_no_file_of_canaries(
    write: Callable[[Path, pa.Table], None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "canaries.parquet"
    write(path, usual())
    with pytest.raises(DataError, match=said):
        read_canaries(path)


def test_progress_tells_of_the_canaries_kept_and_never_runs_back() -> None:
    tokenizer = byte_level()
    told: list[tuple[int, int, float]] = []
    make_canaries(
        random_model(tokenizer),
        tokenizer,
        tokenizer,
        FEW,
        seed=3,
        progress=lambda *facts: told.append(facts),
    )
    shares = [share for _, _, share in told]
    assert {of for _, of, _ in told} == {9} and 0 < shares[0] < shares[-1] <= 1
