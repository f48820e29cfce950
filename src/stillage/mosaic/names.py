"""The name of each condition: of its stage, its folder, and its row in the tables."""

from __future__ import annotations

from stillage.mosaic.condition import Arm, Condition
from stillage.mosaic.kinds import Insertion, Kind, Paraphrase, Replacement, Scatter, Shuffle
from stillage.run.folder import sha256_text


def condition_name(condition: Condition) -> str:
    """Name a condition: exact_03, replace_10_n10, student_kd_exact_03."""
    if condition.kind is None:
        what = f"exact_{condition.exact:02d}"
    else:
        what = f"{kind_name(condition.kind)}_n{condition.exact + condition.near}"
    words = [f"student_{condition.method}"] if condition.method else []
    return "_".join([*words, what, *arm_words(condition.arm)])


def kind_name(kind: Kind) -> str:
    """Name a kind of near-copies: replace_10, insert_5_x1, shuffle_5_tau20."""
    match kind:
        case Replacement():
            source = f"top{kind.top_k}" if kind.candidates == "masked" else kind.candidates
            words = {
                source: source != "top10",
                "same": kind.places == "same",
                "spread": kind.spread,
                "several": not kind.single_token_only,
            }
            return "_".join([f"replace_{kind.replaced}", *(one for one in words if words[one])])
        case Insertion():
            return f"insert_{kind.piece}_x{kind.inserted}"
        case Scatter():
            return f"scatter_{kind.piece}"
        case Shuffle():
            return f"shuffle_{kind.piece}_tau{100 * kind.tau:g}"
        case Paraphrase():
            return "paraphrase"
        case _:
            return f"scanned_{kind.min_distance}_{kind.max_distance}"


def arm_words(arm: Arm) -> list[str]:
    """Name what differs in an arm; nothing for the usual one."""
    return [*model_words(arm), *([f"lr{arm.lr_peak:g}"] if arm.lr_peak else []), *text_words(arm)]


def model_words(arm: Arm) -> list[str]:
    """Name the model of an arm, where it is another."""
    if arm.path:
        return [sha256_text(arm.path)[:8]]
    return [f"{arm.layers}x{arm.width}x{arm.heads}"] if arm.layers else []


def text_words(arm: Arm) -> list[str]:
    """Name the canaries of an arm, where they are others."""
    if arm.scan:
        return ["scan"]
    return [f"t{arm.sampling_temperature:g}"] if arm.sampling_temperature else []
