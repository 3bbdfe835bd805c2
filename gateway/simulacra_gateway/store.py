"""The gateway's tables and the statements on them: users, API keys, computes."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from simulacra.store import Database, Page, Transaction, UtcDateTime, page, resource_table

__all__ = ["GatewayStore", "metadata"]

metadata = sa.MetaData()

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("email", sa.Text, nullable=False, unique=True),
    sa.Column("first_name", sa.Text),
    sa.Column("last_name", sa.Text),
    sa.Column("is_admin", sa.Boolean, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("parallel_training_jobs", sa.Integer),
    sa.Column("parallel_generation_jobs", sa.Integer),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("last_used_at", UtcDateTime),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("ix_api_keys_owner", "owner_id", "created_at", "id"),
)
"""`hash` is the SHA-256 of a key of 256 random bits, which needs no salt."""

computes = resource_table(metadata, "computes", sa.Column("order_index", sa.Integer, nullable=False))


class GatewayStore:
    """Reads and writes the gateway's rows."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def first_user(self, tx: Transaction) -> sa.RowMapping | None:
        """Returns the oldest user, if there is any."""
        found = await tx.execute(sa.select(users).order_by(users.c.created_at).limit(1))
        return found.mappings().one_or_none()

    async def add_user(self, tx: Transaction, **values: Any) -> None:
        """Adds a user."""
        await tx.execute(sa.insert(users).values(revision=await tx.next_revision(), **values))

    async def user(self, user_id: str) -> sa.RowMapping | None:
        """Returns a user."""
        async with self.database.read() as connection:
            found = await connection.execute(sa.select(users).where(users.c.id == user_id))
            return found.mappings().one_or_none()

    async def add_key(self, tx: Transaction, **values: Any) -> None:
        """Adds an API key."""
        await tx.execute(sa.insert(api_keys).values(revision=await tx.next_revision(), **values))

    async def key_exists(self, tx: Transaction, key_hash: str) -> bool:
        """Tells whether an API key is stored."""
        found = await tx.execute(sa.select(api_keys.c.id).where(api_keys.c.hash == key_hash))
        return found.one_or_none() is not None

    async def key_with_user(self, key_hash: str) -> sa.RowMapping | None:
        """Returns an API key's `key_id`, `hash`, `expires_at` and `last_used_at` with its user's columns."""
        statement = sa.select(
            users,
            api_keys.c.id.label("key_id"),
            api_keys.c.hash,
            api_keys.c.expires_at,
            api_keys.c.last_used_at,
        ).join(api_keys, api_keys.c.owner_id == users.c.id)
        async with self.database.read() as connection:
            found = await connection.execute(statement.where(api_keys.c.hash == key_hash))
            return found.mappings().one_or_none()

    async def touch_key(self, key_id: str, now: datetime) -> None:
        """Records that a key was used."""
        async with self.database.begin() as tx:
            await tx.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=now))

    async def page_of_keys(self, owner_id: str, *, page_size: int, page_token: str) -> Page:
        """Returns a page of a user's API keys, the newest first."""
        async with self.database.read() as connection:
            where = [api_keys.c.owner_id == owner_id]
            return await page(connection, api_keys, where=where, page_size=page_size, page_token=page_token)

    async def delete_key(self, key_id: str, owner_id: str | None) -> str | None:
        """Deletes a key, if it is `owner_id`'s (None: anybody's), and returns its hash."""
        statement = sa.delete(api_keys).where(api_keys.c.id == key_id)
        if owner_id is not None:
            statement = statement.where(api_keys.c.owner_id == owner_id)
        async with self.database.begin() as tx:
            await tx.next_revision()
            return (await tx.execute(statement.returning(api_keys.c.hash))).scalar_one_or_none()

    async def put_compute(self, tx: Transaction, **values: Any) -> None:
        """Adds a compute, or changes the one with the same id."""
        values["revision"] = await tx.next_revision()
        changed = sa.update(computes).where(computes.c.id == values["id"])
        keep = {key: value for key, value in values.items() if key not in ("id", "created_at")}
        if (await tx.execute(changed.values(**keep))).rowcount == 0:
            await tx.execute(sa.insert(computes).values(**values))

    async def all_computes(self) -> list[sa.RowMapping]:
        """Returns the computes in their order."""
        async with self.database.read() as connection:
            found = await connection.execute(
                sa.select(computes).order_by(computes.c.order_index, computes.c.id)
            )
            return list(found.mappings().all())
