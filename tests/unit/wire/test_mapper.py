"""Domain objects survive the wire, and wrong messages are refused with the path of each wrong field."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from simulacra import domain
from simulacra.domain import (
    ColumnSchema,
    ConnectorConfig,
    Generator,
    GeneratorConfig,
    Metadata,
    ModelConfiguration,
    PaginatedTotalCount,
    SourceTableConfig,
)
from simulacra.errors import InvalidArgument
from simulacra.v1 import common_pb2, connector_pb2, generator_pb2, job_pb2, model_pb2, source_table_pb2
from simulacra.wire import from_proto, to_proto
from tests.unit.wire.strategies import objects

MODELS: list[type[BaseModel]] = [
    cls
    for name in domain.__all__
    if isinstance(cls := getattr(domain, name), type)
    and issubclass(cls, BaseModel)
    and cls is not domain.Model
]
# Large objects are slow to make, and take minutes to shrink.
ANY_OBJECT = settings(
    deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate]
)


@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
@settings(ANY_OBJECT, max_examples=15)
@given(data=st.data())
def test_every_object_survives_the_wire(cls: type[BaseModel], data: st.DataObject) -> None:
    obj = data.draw(objects(cls))
    message: Any = to_proto(obj)
    assert message.DESCRIPTOR.name == cls.__name__
    received = type(message).FromString(message.SerializeToString())
    assert from_proto(received, cls) == obj


@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
@settings(ANY_OBJECT, max_examples=5)
@given(data=st.data())
def test_every_object_survives_json(cls: type[BaseModel], data: st.DataObject) -> None:
    obj = data.draw(objects(cls))
    assert cls.model_validate_json(obj.model_dump_json()) == obj


def test_absent_fields_take_the_defaults_of_the_schema() -> None:
    assert from_proto(model_pb2.ModelConfiguration(), ModelConfiguration) == ModelConfiguration()
    assert ModelConfiguration().max_epochs == 100


def test_false_and_zero_are_not_taken_for_absent() -> None:
    column = ColumnSchema(name="", original_data_type="", default_model_encoding_type="AUTO", nullable=False)
    assert from_proto(to_proto(column, connector_pb2.ColumnSchema), ColumnSchema) == column
    config = ModelConfiguration(value_protection=False, enable_flexible_generation=False)
    assert to_proto(config, model_pb2.ModelConfiguration).HasField("value_protection")


def test_every_wrong_field_is_named_by_its_path() -> None:
    message = generator_pb2.GeneratorConfig(
        tables=[
            source_table_pb2.SourceTableConfig(name="", location="public.people"),
            source_table_pb2.SourceTableConfig(
                name="trips", model_configuration=model_pb2.ModelConfiguration(max_epochs=-1)
            ),
        ]
    )
    with pytest.raises(InvalidArgument) as error:
        from_proto(message, GeneratorConfig, prefix="config")
    found = {violation.field: violation.description for violation in error.value.violations}
    assert set(found) == {"config.tables.0.name", "config.tables.1.model_configuration.max_epochs"}
    assert found["config.tables.1.model_configuration.max_epochs"].endswith("got -1.0")


def test_missing_required_field_is_named() -> None:
    with pytest.raises(InvalidArgument) as error:
        from_proto(connector_pb2.ConnectorConfig(name="mine"), ConnectorConfig)
    assert [(item.field, item.description) for item in error.value.violations] == [("type", "is required")]


def test_unknown_enum_number_is_refused() -> None:
    message = connector_pb2.ConnectorConfig.FromString(b"\x10\x63")
    with pytest.raises(InvalidArgument, match=r"type: input should be .* got 99"):
        from_proto(message, ConnectorConfig)


def test_a_secret_is_in_no_message() -> None:
    message = connector_pb2.ConnectorConfig(
        type=connector_pb2.CONNECTOR_TYPE_POSTGRES, secrets={"password": "hunter2"}, name="x" * 300
    )
    with pytest.raises(InvalidArgument) as error:
        from_proto(message, ConnectorConfig)
    assert "hunter2" not in str(error.value)
    assert "hunter2" not in repr(ConnectorConfig(type="POSTGRES", secrets={"password": "hunter2"}))


def test_time_outside_the_calendar_is_refused() -> None:
    message = common_pb2.Metadata(created_at=Timestamp(seconds=10**15))
    with pytest.raises(InvalidArgument) as error:
        from_proto(message, Metadata)
    assert error.value.violations[0].field == "created_at"


def test_file_over_one_mebibyte_is_refused_both_ways() -> None:
    large = b"x" * ((1 << 20) + 1)
    with pytest.raises(InvalidArgument, match="UploadService"):
        to_proto(SourceTableConfig(name="people", data=large))
    with pytest.raises(InvalidArgument, match=r"data: has 1,048,577 bytes"):
        from_proto(source_table_pb2.SourceTableConfig(name="people", data=large), SourceTableConfig)


def test_subclass_maps_to_the_message_of_its_base() -> None:
    class Handle(Generator):
        pass

    message = generator_pb2.Generator(
        id="1",
        training_status=job_pb2.PROGRESS_STATUS_NEW,
        metadata=common_pb2.Metadata(created_at=Timestamp(seconds=1)),
    )
    handle = from_proto(message, Handle)
    assert isinstance(handle, Handle)
    assert handle.metadata.created_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert to_proto(handle, generator_pb2.Generator) == message


def test_wrong_class_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="a Generator is not a GeneratorConfig"):
        from_proto(generator_pb2.Generator(), GeneratorConfig)
    with pytest.raises(TypeError, match="not a Generator"):
        to_proto(PaginatedTotalCount(3), generator_pb2.Generator)
