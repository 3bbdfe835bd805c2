"""One connection to a database, where statements end in time, and when their caller goes."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import pyarrow as pa

from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.drivers.sql.columns import ReadColumn, read_schema
from simulacra_connector.drivers.sql.faults import Fault, fault_error
from simulacra_connector.drivers.sql.pace import Pace
from simulacra_connector.types import Connection

__all__ = ["Link"]


class _Watch:
    """What became of the statement under way, and how many seconds it has."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self.canceled = False


class Link(ABC):
    """A connection of the Python database API, or something like it, as the family needs it."""

    errors: ClassVar[tuple[type[Exception], ...]]
    """What the driver raises, besides OSError."""
    most_rows: ClassVar[int] = 8192
    """How many narrow rows are fetched at once."""

    def __init__(self, parameters: Connection, options: SessionOptions) -> None:
        self.parameters = parameters
        self.options = options
        self.pace = Pace(self.most_rows)
        self._watch = _Watch(options.statement_timeout)

    @property
    def seconds(self) -> float:
        """How long what runs may take."""
        return self._watch.seconds

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What may go wrong between us and the server."""
        return (*self.errors, OSError)

    @property
    def is_stopped(self) -> bool:
        """Whether what runs has been asked to end."""
        return self._watch.canceled or self._watch.expired

    @property
    @abstractmethod
    def where(self) -> str:
        """Names the server in messages."""

    @abstractmethod
    def cursor(self) -> Any:
        """Makes a cursor."""

    def cursor_for(self, columns: Sequence[ReadColumn]) -> Any:
        """Makes a cursor to read these columns with."""
        del columns
        return self.cursor()

    @abstractmethod
    def stop(self) -> None:
        """Ends what runs, at the server; called in another thread. The connection may be lost by it."""

    @abstractmethod
    def fault(self, error: Exception) -> tuple[Fault, str]:
        """Says what a driver's error means, and what the server said."""

    @abstractmethod
    def close(self) -> None:
        """Closes the connection; what is open there is rolled back."""

    def run(self, cursor: Any, sql: str, parameters: Sequence[Any]) -> None:
        """Runs a statement on a cursor."""
        cursor.execute(sql, tuple(parameters)) if parameters else cursor.execute(sql)

    def columns_of(self, cursor: Any) -> Iterator[Sequence[Any]]:
        """Fetches a result in pieces of `pace.rows`, each a sequence of columns."""
        while rows := cursor.fetchmany(self.pace.rows):
            yield list(zip(*rows, strict=True))

    def fetch(
        self, sql: str, *parameters: Any, seconds: float | None = None, location: str = ""
    ) -> list[tuple[Any, ...]]:
        """Runs a statement and returns its rows."""
        with self.bounded(seconds or self.options.statement_timeout), self.translated(location):
            cursor = self.cursor()
            self.run(cursor, sql, parameters)
            rows: list[tuple[Any, ...]] = [tuple(row) for row in cursor.fetchall()]
            return rows

    def records(self, sql: str) -> list[dict[str, Any]]:
        """Runs a statement and returns its rows by the names of its columns, in lower case."""
        with self.bounded(self.options.statement_timeout), self.translated():
            cursor = self.cursor()
            self.run(cursor, sql, ())
            names = [str(column[0]).lower() for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def execute(self, sql: str, *parameters: Any, seconds: float | None = None, location: str = "") -> int:
        """Runs a statement that returns no rows; returns how many it changed, where the driver tells."""
        with self.bounded(seconds or self.options.read_timeout), self.translated(location):
            cursor = self.cursor()
            self.run(cursor, sql, parameters)
            return int(getattr(cursor, "rowcount", None) or 0)

    def execute_anyway(self, sql: str) -> bool:
        """Runs a statement that cleans up, also after a cancellation; tells whether it could."""
        stopped, self._watch = self._watch, _Watch(self.options.statement_timeout)
        try:
            self.run(self.cursor(), sql, ())
        except self.failures:
            return False
        finally:
            self._watch = stopped
        return True

    @contextmanager
    def stream(
        self, sql: str, columns: Sequence[ReadColumn], *, seconds: float, location: str
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        """Runs a SELECT of these columns' expressions and yields its batches."""
        with self.bounded(seconds):
            with self.translated(location):
                cursor = self.cursor_for(columns)
                self.run(cursor, sql, ())
            yield self._batches(cursor, columns, location)

    def _batches(self, cursor: Any, columns: Sequence[ReadColumn], location: str) -> Iterator[pa.RecordBatch]:
        schema = read_schema(columns)
        self.pace = Pace(self.most_rows)
        pieces = self.columns_of(cursor)
        while True:
            self.options.cancellation.check()
            with self.translated(location):
                values = next(pieces, None)
            if values is None:
                return
            arrays = [column.convert(each) for column, each in zip(columns, values, strict=True)]
            batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
            self.pace.saw(batch.num_rows, batch.nbytes)
            yield batch

    @contextmanager
    def bounded(self, seconds: float) -> Iterator[None]:
        """Stops what runs inside, at the server, after `seconds` or when the caller cancels."""
        watch = self._watch = _Watch(seconds)

        def stop(reason: str) -> None:
            setattr(watch, reason, True)
            with suppress(*self.failures):
                self.stop()

        timer = threading.Timer(seconds, stop, ("expired",))
        timer.daemon = True
        with self.options.cancellation.stopping(lambda: stop("canceled")):
            timer.start()
            try:
                yield
            finally:
                timer.cancel()

    @contextmanager
    def translated(self, location: str = "") -> Iterator[None]:
        """Raises the platform's error for one of the driver's; no secret is in it."""
        try:
            yield
        except self.failures as error:
            fault, text = self.fault(error)
            if self._watch.canceled:
                fault = Fault.CANCELED
            elif self._watch.expired:
                fault = Fault.TIMEOUT
            raise fault_error(
                fault, text, connection=self.parameters, where=self.where, location=location
            ) from None
