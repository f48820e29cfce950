"""A masked model proposes words for chosen places: its vocabulary, its refusals, and the small one trained in a run."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from stillage.data.bpe import train_bpe
from stillage.errors import DataError, ModelError
from stillage.models import masked_train
from stillage.models.masked import (
    UNUSABLE,
    Encoded,
    Masked,
    Substitutes,
    any_form,
    encode,
    load_masked,
    masked,
    masked_context,
    propose,
    replaced,
)
from stillage.models.masked_train import small_masked

WORDS = ("amber", "birch", "cedar", "delta", "ember", "flint", "grove", "heron")
TEXTS = [
    f"The {a} stands near the {b}, number {k % 10}."
    for k, (a, b) in enumerate(zip(WORDS * 4, WORDS[1:] * 5, strict=False))
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Masked:
    return small_masked(TEXTS, 1, tmp_path_factory.mktemp("masked"), steps=40)


def test_processes_that_need_it_at_once_make_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another comes while it is trained: it waits, instead of replacing the folder that the first reads."""
    train, made, others = masked_train.train_masked, [], []

    def slowly(*args: object) -> tuple[BertForMaskedLM, PreTrainedTokenizerFast]:
        made.append(threading.current_thread())
        if len(made) == 1:
            others.append(
                threading.Thread(
                    target=small_masked, args=(TEXTS, 1, tmp_path), kwargs={"steps": 1}
                )
            )
            others[0].start()
            others[0].join(0.5)
        return train(*args)

    monkeypatch.setattr(masked_train, "train_masked", slowly)
    monkeypatch.setattr(
        masked_train, "load_masked", lambda *_, **__: None
    )  # transformers loads in one thread only
    small_masked(TEXTS, 1, tmp_path, steps=1)
    others[0].join(60)
    assert made == [threading.current_thread()] and not others[0].is_alive()


def wordpiece() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    entries = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "cat",
        "dog",
        "sat",
        "##s",
        "##ing",
        ".",
        ",",
        "7",
        "8",
    ]
    inner = Tokenizer(
        models.WordPiece({token: k for k, token in enumerate(entries)}, unk_token="[UNK]")
    )
    inner.normalizer, inner.pre_tokenizer = (
        normalizers.Lowercase(),
        pre_tokenizers.BertPreTokenizer(),
    )
    inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        mask_token="[MASK]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def random_bert(size: int, context: int = 32) -> BertForMaskedLM:
    config = BertConfig(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=context,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertForMaskedLM(config).eval()


def test_proposals_are_the_models_own_top_tokens_at_the_gap() -> None:
    tokenizer = wordpiece()
    found = masked(random_bert(len(tokenizer)), tokenizer, "k")
    texts = encode(found, ["The cats sat.", "Dogs, 7 cats"])
    places = [[1, 2, 4], [4]]
    for number, (text, chosen) in enumerate(zip(texts, places, strict=True)):
        both = propose(found, texts, places, Substitutes(4, same_form=False))
        for slot, place in enumerate(chosen):
            ids = text.ids_T.copy()
            ids[place] = tokenizer.mask_token_id
            with torch.no_grad():
                logits = found.model(input_ids=torch.from_numpy(ids)[None]).logits[0, place].numpy()
            order = [
                k
                for k in np.argsort(-logits)
                if found.form_V[k] != UNUSABLE and k != text.ids_T[place]
            ]
            assert both[number][slot].tolist() == order[:4]


def test_like_replaces_like_and_the_rest_of_the_text_stays() -> None:
    tokenizer = wordpiece()
    found = masked(random_bert(len(tokenizer)), tokenizer, "k")
    text = encode(found, ["The Cats  sat. 7"])[0]  # the, cat, ##s, sat, ., 7
    surfaces = {
        place: {found.surface_V[k] for k in ids}
        for place, ids in zip(
            range(1, 7), propose(found, [text], [range(1, 7)], Substitutes(9))[0], strict=True
        )
    }
    assert surfaces == {
        1: {"cat", "dog", "sat"},
        2: {"the", "dog", "sat"},
        3: {"ing"},
        4: {"the", "cat", "dog"},
        5: {","},
        6: {"8"},
    }
    assert not text.may_T[0] and not text.may_T[-1]
    assert replaced(found, text, {2: 7, 3: 10, 6: 14}) == "The doging  sat. 8"
    assert replaced(found, text, {}) == text.text


def test_together_masks_all_places_and_in_turn_one_by_one() -> None:
    tokenizer = wordpiece()
    found = masked(random_bert(len(tokenizer)), tokenizer, "k")
    text, places = encode(found, ["The cats sat."])[0], [1, 2, 4]
    asked: list[list[int]] = []
    found.model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: asked.extend(kwargs["input_ids"].tolist()), with_kwargs=True
    )
    for together in (False, True):
        propose(found, [text], [places], Substitutes(5, together=together))
    masks = [[k for k, id_ in enumerate(row) if id_ == tokenizer.mask_token_id] for row in asked]
    assert masks == [[1], [2], [4], [1, 2, 4]]


def test_batches_and_padding_change_no_proposal(small: Masked) -> None:
    texts = encode(small, [TEXTS[0], "A short one.", TEXTS[1] * 3])
    places = [np.flatnonzero(text.may_T)[::4].tolist() for text in texts]
    many = propose(small, texts, places, Substitutes(3))
    few = [
        propose(small, [text], [chosen], Substitutes(3), batch_tokens=1)[0]
        for text, chosen in zip(texts, places, strict=True)
    ]
    assert [[ids.tolist() for ids in row] for row in many] == [
        [ids.tolist() for ids in row] for row in few
    ]


