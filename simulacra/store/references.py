"""Who uses a resource: counted by its owner, so that what is in use is not deleted under its users."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from simulacra.errors import ResourceInUse
from simulacra.store.database import Transaction
from simulacra.store.tables import used_by

__all__ = ["add_reference", "references_to", "remove_reference", "require_unused"]

_NAMED = 10


async def add_reference(tx: Transaction, resource_id: str, *, user_uri: str, user_name: str) -> None:
    """Notes that the resource at `user_uri` uses `resource_id`; a repeat changes only the name."""
    await remove_reference(tx, resource_id, user_uri=user_uri)
    values = {"resource_id": resource_id, "user_uri": user_uri, "user_name": user_name}
    await tx.execute(sa.insert(used_by).values(values))


async def remove_reference(tx: Transaction, resource_id: str, *, user_uri: str) -> None:
    """Forgets that the resource at `user_uri` uses `resource_id`, if it was noted."""
    await tx.execute(
        sa.delete(used_by).where(used_by.c.resource_id == resource_id, used_by.c.user_uri == user_uri)
    )


async def references_to(connection: AsyncConnection, resource_id: str) -> dict[str, str]:
    """Returns the users of a resource: uri -> name."""
    statement = sa.select(used_by.c.user_uri, used_by.c.user_name).where(used_by.c.resource_id == resource_id)
    rows = await connection.execute(statement.order_by(used_by.c.user_uri))
    return {row.user_uri: row.user_name for row in rows}


async def require_unused(tx: Transaction, resource_id: str, *, what: str) -> None:
    """Raises unless nothing uses the resource.

    Args:
        tx: The transaction that is going to delete it.
        resource_id: The resource.
        what: How the message calls it, such as `connector "crm"`.

    Raises:
        ResourceInUse: With the users' names.
    """
    users = await references_to(tx.connection, resource_id)
    if users:
        names = [f"{name!r} ({uri})" for uri, name in list(users.items())[:_NAMED]]
        more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
        raise ResourceInUse(
            f"{what} is used by {', '.join(names)}{more}; delete these first", used_by=",".join(users)
        )
