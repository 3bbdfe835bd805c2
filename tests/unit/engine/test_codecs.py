"""Every codec gives back type, nulls, support and grid, whatever the values."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulacra.domain.model import ModelEncodingType
from simulacra.engine.codecs import FitOptions, Protection, codec_from_json, codec_to_json, fit_codec
from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.base import Codec
from simulacra.errors import CorruptBundle, InvalidArgument, UnsupportedData

OPEN = FitOptions(Protection(1))
PROTECTED = FitOptions(Protection(5))
RNG = np.random.default_rng(0)

CENT = Decimal("0.01")
STRATEGIES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int8": (pa.int8(), st.integers(-128, 127)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "float": (pa.float64(), st.floats(allow_subnormal=False)),
    "float32": (pa.float32(), st.floats(width=32, allow_subnormal=False)),
    "cents": (pa.float64(), st.integers(-(10**9), 10**9).map(lambda cents: cents / 100)),
    "decimal": (pa.decimal128(12, 3), st.decimals(-(10**8), 10**8, places=3)),
    "huge decimal": (pa.decimal256(60, 2), st.integers(-(10**50), 10**50).map(lambda n: CENT * n)),
    "text": (pa.string(), st.text(max_size=5)),
    "large text": (pa.large_string(), st.sampled_from(["", "a", "b"])),
    "binary": (pa.binary(), st.binary(max_size=3)),
    "bool": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.dates()),
    "date64": (pa.date64(), st.dates()),
    "seconds": (pa.timestamp("s"), st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))),
    "zoned": (
        pa.timestamp("us", "Europe/Vienna"),
        st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    ),
    "nanoseconds": (pa.timestamp("ns"), st.integers(-(2**63) + 1, 2**63 - 1)),
    "time": (pa.time64("us"), st.times()),
    "duration": (pa.duration("ms"), st.timedeltas(timedelta(-(10**5)), timedelta(10**5))),
    "null": (pa.null(), st.none()),
}  # fmt: skip


def roundtrip(codec: Codec, column: pa.Array) -> pa.Array:
    again = codec_from_json(Document(json.loads(json.dumps(codec_to_json(codec)))))
    codes = again.encode(column)
    assert codes.shape == (len(column), len(codec.cardinalities))
    assert ((codes >= 0) & (codes < codec.cardinalities)).all()
    decoded = again.decode(codes, np.random.default_rng(1))
    assert decoded.type == column.type
    assert len(decoded) == len(column)
    decoded.validate(full=True)
    return decoded


@st.composite
def columns(draw: st.DrawFn, name: str, min_size: int = 0) -> pa.Array:
    kind, values = STRATEGIES[name]
    items = draw(st.lists(st.none() | values, min_size=min_size, max_size=60))
    return pa.array([int(v) if isinstance(v, np.integer) else v for v in items], kind)


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_few_values_come_back_exactly(name: str, data: st.DataObject) -> None:
    column = data.draw(columns(name))
    codec = fit_codec(column, "AUTO", OPEN)
    decoded = roundtrip(codec, column)
    if codec.encoding != "TABULAR_DATETIME" or not pa.types.is_timestamp(column.type) or not column.type.tz:
        exact = (
            pc.fill_null(pc.equal(decoded, column), True) if not pa.types.is_null(column.type) else decoded
        )
        nan = (
            pc.is_nan(column).fill_null(False)
            if pa.types.is_floating(column.type)
            else pa.array([False] * len(column))
        )
        for same, is_nan in zip(exact.to_pylist(), nan.to_pylist(), strict=True):
            assert same is None or same or is_nan
    if len(column):
        assert decoded.is_null().to_pylist() == column.is_null().to_pylist()
    assert codec.value_range().has_null >= (column.null_count > 0)


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_protected_columns_keep_their_type_and_stay_in_range(name: str, data: st.DataObject) -> None:
    column = data.draw(columns(name))
    codec = fit_codec(column, "AUTO", PROTECTED)
    decoded = roundtrip(codec, column)
    if len(column) < 20 and codec.encoding != "TABULAR_CATEGORICAL":
        finite = decoded.drop_null()
        assert not len(finite)
    if pa.types.is_integer(column.type) and decoded.null_count < len(decoded):
        low, high = pc.min_max(column)["min"].as_py(), pc.min_max(column)["max"].as_py()
        assert all(low <= value <= high for value in decoded.drop_null().to_pylist())


@pytest.mark.parametrize(
    "encoding", ["TABULAR_NUMERIC_DISCRETE", "TABULAR_NUMERIC_BINNED", "TABULAR_NUMERIC_DIGIT"]
)
@pytest.mark.parametrize("name", ["int8", "int64", "cents", "float", "decimal", "uint64"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_numeric_encodings_stay_in_range_and_on_the_grid(
    encoding: str, name: str, data: st.DataObject
) -> None:
    column = data.draw(columns(name))
    decoded = roundtrip(fit_codec(column, encoding, OPEN), column)
    present = [v for v in column.to_pylist() if v is not None and np.isfinite(float(v))]
    found = [v for v in decoded.to_pylist() if v is not None and np.isfinite(float(v))]
    if present and encoding != "TABULAR_NUMERIC_DIGIT":
        assert all(min(present) <= value <= max(present) for value in found)
    if name == "cents":
        assert all(round(value, 2) == value for value in found)
    assert decoded.null_count == column.null_count


def many(values: Any, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(values, kind)


def decoded_of(column: pa.Array, encoding: str = "AUTO", options: FitOptions = PROTECTED) -> pa.Array:
    return roundtrip(fit_codec(column, encoding, options), column)


@pytest.mark.parametrize(("rows", "bins"), [(60, 3), (122, 4), (4000, 20), (100_000, 64)])
def test_more_rows_are_cut_into_more_bins(rows: int, bins: int) -> None:
    values = np.random.default_rng(0).normal(size=rows)
    (codes,) = fit_codec(pa.array(values), "TABULAR_NUMERIC_BINNED", PROTECTED).cardinalities
    assert codes == bins


@pytest.mark.parametrize(
    ("rows", "distinct", "encoding"),
    [
        (200, 15, "TABULAR_NUMERIC_DISCRETE"),
        (200, 30, "TABULAR_NUMERIC_BINNED"),
        (1000, 30, "TABULAR_NUMERIC_DISCRETE"),
        (20_000, 90, "TABULAR_NUMERIC_DISCRETE"),
        (20_000, 250, "TABULAR_NUMERIC_BINNED"),
    ],
)
def test_numbers_are_codes_of_their_own_where_rows_suffice(rows: int, distinct: int, encoding: str) -> None:
    column = pa.array(np.arange(rows) % distinct)
    codec = fit_codec(column, "AUTO", PROTECTED)
    assert codec.encoding == encoding
    assert set(roundtrip(codec, column).to_pylist()) <= set(range(distinct))
    assert fit_codec(column, "AUTO", replace(PROTECTED, max_atoms=250)).encoding == "TABULAR_NUMERIC_DISCRETE"
    (codes,) = fit_codec(column, "TABULAR_NUMERIC_DISCRETE", PROTECTED).cardinalities
    assert distinct - 2 <= codes <= distinct  # the extremes may be hidden


def test_without_protection_a_hundred_numbers_are_codes_of_their_own() -> None:
    assert fit_codec(pa.array(np.arange(100)), "AUTO", OPEN).cardinalities == (100,)


def test_bins_and_atoms_follow_the_subjects_that_have_a_value() -> None:
    values = np.repeat(np.arange(33), [40] * 15 + [7] * 3 + [40] * 15)
    subjects = np.arange(len(values)) % 200
    every = fit_codec(pa.array(values), "AUTO", PROTECTED)
    own = fit_codec(pa.array(values), "AUTO", FitOptions(Protection(5, subjects)))
    present = np.arange(20_000) < 200
    few = fit_codec(pa.array(np.arange(20_000) % 33, mask=~present), "AUTO", PROTECTED)
    assert (every.encoding, own.encoding) == ("TABULAR_NUMERIC_DISCRETE", "TABULAR_NUMERIC_BINNED")
    assert few.encoding == "TABULAR_NUMERIC_BINNED"


def test_decimals_of_too_many_digits_are_categories_in_few_rows_too() -> None:
    values = [Decimal("123456789012345678901234.5") + i % 30 for i in range(300)]
    column = pa.array(values, pa.decimal128(38, 1))
    codec = fit_codec(column, "AUTO", PROTECTED)
    assert codec.encoding == "TABULAR_CATEGORICAL"
    assert roundtrip(codec, column).equals(column)


def test_a_spike_in_a_continuous_column_keeps_its_share() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(5000) < 0.3, 0.0, rng.normal(size=5000))
    assert abs((decoded_of(many(values)).to_numpy() == 0).mean() - 0.3) < 0.02


def test_round_numbers_stay_round() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(1, 100_000, 5000) * 1000
    assert (decoded_of(many(values)).to_numpy() % 1000 == 0).all()


def test_integers_beyond_two_to_the_53_are_exact() -> None:
    values = np.repeat(np.array([2**53 + 1, 2**53 + 3, 2**62 + 5]), 30)
    assert decoded_of(many(values)).to_pylist() == values.tolist()


def test_wide_integers_use_the_whole_range_without_overflow() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-(2**63), 2**63 - 1, 5000)
    decoded = decoded_of(many(values)).to_numpy()
    assert np.corrcoef(values.astype(float), decoded.astype(float))[0, 1] > 0.99


def test_rare_categories_become_the_constant_or_another_category() -> None:
    column = many(["common"] * 50 + ["often"] * 50 + [f"unique{i}" for i in range(10)])
    constant = set(decoded_of(column).to_pylist())
    assert constant == {"common", "often", "_RARE_"}
    codec = fit_codec(column, "TABULAR_CATEGORICAL", FitOptions(Protection(5), constant=False))
    assert set(roundtrip(codec, column).to_pylist()) == {"common", "often"}
    assert codec.forbidden == ((0, 0),)


def test_rarity_counts_subjects_not_rows() -> None:
    column = many(["visits often"] * 50 + ["common"] * 50)
    subjects = np.array([0] * 50 + list(range(1, 51)))
    codec = fit_codec(column, "AUTO", FitOptions(Protection(5, subjects)))
    assert codec.value_range().values == ("common",)


def test_outliers_of_one_subject_are_clipped() -> None:
    values = np.concatenate([np.arange(1000), np.full(50, 10**9)])
    subjects = np.concatenate([np.arange(1000), np.full(50, 1000)])
    codec = fit_codec(many(values), "AUTO", FitOptions(Protection(5, subjects)))
    assert roundtrip(codec, many(values)).to_numpy().max() < 1000


@pytest.mark.parametrize("count", [1, 19])
def test_a_column_of_few_subjects_is_fully_protected(count: int) -> None:
    assert decoded_of(many(list(range(count)))).null_count == count
    assert set(decoded_of(many([f"name{i % 2}" for i in range(count)])).to_pylist()) == {"_RARE_"}


def test_nothing_of_a_single_subject_is_in_the_document() -> None:
    rng = np.random.default_rng(0)
    unique = rng.choice(10**12, 2000, replace=False) + 10**12
    for column in (many(unique), many(unique / 7), many([f"n{value}" for value in unique])):
        for encoding in ("AUTO", "TABULAR_NUMERIC_BINNED", "TABULAR_NUMERIC_DIGIT"):
            if pa.types.is_string(column.type) and encoding != "AUTO":
                continue
            text = json.dumps(codec_to_json(fit_codec(column, encoding, PROTECTED)))
            assert not [value for value in column.to_pylist() if str(value) in text]


def test_weekdays_and_times_of_day_survive() -> None:
    rng = np.random.default_rng(0)
    days = np.datetime64("2000-01-03") + rng.integers(0, 800, 5000) * 7 + rng.integers(0, 5, 5000)
    hours = rng.choice([0, 9, 17], 5000)
    column = many(
        (days.astype("datetime64[us]") + hours * np.timedelta64(3600, "s")).astype("datetime64[us]")
    )
    decoded = decoded_of(column)
    assert pc.max(pc.day_of_week(decoded)).as_py() <= 4
    assert set(pc.hour(decoded).to_pylist()) == {0, 9, 17}


def test_month_ends_stay_month_ends() -> None:
    months = np.datetime64("1960-01") + np.random.default_rng(0).integers(0, 700, 4000)
    column = many((months + 1).astype("datetime64[D]") - 1)
    following = pc.add(decoded_of(column), pa.scalar(timedelta(days=1)))
    assert set(pc.day(following).to_pylist()) == {1}


def test_zones_keep_their_midnights() -> None:
    local = np.datetime64("2021-01-01") + np.random.default_rng(0).integers(0, 365, 2000)
    column = pc.assume_timezone(many(local.astype("datetime64[s]")), "America/New_York")
    assert set(pc.hour(pc.local_timestamp(decoded_of(column))).to_pylist()) == {0}


def test_iso_text_is_taken_as_dates() -> None:
    texts = many([str(np.datetime64("1999-12-25") + i) for i in range(1000)])
    codec = fit_codec(texts, "AUTO", PROTECTED)
    assert codec.encoding == "TABULAR_DATETIME"
    assert all(date.fromisoformat(text) for text in roundtrip(codec, texts).to_pylist())


UNPREFIXED: dict[str, tuple[list[Any], str]] = {
    "AUTO": (["a", "b"], "TABULAR_CATEGORICAL"),
    "CATEGORICAL": ([1, 2, 3], "TABULAR_CATEGORICAL"),
    "NUMERIC_AUTO": ([1, 2, 3], "TABULAR_NUMERIC_DISCRETE"),
    "NUMERIC_DISCRETE": ([1, 2, 3], "TABULAR_NUMERIC_DISCRETE"),
    "NUMERIC_BINNED": ([1, 2, 3], "TABULAR_NUMERIC_BINNED"),
    "NUMERIC_DIGIT": ([1, 2, 3], "TABULAR_NUMERIC_DIGIT"),
    "CHARACTER": (["a", "b"], "TABULAR_CHARACTER"),
    "DATETIME": ([date(2020, 1, 1)], "TABULAR_DATETIME"),
    "DATETIME_RELATIVE": ([date(2020, 1, 1)], "TABULAR_DATETIME"),
    "LAT_LONG": (["1.5, 2.5"], "TABULAR_LAT_LONG"),
}


def test_every_tabular_encoding_of_the_schema_is_here() -> None:
    names = {kind.value for kind in ModelEncodingType if kind.value.startswith(("AUTO", "TABULAR_"))}
    assert {name.removeprefix("TABULAR_") for name in names} == set(UNPREFIXED)


@pytest.mark.parametrize("name", UNPREFIXED)
def test_deprecated_names_mean_the_prefixed_ones(name: str) -> None:
    values, expected = UNPREFIXED[name]
    prefixed = name if name == "AUTO" else f"TABULAR_{name}"
    column = many(values)
    codec = fit_codec(column, name, OPEN)
    assert codec.encoding == expected
    assert codec_to_json(codec) == codec_to_json(fit_codec(column, prefixed, OPEN))


def test_an_encoding_that_does_not_suit_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="does not suit"):
        fit_codec(many([True, False]), "TABULAR_DATETIME", OPEN)
    with pytest.raises(UnsupportedData, match="no number"):
        fit_codec(many(["1", "x"]), "TABULAR_NUMERIC_AUTO", OPEN)
    with pytest.raises(InvalidArgument, match="not available"):
        fit_codec(many(["1", "x"]), "LANGUAGE_TEXT", OPEN)


def test_numbers_in_text_come_back_as_text() -> None:
    assert set(decoded_of(many(["1.5", "2.25"] * 30), "TABULAR_NUMERIC_AUTO").to_pylist()) == {"1.5", "2.25"}


def test_unseen_values_get_a_code() -> None:
    codec = fit_codec(many([1.0, 2.0, None] * 20), "AUTO", OPEN)
    codes = codec.encode(many([float("nan"), float("inf"), -1e308, 1.4, None]))
    assert ((codes >= 0) & (codes < codec.cardinalities[0])).all()
    assert codec.unknown(many([1.0, 99.0, None])).tolist() == [False, True, False]


def ids(rows: int) -> pa.Array:
    rng = np.random.default_rng(0)
    return many([f"A{rng.integers(10)}-{rng.integers(100_000):05d}" for _ in range(rows)] + [None])


def test_codes_with_a_format_keep_it() -> None:
    codec = fit_codec(ids(2000), "AUTO", PROTECTED)
    assert codec.encoding == "TABULAR_CHARACTER"
    decoded = roundtrip(codec, ids(2000))
    assert pc.all(pc.match_substring_regex(decoded, r"^A\d-\d{5}$")).as_py()
    assert decoded.null_count == 1


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.none() | st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=60))
)
def test_characters_come_back(texts: list[str | None]) -> None:
    decoded = decoded_of(many(texts, pa.string()), "TABULAR_CHARACTER", OPEN)
    assert decoded.to_pylist() == [text if text is None else text[:50] for text in texts]


def test_rare_characters_do_not_appear() -> None:
    column = many(["abc"] * 50 + ["xyz"] * 3)
    assert set(decoded_of(column, "TABULAR_CHARACTER").to_pylist()) == {"abc"}


def test_places_come_back_nearby_in_their_format() -> None:
    rng = np.random.default_rng(0)
    places = [f"{48.2 + x:.5f}, {16.4 + y:.5f}" for x, y in rng.normal(0, 0.05, (3000, 2))] + [None]
    codec = fit_codec(many(places), "AUTO", PROTECTED)
    assert codec.encoding == "TABULAR_LAT_LONG"
    decoded = roundtrip(codec, many(places)).to_pylist()
    assert decoded[-1] is None
    there = np.array([[float(part) for part in text.split(",")] for text in decoded[:-1]])
    here = np.array([[float(part) for part in text.split(",")] for text in places[:-1] if text])
    assert np.median(np.abs(there - here)) < 0.01
    assert pc.all(pc.match_substring_regex(many(decoded[:-1]), r"^\d+\.\d{5}, \d+\.\d{5}$")).as_py()
    assert not set(decoded[:-1]) & set(places[:-1])


def test_texts_that_are_no_places_are_refused() -> None:
    with pytest.raises(UnsupportedData, match="nowhere"):
        fit_codec(many(["1,2", "nowhere"]), "TABULAR_LAT_LONG", OPEN)


def test_times_of_day_are_numbers() -> None:
    column = many([time(hour % 24, 30) for hour in range(100)], pa.time32("s"))
    assert set(decoded_of(column).to_pylist()) <= set(column.to_pylist())


DOCUMENTS = [
    codec_to_json(fit_codec(column, encoding, PROTECTED))
    for column, encoding in [
        (many([f"c{i % 3}" for i in range(60)]), "AUTO"),
        (many(np.arange(500)), "AUTO"),
        (many(np.arange(500) % 7), "TABULAR_NUMERIC_DISCRETE"),
        (many(np.arange(500)), "TABULAR_NUMERIC_DIGIT"),
        (many(np.arange(500).astype("datetime64[D]")), "AUTO"),
        (many([f"{i % 7}a{i % 3}" for i in range(200)]), "TABULAR_CHARACTER"),
        (many([f"{i % 7}.5,{i % 3}.25" for i in range(200)]), "TABULAR_LAT_LONG"),
    ]
]
JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=3)
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, child in items for p in _paths(child, (*path, key)))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=st.sampled_from(DOCUMENTS), data=st.data())
def test_hostile_documents_are_refused_or_harmless(document: dict[str, Any], data: st.DataObject) -> None:
    document = json.loads(json.dumps(document))
    path = data.draw(st.sampled_from(_paths(document)[1:]))
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = data.draw(JUNK)
    try:
        codec = codec_from_json(Document(document))
    except CorruptBundle:
        return
    codes = np.stack([RNG.integers(0, size, 50) for size in codec.cardinalities], 1).astype(np.int32)
    assert len(codec.decode(codes, RNG)) == 50