def test_a_small_masked_model_learns_what_stands_where(small: Masked) -> None:
    text = encode(small, ["The birch stands near the ember, number 3."])[0]
    place = next(k for k in np.flatnonzero(text.may_T) if small.surface_V[text.ids_T[k]] == "birch")
    proposals = [
        small.surface_V[k] for k in propose(small, [text], [[int(place)]], Substitutes(4))[0][0]
    ]
    assert len(set(proposals) & set(WORDS)) >= 3, proposals


def test_a_small_masked_model_is_deterministic_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [small_masked(TEXTS, 3, tmp_path / name, steps=3) for name in ("a", "b")]
    assert made[0].key == made[1].key
    monkeypatch.setattr(masked_train, "train_masked", None)  # training again would fail
    assert small_masked(TEXTS, 3, tmp_path / "a", steps=3).key == made[0].key
    with pytest.raises(TypeError):
        small_masked(TEXTS, 4, tmp_path / "a", steps=3)


def test_one_that_reads_a_given_tokenizers_ids_proposes_its_tokens(tmp_path: Path) -> None:
    """Long texts are read whole; special tokens are never proposed; the tokenizer is not changed."""
    given = train_bpe(TEXTS, 400)
    size = len(given)
    long = " ".join(TEXTS * 3)
    small = small_masked([long], 1, tmp_path, steps=30, tokenizer=given)
    assert given.mask_token is None and len(given) == size
    found = any_form(small)
    assert found.surface_V[:size] == tuple(given.decode([k]) for k in range(size))
    assert not found.form_V[small.tokenizer.all_special_ids].any() and found.form_V[2:size].all()
    text = "The birch stands near the ember, number 3."
    ids = np.array(given(text)["input_ids"])
    places = [k for k, token in enumerate(ids) if str(given.decode([token])).strip() in WORDS]
    nothing = np.zeros(len(ids), np.int64)
    read = Encoded(
        text="", ids_T=ids, start_T=nothing, end_T=nothing, may_T=np.ones(len(ids), bool)
    )
    (proposed,) = propose(found, [read], [places], Substitutes(5, same_form=False))
    likely = [
        {str(given.decode([k])) for k in tokens} & {f" {word}" for word in WORDS}
        for tokens in proposed
    ]
    assert len(places) == 2 and all(len(words) >= 4 for words in likely)
    stretch = [row.tolist() for row in masked_train.stretches(given, [long], 16, 1)]
    assert [token for row in stretch for token in row] == given(long)["input_ids"]
    assert {len(row) for row in stretch[:-1]} == {16}


def test_any_form_writes_tokens_with_the_spaces_they_begin_with() -> None:
    tokenizer = wordpiece()
    found = any_form(masked(random_bert(len(tokenizer)), tokenizer, "k"))
    assert found.surface_V[5:] == (" the", " cat", " dog", " sat", "s", "ing", ".", ",", " 7", " 8")
    assert found.form_V.tolist() == [0] * 5 + [1] * 10


def test_a_table_of_positions_with_padding_is_shorter() -> None:
    settings = RobertaConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
        pad_token_id=1,
    )
    model = RobertaForMaskedLM(settings).eval()
    most = masked_context(model)
    assert most == 10
    assert model(input_ids=torch.full((1, most), 5)).logits.shape == (1, most, 20)
    with pytest.raises((IndexError, RuntimeError), match="out of"):
        model(input_ids=torch.full((1, most + 1), 5))
    assert masked_context(random_bert(20, context=12)) == 12


def test_a_long_text_is_read_up_to_the_context_only() -> None:
    tokenizer = wordpiece()
    tokenizer.model_max_length = 10_000
    text = encode(masked(random_bert(len(tokenizer), context=12), tokenizer, "k"), ["cat " * 40])[0]
    assert len(text.ids_T) == 12 and text.text == "cat " * 40


def test_refusals(tmp_path: Path, small: Masked) -> None:
    from stillage.models.load import load_model, save_model
    from stillage.run.config import ModelConfig

    with pytest.raises(DataError, match="no public text"):
        small_masked(["", ""], 1, tmp_path)
    decoder = load_model(
        ModelConfig(layers=1, width=16, heads=2, context=16),
        vocab_size=len(small.tokenizer),
        seed=0,
    )
    save_model(decoder, small.tokenizer, tmp_path / "decoder")
    with pytest.raises(ModelError, match="not a masked language model"):
        load_masked(str(tmp_path / "decoder"))
    with pytest.raises(ModelError, match="neither a folder here nor a hub id"):
        load_masked("somebody/roberta")
    bare = wordpiece()
    random_bert(len(bare)).bert.save_pretrained(tmp_path / "headless")
    bare.save_pretrained(tmp_path / "headless")
    with pytest.raises(ModelError, match="lacks weights"):
        load_masked(str(tmp_path / "headless"))
    bare.mask_token = None
    with pytest.raises(ModelError, match="cannot mask"):
        masked(random_bert(len(bare)), bare, "k")
    (tmp_path / "pickled").mkdir()
    for file in ("config.json", "tokenizer.json"):
        (tmp_path / "pickled" / file).write_bytes((tmp_path / "headless" / file).read_bytes())
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"no")
    with pytest.raises(ModelError, match="pickled"):
        load_masked(str(tmp_path / "pickled"))
