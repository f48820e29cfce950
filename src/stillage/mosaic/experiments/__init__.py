"""Questions about near-copies, each in a file of its own."""

from __future__ import annotations

from stillage.mosaic.condition import Experiment
from stillage.mosaic.experiments.distances import DISTANCES
from stillage.mosaic.experiments.distillation import DISTILLATION
from stillage.mosaic.experiments.exact_copies import EXACT_COPIES
from stillage.mosaic.experiments.extraction import EXTRACTION
from stillage.mosaic.experiments.insertion import INSERTION
from stillage.mosaic.experiments.learning_rate import LEARNING_RATE
from stillage.mosaic.experiments.model_size import MODEL_SIZE
from stillage.mosaic.experiments.paraphrase import PARAPHRASE
from stillage.mosaic.experiments.positions import POSITIONS
from stillage.mosaic.experiments.replacement import REPLACEMENT
from stillage.mosaic.experiments.scanned import SCANNED
from stillage.mosaic.experiments.shuffle import SHUFFLE
from stillage.mosaic.experiments.temperature import TEMPERATURE
from stillage.mosaic.experiments.top_k import TOP_K

EXPERIMENTS: dict[str, Experiment] = {
    one.name: one
    for one in (
        EXACT_COPIES,
        REPLACEMENT,
        TOP_K,
        POSITIONS,
        INSERTION,
        SHUFFLE,
        PARAPHRASE,
        SCANNED,
        MODEL_SIZE,
        LEARNING_RATE,
        TEMPERATURE,
        EXTRACTION,
        DISTANCES,
        DISTILLATION,
    )
}
"""By name, in the order of their sections."""
