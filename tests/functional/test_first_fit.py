"""First fit: every length goes into the first bin with room, as a plain search finds it."""

from __future__ import annotations

import numpy as np
import pytest

from stillage.errors import ConfigError
from stillage.functional.first_fit import first_fit


def test_first_fit_of_many_is_fast_and_right() -> None:
    lengths = np.random.default_rng(0).integers(1, 512, 3000).tolist()
    chosen = first_fit(lengths, 512)
    used: list[int] = []
    for length, bin_ in zip(lengths, chosen, strict=True):
        expected = next(
            (index for index, load in enumerate(used) if load + length <= 512), len(used)
        )
        assert bin_ == expected
        used += [0] * (bin_ == len(used))
        used[bin_] += length
    assert first_fit([], 4) == [] and first_fit([4], 4) == [0]
    with pytest.raises(ConfigError, match="5 > 4"):
        first_fit([1, 5], 4)
