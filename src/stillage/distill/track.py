"""A run's numbers sent to a tracker as they come, beside metrics.jsonl."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from stillage.errors import CapabilityError

Track = Literal["none", "wandb", "trackio", "tensorboard"]
MODULES: Mapping[str, str] = {
    "wandb": "wandb",
    "trackio": "trackio",
    "tensorboard": "torch.utils.tensorboard",
}
PACKAGES: Mapping[str, str] = {"wandb": "wandb", "trackio": "trackio", "tensorboard": "tensorboard"}
Find = Callable[[str], object]


def check_tracker(track: Track, find: Find | None = None) -> None:
    """Refuse a tracker that is not installed, with the command to type. Loads nothing."""
    if track != "none" and (find or importlib.util.find_spec)(PACKAGES[track]) is None:
        what = f"The tracker {track} is not installed."
        raise CapabilityError(what, f"track: {track}", f"pip install 'stillage[{track}]'")


class Tracker:
    """An open run in a tracker; lives as long as one model's training."""

    def __init__(
        self, track: Track, *, run: str, model: str, folder: Path, settings: Mapping[str, object]
    ) -> None:
        """Open the run; a training that continues adds to what it sent before.

        run: the experiment's id. CapabilityError where the tracker is missing.
        """
        check_tracker(track)
        self.module: Any = importlib.import_module(MODULES[track])
        self.track = track
        name = f"{run}-{model}"
        if track == "tensorboard":
            self.run: Any = self.module.SummaryWriter(log_dir=str(folder / "tensorboard"))
            return
        own = {"id": name, "dir": str(folder)} if track == "wandb" else {}
        config = dict(settings)
        self.run = self.module.init(
            project="stillage", name=name, resume="allow", config=config, **own
        )

    def log(self, facts: Mapping[str, object]) -> None:
        """Send the numbers of a step or a validation; what is not a number is left out."""
        step = int(str(facts["step"]))
        numbers = {
            name: float(value)
            for name, value in facts.items()
            if isinstance(value, int | float) and name not in ("step", "total")
        }
        if self.track == "tensorboard":
            for name, value in numbers.items():
                self.run.add_scalar(name, value, step)
        else:
            self.run.log(numbers, step=step)

    def close(self) -> None:
        """End the run in the tracker."""
        end = self.run.close if self.track == "tensorboard" else self.run.finish
        end()
