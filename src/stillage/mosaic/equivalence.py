"""What near-copies are worth, for Python: `st.mosaic.exact_duplicate_equivalent`."""

from __future__ import annotations

from stillage.functional.equivalence import (
    FLAGS,
    Equivalence,
    Smoothing,
    exact_duplicate_equivalent,
)
from stillage.functional.equivalence_intervals import EquivalenceIntervals, rho_intervals

__all__ = [
    "FLAGS",
    "Equivalence",
    "EquivalenceIntervals",
    "Smoothing",
    "exact_duplicate_equivalent",
    "rho_intervals",
]
