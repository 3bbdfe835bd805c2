# Made from simulacra/client/_aio/sharing.py by `python -m simulacra.client._unasync`; do not edit.
"""What every owned resource has: shares, likes and an owner."""

from typing import ClassVar
from uuid import uuid4

from simulacra.client._sync.session import Bound
from simulacra.client._tables import ResourceList
from simulacra.domain import PermissionLevel, Share

__all__ = ["Owned", "new_request_id"]


def new_request_id() -> str:
    """Returns a name for a Create or Start, so that sending it again makes nothing twice."""
    return str(uuid4())


class Owned(Bound):
    """Mixed into the classes of resources that have an owner; `_service` is the resource's own service."""

    _service: ClassVar[str]
    id: str

    def share(self, user_id: str, permission_level: PermissionLevel | str = PermissionLevel.VIEW) -> Share:
        """Lets another user see (VIEW) or administer (ADMIN) this resource."""
        return self._session.call(
            f"{self._service}.Share", Share, id=self.id, user_id=user_id, permission_level=permission_level
        )

    def unshare(self, user_id: str) -> None:
        """Takes a user's share away."""
        self._session.do(f"{self._service}.Unshare", id=self.id, user_id=user_id)

    def shares(self) -> ResourceList[Share]:
        """Returns with whom this resource is shared."""
        return self._session.pages(f"{self._service}.ListShares", Share, id=self.id)

    def transfer_ownership(self, user_id: str) -> None:
        """Gives this resource to another user."""
        self._session.do(f"{self._service}.TransferOwnership", id=self.id, user_id=user_id)

    def like(self) -> None:
        """Marks this resource as liked."""
        self._session.do(f"{self._service}.Like", id=self.id)

    def unlike(self) -> None:
        """Takes the like back."""
        self._session.do(f"{self._service}.Unlike", id=self.id)
