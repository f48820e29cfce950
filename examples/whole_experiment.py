"""A whole experiment from Python: teacher, student, controls, quality, leakage, one report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import stillage as st

EXPERIMENT = {
    "data": {"source": "synthetic", "people": 400, "template": "raw"},
    "teacher": {"layers": 2, "width": 64, "heads": 2},
    "student": {"layers": 1, "width": 64, "heads": 2},
    "teacher_train": {"epochs": 8, "lr_peak": 2e-3},
    "student_train": {"epochs": 8, "lr_peak": 2e-3},
    "distill": {"method": "kd", "params": {"divergence": "jsd"}},
    "audit": {"attacks": ["loss", "min_k_plus_plus", "reference"]},
    "threads": 1,
}
"""The names of a YAML config; what is not named keeps its default."""


def main(out: Path = Path("runs/from-python"), settings: Mapping[str, object] = {}) -> st.Run:
    """Run it; the same call again continues it, or finds all of it done."""
    run = st.run_experiment(EXPERIMENT, settings=settings, out=out)
    quality = run.results().query("metric == 'exact_match'")[["model", "value", "low", "high"]]
    print(quality.to_string(index=False))
    print(run.table().to_string(index=False))
    print(run.summary(), run.report)
    return run


if __name__ == "__main__":
    main()
