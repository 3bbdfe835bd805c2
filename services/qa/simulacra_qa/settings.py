"""The settings of the qa service."""

from typing import ClassVar

from simulacra.rpc.settings import ServiceSettings

__all__ = ["QaSettings"]


class QaSettings(ServiceSettings):
    """Compares synthetic with training data and writes reports."""

    service: ClassVar[str] = "qa"
