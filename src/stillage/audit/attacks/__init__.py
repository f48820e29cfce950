"""Membership attacks: pure scores of what a model said about a record.

Higher = more likely a member; never flipped. ATTACKS lists what an audit can run by name;
SHADOW_ATTACKS what it can run with shadow pipelines besides, FITTED_ATTACKS what has to learn from
known records first. No attack imports torch, transformers or another attack.
"""

from stillage.audit.attacks.con_recall import CON_RECALL, con_recall
from stillage.audit.attacks.dc_pdd import DC_PDD, dc_pdd
from stillage.audit.attacks.few_shadows import FEW_SHADOWS, few_shadows
from stillage.audit.attacks.gradient_norm import GRADIENT_NORM, gradient_norm
from stillage.audit.attacks.learned import LEARNED, LEARNED_SHADOW, learned, learned_shadow
from stillage.audit.attacks.lira import LIRA_OFFLINE, LIRA_ONLINE, lira_offline, lira_online
from stillage.audit.attacks.log_rank import LOG_RANK, log_rank
from stillage.audit.attacks.loss import LOSS, loss
from stillage.audit.attacks.loss_needed import LOSS_NEEDED, loss_needed
from stillage.audit.attacks.lowercase import LOWERCASE, lowercase
from stillage.audit.attacks.min_k import MIN_K, min_k
from stillage.audit.attacks.min_k_plus_plus import MIN_K_PLUS_PLUS, min_k_plus_plus
from stillage.audit.attacks.mope import MOPE, mope
from stillage.audit.attacks.neighbour import NEIGHBOUR, neighbour
from stillage.audit.attacks.quantile import QUANTILE, quantile
from stillage.audit.attacks.recall import RECALL, recall
from stillage.audit.attacks.reference import (
    REFERENCE,
    REFERENCE_COUNTERFACTUAL,
    REFERENCE_INIT,
    REFERENCE_OUTSIDE,
    REFERENCE_PER_BYTE,
    REFERENCE_TEACHER_INIT,
    SELF_PROMPTED_REFERENCE,
    reference,
    reference_per_byte,
)
from stillage.audit.attacks.rmia import RMIA, RMIA_OFFLINE, rmia, rmia_offline
from stillage.audit.attacks.self_prompted import SELF_PROMPTED_VARIATION, self_prompted_variation
from stillage.audit.attacks.surp import SURP, surp
from stillage.audit.attacks.zlib_ratio import ZLIB, zlib
from stillage.types import Attack, FittedAttack, ShadowAttack

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        LOSS,
        LOSS_NEEDED,
        MIN_K,
        MIN_K_PLUS_PLUS,
        ZLIB,
        SURP,
        LOG_RANK,
        REFERENCE,
        REFERENCE_PER_BYTE,
        REFERENCE_COUNTERFACTUAL,
        REFERENCE_INIT,
        REFERENCE_TEACHER_INIT,
        REFERENCE_OUTSIDE,
        SELF_PROMPTED_REFERENCE,
        SELF_PROMPTED_VARIATION,
        LOWERCASE,
        NEIGHBOUR,
        RECALL,
        CON_RECALL,
        DC_PDD,
        GRADIENT_NORM,
        MOPE,
    )
}

SHADOW_ATTACKS: dict[str, ShadowAttack] = {
    attack.name: attack
    for attack in (LIRA_ONLINE, LIRA_OFFLINE, FEW_SHADOWS, RMIA, RMIA_OFFLINE, LEARNED_SHADOW)
}

FITTED_ATTACKS: dict[str, FittedAttack] = {attack.name: attack for attack in (LEARNED, QUANTILE)}

__all__ = [
    "ATTACKS",
    "FITTED_ATTACKS",
    "SHADOW_ATTACKS",
    "con_recall",
    "dc_pdd",
    "few_shadows",
    "gradient_norm",
    "learned",
    "learned_shadow",
    "lira_offline",
    "lira_online",
    "log_rank",
    "loss",
    "loss_needed",
    "lowercase",
    "min_k",
    "min_k_plus_plus",
    "mope",
    "neighbour",
    "quantile",
    "recall",
    "reference",
    "reference_per_byte",
    "rmia",
    "rmia_offline",
    "self_prompted_variation",
    "surp",
    "zlib",
]
