"""Uploads: chunks go to disk, a broken stream goes on where it stopped, and the end makes a connector."""

import asyncio
import re
import signal
import uuid
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from simulacra.artifacts import ArtifactStore
from simulacra.domain import Connector, ConnectorAccessType, ConnectorType, Upload
from simulacra.domain.text import CONTROL_CHARACTERS
from simulacra.errors import (
    ChecksumMismatch,
    CorruptUpload,
    InvalidArgument,
    LimitExceeded,
    OffsetMismatch,
    ResourceNotFound,
    StorageFull,
    UnsupportedData,
    WorkerLost,
    WrongState,
)
from simulacra.jobs import Executor, TaskCrashed
from simulacra.rpc import Principal
from simulacra.store import Database, Transaction, forget_old_requests
from simulacra_connector.formats import base_name, format_of
from simulacra_connector.formats.limits import corrupt
from simulacra_connector.records import ConnectorRecords, upload_artifact
from simulacra_connector.sources import MAX_CHUNK_BYTES
from simulacra_connector.spool import Spool
from simulacra_connector.store import ConnectorRow, ConnectorRows, UploadRow, UploadRows
from simulacra_connector.tasks import MAKE_TABLE

__all__ = ["OpenUpload", "UploadLimits", "UploadService"]

_UPLOAD_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PARQUET_MAGIC = b"PAR1"
_FINISHED_KEPT = timedelta(days=7)
_MAX_NAME = 256
# A file that makes its reader's native code fail; being killed for want of memory is not among these.
_CRASHES = {str(-number) for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE)}


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How large uploads may be, in bytes, and how long an unfinished one is kept."""

    max_bytes: int
    max_expanded_bytes: int
    retention: timedelta


@dataclass(slots=True)
class OpenUpload:
    """One stream's hold on an upload; a newer stream takes the upload over."""

    row: UploadRow
    path: Path
    committed: int
    token: object = field(default_factory=object)


