"""A table of made-up people: every type, dependent columns, missing values."""

import numpy as np
import pandas as pd

__all__ = ["people"]


def people(rows: int = 600, *, seed: int = 0) -> pd.DataFrame:
    """Returns people of whom each type of column is known."""
    draw = np.random.default_rng(seed)
    age = draw.integers(18, 91, rows)
    city = draw.choice(["Graz", "Linz", "Wien"], rows, p=[0.2, 0.3, 0.5])
    income = (age * 700 + draw.normal(0, 4000, rows)).round(2)
    children = pd.array(draw.integers(0, 4, rows), dtype="Int64")
    children[draw.random(rows) < 0.1] = pd.NA
    return pd.DataFrame(
        {
            "age": age,
            "city": city,
            "income": np.where(draw.random(rows) < 0.05, np.nan, income),
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 2000, rows), unit="D"),
            "member": draw.random(rows) < age / 120,
            "children": children,
        }
    )
