"""Membership attacks: pure scores of what a model said about a record. Higher = more likely a member; never flipped.

ATTACKS lists what an audit can run by name. No attack imports torch, transformers or another attack.
"""

from stillage.audit.attacks.dc_pdd import dc_pdd
from stillage.audit.attacks.loss import LOSS, loss
from stillage.audit.attacks.lowercase import lowercase
from stillage.audit.attacks.min_k import MIN_K, min_k
from stillage.audit.attacks.min_k_plus_plus import MIN_K_PLUS_PLUS, min_k_plus_plus
from stillage.audit.attacks.mope import mope
from stillage.audit.attacks.neighbour import neighbour
from stillage.audit.attacks.recall import recall
from stillage.audit.attacks.reference import REFERENCE, REFERENCE_PER_BYTE, reference, reference_per_byte
from stillage.audit.attacks.zlib_ratio import ZLIB, zlib
from stillage.types import Attack

ATTACKS: dict[str, Attack] = {
    attack.name: attack for attack in (LOSS, MIN_K, MIN_K_PLUS_PLUS, ZLIB, REFERENCE, REFERENCE_PER_BYTE)
}

__all__ = [
    "ATTACKS",
    "dc_pdd",
    "loss",
    "lowercase",
    "min_k",
    "min_k_plus_plus",
    "mope",
    "neighbour",
    "recall",
    "reference",
    "reference_per_byte",
    "zlib",
]
