"""Columns that have no value, or only in some of the records, leave the report whole."""

import numpy as np
import pandas as pd
import pytest

from simulacra_qa import evaluate


def records(seed: int, dtype: str, present: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size = rng.normal(size=300)
    rare = pd.Series([None] * 300, dtype=dtype)
    rare[:present] = "1" if dtype == "object" else 1
    return pd.DataFrame({"size": size, "weight": size + rng.normal(size=300), "rare": rare, "is": size > 0})


@pytest.mark.parametrize("dtype", ["float64", "object", "Int64"])
@pytest.mark.parametrize("present", [0, 1, 300])
@pytest.mark.parametrize("target", ["weight", "is"])
def test_they_neither_hinder_nor_help_telling_records_apart(dtype: str, present: int, target: str) -> None:
    frames = [records(seed, dtype, number) for seed, number in enumerate((0, 0, present))]
    result = evaluate(*frames, embed=False, target=target)
    assert result.discrimination is not None
    assert result.utility is not None
    assert result.discrimination.holdout == pytest.approx(0.5, abs=0.1)
    if present < 2:
        assert result.discrimination.synthetic == pytest.approx(0.5, abs=0.1)
    elif dtype != "object":  # boosting finds no split between one category and none
        assert result.discrimination.synthetic > 0.95
