"""Membership attacks: pure scores of what a model said about a record. Higher = more likely a member; never flipped.

ATTACKS lists what an audit can run by name. No attack imports torch, transformers or another attack.
"""

from stillage.audit.attacks.con_recall import CON_RECALL, con_recall
from stillage.audit.attacks.dc_pdd import DC_PDD, dc_pdd
from stillage.audit.attacks.gradient_norm import GRADIENT_NORM, gradient_norm
from stillage.audit.attacks.log_rank import LOG_RANK, log_rank
from stillage.audit.attacks.loss import LOSS, loss
from stillage.audit.attacks.lowercase import LOWERCASE, lowercase
from stillage.audit.attacks.min_k import MIN_K, min_k
from stillage.audit.attacks.min_k_plus_plus import MIN_K_PLUS_PLUS, min_k_plus_plus
from stillage.audit.attacks.mope import MOPE, mope
from stillage.audit.attacks.neighbour import NEIGHBOUR, neighbour
from stillage.audit.attacks.recall import RECALL, recall
from stillage.audit.attacks.reference import (
    REFERENCE,
    REFERENCE_COUNTERFACTUAL,
    REFERENCE_INIT,
    REFERENCE_PER_BYTE,
    reference,
    reference_per_byte,
)
from stillage.audit.attacks.surp import SURP, surp
from stillage.audit.attacks.zlib_ratio import ZLIB, zlib
from stillage.types import Attack

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        LOSS, MIN_K, MIN_K_PLUS_PLUS, ZLIB, SURP, LOG_RANK, REFERENCE, REFERENCE_PER_BYTE, REFERENCE_COUNTERFACTUAL,
        REFERENCE_INIT, LOWERCASE, NEIGHBOUR, RECALL, CON_RECALL, DC_PDD, GRADIENT_NORM, MOPE,
    )
}  # fmt: skip

__all__ = [
    "ATTACKS",
    "con_recall",
    "dc_pdd",
    "gradient_norm",
    "log_rank",
    "loss",
    "lowercase",
    "min_k",
    "min_k_plus_plus",
    "mope",
    "neighbour",
    "recall",
    "reference",
    "reference_per_byte",
    "surp",
    "zlib",
]
