"""Distil language models, and measure what the student kept.

Importing this loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from stillage import corpus, mosaic
    from stillage.face import losses
    from stillage.face.answering import generate_texts
    from stillage.face.calls import audit_models, distill_student, run_experiment
    from stillage.face.evaluation import evaluate_model
    from stillage.face.finished_run import Run
else:

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for."""
        import importlib

        if name in ROOMS:
            return importlib.import_module(f"stillage.{name}")
        if name not in HOMES:
            raise AttributeError(f"module 'stillage' has no attribute {name!r}")
        home = importlib.import_module(f"stillage.face.{HOMES[name]}")
        return home if name == HOMES[name] else getattr(home, name)


__all__ = [
    "Run",
    "audit_models",
    "corpus",
    "distill_student",
    "evaluate_model",
    "generate_texts",
    "losses",
    "mosaic",
    "run_experiment",
]
HOMES = {
    "Run": "finished_run",
    "audit_models": "calls",
    "distill_student": "calls",
    "evaluate_model": "evaluation",
    "generate_texts": "answering",
    "losses": "losses",
    "run_experiment": "calls",
}
"""Public name -> its module in stillage.face."""
ROOMS = ("corpus", "mosaic")
"""Rooms that are public names themselves, with functions of their own."""


def __dir__() -> list[str]:
    """Name what there is, for tab completion."""
    return sorted([*globals(), *__all__])
