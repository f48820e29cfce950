"""Which blocks carry the leak: every audited model block by block, on both sides."""

from __future__ import annotations

from stillage.audit.control_models import ALONE, OUTSIDE
from stillage.measures.measure import Measure, Measured, MeasureInput


def measure_blocks(given: MeasureInput) -> Measured:
    """Profile every model (blocks/scores.parquet), and its blocks' AUCs."""
    from stillage.audit.block_auc import Profile, block_results, block_table
    from stillage.audit.block_profiles import block_profiles, whole_model
    from stillage.audit.given import scoring_model
    from stillage.audit.membership import LeftOut, left_out_results

    settings = given.settings
    chosen = given.records.some(settings.audit.block_records, settings.seed, "blocks")
    trains = any(model.is_trained for model in given.models)
    known = {model.name: model for model in (*given.models, *given.elsewhere)}
    other = known.get(ALONE if trains else OUTSIDE)
    reference = None
    if other is not None:
        reference = whole_model(scoring_model(other, settings), chosen.records)
    profiles: list[Profile] = []
    left_out: list[LeftOut] = []
    for model in given.models:
        settings.progress(settings.stage, {"model": model.name})
        asked = scoring_model(model, settings)
        own, without = block_profiles(
            model.name, asked, chosen.records, chosen.audited, reference, settings
        )
        profiles += own
        left_out += without
    level, base = settings.audit.level, settings.base
    results = block_results(chosen.audited, profiles, level=level, base=base)
    return Measured(
        tables={"scores": block_table(chosen.audited, profiles)},
        results=[*results, *left_out_results(left_out, base)],
    )


BLOCKS = Measure(
    name="blocks",
    is_asked=lambda config, models: config.audit.blocks,
    reads=("blocks", "block_records", "level", "mope_sigma", "mope_copies", "mope_noise"),
    run=measure_blocks,
    schema=3,
)
