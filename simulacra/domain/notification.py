"""Notifications: what a user should hear of."""

from simulacra.domain.base import Enumeration, Model, Timestamp

__all__ = ["Notification", "NotificationStatus", "NotificationType"]


class NotificationType(Enumeration):
    """What a notification is about."""

    RESOURCE_READY = "RESOURCE_READY"
    RESOURCE_FAILED = "RESOURCE_FAILED"
    RESOURCE_SHARED = "RESOURCE_SHARED"
    RESOURCE_LIKED = "RESOURCE_LIKED"


class NotificationStatus(Enumeration):
    """Whether a notification has been read."""

    UNREAD = "UNREAD"
    READ = "READ"


class Notification(Model):
    """Something that happened and that a user should hear of."""

    id: str
    type: NotificationType
    message: str
    status: NotificationStatus
    created_at: Timestamp
    resource_uri: str | None = None
