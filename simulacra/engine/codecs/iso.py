"""Text that holds dates and times in ISO format: how a column writes them, reading and writing it so."""

import re
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.numbers import first_refused
from simulacra.engine.codecs.protection import Protection
from simulacra.errors import UnsupportedData

__all__ = ["IsoForm", "is_iso_text"]

_OPEN = Protection()
_SUFFIXES = ("", "Z", "+00:00")
_FRACTIONS = {"ms": 3, "us": 6}
_DATE, _MINUTES, _SECONDS = r"\d{4}-\d{2}-\d{2}", r"\d{2}:\d{2}", r"\d{2}:\d{2}:\d{2}"
_CLOCKS = {
    "": "",
    "min": _MINUTES,
    "s": _SECONDS,
    **{unit: rf"{_SECONDS}\.\d{{{digits}}}" for unit, digits in _FRACTIONS.items()},
}
_TIME = "|".join(f"(?P<{clock}>{pattern})" for clock, pattern in _CLOCKS.items() if clock)
_ANY = re.compile(rf"^{_DATE}(?:(?P<separator>[T ])(?:{_TIME})(?P<suffix>Z|\+00:00)?)?$")


@dataclass(frozen=True, slots=True)
class IsoForm:
    """How dates are written: `2013-01-01`, `2013-01-01 06:00`, `2013-01-01T06:00:00.000Z`.

    Attributes:
        separator: What stands between date and time: a blank or `T`; empty where there is no time.
        clock: How fine the time is: `min`, `s`, `ms` or `us`; empty where there is none.
        suffix: What follows the time: nothing, or a word for UTC.
    """

    separator: str = ""
    clock: str = ""
    suffix: str = ""

    @classmethod
    def of(cls, column: pa.Array) -> Self:
        """Returns the form of the first value of the commonest length; that of dates where it is none."""
        present = column.drop_null()
        if not len(present):
            return cls()
        lengths = pc.utf8_length(present)
        place = pc.index(lengths, pc.mode(lengths)[0]["mode"]).as_py()
        found = _ANY.match(present[place].as_py())
        if found is None or not found["separator"]:
            return cls()
        clock = next(name for name in _CLOCKS if name and found[name])
        return cls(found["separator"], clock, found["suffix"] or "")

    @property
    def unit(self) -> str:
        """The unit of Arrow's timestamps that holds such times."""
        return self.clock if self.clock in _FRACTIONS else "s"

    @property
    def pattern(self) -> str:
        """The regular expression of a whole value."""
        return rf"^{_DATE}{self.separator}{_CLOCKS[self.clock]}{re.escape(self.suffix)}$"

    def read(self, column: pa.Array, rule: Protection = _OPEN) -> pa.Array:
        """Returns text as timestamps of `unit`; text of another of these forms too, where it is no finer.

        Raises:
            UnsupportedData: A value is no date; the error shows it as far as `rule` allows.
        """
        plain = pc.replace_substring_regex(column, r"(Z|\+00:00)$", "")
        kind = pa.timestamp(self.unit)
        try:
            return plain.cast(kind)
        except pa.ArrowInvalid as error:
            wrong = first_refused(plain, kind, rule)
            raise UnsupportedData(
                f"the value {wrong} is no date, which a date encoding needs; use AUTO or TABULAR_CATEGORICAL"
            ) from error

    def write(self, column: pa.Array) -> pa.Array:
        """Returns timestamps of `unit` as text."""
        text = column.cast(pa.string())  # 2013-01-01 06:00:00, with the fraction of the unit
        if self.clock in ("", "min"):
            text = pc.utf8_slice_codeunits(text, 0, 10 if not self.clock else 16)
        if self.separator == "T":
            text = pc.binary_replace_slice(text, 10, 11, "T")
        return pc.binary_join_element_wise(text, self.suffix, "") if self.suffix else text

    def to_json(self) -> dict[str, Any]:
        """Returns the document that `from_json` reads."""
        return {"separator": self.separator, "clock": self.clock, "suffix": self.suffix}

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """Reads a form; raises `CorruptBundle` for what is none."""
        return cls(
            document.text("separator", ("", " ", "T")),
            document.text("clock", tuple(_CLOCKS)),
            document.text("suffix", _SUFFIXES),
        )


def is_iso_text(column: pa.Array) -> bool:
    """Says whether text is dates or timestamps of one form throughout, each as `write` would write it."""
    present = column.drop_null()
    if not len(present):
        return False
    form = IsoForm.of(present)
    for part in (present[:100], present):
        if not pc.all(pc.match_substring_regex(part, form.pattern)).as_py():
            return False
    try:
        return bool(pc.all(pc.equal(form.write(form.read(present)).cast(present.type), present)).as_py())
    except (UnsupportedData, pa.ArrowInvalid):
        return False
