"""Times of more digits than microseconds: Arrow's nanoseconds hold them, but only from 1677 to 2262."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from simulacra_connector.drivers.sql.columns import ReadColumn

__all__ = ["MeasuredMoment", "measure_sql", "with_measures"]

# The first and last days that fit nanoseconds since 1970 in 64 bits.
_FIRST, _LAST = "1677-09-22", "2262-04-11"


@dataclass(frozen=True, slots=True)
class MeasuredMoment(ReadColumn):
    """A column of moments whose unit depends on its values; read with all digits until it is known."""

    value: str = ""
    """The moment in SQL."""
    coarse: str = ""
    """The expression that prints it to the microsecond."""

    @property
    def settled(self) -> ReadColumn:
        """The column in microseconds."""
        type: Any = self.type
        return ReadColumn(self.name, self.coarse, pa.timestamp("us", type.tz))


def measure_sql(columns: Sequence[ReadColumn], *, fraction: str) -> str:
    """Returns the select list that measures moments: whether they need nanoseconds, and how many are too far.

    `fraction` is what a moment has beyond its microseconds, in SQL, with the moment in place of {}.
    """
    parts: list[str] = []
    for column in columns:
        if isinstance(column, MeasuredMoment):
            far = f"{column.value} < '{_FIRST}' OR {column.value} >= '{_LAST}'"
            parts += [f"MAX({fraction.format(column.value)})", f"SUM(CASE WHEN {far} THEN 1 ELSE 0 END)"]
    return ", ".join(parts)


def with_measures(columns: Sequence[ReadColumn], measures: Sequence[Any]) -> list[ReadColumn]:
    """Returns the columns in the units that their measures ask for.

    Raises:
        UnsupportedData: If a column holds both nanoseconds and years that those do not reach.
    """
    values = iter(measures)
    measured: list[ReadColumn] = []
    for column in columns:
        if isinstance(column, MeasuredMoment):
            finest, far = next(values), next(values)
            if finest and far:
                column.refuse("holds both fractions of microseconds and years beyond 1677 to 2262")
            column = column if finest else column.settled
        measured.append(column)
    return measured
