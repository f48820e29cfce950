"""A small masked language model of the run's own, trained on public texts alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from stillage.data.bpe import train_bpe
from stillage.errors import DataError
from stillage.models.masked import Masked, load_masked
from stillage.models.padding import pad
from stillage.models.quiet import quiet
from stillage.rng import derive, generator
from stillage.run.folder import atomic, sha256_text
from stillage.run.lock import locked
from stillage.versions import bert_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import BertForMaskedLM, PreTrainedTokenizerFast

log = logging.getLogger("stillage")
SCHEMA = "masked 1"  # raise it when the training changes
MASK = "<|mask|>"
VOCABULARY, CONTEXT, LAYERS, WIDTH, HEADS = 1024, 256, 2, 96, 4
STEPS, BATCH, LR = 250, 32, 3e-3
GAPS, KEPT, RANDOM = 0.15, 0.1, 0.1  # Devlin et al. 2019, arXiv:1810.04805, section 3.1


def small_masked(
    texts: Sequence[str],
    seed: int,
    cache: Path,
    *,
    steps: int = STEPS,
    device: str | torch.device = "cpu",
) -> Masked:
    """Return the masked model of these texts, trained now or kept in the cache folder.

    Two BERT blocks, 96 wide, over a byte-level BPE of 1,024 fitted on the texts. Give it public
    texts only: whoever makes neighbours or near-duplicates with it must not learn from what is
    audited. Raises DataError without text.
    """
    texts = [text for text in texts if text]
    if not texts:
        raise DataError(
            "There is no public text to train a small masked model on.",
            "0 non-empty texts",
            "Give the part public records, or a masked model (audit.masked_model).",
        )
    name = sha256_text("\x1f".join([SCHEMA, str(seed), str(steps), *texts]))[:16]
    folder = cache / f"masked-{name}"
    if not (folder / "config.json").exists():
        with locked(cache / ".locks" / folder.name, wait=True):
            if not (folder / "config.json").exists():  # nobody made it while this process waited
                model, tokenizer = train_masked(texts, seed, steps)
                with atomic(folder) as temporary, quiet():
                    model.save_pretrained(temporary)
                    tokenizer.save_pretrained(temporary)
    return load_masked(str(folder), device=device)


def train_masked(
    texts: Sequence[str], seed: int, steps: int
) -> tuple[BertForMaskedLM, PreTrainedTokenizerFast]:
    """Fit tokenizer and model; equal input and threads give equal weights."""
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = train_bpe(texts, VOCABULARY)
    tokenizer.add_special_tokens({"mask_token": MASK})
    tokenizer.model_max_length = CONTEXT
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=CONTEXT,
        pad_token_id=cast("int", tokenizer.pad_token_id),
        hidden_act="gelu_pytorch_tanh",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "masked model"))
        model = BertForMaskedLM(config)
    encoded = tokenizer(list(texts), truncation=True, max_length=CONTEXT)["input_ids"]
    rows = [np.asarray(ids, np.int64) for ids in encoded if len(ids) > 1]
    if not rows:
        raise DataError(
            "The public texts have a single token each.", f"{len(texts)} texts", "Give longer ones."
        )
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
    model.train()
    loss = torch.tensor(torch.nan)
    for step in range(steps):
        rng = generator(seed, "masked model", step)
        chosen = [rows[index] for index in rng.integers(len(rows), size=min(BATCH, len(rows)))]
        rate = LR * min((step + 1) / (0.1 * steps), (steps - step) / (0.9 * steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = gap_loss(model, tokenizer, chosen, rng)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    said = "masked model: %d texts, %d steps, last loss %.2f nats per gap"
    log.info(said, len(rows), steps, loss.item())
    return model.eval(), tokenizer


def gap_loss(
    model: BertForMaskedLM,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> torch.Tensor:
    """Compute the mean cross-entropy at gaps: most masked, some changed, some kept."""
    ids_BT, real_BT = pad(rows, fill=cast("int", tokenizer.pad_token_id))
    gaps_BT = (real_BT == 1) & (rng.random(ids_BT.shape) < GAPS)
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
