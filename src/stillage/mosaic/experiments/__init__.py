"""Questions about near-copies, each in a file of its own."""

from __future__ import annotations

from stillage.mosaic.condition import MosaicExperiment
from stillage.mosaic.experiments.distances_experiment import DISTANCES
from stillage.mosaic.experiments.distillation_experiment import DISTILLATION
from stillage.mosaic.experiments.exact_copies_experiment import EXACT_COPIES
from stillage.mosaic.experiments.extraction_experiment import EXTRACTION
from stillage.mosaic.experiments.insertion_experiment import INSERTION
from stillage.mosaic.experiments.learning_rate_experiment import LEARNING_RATE
from stillage.mosaic.experiments.model_size_experiment import MODEL_SIZE
from stillage.mosaic.experiments.paraphrase_experiment import PARAPHRASE
from stillage.mosaic.experiments.positions_experiment import POSITIONS
from stillage.mosaic.experiments.replacement_experiment import REPLACEMENT
from stillage.mosaic.experiments.scanned_experiment import SCANNED
from stillage.mosaic.experiments.shuffle_experiment import SHUFFLE
from stillage.mosaic.experiments.temperature_experiment import TEMPERATURE
from stillage.mosaic.experiments.top_k_experiment import TOP_K

EXPERIMENTS: dict[str, MosaicExperiment] = {
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
