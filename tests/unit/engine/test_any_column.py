"""Any column under any encoding: it is refused, or what was learnt can be stored, shown and decoded."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulacra.engine.codecs import FitOptions, Protection, codec_from_json, codec_to_json, fit_codec
from simulacra.engine.codecs._json import Document
from simulacra.errors import InvalidArgument, UnsupportedData

Rng = np.random.Generator

# Whole numbers of every shape; each kind of column is made of them.
SHAPES: list[Callable[[Rng, int], np.ndarray]] = [
    lambda rng, rows: rng.integers(0, 5, rows),
    lambda rng, rows: rng.integers(-(10**6), 10**6, rows),
    lambda rng, rows: rng.integers(-(2**63), 2**63 - 1, rows),
    lambda rng, rows: (rng.pareto(0.5, rows) * 100).clip(max=2.0**62).astype(np.int64),
    lambda rng, rows: np.full(rows, 7),
    lambda rng, rows: rng.choice([0, 2**62, -(2**62)], rows),
    lambda rng, rows: rng.integers(0, 50, rows) * 1000 + rng.choice([0, 0, 0, 1], rows),
    lambda _rng, rows: np.arange(rows),
]
ODD = (np.nan, np.inf, -np.inf, -0.0, 1.7e308, 5e-324)
UNITS, ZONES = ("s", "ms", "us", "ns"), (None, "UTC", "Europe/Vienna", "Mars/Phobos")


def floats(rng: Rng, values: np.ndarray) -> Any:
    scaled = values / rng.choice([1, 7, 100, 1e-250, 1e250])
    return np.where(rng.random(len(values)) < 0.1, rng.choice(ODD), scaled)


def decimals(rng: Rng, values: np.ndarray) -> pa.Array:
    scale = int(rng.choice([-3, 0, 2, 10]))
    kind = [pa.decimal128(18, scale), pa.decimal128(38, scale), pa.decimal256(60, scale)][rng.integers(3)]
    return pa.array([Decimal(int(value % 10**6)).scaleb(-scale) for value in values], kind)


def texts(rng: Rng, values: np.ndarray) -> pa.Array:
    return pa.array([["", "é", "n/a", f"A-{v % 1000}", "x" * int(v % 60)][v % 5] for v in values])


KINDS: dict[str, Callable[[Rng, np.ndarray], Any]] = {
    "int64": lambda _rng, values: values,
    "uint64": lambda _rng, values: values.view(np.uint64),
    "bool": lambda _rng, values: values % 2 == 0,
    "float": floats,
    "single": lambda rng, values: (values / rng.choice([1, 3, 1e20])).astype(np.float32),
    "moment": lambda rng, values: pa.array(values).cast(
        pa.timestamp(UNITS[rng.integers(4)], ZONES[rng.integers(4)])
    ),
    "day": lambda _rng, values: pa.array(values.astype(np.int32)).cast(pa.date32()),
    "time": lambda _rng, values: pa.array((values % 86_400).astype(np.int32)).cast(pa.time32("s")),
    "duration": lambda rng, values: pa.array(values).cast(pa.duration(UNITS[rng.integers(4)])),
    "decimal": decimals,
    "number in text": lambda rng, values: [str(v) for v in values % 10 ** int(rng.choice([2, 6, 18]))],
    "place": lambda rng, values: [f"{v % 180 - 90}.{v % 7},{v % 17}.50" for v in values],
    "day in text": lambda _rng, values: (np.datetime64("1800-01-01") + values % 200_000).astype(str),
    "text": texts,
}
ENCODINGS = (
    "AUTO",
    "TABULAR_CATEGORICAL",
    "TABULAR_NUMERIC_AUTO",
    "TABULAR_NUMERIC_DISCRETE",
    "TABULAR_NUMERIC_BINNED",
    "TABULAR_NUMERIC_DIGIT",
    "TABULAR_CHARACTER",
    "TABULAR_DATETIME",
    "TABULAR_LAT_LONG",
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.integers(0, len(SHAPES) - 1),
    rows=st.sampled_from([25, 60, 300, 1500]),
    nulls=st.sampled_from([0.0, 0.2, 0.97]),
    encoding=st.sampled_from(ENCODINGS),
    threshold=st.sampled_from([1, 5, 7]),
    people=st.sampled_from([None, 2, 5]),
    max_atoms=st.sampled_from([3, 100]),
)
def test_any_column_is_refused_or_comes_back_in_its_type(
    kind: str,
    seed: int,
    shape: int,
    rows: int,
    nulls: float,
    encoding: str,
    threshold: int,
    people: int | None,
    max_atoms: int,
) -> None:
    rng = np.random.default_rng(seed)
    column = pa.array(KINDS[kind](rng, SHAPES[shape](rng, rows).astype(np.int64)))
    gone = np.flatnonzero(rng.random(rows) < nulls)
    column = column.take(pa.array(np.arange(rows), mask=np.isin(np.arange(rows), gone)))
    subjects = None if people is None else rng.integers(0, rows // people, rows)
    try:
        fitted = fit_codec(column, encoding, FitOptions(Protection(threshold, subjects), max_atoms=max_atoms))
    except (InvalidArgument, UnsupportedData):
        if encoding == "AUTO":
            raise
        return
    codec = codec_from_json(Document(json.loads(json.dumps(codec_to_json(fitted), allow_nan=False))))
    codes = codec.encode(column)
    assert ((codes >= 0) & (codes < codec.cardinalities)).all()
    drawn = np.stack([rng.integers(0, size, 100) for size in codec.cardinalities], 1).astype(np.int32)
    for decoded in (codec.decode(codes, rng), codec.decode(drawn, rng)):
        decoded.validate(full=True)
        assert decoded.type == column.type
        again = codec.encode(decoded)  # what is made can be given as a seed
        assert ((again >= 0) & (again < codec.cardinalities)).all()
        assert codec.encoding == "TABULAR_CATEGORICAL" or not codec.unknown(decoded).any()
    assert codec.decode(codes, rng).is_null().filter(column.is_null()).to_pylist().count(False) == 0
    bounds = codec.value_range()
    assert (bounds.min is None) == (bounds.max is None)
    assert bounds.has_null >= (column.null_count > 0)
