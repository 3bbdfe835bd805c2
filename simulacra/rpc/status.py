"""SimulacraErrors as gRPC statuses and back; the only module that knows both.

A status carries `google.rpc.ErrorInfo` (reason, domain, metadata) and, where they apply, `BadRequest` and
`RetryInfo`.
"""

from typing import Any, Final

import grpc
from google.protobuf import any_pb2, message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from pydantic import ValidationError

from simulacra.errors import (
    Code,
    DeadlineExceeded,
    FieldViolation,
    Internal,
    InvalidArgument,
    LimitExceeded,
    MessageTooLarge,
    MethodUnimplemented,
    PermissionDenied,
    ResourceNotFound,
    ServiceUnavailable,
    SimulacraError,
    Unauthenticated,
    error_class,
)

__all__ = ["DOMAIN", "call_error", "from_validation_error", "status_error", "to_status"]

DOMAIN: Final = "simulacra.dev"
DETAILS_KEY: Final = "grpc-status-details-bin"

# A status travels in HTTP/2 headers, of which many clients take no more than 8 KiB.
_MESSAGE_BYTES = 768
_METADATA_BYTES = 768
_VIOLATION_BYTES = 1536

# What a bare status of the transport, or of a newer version, means here.
_BY_CODE: Final[dict[int, type[SimulacraError]]] = {
    Code.CANCELLED: ServiceUnavailable,  # by a server that stops; our own cancel is a CancelledError
    Code.INVALID_ARGUMENT: InvalidArgument,
    Code.DEADLINE_EXCEEDED: DeadlineExceeded,
    Code.NOT_FOUND: ResourceNotFound,
    Code.PERMISSION_DENIED: PermissionDenied,
    Code.RESOURCE_EXHAUSTED: LimitExceeded,
    Code.UNIMPLEMENTED: MethodUnimplemented,
    Code.UNAVAILABLE: ServiceUnavailable,
    Code.UNAUTHENTICATED: Unauthenticated,
}


def to_status(error: SimulacraError) -> grpc.Status:
    """Returns the status of an error, with its details in the trailing metadata."""
    text = _shortened(error.message, _MESSAGE_BYTES)
    status = status_pb2.Status(code=int(error.code), message=text)
    metadata = _fitting_metadata(error.metadata)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    _add(status, info)
    if error.violations:
        _add(status, error_details_pb2.BadRequest(field_violations=_fitting_violations(error.violations)))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after * 1e9))
        _add(status, retry)
    return rpc_status.to_status(status)


def call_error(error: grpc.aio.AioRpcError) -> SimulacraError:
    """Returns the error that a failed call stands for: the class that the service raised."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it reads the same three methods
    except (ValueError, message.DecodeError):
        status = None
    if status is None:
        return _bare_error(error.code().value[0], error.details() or "")
    return status_error(status)


def has_details(error: grpc.aio.AioRpcError) -> bool:
    """Tells whether a service wrote the status, rather than the transport."""
    return any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())


def status_error(status: status_pb2.Status) -> SimulacraError:
    """Returns the error that a `google.rpc.Status` stands for."""
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    found = {
        type(into).DESCRIPTOR.full_name
        for detail in status.details
        for into in (info, bad_request, retry)
        if detail.Unpack(into)
    }
    if info.domain != DOMAIN:
        return _bare_error(status.code, status.message)
    cls = error_class(info.reason)
    metadata = dict(info.metadata)
    if cls is SimulacraError:  # a reason of a newer version
        cls = _BY_CODE.get(status.code, Internal)
        metadata.setdefault("reason", info.reason)
    error = cls(
        status.message,
        violations=[
            FieldViolation(violation.field, violation.description)
            for violation in bad_request.field_violations
        ],
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if "google.rpc.RetryInfo" in found else None,
    )
    error.metadata = metadata
    return error


def from_validation_error(error: ValidationError) -> InvalidArgument:
    """Returns the error for input that a pydantic class refused, with dotted field paths."""
    violations = [
        FieldViolation(".".join(str(part) for part in item["loc"]), item["msg"])
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    text = "; ".join(
        f"{each.field}: {each.description}" if each.field else each.description for each in violations
    )
    return InvalidArgument(text, violations=violations)


def _bare_error(code: int, details: str) -> SimulacraError:
    if code == Code.RESOURCE_EXHAUSTED and "message larger than max" in details:
        return MessageTooLarge(
            f"a message is over the limit of 4 MiB; send rows as a stream of chunks ({details})"
        )
    return _BY_CODE.get(code, Internal)(details or f"the call failed with status {code}")


def _add(status: status_pb2.Status, detail: message.Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _fitting_metadata(metadata: dict[str, str]) -> dict[str, str]:
    left = _METADATA_BYTES
    fitting = {}
    for key, value in metadata.items():
        short = _shortened(value, max(left, 0))
        if left > 0:
            fitting[key] = short
        left -= len(key.encode()) + len(short.encode())
    return fitting


def _fitting_violations(violations: tuple[FieldViolation, ...]) -> list[Any]:
    left = _VIOLATION_BYTES
    fitting = []
    for number, violation in enumerate(violations):
        field, description = _shortened(violation.field, 256), _shortened(violation.description, 512)
        left -= len(field.encode()) + len(description.encode())
        if left < 0:
            field, description = "", f"{len(violations) - number} more fields are wrong"
        fitting.append(error_details_pb2.BadRequest.FieldViolation(field=field, description=description))
        if left < 0:
            break
    return fitting


def _shortened(text: str, limit: int) -> str:
    data = text.encode()
    return text if len(data) <= limit else data[: max(limit - 3, 0)].decode(errors="ignore") + "..."
