"""What single odd values do to a codec: nothing to the other values, and nothing that tells of them."""

import json
import re
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.engine.codecs import FitOptions, Protection, codec_from_json, codec_to_json, fit_codec
from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.base import Codec
from simulacra.errors import UnsupportedData

PROTECTED = FitOptions(Protection(5))
ENCODINGS = ("TABULAR_NUMERIC_AUTO", "TABULAR_NUMERIC_BINNED", "TABULAR_NUMERIC_DISCRETE")


def recoded(
    column: pa.Array, encoding: str = "AUTO", options: FitOptions = PROTECTED
) -> tuple[Codec, pa.Array]:
    """Returns the codec, read back from its document, and what it makes of the column."""
    document = json.loads(json.dumps(codec_to_json(fit_codec(column, encoding, options)), allow_nan=False))
    codec = codec_from_json(Document(document))
    decoded = codec.decode(codec.encode(column), np.random.default_rng(1))
    decoded.validate(full=True)
    return codec, decoded


def share_of_cents(values: np.ndarray) -> float:
    return float((np.round(values, 2) == values).mean())


@pytest.mark.parametrize("odd", [-0.0, 3.14159265358979, 1e17, -1e300, 0.1 + 0.2])
@pytest.mark.parametrize("kind", [pa.float64(), pa.string()])
def test_amounts_keep_their_cents_beside_an_odd_value(odd: float, kind: pa.DataType) -> None:
    values = np.round(np.random.default_rng(0).gamma(2, 50, 3000), 2)
    values[7:11] = odd
    _, decoded = recoded(pa.array(values).cast(kind), "TABULAR_NUMERIC_AUTO")
    assert share_of_cents(decoded.cast(pa.float64()).to_numpy()) == 1


def test_digits_that_many_have_are_kept() -> None:
    rng = np.random.default_rng(0)
    values = np.round(rng.gamma(2, 50, 3000), 2)
    values[:100] = rng.gamma(2, 50, 100)
    _, decoded = recoded(pa.array(values))
    assert share_of_cents(decoded.to_numpy()) < 0.2


def test_digits_count_subjects_not_rows() -> None:
    values = np.round(np.random.default_rng(0).gamma(2, 50, 3000), 2)
    values[:100] += np.pi / 1000
    subjects = np.arange(3000).clip(min=99)
    _, decoded = recoded(pa.array(values), options=FitOptions(Protection(5, subjects)))
    assert share_of_cents(decoded.to_numpy()) == 1


def test_without_protection_every_digit_counts() -> None:
    values = np.append(np.arange(200) / 100, 3.14159)
    _, decoded = recoded(pa.array(values), options=FitOptions(Protection(1), max_atoms=500))
    assert decoded.to_numpy().tolist() == values.tolist()


@pytest.mark.parametrize("kind", [pa.decimal128(38, 2), pa.decimal256(60, 2)])
@pytest.mark.parametrize("odd", [Decimal(10) ** 25, -(Decimal(10) ** 25)])
def test_decimals_keep_their_places_beside_a_huge_one(kind: pa.DataType, odd: Decimal) -> None:
    amounts = [Decimal(int(cents)) / 100 for cents in np.random.default_rng(0).integers(1, 10**6, 1000)]
    codec, decoded = recoded(pa.array([*amounts, odd], kind))
    found = decoded.to_pylist()
    assert min(amounts) <= min(found) <= max(found) <= max(amounts)
    assert len({value % 1 for value in found}) > 50
    assert codec.unknown(pa.array([odd, amounts[0]], kind)).tolist()[0]


def distances(document: Any) -> set[int]:
    """Returns all whole numbers of a document, and the differences of those that stand beside each other."""
    if isinstance(document, dict):
        return {number for child in document.values() for number in distances(child)}
    if isinstance(document, list):
        whole = [item for item in document if type(item) is int]
        between = {abs(a - b) for a, b in pairwise(whole)}
        return between.union(*[distances(child) for child in document])
    return {document} if type(document) is int else set()


@settings(max_examples=60, deadline=None)
@given(
    encoding=st.sampled_from(ENCODINGS),
    own=st.lists(st.integers(10**6, 9 * 10**6), min_size=1, max_size=4, unique=True),
    people=st.integers(1, 4),
    low=st.integers(0, 10**5),
)
def test_the_distance_between_rare_numbers_is_no_grid(
    encoding: str, own: list[int], people: int, low: int
) -> None:
    column = pa.array([low] * 60 + sorted(own * people) + [10**7 + low] * 60)
    codec, decoded = recoded(column, encoding)
    assert not set(own) & distances(codec_to_json(codec))
    means = len(own) * people >= 5  # else there is no bin, and no mean of theirs
    assert means or not set(own) & set(decoded.to_pylist())
    gaps = {abs(a - b) for a in own for b in own if a != b and abs(a - b) > 100}
    assert not gaps & distances(codec_to_json(codec))


def test_steps_that_many_values_share_are_kept() -> None:
    values = np.random.default_rng(0).integers(10, 5000, 3000) * 250
    _, decoded = recoded(pa.array(values))
    assert (decoded.to_numpy() % 250 == 0).all()


