"""The errors that may cross a service boundary: one class per reason, each with a canonical code.

Services raise these; `simulacra.rpc.status` alone makes them gRPC statuses and back, so a client catches the
class that the service raised. The reasons mirror `proto/simulacra/v1/error_reason.proto`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

__all__ = [
    "AlreadyExists",
    "ArtifactNotFound",
    "AttemptsExhausted",
    "ChecksumMismatch",
    "Code",
    "CorruptBundle",
    "CorruptUpload",
    "DatabaseUnavailable",
    "DeadlineExceeded",
    "DriverMissing",
    "FieldViolation",
    "Internal",
    "InvalidArgument",
    "JobFailed",
    "JobNotFound",
    "LimitExceeded",
    "LocationNotFound",
    "MessageTooLarge",
    "MethodUnimplemented",
    "OffsetMismatch",
    "PermissionDenied",
    "RequestIdReused",
    "ResourceInUse",
    "ResourceNotFound",
    "ResumeTokenInvalid",
    "ServiceUnavailable",
    "SimulacraError",
    "SourceAuthenticationFailed",
    "SourceUnreachable",
    "StorageFull",
    "TrainingDataInsufficient",
    "Unauthenticated",
    "UnsignedCall",
    "UnsupportedData",
    "WorkerLost",
    "WrongState",
    "error_class",
]


class Code(IntEnum):
    """The canonical codes, with gRPC's numbers."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field: its dotted path in the request, and what is wrong and what to do."""

    field: str
    description: str


class SimulacraError(Exception):
    """The base of all errors that may cross a service boundary.

    Every dynamic part of the message is also in `metadata`, so that a program need not parse text.
    """

    code: ClassVar[Code] = Code.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        violations: Iterable[FieldViolation] = (),
        retry_after: float | None = None,
        **metadata: str,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.metadata = metadata


class Internal(SimulacraError):
    """A fault of ours; the log has the details under the request id."""


class InvalidArgument(SimulacraError):
    """The request is wrong whatever the state; `violations` names the fields."""

    code, reason = Code.INVALID_ARGUMENT, "INVALID_ARGUMENT"

    @classmethod
    def of(cls, field: str, description: str) -> "InvalidArgument":
        """Makes the error for one wrong field."""
        return cls(f"{field}: {description}", violations=[FieldViolation(field, description)])


class RequestIdReused(SimulacraError):
    """The same request_id came with another body."""

    code, reason = Code.INVALID_ARGUMENT, "REQUEST_ID_REUSED"


class ResumeTokenInvalid(SimulacraError):
    """A resume or page token was not made by this platform."""

    code, reason = Code.INVALID_ARGUMENT, "RESUME_TOKEN_INVALID"


class UnsupportedData(SimulacraError):
    """A file or a column has a type that cannot be taken without loss."""

    code, reason = Code.INVALID_ARGUMENT, "UNSUPPORTED_DATA"


class CorruptUpload(SimulacraError):
    """An uploaded file cannot be read as the format it claims."""

    code, reason = Code.INVALID_ARGUMENT, "CORRUPT_UPLOAD"


class CorruptBundle(SimulacraError):
    """An imported generator or a stored model bundle is damaged, of an unknown version, or hostile."""

    code, reason = Code.INVALID_ARGUMENT, "CORRUPT_BUNDLE"


class OffsetMismatch(SimulacraError):
    """A chunk does not start where the last one ended; metadata `committed_size` says where to go on."""

    code, reason = Code.OUT_OF_RANGE, "OFFSET_MISMATCH"


class ChecksumMismatch(SimulacraError):
    """The bytes received are not those that were sent."""

    code, reason = Code.DATA_LOSS, "CHECKSUM_MISMATCH"


class Unauthenticated(SimulacraError):
    """No API key, or one that is unknown or revoked."""

    code, reason = Code.UNAUTHENTICATED, "UNAUTHENTICATED"


class UnsignedCall(SimulacraError):
    """A service was called around the gateway."""

    code, reason = Code.UNAUTHENTICATED, "UNSIGNED_CALL"


class PermissionDenied(SimulacraError):
    """The caller may see the resource but not do this to it."""

    code, reason = Code.PERMISSION_DENIED, "PERMISSION_DENIED"


