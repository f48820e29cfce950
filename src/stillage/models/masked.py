"""A masked language model proposes other words for chosen places of a text.

Serves neighbours of audited records (Mattern et al. 2023, arXiv:2305.18462, section 3.2) and
near-copies of canaries. A token's form says whether it begins a word, and whether it is of letters,
digits or signs; by default like replaces like.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from stillage.corpus.tokenizers import ids_without_text, tokenizer_hash
from stillage.errors import ModelError
from stillage.models.batching import run_batches
from stillage.models.decoder import evaluating
from stillage.models.identity import folder_hash
from stillage.models.lengths import kinds
from stillage.models.limits import context_of
from stillage.models.load import read_tokenizer, read_weights
from stillage.models.padding import pad
from stillage.models.source import find, native, read_model_config, require_safetensors
from stillage.types import Array
from stillage.versions import bert_head, masked_types

if TYPE_CHECKING:
    from transformers import BertForMaskedLM, PreTrainedModel, PreTrainedTokenizerFast

    from stillage.run.progress import Done

log = logging.getLogger("stillage")
UNUSABLE = 0
MARKS = ("Ġ", "▁")  # of a token that begins a word, in byte-level and sentencepiece vocabularies
HEADED = ("bert", "roformer")  # whose head bert_head gives
MOST_LOGITS = {"cpu": 2**25, "cuda": 2**28}


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """A masked language model with its tokenizer, and what each token writes.

    form_V: UNUSABLE (special, half a character, not printable), or a number from 1 for its form.
    surface_V: the token's text, without spaces around it. key: a hash that names both.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    form_V: Array  # int8
    surface_V: tuple[str, ...]
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A text as the masked model reads it, and which tokens may be replaced."""

    text: str
    ids_T: Array  # int64, special tokens included
    start_T: Array  # int64: the token is text[start:end]; empty for special tokens
    end_T: Array
    may_T: Array  # bool


def load_masked(path: str, revision: str = "", device: str | torch.device = "cpu") -> Masked:
    """Load the masked language model of a folder or a pinned hub id.

    Safetensors only, transformers' own code only. Raises ModelError: nothing there, pickled
    weights, own code needed, no masked-language-model head (a decoder, or a folder without the
    head's weights), no fast tokenizer, no mask token.
    """
    from transformers import AutoModelForMaskedLM

    folder = find(path, revision)
    kind = native(read_model_config(folder / "config.json"), folder)
    if kind not in masked_types():
        raise ModelError(
            f"{path} is not a masked language model.",
            f"model type: {kind}",
            "Give one that fills gaps in a text (BERT, RoBERTa, ModernBERT, ...).",
        )
    require_safetensors(folder)
    tokenizer = cast("PreTrainedTokenizerFast", read_tokenizer(folder, path))
    complete = "the folder of a model trained to fill gaps (one with its language-model head)"
    model, _ = read_weights(AutoModelForMaskedLM, folder, {"dtype": torch.float32}, complete)
    model.to(device)  # pyright: ignore[reportArgumentType]
    return masked(model, tokenizer, folder_hash(folder))


def masked(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, key: str) -> Masked:
    """Join model and tokenizer; ModelError for one that is slow or has no mask token."""
    if not tokenizer.is_fast or tokenizer.mask_token_id is None:
        raise ModelError(
            "This tokenizer cannot mask a place in a text.",
            f"fast: {tokenizer.is_fast}; mask_token: {tokenizer.mask_token}",
            "Use a fast tokenizer (tokenizer.json) with a mask token.",
        )
    forms, surfaces = vocabulary(tokenizer)
    key = f"{key} {tokenizer_hash(tokenizer)}"
    return Masked(
        model=model.eval(), tokenizer=tokenizer, form_V=forms, surface_V=surfaces, key=key
    )


def vocabulary(tokenizer: PreTrainedTokenizerFast) -> tuple[Array, tuple[str, ...]]:
    """Return the form and the surface of every token, as in Masked."""
    tokens = cast("list[str]", tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    special = set(tokenizer.all_special_ids)
    marked = any(token.startswith(MARKS) for token in tokens)
    forms, surfaces = np.zeros(len(tokens), np.int8), []
    for number, token in enumerate(tokens):
        surface = str(tokenizer.decode([number])).strip().removeprefix("##")
        surfaces.append(surface)
        if number not in special and surface and "\ufffd" not in surface and surface.isprintable():
            begins = token.startswith(MARKS) if marked else not token.startswith("##")
            forms[number] = 1 + begins + 2 * (surface[0].isalpha() + 2 * surface[0].isdigit())
    return forms, tuple(surfaces)


def any_form(masked: Masked) -> Masked:
    """Return the same model, with every ordinary token proposed as it is written.

    Special ones are never proposed. surface_V then holds the spaces that tokens begin with. Without
    such marks (WordPiece) a token that begins a word begins with a space, a sign does not.
    """
    tokenizer = masked.tokenizer
    tokens = cast("list[str]", tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    marked = any(token.startswith(MARKS) for token in tokens)
    written, special = [], set(ids_without_text(tokenizer))
    for number, token in enumerate(tokens):
        text = str(tokenizer.decode([number], clean_up_tokenization_spaces=False))
        if token.startswith("##") and not marked:
            text = text.removeprefix("##")
        elif token.startswith(MARKS) or (not marked and text[:1].isalnum()):
            text = text if text.startswith(" ") else " " + text
        written.append(text)
    forms = np.array([number not in special for number in range(len(tokens))], np.int8)
    return replace(masked, form_V=forms, surface_V=tuple(written))


def encode(masked: Masked, texts: Sequence[str]) -> list[Encoded]:
    """Read texts; of one beyond the context only the start, which alone may change."""
    if not texts:
        return []
    found = masked.tokenizer(
        list(texts),
        add_special_tokens=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        truncation=(limit := masked_context(masked.model)) is not None,
        max_length=limit,
    )
    rows = []
    columns = (found[name] for name in ("input_ids", "offset_mapping", "special_tokens_mask"))
    for text, ids, spans, special in zip(texts, *columns, strict=True):
        ids_T = np.asarray(ids, np.int64)
        start_T, end_T = np.asarray(spans, np.int64).reshape(-1, 2).T
        may_T = (masked.form_V[ids_T] != UNUSABLE) & ~np.asarray(special, bool) & (end_T > start_T)
        rows.append(Encoded(text=text, ids_T=ids_T, start_T=start_T, end_T=end_T, may_T=may_T))
    return rows


def masked_context(model: PreTrainedModel) -> int | None:
    """Count the tokens the model can read at once.

    A table of positions with a padding id is used from that id + 1 on (RoBERTa).
    """
    context = context_of(model)
    if context is None:
        return None
    words = model.get_input_embeddings()
    tables = [one for one in model.modules() if isinstance(one, torch.nn.Embedding)]
    positions = [one for one in tables if one is not words and one.num_embeddings == context]
    paddings = [one.padding_idx for one in positions if one.padding_idx is not None]
    return context - max((padding + 1 for padding in paddings), default=0)


@dataclass(frozen=True, slots=True)
class Substitutes:
    """Which tokens may take a place: up to top_k, of the same form or of any.

    together: all places of a text are masked at once (one pass per text); otherwise each in turn,
    the others as they are (one pass per place).
    """

    top_k: int
    together: bool = False
    same_form: bool = True


def propose(
    masked: Masked,
    texts: Sequence[Encoded],
    places: Sequence[Sequence[int]],
    wanted: Substitutes,
    *,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> list[list[Array]]:
    """Propose other tokens for each chosen place of each text, likeliest first.

    places: token numbers whose `may_T` is true. The token itself, those that write the same and
    special ones are never proposed; an entry is empty where nothing is left.
    """
    for text, chosen in zip(texts, places, strict=True):
        assert all(text.may_T[place] for place in chosen), "only places that may be replaced"
    # (text, positions in `places` that are masked in this row)
    rows: list[tuple[int, list[int]]] = []
    for number, chosen in enumerate(places):
        slots = list(range(len(chosen)))
        parts = [slots] if wanted.together and slots else [[slot] for slot in slots]
        rows += [(number, part) for part in parts]
    results: list[list[Array]] = [[np.zeros(0, np.int64)] * len(chosen) for chosen in places]
    mask = cast("int", masked.tokenizer.mask_token_id)

    def run(batch: list[int]) -> None:
        ids_BT, real_BT = pad([texts[rows[row][0]].ids_T for row in batch])
        where: list[tuple[int, int, int, int]] = []  # row of the batch, place, text, slot
        for k, row in enumerate(batch):
            number, slots = rows[row]
            for slot in slots:
                ids_BT[k, places[number][slot]] = mask
                where.append((k, places[number][slot], number, slot))
        originals = np.array([texts[number].ids_T[place] for _, place, number, _ in where])
        gaps = [k for k, *_ in where], [place for _, place, *_ in where]
        tokens = best(masked, gap_logits(masked, ids_BT, real_BT, *gaps), originals, wanted)
        for (_, _, number, slot), token_K in zip(where, tokens, strict=True):
            results[number][slot] = token_K

    most = MOST_LOGITS["cpu" if masked.model.device.type == "cpu" else "cuda"] // len(masked.form_V)
    with evaluating(masked.model):
        lengths = [len(texts[number].ids_T) for number, _ in rows]
        limit = min(batch_tokens, max(1, most))
        run_batches(lengths, limit, run, progress, kinds=kinds([masked.model], lengths))
    return results


def gap_logits(
    masked: Masked, ids_BT: Array, real_BT: Array, rows: list[int], places: list[int]
) -> torch.Tensor:
    """Compute the logits at places of a batch, [N, V], of the vocabulary alone.

    Of models whose head is known (ours among them) at those places only: most of the time.
    """
    device = masked.model.device
    ids, real = torch.from_numpy(ids_BT).to(device), torch.from_numpy(real_BT).to(device)
    if masked.model.config.model_type in HEADED:
        model = cast("BertForMaskedLM", masked.model)
        hidden_BTH = model.base_model(input_ids=ids, attention_mask=real).last_hidden_state
        return bert_head(model)(hidden_BTH[rows, places])[:, : len(masked.form_V)].float()
    logits_BTV = masked.model(input_ids=ids, attention_mask=real).logits
    return logits_BTV[rows, places, : len(masked.form_V)].float()


def best(
    masked: Masked, logits_NV: torch.Tensor, originals_N: Array, wanted: Substitutes
) -> list[Array]:
    """Choose the likeliest usable tokens in place of the originals, as `propose` says."""
    form_V = torch.from_numpy(masked.form_V).to(logits_NV.device)
    originals = torch.from_numpy(originals_N).to(logits_NV.device)
    wrong_NV = (form_V == UNUSABLE)[None]
    if wanted.same_form:
        wrong_NV = form_V[None] != form_V[originals][:, None]
    logits_NV = logits_NV.masked_fill(wrong_NV, -torch.inf)
    logits_NV.scatter_(1, originals[:, None], -torch.inf)
    # a few more: some may write the same
    top = logits_NV.topk(min(wanted.top_k + 8, logits_NV.shape[1]), dim=1)
    surface_V, results = masked.surface_V, []
    ids_NK, values_NK = top.indices.cpu().numpy(), top.values.cpu().numpy()
    for original, ids, values in zip(originals_N, ids_NK, values_NK, strict=True):
        ids = ids[np.isfinite(values)]
        kept = [token for token in ids if surface_V[token] != surface_V[original]]
        results.append(np.array(kept[: wanted.top_k], np.int64))
    return results


def replaced(masked: Masked, text: Encoded, tokens: Mapping[int, int]) -> str:
    """Put other tokens at some places of a text; all else, spaces too, stays."""
    changed = text.text
    for place in sorted(tokens, reverse=True):
        start, end = int(text.start_T[place]), int(text.end_T[place])
        old = changed[start:end]
        space = old[: len(old) - len(old.lstrip())]
        changed = changed[:start] + space + masked.surface_V[tokens[place]] + changed[end:]
    return changed