def texts_of(places: np.ndarray, digits: int = 5) -> pa.Array:
    return pa.array([f"{x:.{digits}f},{y:.{digits}f}" for x, y in places.tolist()])


def places_of(texts: pa.Array) -> np.ndarray:
    return np.array([[float(part) for part in text.split(",")] for text in texts.to_pylist()])


TOWNS = np.array([[40.7, -74.0], [34.0, -118.2]])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("by_subject", [False, True])
def test_nobody_lives_between_two_towns(share: float, by_subject: bool) -> None:
    rng = np.random.default_rng(0)
    home = (rng.random(6000) < share).astype(int)
    column = texts_of(TOWNS[home] + rng.normal(0, 0.05, (6000, 2)))
    subjects = np.arange(6000) // 2 if by_subject else None
    _, decoded = recoded(column, options=FitOptions(Protection(5, subjects)))
    near = np.abs(places_of(decoded)[:, None] - TOWNS).max(2).min(1) < 0.4
    assert near.mean() > 0.99
    _, column_share = np.unique(places_of(decoded)[:, 0] > 37, return_counts=True)
    assert abs(column_share[0] / 6000 - home.mean()) < 0.01


def test_shops_stay_where_they_are() -> None:
    rng = np.random.default_rng(0)
    shops = np.round(rng.uniform([40, 5], [48, 15], (60, 2)), 5)
    column = texts_of(shops[rng.integers(0, 60, 6000)])
    _, decoded = recoded(column)
    assert np.isin(decoded.to_pylist(), column.to_pylist()).mean() > 0.8


def test_an_only_place_moves_no_box_to_itself() -> None:
    rng = np.random.default_rng(0)
    places = np.round(TOWNS[rng.integers(0, 2, 3000)] + rng.normal(0, 0.05, (3000, 2)), 5)
    places[100:104] = [[-33.86543, 151.20987]]
    codec, decoded = recoded(texts_of(places))
    assert "33.865" not in json.dumps(codec_to_json(codec))
    assert "151.2" not in json.dumps(codec_to_json(codec))
    assert places_of(decoded)[:, 0].min() > 30


def test_one_longer_coordinate_gives_no_digits_to_the_others() -> None:
    rng = np.random.default_rng(0)
    texts = texts_of(TOWNS[0] + rng.normal(0, 0.5, (2000, 2)), 2).to_pylist()
    texts[5] = "40.1234567,-73.7654321"
    _, decoded = recoded(pa.array(texts))
    assert {len(text.split(",")[0].split(".")[1]) for text in decoded.to_pylist()} == {2}


def test_coordinates_without_trailing_zeros_come_back_without() -> None:
    places = np.round(TOWNS[0] + np.random.default_rng(0).normal(0, 0.5, (2000, 2)), 3)
    column = pa.array([f"{x},{y}" for x, y in places.tolist()])
    _, decoded = recoded(column)
    assert all(text == f"{float(x)},{float(y)}" for text in decoded.to_pylist() for x, y in [text.split(",")])


@pytest.mark.parametrize("longest", [3, 49, 50, 80])
def test_any_part_of_a_column_of_texts_can_be_encoded(longest: int) -> None:
    column = pa.array(["ab", "c" * longest, "", "x" * (longest - 1)] * 20)
    codec = fit_codec(column, "TABULAR_CHARACTER", PROTECTED)
    whole = codec.encode(column)
    for part in (slice(0, 0), slice(0, 1), slice(2, 3), slice(0, 4)):
        assert codec.encode(column[part]).tolist() == whole[part].tolist()


REFUSED = {
    "TABULAR_NUMERIC_AUTO": [str(i) for i in range(200)],
    "TABULAR_NUMERIC_DIGIT": [str(i) for i in range(200)],
    "TABULAR_DATETIME": [f"2020-01-{1 + i % 28:02d}" for i in range(200)],
    "TABULAR_LAT_LONG": [f"{i % 90}.5,{i % 9}.25" for i in range(200)],
}


@pytest.mark.parametrize("encoding", REFUSED)
@pytest.mark.parametrize("times", [1, 4, 5])
def test_an_error_shows_of_a_single_persons_value_its_shape_alone(encoding: str, times: int) -> None:
    column = pa.array(REFUSED[encoding] + ["Anna.Ö-1969@x"] * times)
    with pytest.raises(UnsupportedData) as caught:
        fit_codec(column, encoding, PROTECTED)
    shown = "'Anna.Ö-1969@x' is no" if times >= 5 else "'aaaa.a-0000@a' (letters and digits masked) is no"
    assert shown in str(caught.value)
    with pytest.raises(UnsupportedData, match="Anna"):
        fit_codec(column, encoding, FitOptions(Protection(1)))
    with pytest.raises(UnsupportedData, match="aaaa"):
        fit_codec(column, encoding, FitOptions(Protection(5, np.arange(200 + times).clip(max=199))))


