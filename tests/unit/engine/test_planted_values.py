"""A person's own values are in no codec, whatever the encoding, and no codes make them."""

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from simulacra.engine import ColumnSpec, TableCodec, analyze

ROWS = 2000
RNG = np.random.default_rng(0)
DAYS = np.datetime64("2015-01-01") + RNG.integers(0, 2000, ROWS)
MOMENTS = DAYS.astype("datetime64[us]") + RNG.integers(8 * 3600, 18 * 3600, ROWS) * np.timedelta64(
    10**6, "us"
)


@dataclass(frozen=True)
class Plant:
    """A column, the value of one person in it, and what of it must be found nowhere."""

    values: Any
    own: Any
    traces: tuple[str, ...]
    kind: pa.DataType | None = None
    encodings: tuple[str, ...] = ("AUTO",)


NUMERIC = (
    "AUTO",
    "TABULAR_NUMERIC_AUTO",
    "TABULAR_NUMERIC_DISCRETE",
    "TABULAR_NUMERIC_BINNED",
    "TABULAR_NUMERIC_DIGIT",
    "TABULAR_CATEGORICAL",
)
TEXT = ("AUTO", "TABULAR_CATEGORICAL", "TABULAR_CHARACTER")
DATE = ("AUTO", "TABULAR_DATETIME", "TABULAR_DATETIME_RELATIVE", "TABULAR_CATEGORICAL")
PLANTS = {
    "outlier": Plant(RNG.integers(0, 1000, ROWS), 981_273_645_546, ("9812736",), None, NUMERIC),
    "in between": Plant(RNG.choice([0, 10**9], ROWS), 473_829_165, ("473829",), None, NUMERIC),
    "negative": Plant(RNG.lognormal(3, 1, ROWS), -76_543_219.875, ("76543219",), None, NUMERIC),
    "many digits": Plant(
        np.round(RNG.normal(0, 50, ROWS), 1), 3.1415926535, ("3.14159", "31415"), None, NUMERIC
    ),
    "tiny": Plant(RNG.integers(1, 9, ROWS) * 1.0, 1.2345e-300, ("e-30",), None, NUMERIC),
    "uint64": Plant(RNG.integers(0, 99, ROWS), 2**64 - 12_345, (str(2**64 - 12_345),), pa.uint64(), NUMERIC),
    "decimal": Plant(
        [Decimal(int(cents)) / 100 for cents in RNG.integers(0, 10**5, ROWS)],
        Decimal("73829164738291.37"),
        ("7382916",),
        pa.decimal128(38, 2),
        NUMERIC,
    ),
    "duration": Plant(
        [timedelta(seconds=int(s)) for s in RNG.integers(0, 999, ROWS)],
        timedelta(days=4567, seconds=89),
        ("4567",),
    ),
    "time": Plant([time(int(h), 30) for h in RNG.integers(8, 18, ROWS)], time(3, 33, 33), ("03:33", "12813")),
    "name": Plant(RNG.choice(["Ann", "Bea"], ROWS), "Zyxwvut", ("Zyx", "90, 121"), None, TEXT),
    "character": Plant(
        [f"A{n:04d}" for n in RNG.integers(0, 9999, ROWS)], "A12Ω4", ("Ω", "937", "03a9"), None, TEXT
    ),
    "length": Plant(
        [f"A{n:04d}" for n in RNG.integers(0, 9999, ROWS)], "A1234567890123", ("67890", "[5, 14]"), None, TEXT
    ),
    "bytes": Plant([b"ab"] * ROWS, b"\xde\xad\xbe\xef", ("deadbeef",)),
    "day": Plant(DAYS, date(1871, 3, 14), ("1871", "-36087"), None, DATE),
    "late day": Plant(DAYS, date(2871, 3, 14), ("2871", "329135"), None, DATE),
    "moment": Plant(
        MOMENTS, datetime(1871, 3, 14, 23, 59, 58, 123456), ("1871", "123456", "23:59"), None, DATE
    ),
    "zoned": Plant(
        MOMENTS.astype(np.int64),
        int(np.datetime64("1999-12-31T23:59:58.123456", "us").astype(np.int64)),
        ("1999", "123456"),
        pa.timestamp("us", "Europe/Vienna"),
        DATE,
    ),
    "day as text": Plant([str(day) for day in DAYS], "1871-03-14", ("1871", "-36087"), None, DATE),
    "place": Plant(
        [f"{x:.4f}, {y:.4f}" for x, y in RNG.normal((48.2, 16.4), 0.1, (ROWS, 2)).tolist()],
        "-33.8654, 151.2098",
        ("33.86", "151.2"),
        None,
        ("AUTO", "TABULAR_LAT_LONG", "TABULAR_CATEGORICAL", "TABULAR_CHARACTER"),
    ),
    "infinity": Plant(RNG.normal(0, 1, ROWS), float("inf"), ("inf",), None, NUMERIC),
}
CASES = [(name, encoding) for name, plant in PLANTS.items() for encoding in plant.encodings]


def rows_of(codec: TableCodec, seed: int) -> pa.Table:
    """Returns rows of codes drawn at random: whatever sampling could ever give."""
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, part.cardinality, 3000) for part in codec.sub_columns], 1)
    return codec.decode(codes.astype(np.int32), rng)


@pytest.mark.parametrize("rows_of_the_person", [1, 4, 300])
@pytest.mark.parametrize(("name", "encoding"), CASES)
def test_a_persons_own_value_is_nowhere(name: str, encoding: str, rows_of_the_person: int) -> None:
    plant = PLANTS[name]
    values = plant.values.tolist() if isinstance(plant.values, np.ndarray) else list(plant.values)
    kind = plant.kind or pa.array(plant.values).type
    values[700 : 700 + rows_of_the_person] = [plant.own] * rows_of_the_person
    table = pa.table(
        {"x": pa.array(values, pa.int64()).cast(kind) if name == "zoned" else pa.array(values, kind)}
    )
    subjects = np.arange(ROWS)
    subjects[700 : 700 + rows_of_the_person] = 700
    # Up to four rows may be as many people; more are one person's.
    codec = analyze(table, [ColumnSpec("x", encoding)], subjects=None if rows_of_the_person < 5 else subjects)
    made = [codec.decode(codec.encode(table), np.random.default_rng(0)), rows_of(codec, 1)]
    kept = json.dumps(codec.to_json(), ensure_ascii=False) + repr(codec.value_ranges())
    written = "\n".join(str(value) for rows in made for value in rows["x"].to_pylist())
    assert not [trace for trace in plant.traces if trace in kept]
    assert str(plant.own) not in written
