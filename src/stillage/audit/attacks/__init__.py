"""Membership attacks: pure scores of what a model said about a record.

Higher = more likely a member; never flipped. ATTACKS lists what an audit can run by name;
SHADOW_ATTACKS what it can run with shadow pipelines besides, FITTED_ATTACKS what has to learn from
known records first. No attack imports torch or transformers.
"""

from stillage.audit.attacks.con_recall import CON_RECALL
from stillage.audit.attacks.dc_pdd import DC_PDD
from stillage.audit.attacks.few_shadows import FEW_SHADOWS
from stillage.audit.attacks.gradient_norm import GRADIENT_NORM
from stillage.audit.attacks.learned import LEARNED, LEARNED_SHADOW
from stillage.audit.attacks.lira import LIRA_OFFLINE, LIRA_ONLINE
from stillage.audit.attacks.log_rank import LOG_RANK
from stillage.audit.attacks.loss import LOSS
from stillage.audit.attacks.loss_needed import LOSS_NEEDED
from stillage.audit.attacks.lowercase import LOWERCASE
from stillage.audit.attacks.min_k import MIN_K
from stillage.audit.attacks.min_k_plus_plus import MIN_K_PLUS_PLUS
from stillage.audit.attacks.mope import MOPE
from stillage.audit.attacks.neighbour import NEIGHBOUR
from stillage.audit.attacks.quantile import QUANTILE
from stillage.audit.attacks.recall import RECALL
from stillage.audit.attacks.reference import (
    REFERENCE,
    REFERENCE_COUNTERFACTUAL,
    REFERENCE_INIT,
    REFERENCE_OUTSIDE,
    REFERENCE_PER_BYTE,
    REFERENCE_TEACHER_INIT,
    SELF_PROMPTED_REFERENCE,
)
from stillage.audit.attacks.rmia import RMIA, RMIA_OFFLINE
from stillage.audit.attacks.self_prompted import SELF_PROMPTED_VARIATION
from stillage.audit.attacks.surp import SURP
from stillage.audit.attacks.zlib_ratio import ZLIB
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