def test_a_digit_that_one_person_has_at_its_place_is_never_made() -> None:
    values = np.random.default_rng(0).integers(0, 3, (2000, 6)) @ 10 ** np.arange(6)
    values[7] = 191_919
    codec, decoded = recoded(pa.array(values), "TABULAR_NUMERIC_DIGIT")
    assert "9" not in "".join(map(str, decoded.to_pylist()))
    assert (2, 10) in codec.forbidden
    assert (2, 3) not in codec.forbidden


def test_digits_that_nearly_all_differ_are_drawn() -> None:
    values = np.arange(60)
    _, decoded = recoded(pa.array(values), "TABULAR_NUMERIC_DIGIT", FitOptions(Protection(7)))
    assert set(decoded.to_numpy() % 10) == set(range(10))
    assert (decoded.to_numpy() != values).mean() > 0.5


@pytest.mark.parametrize("odd", [["n/a", "not yet known", "x" * 40, "AB"], ["AB 12"]])
def test_codes_are_codes_beside_a_few_odd_ones(odd: list[str]) -> None:
    codes = [f"AB-{n:05d}" for n in np.random.default_rng(0).integers(0, 10**5, 2000)]
    codec, decoded = recoded(pa.array(codes + odd))
    assert codec.encoding == "TABULAR_CHARACTER"
    assert all(re.fullmatch(r"AB-\d{5}", text) for text in decoded.to_pylist())
    for share, encoding in ((0.008, "TABULAR_CHARACTER"), (0.03, "TABULAR_CATEGORICAL")):
        some = odd * int(share * len(codes) / len(odd))
        assert fit_codec(pa.array(codes + some), "AUTO", PROTECTED).encoding == encoding


@pytest.mark.parametrize("encoding", [*ENCODINGS, "TABULAR_NUMERIC_DIGIT"])
def test_texts_that_are_no_finite_numbers_come_back(encoding: str) -> None:
    column = pa.array(["nan", "inf", "-inf", "1.5", "2", None] * 40)
    assert recoded(column, encoding)[1].equals(column)


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1.0, 1e12, 1e30, 1e250])
@pytest.mark.parametrize("odd", [None, 1e290])
def test_digits_are_as_fine_as_the_values(scale: float, odd: float | None) -> None:
    values = np.random.default_rng(0).uniform(-scale, scale, 2000)
    if odd is not None:
        values[3] = odd
    codec, decoded = recoded(pa.array(values), "TABULAR_NUMERIC_DIGIT")
    bounds = [float(bound) for bound in (codec.value_range().min or "0", codec.value_range().max or "0")]
    inner = (values > bounds[0]) & (values < bounds[1])
    found = decoded.to_numpy()
    assert inner.mean() > 0.98
    assert np.mean(np.abs(found[inner] - values[inner]) < 1e-6 * scale) > 0.98


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_digits_of_the_largest_floats_stay_finite(kind: pa.DataType) -> None:
    largest = np.finfo(np.float32 if pa.types.is_float32(kind) else np.float64).max
    column = pa.array(np.array([largest, -largest, largest / 3] * 20), pa.float64()).cast(kind)
    _, decoded = recoded(column, "TABULAR_NUMERIC_DIGIT")
    assert np.isfinite(decoded.to_numpy()).all()
    assert np.allclose(decoded.to_numpy() / largest, column.to_numpy() / largest, atol=1e-6)


ENDS = {
    "int64": pa.array([i * 2**57 - 2**62 for i in range(60)] + [-(2**63), 2**63 - 1] * 10),
    "uint64": pa.array([i * 2**57 for i in range(60)] + [0, 2**64 - 1] * 10, pa.uint64()),
    "seconds": pa.array(np.arange(60) * 2**56 - 2**61).cast(pa.timestamp("s")),
    "unknown zone": pa.array(np.arange(60) * 10**6).cast(pa.timestamp("s", "Mars/Phobos")),
    "durations": pa.array(np.arange(60) * 2**56 - 2**61).cast(pa.duration("ms")),
    "days": pa.array((np.arange(60) * 2**25 - 2**30).astype(np.int32)).cast(pa.date32()),
    "thousands": pa.array(
        [None if i % 7 == 0 else Decimal(i) * 1000 for i in range(90)], pa.decimal128(18, -3)
    ),
    "single floats": pa.array((np.arange(60) / 7).astype(np.float32)),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("encoding", [*ENCODINGS, "TABULAR_NUMERIC_DIGIT", "TABULAR_CATEGORICAL", "AUTO"])
@pytest.mark.parametrize("threshold", [1, 5])
def test_values_as_far_as_a_type_reaches_come_back_and_can_be_shown(
    name: str, encoding: str, threshold: int
) -> None:
    column, options = ENDS[name], FitOptions(Protection(threshold), max_atoms=3)
    codec, decoded = recoded(column, encoding, options)
    assert decoded.type == column.type
    assert decoded.is_null().equals(column.is_null()) or codec.encoding == "TABULAR_CATEGORICAL"
    bounds = codec.value_range()
    assert bounds.values or bounds.min or threshold > 1
    assert codec.encoding == "TABULAR_CATEGORICAL" or not codec.unknown(decoded).any()
