"""What every owned resource has: shares, likes and an owner."""

from typing import ClassVar
from uuid import uuid4

from simulacra.client._aio.session import AsyncBound
from simulacra.client._tables import ResourceList
from simulacra.domain import PermissionLevel, Share

__all__ = ["AsyncOwned", "new_request_id"]


def new_request_id() -> str:
    """Returns a name for a Create or Start, so that sending it again makes nothing twice."""
    return str(uuid4())


class AsyncOwned(AsyncBound):
    """Mixed into the classes of resources that have an owner; `_service` is the resource's own service."""

    _service: ClassVar[str]
    id: str

    async def share(
        self, user_id: str, permission_level: PermissionLevel | str = PermissionLevel.VIEW
    ) -> Share:
        """Lets another user see (VIEW) or administer (ADMIN) this resource."""
        return await self._session.call(
            f"{self._service}.Share", Share, id=self.id, user_id=user_id, permission_level=permission_level
        )

    async def unshare(self, user_id: str) -> None:
        """Takes a user's share away."""
        await self._session.do(f"{self._service}.Unshare", id=self.id, user_id=user_id)

    async def shares(self) -> ResourceList[Share]:
        """Returns with whom this resource is shared."""
        return await self._session.pages(f"{self._service}.ListShares", Share, id=self.id)

    async def transfer_ownership(self, user_id: str) -> None:
        """Gives this resource to another user."""
        await self._session.do(f"{self._service}.TransferOwnership", id=self.id, user_id=user_id)

    async def like(self) -> None:
        """Marks this resource as liked."""
        await self._session.do(f"{self._service}.Like", id=self.id)

    async def unlike(self) -> None:
        """Takes the like back."""
        await self._session.do(f"{self._service}.Unlike", id=self.id)
