"""What a database driver's faults mean to a caller: try again, make room, or give other values."""

import contextlib
from collections.abc import Iterator

from sqlalchemy import exc

from simulacra.errors import DatabaseUnavailable, InvalidArgument, SimulacraError, StorageFull

__all__ = ["mapped_faults"]

_FULL_SQLSTATES = {"53100", "53200", "53400"}
"""Postgres: disk_full, out_of_memory, configuration_limit_exceeded."""

_DATA_EXCEPTION = "22"
"""The class of Postgres' faults of values; asyncpg's are not all DataErrors."""


def _sqlstate(fault: exc.DBAPIError) -> str:
    return getattr(fault.orig, "sqlstate", None) or ""


def _is_full(fault: exc.DBAPIError) -> bool:
    original = fault.orig
    name = getattr(original, "sqlite_errorname", "") or ""
    return (
        _sqlstate(fault) in _FULL_SQLSTATES
        or name == "SQLITE_FULL"
        # A file-size limit or a full file system met while the write-ahead log grows.
        or name.startswith("SQLITE_IOERR_WRITE")
        or "No space left on device" in str(original)
    )


def _translate(fault: exc.SQLAlchemyError) -> SimulacraError | None:
    if isinstance(fault, exc.TimeoutError):  # no connection of the pool came free
        return DatabaseUnavailable(
            "the service's database has no free connection; try again", retry_after=1.0
        )
    if not isinstance(fault, exc.DBAPIError):
        return None
    if _is_full(fault):
        return StorageFull("the service's database has no space left; free some disk space and try again")
    if isinstance(fault, exc.DataError) or _sqlstate(fault).startswith(_DATA_EXCEPTION):
        return InvalidArgument(
            "a value cannot be stored: a number is too large, or a text has a character that is refused"
        )
    if fault.connection_invalidated or isinstance(fault, exc.OperationalError | exc.InterfaceError):
        return DatabaseUnavailable("the service's database does not answer; try again", retry_after=1.0)
    return None


@contextlib.contextmanager
def mapped_faults() -> Iterator[None]:
    """Raises `DatabaseUnavailable`, `StorageFull` or `InvalidArgument` for the faults that mean these."""
    try:
        yield
    except exc.SQLAlchemyError as fault:
        error = _translate(fault)
        if error is None:
            raise
        raise error from fault
    except OSError as fault:
        raise DatabaseUnavailable(
            "the service's database does not answer; try again", retry_after=1.0
        ) from fault