class UploadService:
    """Takes files and makes FILE_UPLOAD connectors of them."""

    def __init__(
        self,
        database: Database,
        *,
        rows: ConnectorRows,
        records: ConnectorRecords,
        artifacts: ArtifactStore,
        executor: Executor,
        spool: Spool,
        limits: UploadLimits,
        clock: Callable[[], datetime],
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._database = database
        self._connectors = rows
        self._uploads = UploadRows()
        self._records = records
        self._artifacts = artifacts
        self._executor = executor
        self._spool = spool
        self._limits = limits
        self._clock = clock
        self._new_id = new_id
        self._holders: dict[Path, object] = {}

    async def begin(
        self,
        caller: Principal,
        id: str,
        *,
        file_name: str,
        connector_name: str | None,
        total_size: int | None,
    ) -> OpenUpload:
        """Opens an upload, a new one or one that was begun before; that one knows its file's name."""
        if not _UPLOAD_ID.fullmatch(id):
            raise InvalidArgument.of("upload_id", "give 1 to 64 letters, digits and hyphens")
        if total_size is not None and total_size < 0:
            raise InvalidArgument.of("total_size", f"must be 0 or more, got {total_size}")
        self._check_size(total_size or 0)
        for field_name, text in (("file_name", file_name), ("connector_name", connector_name or "")):
            if found := CONTROL_CHARACTERS.search(text):
                raise InvalidArgument.of(
                    field_name, f"has the control character U+{ord(found[0]):04X}; take it out"
                )
        name = base_name(file_name)
        async with self._database.begin() as tx:
            row = await self._uploads.get(tx.connection, caller.user_id, id)
            if row is None:
                format_of(name)
                row = UploadRow(
                    owner_id=caller.user_id,
                    id=id,
                    file_name=name,
                    connector_name=(connector_name or name)[:_MAX_NAME],
                    connector_id=self._new_id(),
                    total_size=total_size,
                    finished=False,
                    created_at=self._clock(),
                )
                await self._uploads.insert(tx, row)
            elif name not in ("", row.file_name):
                raise InvalidArgument.of(
                    "upload_id", f'was used for file "{row.file_name}"; choose a new one'
                )
        path = self._spool.path(caller.user_id, id)
        upload = OpenUpload(row, path, await asyncio.to_thread(self._spool.open, path))
        missing = 0 if row.finished else (row.total_size or 0) - upload.committed
        try:
            await asyncio.to_thread(self._spool.require_space, missing)
        except StorageFull:
            await self._forget(row, path)
            raise
        self._holders[path] = upload.token
        return upload

    async def append(self, upload: OpenUpload, offset: int, data: bytes) -> None:
        """Commits a chunk; if there is no space for it the upload is forgotten, so that it takes none."""
        self._check_held(upload)
        if offset != upload.committed:
            raise OffsetMismatch(
                f"the chunk starts at {offset:,}, but {upload.committed:,} bytes are committed; go on there",
                committed_size=str(upload.committed),
            )
        if not 1 <= len(data) <= MAX_CHUNK_BYTES:
            raise InvalidArgument.of(
                "chunk.data", f"has {len(data):,} bytes; a chunk has 1 to {MAX_CHUNK_BYTES:,}"
            )
        end, total = upload.committed + len(data), upload.row.total_size
        self._check_size(end)
        if total is not None and end > total:
            raise InvalidArgument.of(
                "chunk.data", f"goes to byte {end:,}, but total_size is {total:,}; one of them is wrong"
            )
        try:
            await asyncio.to_thread(self._spool.append, upload.path, offset, data)
        except StorageFull:
            await self._forget(upload.row, upload.path)
            raise
        upload.committed = end

    async def finish(self, caller: Principal, upload: OpenUpload, *, sha256: str | None) -> Upload:
        """Checks the file, makes its table and, in one transaction, its connector.

        A file that cannot be used, or whose table has no space, is forgotten; nothing of it stays.
        """
        self._check_held(upload)
        row = upload.row
        if row.total_size is not None and upload.committed != row.total_size:
            raise OffsetMismatch(
                f"{upload.committed:,} of {row.total_size:,} bytes are there; send the rest before the end",
                committed_size=str(upload.committed),
            )
        try:
            await self._check_hash(upload, sha256)
            await self._make_table(upload.path, row.file_name, row.connector_id)
        except (CorruptUpload, UnsupportedData, LimitExceeded, ChecksumMismatch, StorageFull):
            await self._forget(row, upload.path)
            raise
        async with self._database.begin() as tx:
            current = await self._uploads.get(tx.connection, row.owner_id, row.id)
            if current is not None and not current.finished:
                await self._insert_connector(tx, caller, row)
                await self._uploads.finish(tx, row, size=upload.committed)
        await asyncio.to_thread(self._spool.remove, upload.path)
        return await self.get(caller, row.id)

    def release(self, upload: OpenUpload) -> None:
        """Lets go of an upload when its stream ends."""
        if self._holders.get(upload.path) is upload.token:
            del self._holders[upload.path]

    async def get(self, caller: Principal, id: str) -> Upload:
        """Returns the state of an upload."""
        async with self._database.read() as connection:
            row = await self._uploads.get(connection, caller.user_id, id)
            if row is None:
                raise ResourceNotFound(
                    f"there is no upload {id!r}; it may have expired", id=id, resource="upload"
                )
            connector = None
            if row.finished:
                found = await self._connectors.get(connection, caller, row.connector_id)
                described = await self._records.described(
                    connection, caller, [ConnectorRow.from_mapping(found)]
                )
                connector = described[0]
        path = self._spool.path(caller.user_id, id)
        size = (row.total_size or 0) if row.finished else await asyncio.to_thread(self._spool.size, path)
        return Upload(
            id=id,
            file_name=row.file_name,
            committed_size=size,
            total_size=row.total_size,
            connector=connector,
            expires_at=None if row.finished else self._expiry(row, path),
        )

    async def store_table_data(
        self, caller: Principal, data: bytes, *, table_id: str, name: str
    ) -> Connector:
        """Keeps a table's inline data, Parquet or JSON lines, as a connector that belongs to the table."""
        if not table_id:
            raise InvalidArgument.of("table_id", "is required")
        async with self._database.read() as connection:
            known = await self._connectors.by_table_id(connection, table_id)
        if known is None:
            await self._store_table(caller, data, table_id=table_id, name=name[:_MAX_NAME] or "data")
        async with self._database.read() as connection:
            found = await self._connectors.by_table_id(connection, table_id)
            assert found is not None
            return (await self._records.described(connection, caller, [found]))[0]

    async def _store_table(self, caller: Principal, data: bytes, *, table_id: str, name: str) -> None:
        is_parquet = data.startswith(_PARQUET_MAGIC)
        if not is_parquet and not data.lstrip().startswith(b"{"):
            raise InvalidArgument.of(
                "data", f"of table {name!r} is neither Parquet nor JSON lines; upload other formats as a file"
            )
        file_name, id = f"{name}.{'parquet' if is_parquet else 'jsonl'}", self._new_id()
        path = self._spool.path("table", id)
        try:
            await asyncio.to_thread(self._spool.append, path, 0, data)
            await self._make_table(path, file_name, id)
        finally:
            await asyncio.to_thread(self._spool.remove, path)
        row = UploadRow(caller.user_id, "", file_name, name, id, None, True, self._clock())
        async with self._database.begin() as tx:
            if await self._connectors.by_table_id(tx.connection, table_id) is None:
                await self._insert_connector(tx, caller, row, table_id=table_id)

    async def sweep(self) -> None:
        """Removes uploads that have expired and what killed processes left behind."""
        now = self._clock()
        expiry = now - self._limits.retention
        async with self._database.read() as connection:
            rows = await self._uploads.older_than(connection, expiry)
            known = await self._connectors.ids(connection)
        for row in rows:
            path = self._spool.path(row.owner_id, row.id)
            last = await asyncio.to_thread(self._spool.changed_at, path) or row.created_at
            if path not in self._holders and last < (now - _FINISHED_KEPT if row.finished else expiry):
                await self._forget(row, path)
        await asyncio.to_thread(self._sweep_files, expiry, known)
        async with self._database.begin() as tx:
            await forget_old_requests(tx, now=now)

    def _sweep_files(self, expiry: datetime, known: set[str]) -> None:
        for path in self._spool.paths():
            changed = self._spool.changed_at(path)
            if path not in self._holders and changed is not None and changed < expiry:
                self._spool.remove(path)
        self._artifacts.sweep("uploads", self._limits.retention)
        for name in self._artifacts.names("uploads"):
            if (
                name.partition("/")[2] not in known
                and self._artifacts.open(name).manifest.created_at < expiry
            ):
                self._artifacts.delete(name)

    async def _make_table(self, path: Path, file_name: str, connector_id: str) -> None:
        payload = {
            "path": str(path),
            "file_name": file_name,
            "artifact": upload_artifact(connector_id),
            "max_expanded_bytes": self._limits.max_expanded_bytes,
        }
        try:
            async with aclosing(self._executor.run(MAKE_TABLE, payload)) as events:
                async for _ in events:
                    pass
        except TaskCrashed as error:
            raise corrupt(file_name, f"its reader failed ({error})") from error
        except WorkerLost as error:
            if error.metadata.get("exit_code") in _CRASHES:
                raise corrupt(file_name, "its reader crashed on it") from error
            raise

    async def _insert_connector(
        self, tx: Transaction, caller: Principal, row: UploadRow, *, table_id: str | None = None
    ) -> None:
        await self._connectors.insert(
            tx,
            caller,
            id=row.connector_id,
            name=row.connector_name,
            document={"file_name": row.file_name},
            type=ConnectorType.FILE_UPLOAD.value,
            access_type=ConnectorAccessType.SOURCE.value,
            table_id=table_id,
        )

    async def _check_hash(self, upload: OpenUpload, sha256: str | None) -> None:
        if sha256 is None:
            return
        if not _SHA256.fullmatch(sha256):
            raise InvalidArgument.of("finish.sha256", "give 64 hexadecimal digits")
        actual = await asyncio.to_thread(self._spool.sha256, upload.path)
        if actual != sha256.lower():
            raise ChecksumMismatch(
                f"{upload.row.file_name} came with other bytes than were sent; upload it again", sha256=actual
            )

    async def _forget(self, row: UploadRow, path: Path) -> None:
        # The file first: where the disk is full, the database may need the space to forget the upload.
        await asyncio.to_thread(self._spool.remove, path)
        async with self._database.begin() as tx:
            await self._uploads.delete(tx, row)

    def _check_size(self, size: int) -> None:
        if size > self._limits.max_bytes:
            raise LimitExceeded(
                f"the file has {size:,} bytes or more; at most {self._limits.max_bytes:,} are taken",
                limit=str(self._limits.max_bytes),
            )

    def _check_held(self, upload: OpenUpload) -> None:
        if self._holders.get(upload.path) is not upload.token:
            raise WrongState("another stream goes on with this upload", current_status="TAKEN_OVER")

    def _expiry(self, row: UploadRow, path: Path) -> datetime:
        return (self._spool.changed_at(path) or row.created_at) + self._limits.retention
