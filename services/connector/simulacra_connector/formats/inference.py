"""Finds the type of a column of text: the narrowest one that holds every value exactly.

Blocks of values narrow a list of conversions down; the first that has survived all blocks is the column's.
Text with leading zeros stays text, integers beyond 2^53 stay exact, and a column that mixes kinds is text.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["CONVERSIONS", "DATES", "NUMBERS", "TEXT", "ColumnInference", "Conversion", "conversions_for"]

# What programs write for a missing value. In a column of text these stay as they are: "NA" may be a country.
_NULL_WORDS = pa.array(["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>", "\\N"])
_INTEGER = r"-?(0|[1-9][0-9]*)"
_FLOAT = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|-?(inf|Inf|Infinity)"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_EXACT_FLOAT = pa.scalar(2.0**53)
_EMPTY, _NULL = pa.scalar(""), pa.scalar(None, pa.string())


class _Unfit(ValueError):
    """The values are not of this kind."""


Text = Any
"""A `pa.StringArray`; what a compute function returns is known to nobody but Arrow."""
Parser = Callable[[Text], Any]


@dataclass(frozen=True, slots=True)
class Conversion:
    """One way to read text: `pattern` must match each value, and `parse` must not raise."""

    name: str
    type: pa.DataType
    pattern: str
    parse: Parser

    def convert(self, values: Text) -> Any:
        """Converts a column's text; null words become nulls.

        Raises:
            ValueError: If a value is not of this kind.
        """
        if self.type == pa.string():
            return pc.if_else(pc.equal(values, _EMPTY), _NULL, values)
        trimmed = pc.utf8_trim_whitespace(values)
        trimmed = pc.if_else(pc.is_in(trimmed, value_set=_NULL_WORDS), _NULL, trimmed)
        if not pc.all(pc.match_substring_regex(trimmed, f"^({self.pattern})$"), min_count=0).as_py():
            raise _Unfit
        return self.parse(trimmed)


def _cast(type: pa.DataType) -> Parser:
    return lambda values: values.cast(type)


def _floats(values: Text) -> Any:
    floats = values.cast(pa.float64())
    whole = pc.match_substring_regex(values, r"^[+-]?[0-9]+$")
    # An integer that a float cannot hold: the column is then text, not a rounded number.
    if pc.any(pc.and_(whole, pc.greater_equal(pc.abs(floats), _EXACT_FLOAT))).as_py():
        raise _Unfit
    return floats


def _without(separator: str, parse: Parser, *, point: str = ".") -> Parser:
    """Strips a thousands separator, and makes `point` the decimal point, before parsing."""

    def parse_plain(values: Text) -> Any:
        plain = pc.replace_substring(values, separator, "")
        return parse(pc.replace_substring(plain, point, "."))

    return parse_plain


def _strptime(format: str, type: pa.DataType) -> Parser:
    return lambda values: pc.strptime(values, format=format, unit="us").cast(type)


def _slashed(name: str, format: str) -> list[Conversion]:
    day = r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}"
    clock = r" [0-9]{1,2}:[0-9]{2}"
    moment = pa.timestamp("us")
    return [
        Conversion(f"{name} date", pa.date32(), day, _strptime(format, pa.date32())),
        Conversion(f"{name} minutes", moment, day + clock, _strptime(f"{format} %H:%M", moment)),
        Conversion(
            f"{name} seconds", moment, day + clock + ":[0-9]{2}", _strptime(f"{format} %H:%M:%S", moment)
        ),
    ]


_GROUPED = r"-?([0-9]{1,3}(%s[0-9]{3})+|0|[1-9][0-9]*)"
_COMMAS, _POINTS = _GROUPED % ",", _GROUPED % r"\."
_integers = _cast(pa.int64())

BOOLEANS = (
    Conversion(
        "boolean",
        pa.bool_(),
        "(?i)true|false",
        lambda values: pc.equal(pc.utf8_lower(values), pa.scalar("true")),
    ),
)
NUMBERS = (
    Conversion("integer", pa.int64(), _INTEGER, _integers),
    Conversion("float", pa.float64(), _FLOAT, _floats),
)
_WITH_COMMAS = (
    Conversion("1,234", pa.int64(), _COMMAS, _without(",", _integers)),
    Conversion("1,234.5", pa.float64(), rf"{_COMMAS}(\.[0-9]*)?", _without(",", _floats)),
)
_WITH_DECIMAL_COMMA = (
    Conversion("1.234", pa.int64(), _POINTS, _without(".", _integers)),
    Conversion("1.234,5", pa.float64(), rf"{_POINTS}(,[0-9]+)?", _without(".", _floats, point=",")),
)
DATES = (
    Conversion("date", pa.date32(), _DAY, _cast(pa.date32())),
    Conversion("timestamp", pa.timestamp("us"), f"{_DAY}({_CLOCK})?", _cast(pa.timestamp("us"))),
    Conversion("nanoseconds", pa.timestamp("ns"), f"{_DAY}({_CLOCK})?", _cast(pa.timestamp("ns"))),
    Conversion("instant", pa.timestamp("us", "UTC"), _DAY + _CLOCK + _ZONE, _cast(pa.timestamp("us", "UTC"))),
    Conversion("d.m.y", pa.date32(), r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}", _strptime("%d.%m.%Y", pa.date32())),
    Conversion("y/m/d", pa.date32(), r"[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}", _strptime("%Y/%m/%d", pa.date32())),
    *_slashed("month first", "%m/%d/%Y"),
    *_slashed("day first", "%d/%m/%Y"),
)
TEXT = Conversion("text", pa.string(), "", lambda values: values)
CONVERSIONS = (*BOOLEANS, *NUMBERS, *DATES)


def conversions_for(delimiter: str) -> tuple[Conversion, ...]:
    """Returns the conversions for a CSV file; where `;` separates values, it may be a decimal comma."""
    grouped = _WITH_COMMAS + _WITH_DECIMAL_COMMA if delimiter == "," else _WITH_DECIMAL_COMMA + _WITH_COMMAS
    return (*CONVERSIONS, *grouped)


class ColumnInference:
    """Narrows down, block by block, what a column of text can be."""

    def __init__(self, candidates: Iterable[Conversion]) -> None:
        self._candidates: Sequence[Conversion] = list(candidates)
        self._seen_value = False

    def observe(self, values: Text) -> None:
        """Takes a block of the column into account."""
        if not self._candidates:
            return
        distinct = values.unique()
        trimmed = pc.utf8_trim_whitespace(distinct)
        words = distinct.filter(pc.invert(pc.is_in(trimmed, value_set=_NULL_WORDS))).drop_null()
        if len(words):
            self._seen_value = True
            self._candidates = [candidate for candidate in self._candidates if _fits(candidate, words)]

    def result(self) -> Conversion:
        """Returns the conversion for the column; text if it never had a value, or is ambiguous."""
        if not self._candidates or not self._seen_value:
            return TEXT
        names = {candidate.name for candidate in self._candidates}
        first = self._candidates[0]
        # 03/04/2024 throughout may be March or April: guessing would change dates silently.
        if first.name.startswith("month first") and first.name.replace("month", "day") in names:
            return TEXT
        return first


def _fits(candidate: Conversion, words: Text) -> bool:
    try:
        candidate.convert(words)
    except ValueError:  # pa.ArrowInvalid is one
        return False
    return True
