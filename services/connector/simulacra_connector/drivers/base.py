"""The protocol that every family of connectors implements, and the plain objects that pass through it.

Drivers are synchronous: database clients and Arrow readers block, so the service runs them in threads. A
`Session` is one connection and, where the database can, one consistent snapshot: what is read through it
belongs together.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa

from simulacra.artifacts import ArtifactStore
from simulacra.domain import TableSchema
from simulacra.errors import InvalidArgument, LocationNotFound

__all__ = [
    "Canceled",
    "Cancellation",
    "KeySet",
    "ReadOptions",
    "Session",
    "SessionOptions",
    "TableStream",
    "WriteMode",
    "choose_columns",
    "location_not_found",
]

_LONGEST_LOCK = 30


class Canceled(Exception):
    """The caller has gone; the work under way was stopped."""


class Cancellation:
    """Stops a blocking read from outside its thread, at the server too: drivers register how."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: list[Callable[[], None]] = []
        self._requested = False

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Calls `stop`, from another thread, if cancellation is requested inside the block."""
        with self._lock:
            self._stops.append(stop)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)

    def cancel(self) -> None:
        """Requests the stop; may be called more than once."""
        with self._lock:
            self._requested = True
            stops = list(self._stops)
        for stop in stops:
            stop()

    def check(self) -> None:
        """Raises Canceled once cancellation is requested."""
        if self._requested:
            raise Canceled


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys that rows must have: a column of values for each column of the table."""

    columns: tuple[str, ...]
    values: pa.Table


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What to read: all columns when none are named; with a seed, `max_rows` are a uniform sample.

    A driver may leave out rows that are not `within` the keys, so that they do not travel; it need not.
    """

    columns: Sequence[str] = ()
    max_rows: int | None = None
    seed: int | None = None
    within: KeySet | None = None


@dataclass(frozen=True, slots=True)
class TableStream:
    """Rows on their way: the schema is known before the first batch, and holds for each."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    total_rows: int | None = None
    """Rows of the table, before sampling; None where counting them would mean to read them."""


class WriteMode(StrEnum):
    """What to do when the table to write exists already."""

    FAIL = "FAIL"
    OVERWRITE = "OVERWRITE"
    APPEND = "APPEND"


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Bounds that hold for every connector, from the service's settings. Times in seconds."""

    connect_timeout: int = 10
    statement_timeout: int = 60
    read_timeout: int = 6 * 3600
    count_timeout: float = 4.0
    retry_seconds: float = 20.0
    connections_per_source: int = 16
    denied_networks: tuple[str, ...] = ()
    azure_endpoint: str = ""
    google_endpoint: str = ""
    mssql_tls: bool = True
    tls_optional_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    source_ca_file: Path | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """URLs of stand-ins for warehouses, by connector type."""
    artifacts: ArtifactStore | None = None
    """Where uploaded files are; only their driver reads it."""
    cancellation: Cancellation = field(default_factory=Cancellation)

    @property
    def lock_timeout(self) -> int:
        """Seconds to wait for another session's lock on a table."""
        return max(1, min(_LONGEST_LOCK, self.statement_timeout // 2))


class Session(Protocol):
    """One connection to a source or a destination: `with Class(connection, options) as session`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def test(self) -> str:
        """Does the least that proves that the connector works; returns the server's version, if it tells."""

    def locations(self, prefix: str) -> list[str]:
        """Lists schemas, databases or buckets for an empty prefix, tables or files below one."""

    def schema(self, location: str) -> TableSchema:
        """Describes a table.

        Raises:
            LocationNotFound: If there is none.
        """

    def read(self, location: str, options: ReadOptions) -> AbstractContextManager[TableStream]:
        """Reads a table in bounded memory, each type without loss.

        Raises:
            LocationNotFound: If there is no such table.
            UnsupportedData: If a column cannot be taken without loss; it is named.
        """

    def query(self, statement: str, max_rows: int | None) -> AbstractContextManager[TableStream]:
        """Runs one statement that can only read, whatever it says."""

    def write(self, location: str, stream: TableStream, mode: WriteMode) -> int:
        """Writes a table, all or nothing, and returns the number of rows."""


def choose_columns(location: str, available: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Returns the wanted columns, or all when none are named.

    Raises:
        InvalidArgument: If one is not in the table.
    """
    for name in wanted:
        if name not in available:
            close = get_close_matches(name, available, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"its columns are {', '.join(available)}"
            raise InvalidArgument.of("columns", f'column "{name}" is not in table "{location}"; {hint}')
    return list(wanted or available)


def location_not_found(location: str, hint: str) -> LocationNotFound:
    """Makes the error for a table or file that is not there."""
    return LocationNotFound(f'there is nothing at location "{location}"; {hint}', location=location)
