"""Connectors as resources: who may do what with them, and what is checked before they are saved."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from simulacra.artifacts import ArtifactStore
from simulacra.domain import (
    Connector,
    ConnectorAccessType,
    ConnectorConfig,
    ConnectorListItem,
    ConnectorType,
    ConnectorTypeDescription,
    TableSchema,
    connector_list_item,
)
from simulacra.errors import DriverMissing, InvalidArgument, PermissionDenied, ResourceNotFound, WrongState
from simulacra.rpc import Principal
from simulacra.store import (
    Database,
    add_reference,
    body_hash,
    idempotent,
    references_to,
    remember,
    remove_reference,
    require_unused,
)
from simulacra_connector.deliveries import Journals
from simulacra_connector.drivers import require_driver
from simulacra_connector.drivers.base import ReadOptions, WriteMode
from simulacra_connector.drivers.delivery import DeliveredTable
from simulacra_connector.records import ConnectorRecords, upload_artifact
from simulacra_connector.sources import PullProgress, PullRequest, RowsChunk, Sources, TableRequest
from simulacra_connector.store import ConnectorRow, ConnectorRows, connectors
from simulacra_connector.types import TYPES, Connection, check_connection, describe

__all__ = ["ConnectorService"]

_SOURCE, _DESTINATION = ConnectorAccessType.SOURCE, ConnectorAccessType.DESTINATION
# What says where a connector connects to, and if that must prove itself: with another one, kept secrets could
# travel to another server.
_ENDPOINT_FIELDS = ("host", "port", "endpointUrl", "account", "accountName", "sslEnabled", "kerberosKrb5Conf")


class ConnectorService:
    """Owns connectors."""

    def __init__(
        self,
        database: Database,
        *,
        rows: ConnectorRows,
        records: ConnectorRecords,
        sources: Sources,
        artifacts: ArtifactStore,
        journals: Journals,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._database = database
        self._rows = rows
        self._records = records
        self._sources = sources
        self._artifacts = artifacts
        self._journals = journals
        self._new_id = new_id

    async def create(
        self, caller: Principal, config: ConnectorConfig, *, request_id: str | None, test: bool
    ) -> Connector:
        """Makes a connector; with `test`, only if it connects."""
        key = (caller.user_id, "CreateConnector", request_id, self._request_hash(config))
        async with self._database.begin() as tx:
            earlier = await idempotent(tx, *key)
        if earlier is not None:
            return await self.get(caller, earlier)
        connection = self.checked(config)
        if test:
            await self._sources.test(connection)
        id = self._new_id()
        async with self._database.begin() as tx:
            # Asked again: the same request may have come twice at once.
            earlier = await idempotent(tx, *key)
            if earlier is None:
                await self._rows.insert(
                    tx,
                    caller,
                    id=id,
                    name=config.name or f"{TYPES[config.type].display_name} connector",
                    document=self._records.document(id, connection),
                    type=config.type.value,
                    access_type=(config.access_type or _SOURCE).value,
                )
                await remember(tx, *key, response=id)
        return await self.get(caller, earlier or id)

    async def get(self, caller: Principal, id: str) -> Connector:
        """Returns a connector, without its secrets."""
        async with self._database.read() as connection:
            row = ConnectorRow.from_mapping(await self._rows.get(connection, caller, id))
            return (await self._records.described(connection, caller, [row]))[0]

    async def list(
        self,
        caller: Principal,
        *,
        page_size: int = 0,
        page_token: str = "",
        search_term: str = "",
        types: Sequence[ConnectorType] = (),
        access_type: ConnectorAccessType | None = None,
    ) -> tuple[Sequence[ConnectorListItem], str, int]:
        """Returns a page, the next page's token, and the number on all pages."""
        where: Sequence[sa.ColumnElement[bool]] = [
            connectors.c.table_id.is_(None),
            connectors.c.type.in_(types) if types else sa.true(),
            connectors.c.access_type == access_type if access_type else sa.true(),
        ]
        async with self._database.read() as connection:
            page = await self._rows.page(
                connection,
                caller,
                where=where,
                search_term=search_term,
                page_size=page_size,
                page_token=page_token,
            )
            rows = [ConnectorRow.from_mapping(row) for row in page.rows]
            items = await self._records.described(connection, caller, rows)
        return [connector_list_item(item) for item in items], page.next_page_token, page.total_count

    async def update(
        self, caller: Principal, id: str, changes: Mapping[str, Any], *, test: bool
    ) -> Connector:
        """Changes name, config, secrets or ssl, each as a whole; with `test`, only if that connects."""
        async with self._database.begin() as tx:
            row = ConnectorRow.from_mapping(await self._rows.get_for_change(tx, caller, id))
        values: dict[str, Any] = {}
        if changes.get("name"):
            values["name"] = changes["name"]
        if changes.keys() - {"name"}:
            updated = self._updated(caller, row, changes)
            if test:
                await self._sources.test(updated)
            values["document"] = self._records.document(id, updated)
        async with self._database.begin() as tx:
            now = await self._rows.get_for_change(tx, caller, id)
            if now["revision"] != row.revision:
                raise WrongState(
                    f'connector "{row.name}" was changed meanwhile; look at it and try again', id=id
                )
            await self._rows.update(tx, id, **values)
        return await self.get(caller, id)

    async def delete(self, caller: Principal, id: str) -> None:
        """Deletes a connector that nothing uses, with its uploaded file."""
        async with self._database.begin() as tx:
            row = await self._rows.get_for_change(tx, caller, id)
            await require_unused(tx, id, what=f'connector "{row["name"]}"')
            await self._rows.delete(tx, id)
        await asyncio.to_thread(self._artifacts.delete, upload_artifact(id))

    async def test(self, connection: Connection) -> tuple[float, str]:
        """Connects once; returns the seconds that it took, and the server's version."""
        return await self._sources.test(connection)

    def types(self) -> Sequence[ConnectorTypeDescription]:
        """Describes all types, those too that this version or installation has no driver for."""
        return [describe(info, available=_has_driver(info.type)) for info in TYPES.values()]

    async def locations(self, caller: Principal, id: str, prefix: str) -> Sequence[str]:
        """Lists what is below a prefix."""
        return await self._sources.locations(await self.connection(caller, id), prefix)

    async def schema(self, caller: Principal, id: str, location: str) -> TableSchema:
        """Describes the table at a location."""
        return await self._sources.schema(await self.connection(caller, id), location)

    async def read(
        self, caller: Principal, id: str, location: str, options: ReadOptions
    ) -> AsyncGenerator[RowsChunk, None]:
        """Reads a table's rows."""
        connection = await self.connection(caller, id, access=_SOURCE)
        return self._sources.read(connection, location, options)

    async def query(
        self, caller: Principal, id: str, statement: str, max_rows: int | None
    ) -> AsyncGenerator[RowsChunk, None]:
        """Runs a reading statement."""
        connection = await self.connection(caller, id, access=_SOURCE)
        return self._sources.query(connection, statement, max_rows)

    async def pull(
        self, caller: Principal, id: str, tables: Sequence[PullRequest]
    ) -> AsyncGenerator[tuple[str, PullProgress], None]:
        """Reads tables into artifacts, in one consistent snapshot where the source knows such."""
        connection = await self.connection(caller, id, access=_SOURCE)
        return self._sources.pull(connection, tables)

    async def write(
        self, caller: Principal, id: str, location: str, chunks: AsyncIterator[bytes], mode: WriteMode
    ) -> int:
        """Writes an Arrow IPC stream to a location; returns the number of rows."""
        connection = await self.connection(caller, id, access=_DESTINATION)
        return await self._sources.write(connection, location, chunks, mode)

    async def check_delivery(
        self, caller: Principal, id: str, location: str, names: Sequence[str], mode: WriteMode
    ) -> None:
        """Checks what can be known before a delivery: the connector, the location, and which tables exist."""
        connection = await self.connection(caller, id, access=_DESTINATION)
        await self._sources.check_delivery(connection, location, names, mode)

    async def deliver(
        self,
        caller: Principal,
        id: str,
        location: str,
        tables: Sequence[TableRequest],
        mode: WriteMode,
        *,
        delivery_id: str,
    ) -> AsyncGenerator[DeliveredTable, None]:
        """Writes the rows of artifacts to a destination, once for each `delivery_id`."""
        connection = await self.connection(caller, id, access=_DESTINATION)
        journal = self._journals.open(delivery_id, connection)
        return self._sources.deliver(connection, location, tables, mode, journal)

    async def connection(
        self, caller: Principal, id: str, *, access: ConnectorAccessType | None = None
    ) -> Connection:
        """Returns a connector's parameters with its secrets, for a driver.

        Raises:
            PermissionDenied: If the connector is for the other direction.
        """
        async with self._database.read() as connection:
            row = ConnectorRow.from_mapping(await self._rows.get(connection, caller, id))
        if access is not None and row.access_type is not access:
            doing = "read" if access is _SOURCE else "written"
            raise PermissionDenied(
                f'connector "{row.name}" is a {row.access_type}: data cannot be {doing} through it; '
                f"make another one with access type {access}",
                id=id,
                access_type=row.access_type.value,
            )
        return self._records.connection(row)

    async def add_reference(self, caller: Principal, id: str, *, user_uri: str, user_name: str) -> None:
        """Notes that a resource uses a connector."""
        async with self._database.begin() as tx:
            await self._rows.get(tx.connection, caller, id)
            await add_reference(tx, id, user_uri=user_uri, user_name=user_name)

    async def remove_reference(self, caller: Principal, id: str, *, user_uri: str) -> None:
        """Notes that a resource no longer uses a connector; a table's connector goes with its last user."""
        async with self._database.begin() as tx:
            await remove_reference(tx, id, user_uri=user_uri)
            try:
                row = await self._rows.get(tx.connection, caller, id)
            except ResourceNotFound:
                return
            unused = row["table_id"] is not None and not await references_to(tx.connection, id)
            if unused:
                await self._rows.delete(tx, id)
        if unused:
            await asyncio.to_thread(self._artifacts.delete, upload_artifact(id))

    async def reseal(self) -> int:
        """Puts all secrets under the current key; returns the number of connectors that had an older one."""
        async with self._database.read() as connection:
            old = [row for row in await self._rows.sealed(connection) if not self._records.is_current(row)]
        for row in old:
            async with self._database.begin() as tx:
                now = await self._rows.get(tx.connection, Principal.of_service("connector"), row.id)
                if now["revision"] == row.revision:
                    document = self._records.document(row.id, self._records.connection(row))
                    await self._rows.update(tx, row.id, document=document)
        return len(old)

    def checked(self, config: ConnectorConfig) -> Connection:
        """Checks what a client wants to connect to.

        Raises:
            InvalidArgument: If a field is wrong.
            DriverMissing: If there is no driver for the type.
        """
        if not TYPES[config.type].creatable:
            raise InvalidArgument.of("config.type", f"a {config.type} is made by UploadService.Upload")
        connection = check_connection(
            config.type, config=config.config, secrets=config.secrets, ssl=config.ssl
        )
        require_driver(config.type)
        return connection

    def _updated(self, caller: Principal, row: ConnectorRow, changes: Mapping[str, Any]) -> Connection:
        if not TYPES[row.type].creatable:
            raise InvalidArgument.of("update_mask", f"only the name of a {row.type} can be changed")
        old = self._records.connection(row)
        new = check_connection(
            row.type,
            config=changes.get("config", old.config),
            secrets=changes.get("secrets", old.secrets),
            ssl=changes.get("ssl", old.ssl),
        )
        moved = any(old.config.get(name) != new.config.get(name) for name in _ENDPOINT_FIELDS)
        moved = moved or old.ssl != new.ssl
        if moved and old.secrets and "secrets" not in changes and caller.user_id != row.owner_id:
            raise InvalidArgument.of(
                "secrets",
                "give them again: only the owner may point kept secrets at another server, or change how it "
                "proves itself",
            )
        return new

    def _request_hash(self, config: ConnectorConfig) -> str:
        document = config.model_dump(mode="json", exclude={"secrets", "ssl"})
        secrets = (config.secrets or {}) | {f"ssl/{key}": value for key, value in (config.ssl or {}).items()}
        return body_hash(document | {"secrets": self._records.fingerprint(secrets)})


def _has_driver(type: ConnectorType) -> bool:
    try:
        require_driver(type)
    except DriverMissing:
        return False
    return True
