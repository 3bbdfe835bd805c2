"""An update mask gives exactly the fields to change."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct

from simulacra.domain import Generator, ModelConfiguration, SourceTableConfig, SyntheticDatasetDelivery
from simulacra.errors import InvalidArgument
from simulacra.v1 import connector_pb2, generator_pb2, model_pb2, source_table_pb2, synthetic_dataset_pb2
from simulacra.wire import masked_fields, to_proto


def generator() -> Generator:
    return Generator(id="1", name="old", description="old", training_status="NEW", metadata={})


def test_only_masked_fields_change() -> None:
    request = generator_pb2.UpdateGeneratorRequest(
        name="new", description="new", update_mask=FieldMask(paths=["name"])
    )
    changes = masked_fields(request, request.update_mask, allowed=("name", "description"))
    changed = generator().updated(changes)
    assert (changed.name, changed.description) == ("new", "old")


def test_masked_but_absent_field_is_cleared() -> None:
    request = generator_pb2.UpdateGeneratorRequest(update_mask=FieldMask(paths=["description"]))
    changes = masked_fields(request, request.update_mask, allowed=("name", "description"))
    assert changes == {"description": None}
    assert generator().updated(changes).description is None


def test_empty_mask_means_what_is_set() -> None:
    request = generator_pb2.UpdateGeneratorRequest(id="1", description="new")
    assert masked_fields(request, request.update_mask, allowed=("name", "description")) == {
        "description": "new"
    }


def test_objects_come_as_domain_values() -> None:
    delivery = SyntheticDatasetDelivery(overwrite_tables=True, destination_connector_id="c", location="l")
    request = synthetic_dataset_pb2.UpdateSyntheticDatasetRequest(
        delivery=to_proto(delivery),
        update_mask=FieldMask(paths=["delivery"]),
    )
    assert masked_fields(request, request.update_mask, allowed=("delivery",)) == {"delivery": delivery}

    settings = Struct()
    settings.update({"port": 5432})
    update = connector_pb2.UpdateConnectorRequest(config=settings, secrets={"password": "x"})
    changes = masked_fields(update, update.update_mask, allowed=("config", "secrets"))
    assert changes == {"config": {"port": 5432}, "secrets": {"password": "x"}}


def test_path_into_a_message_changes_that_field_alone() -> None:
    table = SourceTableConfig(name="t", model_configuration=ModelConfiguration(max_epochs=3, batch_size=8))
    config = source_table_pb2.SourceTableConfig(
        model_configuration=model_pb2.ModelConfiguration(max_epochs=7)
    )
    changes = masked_fields(
        config, FieldMask(paths=["model_configuration.max_epochs"]), allowed=("model_configuration",)
    )
    changed = table.updated(changes).model_configuration
    assert changed == ModelConfiguration(max_epochs=7, batch_size=8)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("descripton", 'cannot be changed; did you mean "description"'),
        ("id", "cannot be changed"),
        ("model_configuration.max_epoch", 'is not a field; did you mean "max_epochs"'),
        ("columns.name", "is changed as a whole"),
    ],
)
def test_unknown_path_is_refused_by_name(path: str, text: str) -> None:
    allowed = ("description", "model_configuration", "columns")
    with pytest.raises(InvalidArgument, match=text) as error:
        masked_fields(source_table_pb2.SourceTableConfig(), FieldMask(paths=[path]), allowed=allowed)
    assert [violation.field for violation in error.value.violations] == ["update_mask"]


@pytest.mark.parametrize("changes", [{"name": ""}, {"training_status": "DOEN"}])
def test_result_of_an_update_is_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as error:
        generator().updated(changes)
    assert [violation.field for violation in error.value.violations] == list(changes)
