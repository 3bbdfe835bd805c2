"""One module or package per family of connectors; `open_session` finds the one for a connector's type."""

from importlib import import_module
from typing import cast

from simulacra.errors import DriverMissing
from simulacra_connector.drivers.base import Session, SessionOptions
from simulacra_connector.types import TYPES, Connection

__all__ = ["open_session", "require_driver"]


def require_driver(connection_type: str) -> type[Session]:
    """Returns the session class of a connector type.

    Raises:
        DriverMissing: If this version has no driver for the type, or its packages are not installed.
    """
    info = next(info for info in TYPES.values() if info.type == connection_type)
    if info.driver is None:
        raise DriverMissing(
            f"this version has no driver for {info.type} yet; export its tables to files and upload them",
            type=str(info.type),
        )
    module, _, name = info.driver.partition(":")
    try:
        return cast("type[Session]", getattr(import_module(module), name))
    except ImportError as error:
        extra = info.extra or "all"
        raise DriverMissing(
            f"the driver for {info.type} is not installed ({error.name} is missing); "
            f"run `pip install 'simulacra[{extra}]'` where the connector service runs",
            type=str(info.type),
            extra=extra,
        ) from error


def open_session(connection: Connection, options: SessionOptions) -> Session:
    """Makes the session of a connector; entering it connects."""
    constructor = require_driver(connection.type)
    return constructor(connection, options)  # type: ignore[call-arg]
