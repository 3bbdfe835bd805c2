"""Sharing: which other users may see or administer a resource."""

from simulacra.domain.base import Identifier, Model, Timestamp
from simulacra.domain.common import PermissionLevel

__all__ = ["Share"]


class Share(Model):
    """The permission that a user other than the owner has on a resource."""

    user_id: Identifier
    user_name: str | None = None
    permission_level: PermissionLevel = PermissionLevel.VIEW
    created_at: Timestamp | None = None
