"""Mosaic memory: canaries, their near-copies, and what those are worth to a model.

In Python: `st.mosaic.make_variations` with the kinds of near-copies, and
`st.mosaic.exact_duplicate_equivalent`, imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillage.mosaic.equivalence import exact_duplicate_equivalent
    from stillage.mosaic.kinds import Insertion, Replacement, Scanned, Scatter, Shuffle
    from stillage.mosaic.python_variations import make_variations
else:

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for."""
        import importlib

        if name not in HOMES:
            raise AttributeError(f"module 'stillage.mosaic' has no attribute {name!r}")
        return getattr(importlib.import_module(f"stillage.mosaic.{HOMES[name]}"), name)


__all__ = [
    "Insertion",
    "Replacement",
    "Scanned",
    "Scatter",
    "Shuffle",
    "exact_duplicate_equivalent",
    "make_variations",
]
HOMES = {
    "Insertion": "kinds",
    "Replacement": "kinds",
    "Scanned": "kinds",
    "Scatter": "kinds",
    "Shuffle": "kinds",
    "exact_duplicate_equivalent": "equivalence",
    "make_variations": "python_variations",
}
"""Public name -> its module here."""


def __dir__() -> list[str]:
    """Name what there is, for tab completion."""
    return sorted([*globals(), *__all__])
