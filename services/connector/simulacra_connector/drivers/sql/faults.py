"""The few things that can be wrong with a database, and the platform's error for each."""

from enum import StrEnum

from simulacra.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidArgument,
    LocationNotFound,
    PermissionDenied,
    SimulacraError,
    SourceAuthenticationFailed,
    SourceUnreachable,
    StorageFull,
    UnsupportedData,
)
from simulacra_connector.drivers.base import Canceled
from simulacra_connector.types import Connection

__all__ = ["Fault", "fault_error"]


class Fault(StrEnum):
    """What a driver's error means."""

    AUTHENTICATION = "AUTHENTICATION"
    DENIED = "DENIED"
    MISSING = "MISSING"
    EXISTS = "EXISTS"
    TIMEOUT = "TIMEOUT"
    CANCELED = "CANCELED"
    UNREACHABLE = "UNREACHABLE"
    FULL = "FULL"
    BUSY = "BUSY"
    RULE = "RULE"
    VALUE = "VALUE"
    STATEMENT = "STATEMENT"


# The class, and the sentence that the server's own words end.
_ERRORS: dict[Fault, tuple[type[SimulacraError], str]] = {
    Fault.AUTHENTICATION: (SourceAuthenticationFailed, "{where} refuses {user}"),
    Fault.DENIED: (PermissionDenied, "{user} at {where} may not do this"),
    Fault.MISSING: (LocationNotFound, 'there is nothing at location "{location}"'),
    Fault.EXISTS: (AlreadyExists, "it is there already"),
    Fault.TIMEOUT: (DeadlineExceeded, "{where} took longer than allowed"),
    Fault.UNREACHABLE: (SourceUnreachable, "{where} does not answer"),
    Fault.FULL: (StorageFull, "{where} has no space left, free some and try again"),
    Fault.BUSY: (SourceUnreachable, "{where} has no connections, memory or quota left just now"),
    Fault.RULE: (InvalidArgument, "the rows break a rule of the destination"),
    Fault.VALUE: (UnsupportedData, "the statement failed on a value"),
    Fault.STATEMENT: (InvalidArgument, "the statement failed"),
}


def fault_error(
    fault: Fault, text: str, *, connection: Connection, where: str, location: str = ""
) -> Exception:
    """Makes the platform's error; no secret of the connection is in its message."""
    if fault is Fault.CANCELED:
        return Canceled()
    for secret in connection.secrets.values():
        if len(secret) > 3:
            text = text.replace(secret, "***")
    user = f"user {connection.config['username']!r}" if "username" in connection.config else "the credentials"
    kind, sentence = _ERRORS[fault]
    message = sentence.format(where=where, user=user, location=location)
    return kind(f"{message}: {' '.join(text.split()) or 'no reason given'}")
