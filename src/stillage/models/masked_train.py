"""A small masked language model of the run's own, trained on public texts alone."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from stillage.corpus.tokenizers import tokenizer_hash
from stillage.data.bpe import PAD, train_bpe
from stillage.errors import DataError
from stillage.models.masked import Masked, load_masked
from stillage.models.masked_shape import GIVEN, OWN, bert, neighbourly
from stillage.models.padding import pad
from stillage.models.quiet import quiet
from stillage.rng import derive, generator
from stillage.run.folder import atomic, sha256_text
from stillage.run.lock import locked
from stillage.types import Array
from stillage.versions import bert_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import BertForMaskedLM, PreTrainedTokenizerFast, RoFormerForMaskedLM

log = logging.getLogger("stillage")
SCHEMA = "masked 1"  # raise it when the training changes
MASK = "<|mask|>"
VOCABULARY = 1024
KEPT, RANDOM = 0.1, 0.1  # of the gaps: Devlin et al. 2019, arXiv:1810.04805, section 3.1


def small_masked(
    texts: Sequence[str],
    seed: int,
    cache: Path,
    *,
    steps: int = 0,
    device: str | torch.device = "cpu",
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> Masked:
    """Return the masked model of these texts, trained now or kept in the cache folder.

    Two BERT blocks, 96 wide, over a byte-level BPE of 1,024 fitted on the texts, of which it reads
    the beginnings. With `tokenizer` (masked_shape.GIVEN) it reads that one's ids, whole texts in
    stretches, so that each token it proposes is one of that tokenizer's. steps: 0: as many as its
    shape says. Give it public texts only: whoever makes neighbours or near-copies with it must not
    learn from what is audited. Raises DataError without text.
    """
    texts = [text for text in texts if text]
    if not texts:
        raise DataError(
            "There is no public text to train a small masked model on.",
            "0 non-empty texts",
            "Give the part public records, or a masked model (audit.masked_model).",
        )
    steps = steps or (OWN if tokenizer is None else GIVEN).steps
    reader = [tokenizer_hash(tokenizer, chat_template=False)] if tokenizer else []
    name = sha256_text("\x1f".join([SCHEMA, str(seed), str(steps), *reader, *texts]))[:16]
    folder = cache / f"masked-{name}"
    if not (folder / "config.json").exists():
        with locked(cache / ".locks" / folder.name, wait=True):
            if not (folder / "config.json").exists():  # nobody made it while this process waited
                model, own = train_masked(texts, seed, steps, tokenizer)
                with atomic(folder) as temporary, quiet():
                    model.save_pretrained(temporary)
                    own.save_pretrained(temporary)
    return load_masked(str(folder), device=device)


def train_masked(
    texts: Sequence[str], seed: int, steps: int, reader: PreTrainedTokenizerFast | None = None
) -> tuple[BertForMaskedLM | RoFormerForMaskedLM, PreTrainedTokenizerFast]:
    """Fit tokenizer and model; equal input and threads give equal weights."""
    shape = OWN if reader is None else GIVEN
    tokenizer = with_mask(train_bpe(texts, VOCABULARY) if reader is None else reader)
    tokenizer.model_max_length = shape.context
    cut = beginnings if reader is None else stretches
    rows = cut(tokenizer, texts, shape.context, seed)
    if not rows:
        raise DataError(
            "The public texts have a single token each.", f"{len(texts)} texts", "Give longer ones."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "masked model"))
        model = bert(shape, tokenizer) if reader is None else neighbourly(shape, tokenizer, rows)
    optimiser = torch.optim.AdamW(model.parameters(), lr=shape.lr, weight_decay=0.01)
    model.train()
    loss = torch.tensor(torch.nan)
    for step in range(steps):
        rng = generator(seed, "masked model", step)
        chosen = [
            rows[index] for index in rng.integers(len(rows), size=min(shape.batch, len(rows)))
        ]
        rate = shape.lr * min((step + 1) / (0.1 * steps), (steps - step) / (0.9 * steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = gap_loss(model, tokenizer, chosen, shape.gaps, rng)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    said = "masked model: %d texts, %d steps, last loss %.2f nats per gap"
    log.info(said, len(rows), steps, loss.item())
    return model.eval(), tokenizer


def with_mask(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Copy a tokenizer, with tokens for a mask and for padding.

    Each is put after its ids, where it has none.
    """
    own = copy.deepcopy(tokenizer)
    if own.mask_token_id is None:
        own.add_special_tokens({"mask_token": MASK})
    if own.pad_token_id is None:
        own.add_special_tokens({"pad_token": PAD})
    return own


def beginnings(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], context: int, seed: int
) -> list[Array]:
    """Encode the first `context` tokens of every text that has two; seed: not needed."""
    del seed
    encoded = tokenizer(list(texts), truncation=True, max_length=context)["input_ids"]
    return [np.asarray(ids, np.int64) for ids in encoded if len(ids) > 1]


def stretches(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], context: int, seed: int
) -> list[Array]:
    """Cut texts in stretches of `context` tokens, without special ones.

    Texts in a drawn order, until there are as many stretches as training reads.
    """
    rows: list[Array] = []
    for number in generator(seed, "masked model texts").permutation(len(texts)):
        # verbose: it would warn of a text longer than the context
        ids = tokenizer(str(texts[number]), add_special_tokens=False, verbose=False)["input_ids"]
        cut = (ids[start : start + context] for start in range(0, len(ids), context))
        rows += [np.asarray(row, np.int64) for row in cut if len(row) > 1]
        if len(rows) >= GIVEN.steps * GIVEN.batch:
            break
    return rows


def gap_loss(
    model: BertForMaskedLM | RoFormerForMaskedLM,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[np.ndarray],
    share: float,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Compute the mean cross-entropy at gaps: most masked, some changed, some kept."""
    ids_BT, real_BT = pad(rows, fill=cast("int", tokenizer.pad_token_id))
    gaps_BT = (real_BT == 1) & (rng.random(ids_BT.shape) < share)
    # at least one each
    gaps_BT[np.arange(len(rows)), rng.integers([len(row) for row in rows])] = True
    labels_N = torch.from_numpy(ids_BT[gaps_BT])
    fate_BT = rng.random(ids_BT.shape)
    ids_BT[gaps_BT & (fate_BT >= KEPT + RANDOM)] = cast("int", tokenizer.mask_token_id)
    other_BT = gaps_BT & (fate_BT >= KEPT) & (fate_BT < KEPT + RANDOM)
    ids_BT[other_BT] = rng.integers(len(tokenizer), size=int(other_BT.sum()))
    inputs = {"input_ids": torch.from_numpy(ids_BT), "attention_mask": torch.from_numpy(real_BT)}
    hidden_BTH = model.base_model(**inputs).last_hidden_state
    logits_NV = bert_head(model)(hidden_BTH[torch.from_numpy(gaps_BT)])
    return torch.nn.functional.cross_entropy(logits_NV, labels_N)
