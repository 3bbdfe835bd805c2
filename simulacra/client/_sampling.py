"""What `size` and `seed` of generate() and probe() mean, table by table."""

from collections.abc import Mapping
from numbers import Integral, Number
from typing import Any

from simulacra.client._frames import Source, as_sources
from simulacra.domain import Generator
from simulacra.errors import InvalidArgument

__all__ = ["nullable_columns", "seed_sources", "sizes_of", "split_seed"]


def split_seed(seed: object) -> tuple[int | None, object]:
    """Splits `seed` into a number (of the random generator) and data (rows to complete)."""
    if isinstance(seed, bool):
        raise InvalidArgument.of("seed", "is a truth value; give a whole number, or rows")
    if isinstance(seed, Integral):  # also numpy's
        return int(seed), None
    if isinstance(seed, Number):
        raise InvalidArgument.of("seed", f"{seed} is not a whole number; give one, or rows")
    return None, seed


def _subject_tables(generator: Generator) -> list[str]:
    return [
        table.name
        for table in generator.tables or []
        if not any(key.is_context for key in table.foreign_keys or [])
    ]


def sizes_of(size: int | Mapping[str, int] | None, generator: Generator) -> dict[str, int]:
    """Returns the number of rows per table: of every subject table for a number."""
    if size is None:
        return {}
    if isinstance(size, Mapping):
        return {_known(name, generator): rows for name, rows in size.items()}
    return dict.fromkeys(_subject_tables(generator), size)


def nullable_columns(generator: Generator) -> dict[str, frozenset[str]]:
    """Returns the columns of each table that had nulls when they were learnt."""
    return {
        table.name: frozenset(
            column.name for column in table.columns if column.value_range and column.value_range.has_null
        )
        for table in generator.tables or []
    }


def _known(name: str, generator: Generator) -> str:
    names = [table.name for table in generator.tables or []]
    if name not in names:
        raise InvalidArgument.of("tables", f'the generator has no table "{name}"; it has {", ".join(names)}')
    return name


def seed_sources(seed: Any, generator: Generator) -> list[Source]:
    """Returns seed data per table: one without a name is for the first subject table."""
    if seed is None:
        return []
    if isinstance(seed, list | tuple | Mapping) and not seed:
        raise InvalidArgument.of("seed", "is empty; give a whole number, or rows")
    if isinstance(seed, Mapping):
        return as_sources({_known(name, generator): _frame(rows) for name, rows in seed.items()})
    subjects = _subject_tables(generator)
    if not subjects:
        raise InvalidArgument.of("seed", "the generator has no subject table to seed")
    return as_sources(_frame(seed), name=subjects[0])


def _frame(rows: Any) -> Any:
    if isinstance(rows, list) and rows and all(isinstance(row, Mapping) for row in rows):
        import pandas as pd

        return pd.DataFrame(rows)
    return rows
