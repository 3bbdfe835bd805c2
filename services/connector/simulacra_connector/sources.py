"""Reads through connectors: tests, locations, schemas, rows as Arrow IPC, and whole tables into artifacts."""

import asyncio
import io
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, aclosing, closing
from dataclasses import dataclass, replace
from typing import TypeVar
from weakref import WeakValueDictionary

import pyarrow as pa

from simulacra.artifacts import ArtifactStore
from simulacra.domain import TableSchema
from simulacra.store import body_hash
from simulacra_connector.arrow_input import arrow_input
from simulacra_connector.drivers import open_session
from simulacra_connector.drivers.base import (
    Cancellation,
    ReadOptions,
    Session,
    SessionOptions,
    TableStream,
    WriteMode,
)
from simulacra_connector.drivers.delivery import (
    DeliveredTable,
    Delivery,
    ForeignKeyToMake,
    Journal,
    TableToDeliver,
    check_destination,
    deliver,
    require_columns,
)
from simulacra_connector.keys import key_set, rows_within
from simulacra_connector.patience import persist
from simulacra_connector.tables import content_sha256, prefetched, write_table
from simulacra_connector.threads import DriverThreads
from simulacra_connector.types import Connection

__all__ = ["MAX_CHUNK_BYTES", "PullProgress", "PullRequest", "RowsChunk", "Sources", "TableRequest"]

MAX_CHUNK_BYTES = 2**20
_TARGET_BATCH_BYTES = 900_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RowsChunk:
    """A piece of an Arrow IPC stream; the first one knows how many rows will come, where the source does."""

    data: bytes
    total_rows: int | None = None


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a table's way into an artifact is; the last one has the schema and the hash of the rows."""

    rows: int
    total_rows: int
    done: bool = False
    arrow_schema: bytes = b""
    content_sha256: str = ""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A table to read into an artifact; `within` is another's artifact, own columns, and columns there."""

    location: str
    artifact: str
    options: ReadOptions
    within: tuple[str, tuple[str, ...], tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True)
class TableRequest:
    """A table to deliver, whose rows are in an artifact."""

    name: str
    artifact: str
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKeyToMake, ...] = ()


