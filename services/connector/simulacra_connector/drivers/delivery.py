"""Deliveries: several tables that are written to a destination together, under a name: it happens once.

What a killed process was about to do is in the delivery's journal, which is kept outside the destination:
before a driver makes rows visible it notes how to find out later whether that has happened.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol, runtime_checkable

from simulacra.errors import AlreadyExists, InvalidArgument
from simulacra_connector.drivers.base import Session, TableStream, WriteMode, location_not_found
from simulacra_connector.drivers.locations import format_location, split_location

__all__ = [
    "DeliveredTable",
    "Delivering",
    "Delivery",
    "ForeignKeyToMake",
    "Journal",
    "TableToDeliver",
    "already_there",
    "check_destination",
    "deliver",
    "require_columns",
    "schema_of",
]


class Journal(Protocol):
    """What is remembered of one delivery until long after its end."""

    @property
    def id(self) -> str:
        """Names the delivery."""

    def load(self) -> Mapping[str, Any] | None:
        """Returns the latest note; None if there is none."""

    def save(self, note: Mapping[str, Any]) -> None:
        """Replaces the note; when this returns, it is durable."""


@dataclass(frozen=True, slots=True)
class ForeignKeyToMake:
    """A foreign key between two tables of a delivery."""

    columns: tuple[str, ...]
    referenced_table: str
    referenced_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableToDeliver:
    """One table; its keys are made where it does not exist yet."""

    name: str
    stream: TableStream
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKeyToMake, ...] = ()

    @property
    def keys(self) -> frozenset[str]:
        """The columns of all keys: databases want types of bounded length for them."""
        return frozenset(self.primary_key).union(*(key.columns for key in self.foreign_keys))

    def check(self) -> None:
        """Raises InvalidArgument unless there are columns, those of the keys among them."""
        require_columns(self.name, self.stream)
        if missing := self.keys - set(self.stream.schema.names):
            raise InvalidArgument.of("tables", f'key column "{min(missing)}" is not in table "{self.name}"')


@dataclass(frozen=True, slots=True)
class Delivery:
    """Tables for one schema, database or folder."""

    location: str
    tables: Sequence[TableToDeliver]
    mode: WriteMode
    journal: Journal

    @property
    def tag(self) -> str:
        """A short name for what the delivery makes for itself: the same at each attempt."""
        return sha256(self.journal.id.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class DeliveredTable:
    """How far a table is; `done` when it is in its place with all its rows."""

    table_name: str
    location: str
    rows: int
    done: bool = False


@runtime_checkable
class Delivering(Protocol):
    """A session that can put several tables in place at once."""

    def deliver(self, delivery: Delivery) -> Iterator[DeliveredTable]:
        """Writes all tables or, as far as the destination can, none; what was delivered before is only told.

        Raises:
            AlreadyExists: If a table is there and may not be replaced.
            LocationNotFound: If the location is not there.
        """

    def table_at(self, location: str, name: str) -> str:
        """Returns the location of a table of a delivery."""

    def try_out(self, location: str, names: Sequence[str], mode: WriteMode) -> None:
        """Finds out whether tables of these names could be delivered; nothing of it stays at the destination.

        Raises:
            AlreadyExists: If a table is there and may not be replaced.
            LocationNotFound: If the location is not there.
            PermissionDenied: If the connector's user may not write there.
        """


def deliver(session: Session, delivery: Delivery) -> Generator[DeliveredTable, None, None]:
    """Writes the tables of a delivery: together if the session can, else one after the other.

    One after the other, each is all or nothing, and what is in place stays when a later one fails; the next
    attempt goes on with that one.
    """
    for table in delivery.tables:
        table.check()
    if isinstance(session, Delivering):
        yield from session.deliver(delivery)
        return
    note = delivery.journal.load() or {}
    done: dict[str, int] = dict(note.get("rows", {}))
    waiting = [table for table in delivery.tables if table.name not in done]
    check_destination(session, delivery.location, [table.name for table in waiting], delivery.mode)
    for table in delivery.tables:
        location = _table_at(session, delivery.location, table.name)
        if table.name not in done:
            yield DeliveredTable(table.name, location, 0)
            done[table.name] = session.write(location, table.stream, delivery.mode)
            delivery.journal.save({"rows": done})
        yield DeliveredTable(table.name, location, done[table.name], done=True)


def check_destination(session: Session, location: str, names: Sequence[str], mode: WriteMode) -> None:
    """Checks what can be known before a delivery: its place, which of its tables are there, who may write.

    Raises:
        LocationNotFound: If the location is no schema, database or folder of a bucket.
        AlreadyExists: If a table is there and may neither be replaced nor added to.
        PermissionDenied: If the connector's user may not write there.
    """
    is_folder = "/" in _table_at(session, location, "t")
    if not is_folder and schema_of(location) not in {schema_of(each) for each in session.locations("")}:
        raise location_not_found(location, "give a schema or database that is there")
    if not is_folder and mode is WriteMode.FAIL:
        there = set(session.locations(location))
        for name in names:
            if (place := _table_at(session, location, name)) in there:
                raise already_there(place)
    if isinstance(session, Delivering):
        session.try_out(location, names, mode)


def require_columns(name: str, stream: TableStream) -> None:
    """Raises InvalidArgument if a table has no columns: no destination keeps rows of nothing."""
    if not stream.schema.names:
        raise InvalidArgument.of("data", f'table "{name}" has no columns; give it at least one')


def already_there(location: str) -> AlreadyExists:
    """Makes the error for a table that is there and may not be replaced."""
    return AlreadyExists(
        f"table {location} is there already; allow to overwrite it or to add to it, or choose another place",
        location=location,
    )


def schema_of(location: str) -> str:
    """Returns the schema or database that a location of a delivery names.

    Raises:
        LocationNotFound: If it names a table.
    """
    schema, table = split_location(location)
    if table is not None:
        raise location_not_found(location, "a delivery goes to a schema or database, not to a table")
    return schema


def _table_at(session: Session, location: str, name: str) -> str:
    if isinstance(session, Delivering):
        return session.table_at(location, name)
    return format_location(schema_of(location), name)
