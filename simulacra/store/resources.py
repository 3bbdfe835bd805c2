"""Tables of resources: what each row has, who may see it, and the few statements that all of them need."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from simulacra.errors import PermissionDenied, ResourceNotFound
from simulacra.store.database import Transaction, utc_now
from simulacra.store.paging import Page, page
from simulacra.store.tables import grants, likes
from simulacra.store.types import UtcDateTime

__all__ = ["Resources", "Viewer", "contains", "resource_table", "visible_to"]


class Viewer(Protocol):
    """Who looks, such as a `simulacra.rpc.Principal`; a service that asks for itself may see all."""

    @property
    def user_id(self) -> str:
        """The user's id."""

    @property
    def user_name(self) -> str:
        """The user's name."""

    @property
    def service(self) -> str | None:
        """The service's name, when it is one."""


def resource_table(metadata: sa.MetaData, name: str, *columns: sa.Column[Any]) -> sa.Table:
    """Describes a resource's table: the columns that every resource has, and the given ones.

    The resource itself is the JSON `document`; columns of its own are for what is searched or counted.
    """
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner_id", sa.Text, nullable=False),
        sa.Column("owner_name", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        *columns,
        sa.Index(f"ix_{name}_created", "created_at", "id"),
        sa.Index(f"ix_{name}_owner", "owner_id", "created_at", "id"),
        sa.Index(f"ix_{name}_revision", "revision"),
    )


def visible_to(viewer: Viewer, table: sa.Table) -> sa.ColumnElement[bool]:
    """Returns the condition that a row may be seen: own, shared, or asked for by a service itself."""
    if viewer.service is not None:
        return sa.true()
    shared = sa.select(grants.c.resource_id).where(grants.c.user_id == viewer.user_id)
    return sa.or_(table.c.owner_id == viewer.user_id, table.c.id.in_(shared))


def contains(column: sa.ColumnElement[str], term: str) -> sa.ColumnElement[bool]:
    """Returns the condition that a text has `term` in it, in upper or lower case."""
    return sa.func.lower(column).contains(term.lower(), autoescape=True)


class Resources:
    """The rows of one resource table.

    Args:
        table: From `resource_table`.
        noun: What an error message calls one, such as `generator`.
    """

    def __init__(self, table: sa.Table, *, noun: str) -> None:
        self.table = table
        self.noun = noun

    async def insert(
        self,
        tx: Transaction,
        owner: Viewer,
        *,
        id: str,
        name: str,
        document: Mapping[str, Any],
        created_at: datetime | None = None,
        **columns: Any,
    ) -> int:
        """Adds a row; returns its revision."""
        revision = await tx.next_revision()
        values = {
            "id": id,
            "owner_id": owner.user_id,
            "owner_name": owner.user_name,
            "name": name,
            "created_at": created_at or utc_now(),
            "revision": revision,
            "document": dict(document),
            **columns,
        }
        await tx.execute(sa.insert(self.table).values(values))
        return revision

    async def get(self, connection: AsyncConnection, viewer: Viewer, id: str) -> sa.RowMapping:
        """Reads a row that `viewer` may see.

        Raises:
            ResourceNotFound: There is none, or `viewer` may not know of it.
        """
        statement = sa.select(self.table).where(self.table.c.id == id, visible_to(viewer, self.table))
        row = (await connection.execute(statement)).mappings().one_or_none()
        if row is None:
            raise ResourceNotFound(f"there is no {self.noun} {id!r}", id=id, resource=self.noun)
        return row

    async def get_for_change(self, tx: Transaction, viewer: Viewer, id: str) -> sa.RowMapping:
        """Reads a row that `viewer` may change: its own, or one shared with it at level ADMIN.

        Raises:
            ResourceNotFound: There is none, or `viewer` may not know of it.
            PermissionDenied: `viewer` may only look at it.
        """
        row = await self.get(tx.connection, viewer, id)
        if viewer.service is None and row["owner_id"] != viewer.user_id:
            statement = sa.select(grants.c.level).where(
                grants.c.resource_id == id, grants.c.user_id == viewer.user_id
            )
            if (await tx.execute(statement)).scalar_one_or_none() != "ADMIN":
                raise PermissionDenied(f"you may view {self.noun} {row['name']!r} but not change it", id=id)
        return row

    async def update(self, tx: Transaction, id: str, **values: Any) -> int:
        """Changes columns of a row (`document`, `name`, own ones); returns its new revision."""
        revision = await tx.next_revision()
        statement = sa.update(self.table).where(self.table.c.id == id).values(**values, revision=revision)
        if (await tx.execute(statement)).rowcount == 0:
            raise ResourceNotFound(f"there is no {self.noun} {id!r}", id=id, resource=self.noun)
        return revision

    async def delete(self, tx: Transaction, id: str) -> None:
        """Deletes a row, and the shares and likes of it."""
        await tx.next_revision()
        for table in (grants, likes):
            await tx.execute(sa.delete(table).where(table.c.resource_id == id))
        await tx.execute(sa.delete(self.table).where(self.table.c.id == id))

    async def page(
        self,
        connection: AsyncConnection,
        viewer: Viewer,
        *,
        where: Sequence[sa.ColumnElement[bool]] = (),
        search_term: str | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page:
        """Reads a page of the rows that `viewer` may see; `search_term` is looked for in names."""
        conditions = [visible_to(viewer, self.table), *where]
        if search_term:
            conditions.append(contains(self.table.c.name, search_term))
        return await page(
            connection, self.table, where=conditions, page_size=page_size, page_token=page_token
        )
