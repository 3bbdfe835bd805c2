"""What is in the way of tables that are written to MySQL or MariaDB, and whether the user may write there."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pymysql

from simulacra.errors import AlreadyExists, InvalidArgument, PermissionDenied
from simulacra_connector.drivers.base import WriteMode, location_not_found
from simulacra_connector.drivers.delivery import already_there
from simulacra_connector.drivers.locations import format_location
from simulacra_connector.drivers.mysql.columns import quote

__all__ = ["Existing", "existing_tables", "try_tables"]

Fetch = Callable[..., Sequence[tuple[Any, ...]]]

_TABLE = (
    "SELECT table_type, engine, coalesce(create_options, '') FROM information_schema.tables "
    "WHERE table_schema = %s AND table_name = %s"
)
_COLUMNS = (
    "SELECT column_name, coalesce(generation_expression, '') <> '' FROM information_schema.columns "
    "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"
)
_DENIED = {1044, 1142, 1143, 1227, 1290, 1370, 1792, 1836}


@dataclass(frozen=True, slots=True)
class Existing:
    """A table that is there; of its columns the server computes those that are `generated`."""

    columns: tuple[str, ...]
    generated: frozenset[str]
    partitioned: bool

    def like(self, place: str) -> str:
        """Returns what makes a temporary table of the same columns; such a table cannot have partitions."""
        return f"AS SELECT * FROM {place} LIMIT 0" if self.partitioned else f"LIKE {place}"


def existing_tables(
    fetch: Fetch, database: str, names: Sequence[str], mode: WriteMode
) -> dict[str, Existing]:
    """Returns those of the tables that are there.

    Raises:
        AlreadyExists: If one may not be replaced.
        InvalidArgument: If one is kept in an engine without transactions.
        LocationNotFound: If the database is not there.
    """
    if not fetch("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", database):
        raise location_not_found(database, f'there is no database "{database}"')
    there: dict[str, Existing] = {}
    for name in names:
        found, location = fetch(_TABLE, database, name), format_location(database, name)
        if not found:
            continue
        if mode is WriteMode.FAIL:
            raise already_there(location)
        [(kind, engine, options)] = found
        if kind != "BASE TABLE":
            raise AlreadyExists(f"{location} is no plain table but a {kind.lower()}; choose another location")
        if str(engine).lower() != "innodb":
            raise InvalidArgument(
                f"table {location} has engine {engine}, which knows no transactions; "
                "drop it first, or change its engine to InnoDB"
            )
        columns = [(str(column), bool(int(computed))) for column, computed in fetch(_COLUMNS, database, name)]
        there[name] = Existing(
            tuple(column for column, _ in columns),
            frozenset(column for column, computed in columns if computed),
            "partitioned" in options,
        )
    return there


def try_tables(fetch: Fetch, database: str, names: Sequence[str], mode: WriteMode) -> None:
    """Has the server do on no rows what a delivery does, and takes it back.

    Privileges come from users, roles, databases, tables and columns: only the server adds them up.

    Raises:
        PermissionDenied: If the user may not do it.
        AlreadyExists, InvalidArgument, LocationNotFound: As `existing_tables`.
    """
    there = existing_tables(fetch, database, names, mode)
    tag = f"simulacra_check_{uuid.uuid4().hex[:8]}"
    first, second = (f"{quote(database)}.{quote(f'{tag}{end}')}" for end in ("", "_"))
    made = False
    try:
        fetch(f"DROP TABLE IF EXISTS {first}, {second}")  # who may not drop must not make
        fetch(f"CREATE TABLE {first} (a int PRIMARY KEY) ENGINE = InnoDB")
        made = True
        fetch(f"RENAME TABLE {first} TO {second}")
        _try_rows(fetch, database, there, mode)
    except pymysql.err.Error as error:
        if error.args[0] not in _DENIED:
            raise
        raise PermissionDenied(
            f"tables cannot be delivered to {database}: {error.args[-1]}; grant the user ALL on the "
            "database, or give another location",
            location=database,
        ) from None
    finally:
        if made:
            with suppress(pymysql.err.Error):
                fetch(f"DROP TABLE IF EXISTS {first}, {second}")


def _try_rows(fetch: Fetch, database: str, there: Mapping[str, Existing], mode: WriteMode) -> None:
    try:
        for name, table in there.items():
            place = f"{quote(database)}.{quote(name)}"
            if mode is WriteMode.OVERWRITE:
                fetch(f"DELETE FROM {place} WHERE FALSE")
            given = ", ".join(quote(column) for column in table.columns if column not in table.generated)
            fetch(f"INSERT INTO {place} ({given}) SELECT {given} FROM {place} WHERE FALSE")
            staging = f"{quote(database)}.{quote(f'simulacra_check_{uuid.uuid4().hex[:8]}')}"
            fetch(f"CREATE TEMPORARY TABLE {staging} {table.like(place)}")
            fetch(f"DROP TEMPORARY TABLE {staging}")
    finally:
        fetch("ROLLBACK")
