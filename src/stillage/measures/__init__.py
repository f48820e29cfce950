"""What an audit computes beside its attacks, each measure in a file of its own."""

from __future__ import annotations

from stillage.measures.blocks import BLOCKS
from stillage.measures.dp import DP
from stillage.measures.exposure import EXPOSURE
from stillage.measures.measure import Measure
from stillage.measures.signal import SIGNAL

MEASURES: dict[str, Measure] = {measure.name: measure for measure in (BLOCKS, SIGNAL, EXPOSURE, DP)}
"""By name, in the order of their stages."""
