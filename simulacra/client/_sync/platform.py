# Made from simulacra/client/_aio/platform.py by `python -m simulacra.client._unasync`; do not edit.
"""What the platform has beside data: users, API keys, notifications, computes."""

from collections.abc import Generator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

from simulacra.client._requests import validated
from simulacra.client._sync.session import Session
from simulacra.client._sync.sharing import new_request_id
from simulacra.client._tables import ResourceList
from simulacra.domain import (
    ApiKey,
    Compute,
    ComputeConfig,
    ComputeListItem,
    Notification,
    User,
)
from simulacra.wire import from_proto

__all__ = ["ApiKeys", "Computes", "Notifications", "Users"]


class Users:
    """The users of the platform; for administrators."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, user_id: str) -> User:
        """Returns one user."""
        return self._session.call("UserService.GetUser", User, id=user_id)

    def create(
        self,
        email: str,
        *,
        first_name: str | None = None,
        last_name: str | None = None,
        is_admin: bool = False,
        parallel_training_jobs_limit: int | None = None,
        parallel_generation_jobs_limit: int | None = None,
    ) -> User:
        """Creates a user; make a key for it with `api_keys.create`."""
        return self._session.call(
            "UserService.CreateUser",
            User,
            email=email,
            first_name=first_name,
            last_name=last_name,
            is_admin=is_admin,
            parallel_training_jobs_limit=parallel_training_jobs_limit,
            parallel_generation_jobs_limit=parallel_generation_jobs_limit,
            request_id=new_request_id(),
        )

    def list(self, *, search_term: str | None = None, limit: int | None = None) -> ResourceList[User]:
        """Returns users; all of them unless `limit` is given."""
        return self._session.pages("UserService.ListUsers", User, limit=limit, search_term=search_term)

    def delete(self, user_id: str) -> None:
        """Deletes a user."""
        self._session.do("UserService.DeleteUser", id=user_id)


class ApiKeys:
    """API keys: the caller's own, and for administrators those of others."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def create(
        self, name: str, *, expires_at: datetime | None = None, user_id: str | None = None
    ) -> tuple[ApiKey, str]:
        """Creates a key and returns its description and the key itself, which is shown this once."""
        made: Any = self._session.do(
            "UserService.CreateApiKey", name=name, expires_at=expires_at, user_id=user_id
        )
        return from_proto(made.api_key, ApiKey), str(made.key)

    def list(self, *, limit: int | None = None) -> ResourceList[ApiKey]:
        """Returns the caller's keys, without the secret part."""
        return self._session.pages("UserService.ListApiKeys", ApiKey, limit=limit)

    def revoke(self, api_key_id: str) -> None:
        """Makes a key useless at once."""
        self._session.do("UserService.RevokeApiKey", id=api_key_id)


class Notifications:
    """The caller's notifications."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, *, status: str | None = None, limit: int | None = None) -> ResourceList[Notification]:
        """Returns notifications, newest first; `status` is UNREAD or READ."""
        return self._session.pages(
            "NotificationService.ListNotifications", Notification, limit=limit, status=status
        )

    def watch(self) -> Generator[Notification, None]:
        """Yields notifications as they come, without end."""
        with closing(self._session.stream("NotificationService.WatchNotifications")) as updates:
            for update in updates:
                if update.HasField("notification"):
                    yield from_proto(update.notification, Notification)

    def mark_read(self, notification_id: str) -> Notification:
        """Marks a notification as read."""
        return self._session.call(
            "NotificationService.MarkNotificationRead", Notification, id=notification_id
        )

    def delete(self, notification_id: str) -> None:
        """Deletes a notification."""
        self._session.do("NotificationService.DeleteNotification", id=notification_id)


class Computes:
    """Where models can be trained and sampled; calling it lists them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self) -> ResourceList[ComputeListItem]:
        """Returns all computes."""
        return self._session.pages("ComputeService.ListComputes", ComputeListItem)

    def get(self, compute_id: str) -> Compute:
        """Returns one compute."""
        return self._session.call("ComputeService.GetCompute", Compute, id=compute_id)

    def create(self, config: ComputeConfig | Mapping[str, Any]) -> Compute:
        """Creates a compute; for administrators."""
        return self._session.call(
            "ComputeService.CreateCompute",
            Compute,
            config=validated(ComputeConfig, config),
            request_id=new_request_id(),
        )

    def update(self, compute_id: str, config: ComputeConfig | Mapping[str, Any]) -> Compute:
        """Changes the fields that `config` sets; for administrators."""
        changed = validated(ComputeConfig, config)
        given = {field: getattr(changed, field) for field in changed.model_fields_set - {"type"}}
        return self._session.call(
            "ComputeService.UpdateCompute", Compute, id=compute_id, **given, update_mask=sorted(given)
        )

    def delete(self, compute_id: str) -> None:
        """Deletes a compute; for administrators."""
        self._session.do("ComputeService.DeleteCompute", id=compute_id)