class ResourceNotFound(SimulacraError):
    """There is no such resource, or the caller may not see it."""

    code, reason = Code.NOT_FOUND, "RESOURCE_NOT_FOUND"


class JobNotFound(SimulacraError):
    """There is no such job, or the caller may not see it."""

    code, reason = Code.NOT_FOUND, "JOB_NOT_FOUND"


class LocationNotFound(SimulacraError):
    """The connector has no table, folder or file at this location."""

    code, reason = Code.NOT_FOUND, "LOCATION_NOT_FOUND"


class ArtifactNotFound(SimulacraError):
    """A stored artifact is gone or was never published."""

    code, reason = Code.NOT_FOUND, "ARTIFACT_NOT_FOUND"


class AlreadyExists(SimulacraError):
    """What is to be created is already there."""

    code, reason = Code.ALREADY_EXISTS, "ALREADY_EXISTS"


class WrongState(SimulacraError):
    """The resource's state forbids this; metadata `current_status` says which state that is."""

    code, reason = Code.FAILED_PRECONDITION, "WRONG_STATE"


class ResourceInUse(SimulacraError):
    """Other resources depend on it; metadata `used_by` names them."""

    code, reason = Code.FAILED_PRECONDITION, "RESOURCE_IN_USE"


class DriverMissing(SimulacraError):
    """A connector type's driver is not installed; metadata `extra` names the extra to install."""

    code, reason = Code.FAILED_PRECONDITION, "DRIVER_MISSING"


class SourceUnreachable(SimulacraError):
    """The user's database or bucket does not answer."""

    code, reason = Code.FAILED_PRECONDITION, "SOURCE_UNREACHABLE"


class SourceAuthenticationFailed(SimulacraError):
    """The user's database or bucket refuses the connector's credentials."""

    code, reason = Code.FAILED_PRECONDITION, "SOURCE_AUTHENTICATION_FAILED"


class TrainingDataInsufficient(SimulacraError):
    """A table has nothing to learn from."""

    code, reason = Code.FAILED_PRECONDITION, "TRAINING_DATA_INSUFFICIENT"


class JobFailed(SimulacraError):
    """A job that was waited for ended FAILED; the message is its step's. Metadata: `job_id`, `step_code`."""

    code, reason = Code.ABORTED, "JOB_FAILED"


class AttemptsExhausted(SimulacraError):
    """A step was lost too often; its last error is in the message."""

    code, reason = Code.ABORTED, "ATTEMPTS_EXHAUSTED"


class WorkerLost(SimulacraError):
    """A worker process or actor died under a step."""

    code, reason = Code.ABORTED, "WORKER_LOST"


class LimitExceeded(SimulacraError):
    """A quota or size limit is reached; metadata says which and how large."""

    code, reason = Code.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED"


class MessageTooLarge(SimulacraError):
    """A message is over the 4 MiB limit; rows travel in streams of chunks."""

    code, reason = Code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"


class StorageFull(SimulacraError):
    """The artifact store, the database or a destination has no space left."""

    code, reason = Code.RESOURCE_EXHAUSTED, "STORAGE_FULL"


class DatabaseUnavailable(SimulacraError):
    """The service's own database does not answer; try again."""

    code, reason = Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"


class ServiceUnavailable(SimulacraError):
    """A service behind the gateway does not answer; try again. Metadata: `service`."""

    code, reason = Code.UNAVAILABLE, "SERVICE_UNAVAILABLE"


class DeadlineExceeded(SimulacraError):
    """The call's deadline passed before the answer was there."""

    code, reason = Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"


class MethodUnimplemented(SimulacraError):
    """The contract has this method, this version of the service does not yet."""

    code, reason = Code.UNIMPLEMENTED, "METHOD_UNIMPLEMENTED"


def _all_classes(base: type[SimulacraError]) -> Iterable[type[SimulacraError]]:
    yield base
    for subclass in base.__subclasses__():
        yield from _all_classes(subclass)


def error_class(reason: str) -> type[SimulacraError]:
    """Returns the class for a reason; `SimulacraError` itself for one that this version does not know."""
    subclasses = (cls for cls in _all_classes(SimulacraError) if cls is not SimulacraError)
    return next((cls for cls in subclasses if cls.reason == reason), SimulacraError)
