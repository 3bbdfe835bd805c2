"""No string of a request has the character 0, wherever it is; bytes may."""

from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from simulacra.errors import InvalidArgument
from simulacra.rpc.texts import require_storable
from simulacra.v1 import connector_pb2, generator_pb2, job_pb2, synthetic_dataset_pb2

NUL = "n\0ul"


def config(**fields: object) -> generator_pb2.CreateGeneratorRequest:
    return generator_pb2.CreateGeneratorRequest(config=fields)  # type: ignore[arg-type]


def struct(value: Any) -> connector_pb2.CreateConnectorRequest:
    request = connector_pb2.CreateConnectorRequest()
    document: Struct = request.config.config
    document.update({"options": value})
    return request


def rebalanced(value: str) -> synthetic_dataset_pb2.CreateSyntheticDatasetRequest:
    wish = {"column": "city", "probabilities": {value: 0.5}}
    tables = [{"name": "a"}, {"name": "b", "configuration": {"rebalancing": wish}}]
    return synthetic_dataset_pb2.CreateSyntheticDatasetRequest(config={"tables": tables})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (job_pb2.GetJobRequest(id=NUL), "id"),
        (generator_pb2.ListGeneratorsRequest(search_term=NUL), "search_term"),
        (generator_pb2.CreateGeneratorRequest(request_id=NUL), "request_id"),
        (config(name=NUL), "config.name"),
        (config(tables=[{"name": "a"}, {"name": NUL}]), "config.tables.1.name"),
        (struct(["x", {"deep": NUL}]), "config.config.fields.options.list_value.values.1"),
        (struct({NUL: 1}), "config.config.fields.options.struct_value.fields.n\\0ul"),
        (rebalanced(NUL), "config.tables.1.configuration.rebalancing.probabilities.n\\0ul"),
    ],
)
def test_the_field_is_named(request_: Message, field: str) -> None:
    with pytest.raises(InvalidArgument, match=r"character 0 \(NUL\)") as error:
        require_storable(request_, request_.SerializeToString())
    (violation,) = error.value.violations
    assert violation.field.startswith(field)
    assert "\0" not in error.value.message


def test_bytes_and_numbers_may_hold_zeros() -> None:
    request = config(tables=[{"name": "a", "data": b"PAR1\0\0"}], seed=1 << 40)
    assert b"\0" in request.SerializeToString()
    require_storable(request, request.SerializeToString())