class Sources:
    """Opens a session for each call and runs it in a thread."""

    def __init__(self, threads: DriverThreads, options: SessionOptions, artifacts: ArtifactStore) -> None:
        self._threads = threads
        self._options = replace(options, artifacts=artifacts)
        self._artifacts = artifacts
        self._slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def test(self, connection: Connection) -> tuple[float, str]:
        """Connects; returns the seconds that it took, and the server's version."""
        started = time.perf_counter()
        version = await self._call(connection, lambda session: session.test())
        return time.perf_counter() - started, version

    async def locations(self, connection: Connection, prefix: str) -> list[str]:
        """Lists what is below a prefix, in alphabetical order."""
        return sorted(await self._call(connection, lambda session: session.locations(prefix)))

    async def schema(self, connection: Connection, location: str) -> TableSchema:
        """Describes a table."""
        return await self._call(connection, lambda session: session.schema(location))

    def read(
        self, connection: Connection, location: str, options: ReadOptions
    ) -> AsyncGenerator[RowsChunk, None]:
        """Reads a table's rows."""
        return self._rows(connection, lambda session: session.read(location, options), options.max_rows)

    def query(
        self, connection: Connection, statement: str, max_rows: int | None
    ) -> AsyncGenerator[RowsChunk, None]:
        """Runs a reading statement."""
        return self._rows(connection, lambda session: session.query(statement, max_rows), max_rows)

    async def write(
        self, connection: Connection, location: str, chunks: AsyncIterator[bytes], mode: WriteMode
    ) -> int:
        """Writes an Arrow IPC stream to a location, all of it or nothing; returns the number of rows."""
        loop = asyncio.get_running_loop()

        def run(cancellation: Cancellation) -> int:
            with self._open(connection, cancellation) as session:
                stream = arrow_input(chunks, loop, cancellation)
                require_columns(location, stream)
                return session.write(location, stream, mode)

        async with self._slot(connection):
            return await self._threads.call(run)

    async def check_delivery(
        self, connection: Connection, location: str, names: Sequence[str], mode: WriteMode
    ) -> None:
        """Checks what can be known before a delivery."""
        await self._call(connection, lambda session: check_destination(session, location, names, mode))

    def deliver(
        self,
        connection: Connection,
        location: str,
        tables: Sequence[TableRequest],
        mode: WriteMode,
        journal: Journal,
    ) -> AsyncGenerator[DeliveredTable, None]:
        """Writes the rows of artifacts to a destination."""

        def work(cancellation: Cancellation) -> Generator[DeliveredTable, None, None]:
            with ExitStack() as stack:
                ready = [self._to_deliver(table, cancellation, stack) for table in tables]
                session = stack.enter_context(self._open(connection, cancellation))
                progress = deliver(session, Delivery(location, ready, mode, journal))
                yield from stack.enter_context(closing(progress))

        return self._patiently(connection, work)

    def _to_deliver(
        self, table: TableRequest, cancellation: Cancellation, stack: ExitStack
    ) -> TableToDeliver:
        artifact = self._artifacts.open(table.artifact)

        def batches() -> Generator[pa.RecordBatch, None, None]:
            # Opened when it is asked for: reading ahead of several tables at once would fill memory.
            with prefetched(artifact.batches()) as ahead:
                for batch in ahead:
                    cancellation.check()
                    yield batch

        stream = TableStream(artifact.schema, stack.enter_context(closing(batches())), artifact.manifest.rows)
        return TableToDeliver(table.name, stream, table.primary_key, table.foreign_keys)

    def pull(
        self, connection: Connection, tables: Sequence[PullRequest]
    ) -> AsyncGenerator[tuple[str, PullProgress], None]:
        """Reads tables into artifacts in one session; if all are there already, only says so.

        Yields the name of the artifact and how far it is.
        """

        def work(cancellation: Cancellation) -> Generator[tuple[str, PullProgress], None, None]:
            if not all(self._artifacts.exists(table.artifact) for table in tables):
                with self._open(connection, cancellation) as session:
                    for table in tables:
                        self._artifacts.delete(table.artifact)  # of another snapshot, if it is there
                        for progress in self._pull(session, table, cancellation):
                            yield table.artifact, progress
            for table in tables:
                yield table.artifact, self._pulled(table.artifact)

        return self._patiently(connection, work)

    def _pull(
        self, session: Session, table: PullRequest, cancellation: Cancellation
    ) -> Generator[PullProgress, None, None]:
        options = table.options
        if table.within is not None:
            options = replace(options, within=key_set(self._artifacts, *table.within))
        with (
            session.read(table.location, options) as stream,
            prefetched(stream.batches) as batches,
        ):
            total = _expected_rows(stream, options.max_rows)
            yield PullProgress(0, total)
            attributes = {"location": table.location, "source_rows": stream.total_rows}
            kept = batches if options.within is None else rows_within(batches, options.within)
            written = write_table(
                self._artifacts, table.artifact, schema=stream.schema, batches=kept, attributes=attributes
            )
            with closing(written):
                for rows in written:
                    cancellation.check()
                    yield PullProgress(rows, total)

    def _pulled(self, artifact: str) -> PullProgress:
        manifest = self._artifacts.open(artifact).manifest
        rows = manifest.rows or 0
        return PullProgress(rows, rows, True, manifest.schema or b"", content_sha256(manifest))

    def _open(self, connection: Connection, cancellation: Cancellation) -> Session:
        return open_session(connection, replace(self._options, cancellation=cancellation))

    async def _call(self, connection: Connection, work: Callable[[Session], T]) -> T:
        def run(cancellation: Cancellation) -> T:
            with self._open(connection, cancellation) as session:
                return work(session)

        async with self._slot(connection):
            return await self._threads.call(run)

    def _rows(
        self,
        connection: Connection,
        open_stream: Callable[[Session], AbstractContextManager[TableStream]],
        max_rows: int | None,
    ) -> AsyncGenerator[RowsChunk, None]:
        def work(cancellation: Cancellation) -> Generator[RowsChunk, None, None]:
            with self._open(connection, cancellation) as session, open_stream(session) as stream:
                total = None if stream.total_rows is None else _expected_rows(stream, max_rows)
                for position, data in enumerate(ipc_chunks(stream)):
                    yield RowsChunk(data, None if position else total)

        return self._bounded(connection, self._threads.stream(work))

    def _patiently(
        self, connection: Connection, work: Callable[[Cancellation], Generator[T, None, None]]
    ) -> AsyncGenerator[T, None]:
        """Runs work for jobs, which starts again when the source has not answered for a while."""

        def persistent(cancellation: Cancellation) -> Generator[T, None, None]:
            return persist(
                lambda: work(cancellation), seconds=self._options.retry_seconds, cancellation=cancellation
            )

        return self._bounded(connection, self._threads.stream(persistent))

    async def _bounded(
        self, connection: Connection, items: AsyncGenerator[T, None]
    ) -> AsyncGenerator[T, None]:
        async with self._slot(connection), aclosing(items):
            async for item in items:
                yield item

    def _slot(self, connection: Connection) -> asyncio.Semaphore:
        """Returns what bounds the sessions that are open at one source; further ones wait."""
        source = body_hash({"type": str(connection.type), "config": connection.config})
        slot = self._slots.get(source)
        if slot is None:
            slot = self._slots[source] = asyncio.Semaphore(self._options.connections_per_source)
        return slot


def _expected_rows(stream: TableStream, max_rows: int | None) -> int:
    total = stream.total_rows or 0
    return total if max_rows is None else min(total, max_rows)


def ipc_chunks(stream: TableStream) -> Iterator[bytes]:
    """Writes rows as an Arrow IPC stream in pieces of at most a megabyte, whole messages if they fit."""
    buffer = io.BytesIO()

    def written() -> Iterator[bytes]:
        data = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        for start in range(0, len(data), MAX_CHUNK_BYTES):
            yield data[start : start + MAX_CHUNK_BYTES]

    with pa.ipc.new_stream(buffer, stream.schema) as writer:
        yield from written()
        for batch in stream.batches:
            rows = max(1, batch.num_rows * _TARGET_BATCH_BYTES // max(batch.nbytes, 1))
            for start in range(0, batch.num_rows, rows):
                writer.write_batch(batch.slice(start, rows))
                yield from written()
    yield from written()
