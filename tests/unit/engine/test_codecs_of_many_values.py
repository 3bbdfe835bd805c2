"""Bins, layouts, trees and alphabets: what each codec promises of columns of some hundred values."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulacra.engine.codecs import FitOptions, Protection, codec_from_json, codec_to_json, fit_codec
from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.base import RARE, Codec
from simulacra.engine.codecs.datetime import DatetimeCodec
from simulacra.engine.codecs.digits import DigitCodec
from simulacra.engine.codecs.numeric import BinnedCodec

EXAMPLES = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NUMERIC = ("TABULAR_NUMERIC_AUTO", "TABULAR_NUMERIC_DISCRETE", "TABULAR_NUMERIC_BINNED")


@dataclass(frozen=True)
class Setting:
    """What is drawn for a column besides its values: its random numbers, its nulls, the rule."""

    rng: np.random.Generator
    rows: int
    null: np.ndarray = field(repr=False)
    options: FitOptions = field(repr=False)

    def column(self, values: Any, kind: pa.DataType | None = None) -> pa.Array:
        """Returns the values as a column, some of them null."""
        if isinstance(values, np.ndarray):
            return pa.array(values, kind, mask=self.null)
        return pa.array([None if gone else v for v, gone in zip(values, self.null, strict=True)], kind)


@st.composite
def drawn_settings(draw: st.DrawFn) -> Setting:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(300, 600))
    null = rng.random(rows) < draw(st.sampled_from([0.0, 0.1, 0.6]))
    threshold = draw(st.sampled_from([1, 5]))
    subjects = rng.integers(0, 150, rows) if draw(st.booleans()) else None
    options = FitOptions(
        Protection(threshold, subjects),
        constant=draw(st.booleans()),
        max_atoms=draw(st.sampled_from([3, 100])),
    )
    return Setting(rng, rows, null, options)


def recoded(column: pa.Array, encoding: str, options: FitOptions) -> tuple[Codec, pa.Array]:
    """Returns the codec, read back from its document, and what it makes of the column that it learnt."""
    fitted = fit_codec(column, encoding, options)
    codec = codec_from_json(Document(json.loads(json.dumps(codec_to_json(fitted), allow_nan=False))))
    codes = codec.encode(column)
    assert codes.shape == (len(column), len(codec.cardinalities))
    assert ((codes >= 0) & (codes < codec.cardinalities)).all()
    assert not codec.unknown(column.filter(pa.array(np.zeros(len(column), bool)))).any()
    decoded = codec.decode(codes, np.random.default_rng(1))
    decoded.validate(full=True)
    assert decoded.type == column.type
    assert decoded.is_null().equals(column.is_null())
    return codec, decoded


def present(column: pa.Array) -> list[Any]:
    values: list[Any] = column.drop_null().to_pylist()
    return values


INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()]


@dataclass(frozen=True)
class Grid:
    """Whole numbers, and the step of which their distances are multiples."""

    values: list[int] = field(repr=False)
    step: int


@st.composite
def grids(draw: st.DrawFn, low: int, high: int, setting: Setting) -> Grid:
    """Draws whole numbers in [low, high] on a grid."""
    rows, rng = setting.rows, setting.rng
    span = draw(st.sampled_from([60, 500, 10**5, high - low])) if high - low > 500 else high - low
    span = min(span, high - low)
    first = draw(st.integers(low, high - span))
    step = draw(st.sampled_from([1, 2, 5, 1000]).filter(lambda step: step * 10 <= span))
    most = span // step
    shape = draw(st.sampled_from(["even", "skewed", "spike"]))
    at = [int(share * most) for share in (rng.random(rows) ** (4 if shape == "skewed" else 1)).tolist()]
    if shape == "spike":
        at = [0 if spike else place for place, spike in zip(at, rng.random(rows) < 0.3, strict=True)]
    return Grid([first + step * place for place in at], step)


def check_whole_numbers(codec: Codec, before: list[int], after: list[int], step: int, encoding: str) -> None:
    assert min(before) <= min(after)
    assert max(after) <= max(before)
    assert {(value - before[0]) % step for value in after} == {0}
    if encoding == "TABULAR_NUMERIC_DISCRETE" and isinstance(codec, BinnedCodec) and codec.cells is not None:
        inner = set(after) - {min(after), max(after)}  # protected bounds are nobody's own values
        assert len(codec.cells.bases) or inner <= set(before)


@pytest.mark.parametrize("encoding", NUMERIC)
@EXAMPLES
@given(setting=drawn_settings(), kind=st.sampled_from(INTEGERS), data=st.data())
def test_integers_stay_in_their_range_and_on_their_grid(
    encoding: str, setting: Setting, kind: pa.DataType, data: st.DataObject
) -> None:
    bits, signed = kind.bit_width, pa.types.is_signed_integer(kind)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    grid = data.draw(grids(low, high, setting))
    column = setting.column(grid.values, kind)
    codec, decoded = recoded(column, encoding, setting.options)
    check_whole_numbers(codec, present(column), present(decoded), grid.step, encoding)
    bounds = codec.value_range()
    if bounds.min is not None and bounds.max is not None:
        assert all(int(bounds.min) <= value <= int(bounds.max) for value in present(decoded))


@EXAMPLES
@given(setting=drawn_settings(), kind=st.sampled_from(INTEGERS), data=st.data())
def test_digits_come_back_but_for_the_protected_bounds(
    setting: Setting, kind: pa.DataType, data: st.DataObject
) -> None:
    bits, signed = kind.bit_width, pa.types.is_signed_integer(kind)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    grid = data.draw(grids(low, high, setting))
    column = setting.column(grid.values, kind)
    codec, decoded = recoded(column, "TABULAR_NUMERIC_DIGIT", setting.options)
    assert isinstance(codec, DigitCodec)
    assert min(present(column)) <= codec.low <= codec.high <= max(present(column))
    places = len(codec.kept)
    for value, came in zip(present(column), present(decoded), strict=True):
        wanted = min(max(value, codec.low), codec.high)
        digits = f"{abs(wanted):0{places}d}"
        few = any(int(digit) not in kept for digit, kept in zip(digits, codec.kept, strict=True))
        assert came == wanted or (few and codec.low <= came <= codec.high)
        assert not few or setting.options.protection.enabled


@pytest.mark.parametrize("encoding", NUMERIC)
@EXAMPLES
@given(
    setting=drawn_settings(),
    kind=st.sampled_from([pa.float64(), pa.float32()]),
    digits=st.integers(0, 4),
    data=st.data(),
)
def test_floats_of_few_digits_keep_them(
    encoding: str, setting: Setting, kind: pa.DataType, digits: int, data: st.DataObject
) -> None:
    most = 10**6 if pa.types.is_float32(kind) else 10**12
    grid = data.draw(grids(-most, most, setting))
    column = setting.column(np.array(grid.values) / 10**digits, pa.float64()).cast(kind)
    codec, decoded = recoded(column, encoding, setting.options)
    before, after = ([round(value * 10**digits) for value in present(part)] for part in (column, decoded))
    assert decoded.drop_null().equals(pa.array(np.array(after) / 10**digits, pa.float64()).cast(kind))
    check_whole_numbers(codec, before, after, grid.step, encoding)


@pytest.mark.parametrize("encoding", NUMERIC)
@EXAMPLES
@given(
    setting=drawn_settings(),
    kind=st.sampled_from([pa.float64(), pa.float32()]),
    exponent=st.integers(-30, 30),
    shift=st.floats(-100, 100),
    odd=st.booleans(),
)
def test_floats_of_all_digits_stay_in_their_range(
    encoding: str, setting: Setting, kind: pa.DataType, exponent: int, shift: float, odd: bool
) -> None:
    values = (setting.rng.standard_t(2, setting.rows) + shift) * 10.0**exponent
    for number, special in enumerate((np.nan, np.inf, -np.inf) if odd else ()):
        values[number::12] = special
    column = setting.column(values, pa.float64()).cast(kind)
    codec, decoded = recoded(column, encoding, setting.options)
    before, after = (part.drop_null().to_numpy() for part in (column, decoded))
    finite = np.isfinite(before)
    assert isinstance(codec, BinnedCodec)
    for state, is_special in ((2, np.isnan), (3, np.isneginf), (4, np.isposinf)):
        if state in codec.special:
            assert (is_special(before) == is_special(after)).all()
        else:
            assert not is_special(after).any()
    assert np.isfinite(after[finite]).all()
    assert before[finite].min() <= after[finite].min()
    assert after[finite].max() <= before[finite].max()
    assert np.isin(3, codec.special) <= odd


@pytest.mark.parametrize("encoding", [*NUMERIC, "TABULAR_NUMERIC_DIGIT"])
@EXAMPLES
@given(setting=drawn_settings(), wide=st.booleans(), scale=st.integers(0, 6), data=st.data())
def test_decimals_keep_their_places(
    encoding: str, setting: Setting, wide: bool, scale: int, data: st.DataObject
) -> None:
    kind = pa.decimal256(50, scale) if wide else pa.decimal128(18, scale)
    grid = data.draw(grids(-(10**17), 10**17, setting))
    column = setting.column([Decimal(value).scaleb(-scale) for value in grid.values], kind)
    codec, decoded = recoded(column, encoding, setting.options)
    before, after = ([int(value.scaleb(scale)) for value in present(part)] for part in (column, decoded))
    step = 1 if encoding == "TABULAR_NUMERIC_DIGIT" else grid.step
    check_whole_numbers(codec, before, after, step, encoding)


UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
DATES = {
    "date32": pa.date32(),
    "date64": pa.date64(),
    **{unit: pa.timestamp(unit) for unit in UNITS},
    "Vienna": pa.timestamp("us", "Europe/Vienna"),
    "New York": pa.timestamp("s", "America/New_York"),
    "text": pa.string(),
}
STARTS = [
    np.datetime64(day) for day in ("1583-01-05", "1901-02-03", "1968-05-17", "1999-12-25", "2262-01-01")
]
LATE = np.datetime64("9000-03-04")


def days_of(pattern: str, start: np.datetime64, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Returns days since 1970 from about `start` on."""
    if pattern in ("days", "any"):
        return (start + rng.integers(0, {"days": 100, "any": 9000}[pattern], rows)).astype(np.int64)
    if pattern == "weekdays":
        monday = start - (start.astype(np.int64) + 3) % 7
        return (monday + 7 * rng.integers(0, 900, rows) + rng.integers(0, 5, rows)).astype(np.int64)
    months = start.astype("datetime64[M]") + rng.integers(0, 30 * 12, rows)
    if pattern == "month starts":
        return np.asarray(months.astype("datetime64[D]").astype(np.int64))
    return np.asarray((months + 1).astype("datetime64[D]").astype(np.int64) - 1)


