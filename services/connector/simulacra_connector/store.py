"""The connector service's tables: connectors with sealed secrets, and uploads on their way to become one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from simulacra.domain import ConnectorAccessType, ConnectorType
from simulacra.store import Resources, Transaction, UtcDateTime, resource_table
from simulacra.store.tables import grants, likes, used_by

__all__ = ["ConnectorRow", "ConnectorRows", "UploadRow", "UploadRows", "deliveries", "metadata"]

metadata = sa.MetaData()

connectors = resource_table(
    metadata,
    "connectors",
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("access_type", sa.Text, nullable=False),
    sa.Column("table_id", sa.Text, unique=True),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("owner_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("file_name", sa.Text, nullable=False),
    sa.Column("connector_name", sa.Text, nullable=False),
    sa.Column("connector_id", sa.Text, nullable=False),
    sa.Column("total_size", sa.BigInteger),
    sa.Column("finished", sa.Boolean, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)
"""What clients have begun to send; the bytes are in the spool folder, and know their size themselves."""


deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("note", sa.JSON, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)
"""What drivers noted of deliveries, so that each happens once."""


@dataclass(frozen=True, slots=True)
class ConnectorRow:
    """A stored connector. `sealed` maps `secrets/password` or `ssl/sslCertificateKey` to its ciphertext."""

    id: str
    name: str
    type: ConnectorType
    access_type: ConnectorAccessType
    owner_id: str
    owner_name: str
    created_at: datetime
    revision: int
    config: Mapping[str, Any]
    ssl: Mapping[str, str]
    sealed: Mapping[str, str]
    file_name: str | None
    table_id: str | None

    @classmethod
    def from_mapping(cls, row: sa.RowMapping) -> "ConnectorRow":
        """Reads a row of the table."""
        document: Mapping[str, Any] = row["document"]
        return cls(
            id=row["id"],
            name=row["name"],
            type=ConnectorType(row["type"]),
            access_type=ConnectorAccessType(row["access_type"]),
            owner_id=row["owner_id"],
            owner_name=row["owner_name"],
            created_at=row["created_at"],
            revision=row["revision"],
            config=document.get("config", {}),
            ssl=document.get("ssl", {}),
            sealed=document.get("sealed", {}),
            file_name=document.get("file_name"),
            table_id=row["table_id"],
        )


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload; `connector_id` is the connector's that it becomes when it is finished."""

    owner_id: str
    id: str
    file_name: str
    connector_name: str
    connector_id: str
    total_size: int | None
    finished: bool
    created_at: datetime


class ConnectorRows(Resources):
    """The statements on connectors that all resources do not have."""

    def __init__(self) -> None:
        super().__init__(connectors, noun="connector")

    async def by_table_id(self, connection: AsyncConnection, table_id: str) -> ConnectorRow | None:
        """Returns the connector that belongs to a table."""
        statement = sa.select(connectors).where(connectors.c.table_id == table_id)
        row = (await connection.execute(statement)).mappings().one_or_none()
        return ConnectorRow.from_mapping(row) if row else None

    async def usage(self, connection: AsyncConnection, ids: list[str]) -> dict[str, dict[str, int]]:
        """Returns the counts of each connector by their names in `ConnectorUsage`."""
        counters = {
            "no_of_shares": (grants, sa.true()),
            "no_of_generators": (used_by, used_by.c.user_uri.startswith("generators/")),
            "no_of_synthetic_datasets": (used_by, used_by.c.user_uri.startswith("synthetic-datasets/")),
        }
        counts = {id: dict.fromkeys(counters, 0) for id in ids}
        for name, (table, condition) in counters.items():
            key = table.c.resource_id
            statement = sa.select(key, sa.func.count()).where(key.in_(ids), condition).group_by(key)
            for id, count in await connection.execute(statement):
                counts[id][name] = count
        return counts

    async def permission(
        self, connection: AsyncConnection, ids: list[str], user_id: str
    ) -> tuple[dict[str, str], set[str]]:
        """Returns the levels at which connectors are shared with a user, and which of them the user likes."""
        levels = sa.select(grants.c.resource_id, grants.c.level).where(
            grants.c.resource_id.in_(ids), grants.c.user_id == user_id
        )
        liked = sa.select(likes.c.resource_id).where(likes.c.resource_id.in_(ids), likes.c.user_id == user_id)
        granted = {row.resource_id: row.level for row in await connection.execute(levels)}
        return granted, set((await connection.execute(liked)).scalars())

    async def sealed(self, connection: AsyncConnection) -> list[ConnectorRow]:
        """Returns the connectors that have secrets."""
        rows = (await connection.execute(sa.select(connectors))).mappings()
        return [row for row in map(ConnectorRow.from_mapping, rows) if row.sealed]

    async def ids(self, connection: AsyncConnection) -> set[str]:
        """Returns the ids of all connectors."""
        return set((await connection.execute(sa.select(connectors.c.id))).scalars())


class UploadRows:
    """The statements on uploads."""

    async def get(self, connection: AsyncConnection, owner_id: str, id: str) -> UploadRow | None:
        """Returns a user's upload."""
        statement = sa.select(uploads).where(uploads.c.owner_id == owner_id, uploads.c.id == id)
        row = (await connection.execute(statement)).mappings().one_or_none()
        return UploadRow(**row) if row else None

    async def insert(self, tx: Transaction, row: UploadRow) -> None:
        """Adds an upload."""
        values = {column.name: getattr(row, column.name) for column in uploads.c}
        await tx.execute(sa.insert(uploads).values(values))

    async def finish(self, tx: Transaction, row: UploadRow, *, size: int) -> None:
        """Marks an upload as finished, with so many bytes."""
        await tx.execute(sa.update(uploads).where(*_is(row)).values(finished=True, total_size=size))

    async def delete(self, tx: Transaction, row: UploadRow) -> None:
        """Forgets an upload."""
        await tx.execute(sa.delete(uploads).where(*_is(row)))

    async def older_than(self, connection: AsyncConnection, moment: datetime) -> list[UploadRow]:
        """Returns the uploads that began before a moment."""
        statement = sa.select(uploads).where(uploads.c.created_at < moment)
        return [UploadRow(**row) for row in (await connection.execute(statement)).mappings()]


def _is(row: UploadRow) -> tuple[sa.ColumnElement[bool], ...]:
    return uploads.c.owner_id == row.owner_id, uploads.c.id == row.id
