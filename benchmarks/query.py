"""What all one-pass attacks cost together, beside a plain forward pass with torch's cross-entropy: same batches, one run.

Ours: the statistics of every token, and the score of every record under each attack that needs only the record's own pass.

    python benchmarks/query.py [--records 24] [--tokens 256] [--layers 12] [--width 768] [--vocab 50257] [--device cpu]

Target: at most 1.25 times at 12 layers, 768 wide, 50,257 tokens of vocabulary. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel

from stillage.audit.attacks import ATTACKS
from stillage.models.load import load_model
from stillage.models.query import token_stats
from stillage.run.config import ModelConfig
from stillage.types import Example

DEFAULTS = {
    "records": 24,
    "tokens": 256,
    "layers": 12,
    "width": 768,
    "vocab": 50257,
    "rows": 8,
    "repeats": 3,
}


def plain(
    model: torch.nn.Module, examples: list[Example], rows: int, device: str
) -> list[torch.Tensor]:
    """The baseline: whole logits, and the loss per token."""
    losses = []
    with torch.no_grad():
        for start in range(0, len(examples), rows):
            ids = torch.from_numpy(
                np.stack([e.ids_T for e in examples[start : start + rows]]).astype(np.int64)
            ).to(device)
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none"
            )
            losses.append(loss.cpu())
    return losses


OWN_PASS = {("target", "as_is"), ("record", "text")}
ONE_PASS = [
    attack
    for attack in ATTACKS.values()
    if {(query.party, query.transform) for query in attack.queries} <= OWN_PASS
]


def attacked(
    model: PreTrainedModel, examples: list[Example], batch_tokens: int
) -> list[list[float]]:
    """One pass over the records, and their scores under every one-pass attack; the text has four characters a token."""
    stats = token_stats(model, examples, batch_tokens=batch_tokens)
    texts = [" ".join(f"{token % 1000:03d}" for token in example.ids_T) for example in examples]
    answers = [{"as_is": reply, "text": text} for reply, text in zip(stats, texts, strict=True)]
    return [
        [attack.score(*(answer[query.transform] for query in attack.queries)) for answer in answers]
        for attack in ONE_PASS
    ]


def seconds(run: Callable[[], object], device: str) -> float:
    """Wall-clock seconds of one call, the device's work included."""
    start = time.perf_counter()
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure both, alternating, after one warm-up each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    a = parser.parse_args()
    heads, context = max(1, a.width // 64), max(1024, a.tokens)
    config = ModelConfig(
        layers=a.layers, width=a.width, heads=heads, context=context, dtype=a.dtype
    )
    model = load_model(config, vocab_size=a.vocab, seed=0, device=a.device)
    rng = np.random.default_rng(0)
    response = np.arange(a.tokens) > 0  # every token is scored: nothing is saved by a prompt
    examples = [
        Example(
            record_id=str(k),
            ids_T=rng.integers(0, a.vocab, a.tokens).astype(np.int32),
            response_T=response,
        )
        for k in range(a.records)
    ]
    batch_tokens = a.rows * a.tokens

    def theirs() -> object:
        return plain(model, examples, a.rows, a.device)

    def ours() -> object:
        return attacked(model, examples, batch_tokens)

    for run in (theirs, ours):
        seconds(run, a.device)
    pairs = [(seconds(theirs, a.device), seconds(ours, a.device)) for _ in range(a.repeats)]
    ratios = sorted(mine / other for other, mine in pairs)
    report = vars(a) | {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "forward_and_cross_entropy_s": round(statistics.median(other for other, _ in pairs), 4),
        "attacks": [attack.name for attack in ONE_PASS],
        "attacks_s": round(statistics.median(mine for _, mine in pairs), 4),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