def dates(name: str, days: np.ndarray, seconds: np.ndarray, setting: Setting) -> pa.Array:
    """Returns a column of the kind of that name, of local days and seconds since midnight."""
    kind = DATES[name]
    if name == "date32":
        return setting.column(days.astype(np.int32), pa.int32()).cast(kind)
    if name == "date64":
        return setting.column(days * 86_400_000, pa.int64()).cast(kind)
    unit = "s" if name == "text" else kind.unit
    column = setting.column((days * 86_400 + seconds) * UNITS[unit], pa.int64()).cast(pa.timestamp(unit))
    if name == "text":
        return pc.strftime(column, format="%Y-%m-%d %H:%M:%S" if seconds.any() else "%Y-%m-%d")
    return pc.assume_timezone(column, kind.tz) if kind.tz else column


def local(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the days and the seconds since midnight of the values that are there."""
    column = column.drop_null()
    if pa.types.is_timestamp(column.type) and column.type.tz:
        column = pc.local_timestamp(column)
    seconds = column.cast(pa.timestamp("s")).cast(pa.int64()).to_numpy()
    days, clock = np.divmod(seconds, 86_400)
    return days, clock


PATTERNS = {
    "days": "day",
    "any": "day",
    "weekdays": "week",
    "month starts": "calendar",
    "month ends": "calendar",
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_layout_follows_the_pattern(pattern: str) -> None:
    days = days_of(pattern, STARTS[2], 600, np.random.default_rng(0))
    codec = fit_codec(pa.array(days.astype("datetime64[D]")), "AUTO", FitOptions(Protection(5)))
    assert isinstance(codec, DatetimeCodec)
    assert codec.layout == PATTERNS[pattern]


@pytest.mark.parametrize("pattern", PATTERNS)
@EXAMPLES
@given(
    setting=drawn_settings(),
    name=st.sampled_from([*DATES]),
    start=st.sampled_from([*STARTS, LATE]),
    clock=st.sampled_from(["midnight", "hours", "seconds"]),
)
def test_dates_keep_their_calendar_and_their_times_of_day(
    pattern: str, setting: Setting, name: str, start: np.datetime64, clock: str
) -> None:
    if name in ("ns", "Vienna", "New York"):  # nanoseconds end in 2262; clocks of zones were odd long ago
        start = {"ns": STARTS[1]}.get(name, np.datetime64("1985-01-01"))
    rng, rows = setting.rng, setting.rows
    days = days_of(pattern, start, rows, rng)
    hours = {"midnight": np.zeros(rows, np.int64), "hours": rng.choice([6, 9, 17], rows) * 3600}
    seconds = hours.get(clock, rng.integers(4 * 3600, 22 * 3600, rows))
    if name.startswith("date"):
        seconds = hours["midnight"]
    column = dates(name, days, seconds, setting)
    codec, decoded = recoded(column, "TABULAR_DATETIME", setting.options)
    assert isinstance(codec, DatetimeCodec)
    before, clock_before = local(column)
    after, clock_after = local(decoded)
    assert clock_before.min() <= clock_after.min()
    assert clock_after.max() <= clock_before.max()
    if clock == "hours":
        assert set(clock_after) <= set(clock_before)
    units = {"day": before, "week": (before + 3) // 7, "calendar": months(before)}
    found = {"day": after, "week": (after + 3) // 7, "calendar": months(after)}[codec.layout]
    assert units[codec.layout].min() <= found.min()
    assert found.max() <= units[codec.layout].max()
    if codec.layout == "week":
        assert ((after + 3) % 7 == (before + 3) % 7).all()
    if codec.layout == "calendar" and pattern == "month starts":
        assert set(months(after - 1) - months(after)) == {-1}
    if codec.layout == "calendar" and pattern == "month ends" and setting.options.protection.threshold == 1:
        assert set(months(after + 1) - months(after)) == {1}


def months(days: np.ndarray) -> np.ndarray:
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


CATEGORIES: dict[str, tuple[pa.DataType, Any]] = {
    "text": (pa.string(), lambda n: f"c{n}"),
    "large text": (pa.large_string(), lambda n: "é" * (n % 50) + str(n)),
    "binary": (pa.binary(), lambda n: bytes([n % 256, n // 256])),
    "number": (pa.int32(), lambda n: n),
    "float": (pa.float64(), lambda n: n / 7),
    "truth": (pa.bool_(), lambda n: n % 2 == 0),
    "duration": (pa.duration("s"), lambda n: timedelta(seconds=n)),
}


@pytest.mark.parametrize("name", CATEGORIES)
@EXAMPLES
@given(setting=drawn_settings(), count=st.integers(1, 400), skew=st.floats(0.0, 3.0))
def test_categories_are_those_that_enough_subjects_share(
    name: str, setting: Setting, count: int, skew: float
) -> None:
    kind, make = CATEGORIES[name]
    chances = np.arange(1, count + 1) ** -skew
    numbers = setting.rng.choice(count, setting.rows, p=chances / chances.sum())
    column = setting.column([make(int(number)) for number in numbers], kind)
    rule = setting.options.protection
    subjects = np.arange(setting.rows) if rule.subjects is None or not rule.enabled else rule.subjects
    people: dict[Any, set[int]] = {}
    for value, subject in zip(column.to_pylist(), subjects.tolist(), strict=True):
        people.setdefault(value, set()).add(subject)
    kept = {value for value, who in people.items() if value is not None and len(who) >= rule.threshold}
    codec = fit_codec(column, "TABULAR_CATEGORICAL", setting.options)
    decoded = codec_from_json(Document(json.loads(json.dumps(codec_to_json(codec))))).decode(
        codec.encode(column), np.random.default_rng(1)
    )
    assert decoded.type == column.type
    constant = setting.options.constant and "text" in name
    for value, came in zip(column.to_pylist(), decoded.to_pylist(), strict=True):
        if value is None or value in kept:
            assert came == value
        elif constant:
            assert came == RARE
        else:
            assert came in kept or not kept


LETTERS = {"A": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0": "0123456789", "a": "abcdefghijklmnopqrstuvwxyz"}


@EXAMPLES
@given(
    setting=drawn_settings(),
    pattern=st.text("A0a-/", min_size=1, max_size=12),
    short=st.integers(0, 3),
)
def test_characters_stay_at_their_places(setting: Setting, pattern: str, short: int) -> None:
    rng = setting.rng
    letters = [LETTERS.get(place, place) for place in pattern]
    ends = rng.integers(max(1, len(pattern) - short), len(pattern) + 1, setting.rows)
    texts = ["".join(part[rng.integers(len(part))] for part in letters[:end]) for end in ends]
    column = setting.column(texts)
    _, decoded = recoded(column, "TABULAR_CHARACTER", setting.options)
    assert {len(text) for text in present(decoded)} <= {len(text) for text in present(column)}
    assert all(
        letter in part for text in present(decoded) for letter, part in zip(text, letters, strict=False)
    )
    if not setting.options.protection.enabled:
        assert decoded.equals(column)


@EXAMPLES
@given(
    setting=drawn_settings(),
    center=st.tuples(st.floats(-89, 89), st.floats(-179, 179)),
    spread=st.sampled_from([0.0, 0.001, 0.5, 40.0]),
    digits=st.integers(1, 7),
    separator=st.sampled_from([",", ", "]),
    towns=st.booleans(),
)
def test_places_stay_within_their_bounds_and_nearby(
    setting: Setting,
    center: tuple[float, float],
    spread: float,
    digits: int,
    separator: str,
    towns: bool,
) -> None:
    points = setting.rng.normal(center, spread, (setting.rows, 2))
    if towns:  # many at few places
        points = np.round(points[setting.rng.integers(0, 12, setting.rows)], digits)
    points = np.clip(points, [-90, -180], [90, 180])
    column = setting.column([f"{x:.{digits}f}{separator}{y:.{digits}f}" for x, y in points.tolist()])
    codec, decoded = recoded(column, "AUTO", setting.options)
    assert codec.encoding == "TABULAR_LAT_LONG"
    here, there = (
        np.array([[float(part) for part in text.split(separator)] for text in present(part)])
        for part in (column, decoded)
    )
    pattern = rf"^-?\d+\.\d{{{digits}}}{separator}-?\d+\.\d{{{digits}}}$"
    assert pc.all(pc.match_substring_regex(decoded.drop_null(), pattern)).as_py()
    assert (here.min(0) <= there.min(0)).all()
    assert (there.max(0) <= here.max(0)).all()
    if not towns:
        width = here.max(0) - here.min(0)
        assert (np.median(np.abs(there - here), 0) <= 0.2 * width + 10.0**-digits).all()
