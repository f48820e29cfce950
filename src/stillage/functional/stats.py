"""All statistics of scores: ROC, AUC, paired tests, TPR at an FPR, intervals.

Scores are higher for a likelier member; an AUC below 0.5 stays below 0.5. Everything is O(n log n)
in the records n. A record is called a member when its score is ABOVE the threshold. NaN is refused:
drop with `finite`, which counts.
"""

from stillage.functional.binomial import Interval, clopper_pearson
from stillage.functional.bootstrap import bootstrap_interval
from stillage.functional.delong import auc_interval, roc_auc
from stillage.functional.means import mean_interval, share_interval
from stillage.functional.multiplicity import MaxTest, benjamini_hochberg, holm, max_statistic_test
from stillage.functional.paired import paired_proportions, paired_share_test, paired_tpr_test
from stillage.functional.pooled import (
    PairedTest,
    paired_auc_test,
    pooled_auc_interval,
    pooled_auc_test,
    pooled_mean_test,
)
from stillage.functional.roc import Rate, Roc, RocBand, roc_band, roc_curve, tpr_at_fpr
from stillage.functional.scored import finite

__all__ = [
    "Interval",
    "MaxTest",
    "PairedTest",
    "Rate",
    "Roc",
    "RocBand",
    "auc_interval",
    "benjamini_hochberg",
    "bootstrap_interval",
    "clopper_pearson",
    "finite",
    "holm",
    "max_statistic_test",
    "mean_interval",
    "paired_auc_test",
    "paired_proportions",
    "paired_share_test",
    "paired_tpr_test",
    "pooled_auc_interval",
    "pooled_auc_test",
    "pooled_mean_test",
    "roc_auc",
    "roc_band",
    "roc_curve",
    "share_interval",
    "tpr_at_fpr",
]
