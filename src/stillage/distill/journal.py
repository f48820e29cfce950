"""What a training writes down: metrics.jsonl, train.log (for people) and progress."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from stillage.run.folder import full_disk_interrupts, write_text

log = logging.getLogger("stillage")

Report = Callable[[dict[str, object]], None]
LOG_EVERY_S = 30.0


def lines_until(path: Path, step: int) -> str:
    """The lines of a metrics.jsonl up to `step`, or up to one that was cut short."""
    kept = ""
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if entry["step"] > step:
            break
        kept += line.decode() + "\n"
    return kept


class Journal:
    """The open files and the clock of a training, from its first step to its last."""

    def __init__(
        self, folder: Path, *, step: int, total: int, train_s: float, report: Report | None
    ) -> None:
        """Open the files; lines after `step`, of a killed attempt, are removed."""
        self.total, self.report, self.first_step = total, report, step
        self.started, self.before_s, self.said = time.monotonic(), train_s, time.monotonic()
        self.tokens = 0
        folder.mkdir(parents=True, exist_ok=True)
        metrics = folder / "metrics.jsonl"
        write_text(metrics, lines_until(metrics, step or -1))
        self.metrics: TextIO = metrics.open("a", encoding="utf-8")
        self.text: TextIO = (folder / "train.log").open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the files."""
        with full_disk_interrupts(Path(self.metrics.name)):
            self.text.close()
            self.metrics.close()

    def seconds(self) -> float:
        """Seconds of training, over all attempts."""
        return self.before_s + time.monotonic() - self.started

    def say(self, text: str) -> None:
        """Write a line for people, with the time."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        with full_disk_interrupts(Path(self.text.name)):
            self.text.write(f"{now}  {text}\n")
            self.text.flush()

    def warn(self, text: str) -> None:
        """Write a line for people, and a notice at once."""
        log.warning(text)
        self.say(text)

    def record(self, entry: dict[str, object]) -> None:
        """Write a line for programs; without times, so that equal runs give equal bytes."""
        with full_disk_interrupts(Path(self.metrics.name)):
            self.metrics.write(json.dumps(entry) + "\n")

    def validated(self, step: int, epoch: float, loss: float, rouge_l: float | None) -> None:
        """Write down a validation; rouge_l: where validations are compared by it."""
        entry: dict[str, object] = {"step": step, "epoch": epoch, "validation_loss": loss}
        entry |= {} if rouge_l is None else {"validation_rouge_l": rouge_l}
        self.record(entry)
        if self.report is not None:
            self.report({**entry, "total": self.total})
        rouge = "" if rouge_l is None else f"  ROUGE-L {rouge_l:.4f}"
        where = f"step {step}/{self.total}  epoch {epoch:g}"
        self.say(f"{where}  validation loss {loss:.4f} nats per token{rouge}")

    def monitored(self, step: int, epoch: float, numbers: Mapping[str, float]) -> None:
        """Write down what a monitor measured."""
        entry = {"step": step, "epoch": epoch, **numbers}
        self.record(entry)
        if self.report is not None:
            self.report({**entry, "total": self.total})
        words = "  ".join(f"{name} {value:.4f}" for name, value in numbers.items())
        self.say(f"step {step}/{self.total}  epoch {epoch:g}  {words}")

    def flush(self) -> None:
        """Bring metrics to the disk before the checkpoint that counts on them."""
        with full_disk_interrupts(Path(self.metrics.name)):
            self.metrics.flush()

    def stepped(self, entry: dict[str, object], tokens: int) -> None:
        """Record an optimiser step, report it with its speed, say it now and then."""
        self.record(entry)
        self.tokens += tokens
        elapsed = time.monotonic() - self.started
        step = int(str(entry["step"]))
        rate = {
            "total": self.total,
            "tokens_per_s": round(self.tokens / max(elapsed, 1e-9), 1),
            "eta_s": round(elapsed / (step - self.first_step) * (self.total - step), 1),
        }
        if self.report is not None:
            self.report({**entry, **rate})
        if time.monotonic() - self.said >= LOG_EVERY_S or step == self.total:
            self.said = time.monotonic()
            self.say(
                f"step {step}/{self.total}  loss {entry['loss']:.4f}  lr {entry['lr']:.3g}  "
                f"{rate['tokens_per_s']:.0f} tokens/s  {rate['eta_s']:.0f} s to go"
            )
