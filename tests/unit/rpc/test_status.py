"""Every error survives the way into a gRPC status and back."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from simulacra import errors
from simulacra.errors import FieldViolation, SimulacraError
from simulacra.rpc.status import call_error, from_validation_error, to_status

CLASSES = [getattr(errors, name) for name in errors.__all__ if isinstance(getattr(errors, name), type)]
ERRORS = [cls for cls in CLASSES if issubclass(cls, SimulacraError) and cls is not SimulacraError]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
keys = st.from_regex(r"[a-z_]{1,20}", fullmatch=True)


def received(status: grpc.Status) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata(*(status.trailing_metadata or ()))
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, status.details)


@given(
    cls=st.sampled_from(ERRORS),
    message=texts,
    metadata=st.dictionaries(keys, texts, max_size=3),
    violations=st.lists(st.builds(FieldViolation, texts, texts), max_size=3),
    retry_after=st.none() | st.integers(0, 10_000).map(lambda n: n / 8),
)
def test_every_error_class_round_trips(
    cls: type[SimulacraError],
    message: str,
    metadata: dict[str, str],
    violations: list[FieldViolation],
    retry_after: float | None,
) -> None:
    error = cls(message, violations=violations, retry_after=retry_after)
    error.metadata = metadata
    back = call_error(received(to_status(error)))
    assert type(back) is cls
    assert (back.message, back.metadata) == (message, metadata)
    assert (back.violations, back.retry_after) == (tuple(violations), retry_after)


def test_a_status_fits_the_headers_of_any_client() -> None:
    error = errors.InvalidArgument(
        "ü" * 100_000,
        violations=[FieldViolation(f"tables.{n}.columns.{n}", "ß" * 1000) for n in range(1000)],
    )
    error.metadata = {f"key{n}": "x" * 500 for n in range(100)}
    status = to_status(error)
    percent_encoded = len((status.details or "").encode()) * 3
    details = sum(len(value) * 4 // 3 for _, value in status.trailing_metadata or ())
    assert percent_encoded + details < 8000
    back = call_error(received(status))
    assert type(back) is errors.InvalidArgument
    assert back.violations[0].field == "tables.0.columns.0"
    assert back.violations[-1].description.endswith("more fields are wrong")


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, "connection refused", errors.ServiceUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", errors.DeadlineExceeded),
        (grpc.StatusCode.CANCELLED, "server stops", errors.ServiceUnavailable),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "CLIENT: Received message larger than max (5000000 vs. 4194304)",
            errors.MessageTooLarge,
        ),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", errors.MethodUnimplemented),
        (grpc.StatusCode.DATA_LOSS, "", errors.Internal),
    ],
)
def test_a_bare_status_of_the_transport_has_a_class(
    code: grpc.StatusCode, details: str, expected: type[SimulacraError]
) -> None:
    error = call_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details))
    assert type(error) is expected
    assert error.message


def test_a_reason_of_a_newer_version_falls_back_to_its_code() -> None:
    class Newer(SimulacraError):
        code, reason = errors.Code.NOT_FOUND, "FLYING_CARPET_NOT_FOUND"

    status = to_status(Newer("no carpet"))
    Newer.reason = "RENAMED"  # as if this version did not know the class
    back = call_error(received(status))
    assert type(back) is errors.ResourceNotFound
    assert back.metadata == {"reason": "FLYING_CARPET_NOT_FOUND"}


def test_pydantic_errors_name_their_fields() -> None:
    class Column(BaseModel):
        name: str

    class Table(BaseModel):
        columns: list[Column]

    with pytest.raises(ValidationError) as caught:
        Table.model_validate({"columns": [{"name": "a"}, {}]})
    error = from_validation_error(caught.value)
    assert error.violations == (FieldViolation("columns.1.name", "Field required"),)
    assert error.message == "columns.1.name: Field required"
