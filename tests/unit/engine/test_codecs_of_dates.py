"""Dates keep their calendar where each day has few rows, and moments as far as their type reaches."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from simulacra.engine.codecs import FitOptions, Protection, codec_from_json, codec_to_json, fit_codec
from simulacra.engine.codecs._json import Document

OPEN, PROTECTED = FitOptions(Protection(1)), FitOptions(Protection(5))


def decoded_of(column: pa.Array, options: FitOptions = PROTECTED, encoding: str = "AUTO") -> pa.Array:
    codec = codec_from_json(
        Document(json.loads(json.dumps(codec_to_json(fit_codec(column, encoding, options)))))
    )
    decoded = codec.decode(codec.encode(column), np.random.default_rng(1))
    decoded.validate(full=True)
    assert decoded.type == column.type
    return decoded


def days_of(column: pa.Array) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False).astype("datetime64[D]"))


def month_ends(rows: int, months: int) -> np.ndarray:
    drawn = np.datetime64("2000-01") + np.random.default_rng(0).integers(0, months, rows)
    return np.asarray((drawn + 1).astype("datetime64[D]") - 1)


def of_month_end(days: np.ndarray) -> np.ndarray:
    return np.asarray((days + 1).astype("datetime64[M]").astype("datetime64[D]") == days + 1)


@pytest.mark.parametrize("rows", [300, 800, 2000, 8000])
@pytest.mark.parametrize("months", [60, 240, 600])
def test_month_ends_and_starts_stay_so_however_few_share_a_day(rows: int, months: int) -> None:
    ends = month_ends(rows, months)
    assert of_month_end(days_of(decoded_of(pa.array(ends)))).mean() > 0.985
    starts = ends + 1
    assert of_month_end(days_of(decoded_of(pa.array(starts))) - 1).mean() > 0.985


@pytest.mark.parametrize("rows", [400, 800, 8000])
def test_weekends_stay_free_in_a_table_of_one_year(rows: int) -> None:
    days = np.datetime64("2020-01-01") + np.random.default_rng(0).integers(0, 250, rows)
    days = days[(days.astype(np.int64) + 3) % 7 < 5]
    found = days_of(decoded_of(pa.array(days))).astype(np.int64)
    assert ((found + 3) % 7 < 5).mean() > 0.985


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("options", [OPEN, PROTECTED])
def test_moments_come_back_as_far_as_their_unit_reaches(unit: str, options: FitOptions) -> None:
    for first, step in ((2**63 - 200 * 10**9, 10**9), (-(2**63) + 1, 10**9), (2**62, 86_400)):
        values = np.array([first + step * i for i in range(0, 200, 1)], dtype=np.int64)
        column = pa.array(np.repeat(values, 8), pa.int64()).cast(pa.timestamp(unit))
        decoded = decoded_of(column, options).cast(pa.int64()).to_numpy()
        assert values.min() <= decoded.min() <= decoded.max() <= values.max()
        assert options is PROTECTED or (decoded == np.repeat(values, 8)).mean() > 0.99


def test_texts_have_a_time_where_most_have() -> None:
    texts = pa.array(["2020-01-01", *(f"2020-01-{day:02d}T10:30:00" for day in range(1, 29))] * 8)
    decoded = decoded_of(texts, encoding="TABULAR_DATETIME")
    assert pc.all(pc.match_substring_regex(decoded, r"^2020-01-\d\dT\d\d:\d\d:\d\d$")).as_py()
