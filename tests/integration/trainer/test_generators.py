"""Generators as resources: made whole or not at all, read and changed by those who may."""

import uuid
from typing import Any

import pandas as pd
import pytest

from simulacra.client import Connector, Simulacra
from simulacra.domain import ProgressStatus
from simulacra.errors import (
    CorruptUpload,
    InvalidArgument,
    RequestIdReused,
    ResourceInUse,
    ResourceNotFound,
    SimulacraError,
    WrongState,
)
from simulacra.rpc import ServiceChannel
from simulacra.v1 import generator_pb2, generator_pb2_grpc, source_table_pb2
from tests.integration.client.people import people


@pytest.fixture
def source(client: Simulacra) -> Connector:
    """An uploaded table of people."""
    return client.connectors.upload(people(60), name="people")


def described(source: Connector, **table: Any) -> dict[str, Any]:
    return {"name": "g", "tables": [{"name": "people", "source_connector_id": source.id} | table]}


def fields_of(error: pytest.ExceptionInfo[InvalidArgument]) -> list[str]:
    return [violation.field for violation in error.value.violations]


def test_columns_are_found_at_the_source(client: Simulacra, source: Connector) -> None:
    generator = client.generators.create(described(source, columns=[{"name": "age"}, {"name": "city"}]))
    (table,) = generator.tables or []
    assert {column.name: column.included for column in table.columns} == {
        name: name in ("age", "city") for name in people(1).columns
    }
    assert generator.training_status == ProgressStatus.NEW
    assert client.generators.create(generator.config()).config() == generator.config()


def test_each_wrong_field_is_named_and_nothing_is_made(client: Simulacra, source: Connector) -> None:
    name = str(uuid.uuid4())
    wrong = described(source, columns=[{"name": "agee"}], primary_key="cty") | {"name": name}
    wrong["tables"].append({"name": "other", "source_connector_id": str(uuid.uuid4())})
    with pytest.raises(InvalidArgument, match='did you mean "age"') as caught:
        client.generators.create(wrong)
    assert fields_of(caught) == [
        "tables.0.columns.0.name",
        "tables.0.primary_key",
        "tables.1.source_connector_id",
    ]
    assert not client.generators.list(search_term=name)
    source.delete()  # no reference was left


def test_a_table_needs_a_source(client: Simulacra) -> None:
    with pytest.raises(InvalidArgument, match="has no data") as caught:
        client.generators.create({"tables": [{"name": "t"}]})
    assert fields_of(caught) == ["tables.0.source_connector_id"]


def test_data_in_the_request_become_a_source_that_goes_with_the_table(client: Simulacra) -> None:
    data = people(30).to_parquet()
    generator = client.generators.create(
        {"tables": [{"name": "t", "data": data}, {"name": "u", "data": data}]}
    )
    sources = [table.source_connector.id for table in generator.tables or [] if table.source_connector]
    assert client.connectors.get(str(sources[0])).table_id == (generator.tables or [])[0].id
    assert client.generators.create(generator.config()).config() == generator.config()
    clone = generator.clone()
    for each in client.generators.list(search_term=str(generator.name)):
        if each.id != clone.id:
            client.generators.delete(each.id)
    assert client.connectors.get(str(sources[0])).id == sources[0]  # the clone still needs it
    clone.delete()
    with pytest.raises(ResourceNotFound):
        client.connectors.get(str(sources[0]))


def test_wrong_data_leave_nothing(client: Simulacra) -> None:
    good, connectors = people(30).to_parquet(), len(client.connectors.list())
    wrong = {"name": "u", "data": good, "columns": [{"name": "nope"}]}
    with pytest.raises(InvalidArgument) as caught:
        client.generators.create({"tables": [{"name": "t", "data": good}, wrong]})
    assert fields_of(caught) == ["tables.1.columns.0.name"]
    with pytest.raises(CorruptUpload):
        client.generators.create({"tables": [{"name": "t", "data": good}, {"name": "u", "data": b"PAR1"}]})
    assert len(client.connectors.list()) == connectors


async def test_a_repeated_request_makes_nothing_twice(channel: ServiceChannel, source: Connector) -> None:
    stub = generator_pb2_grpc.GeneratorServiceStub(channel)
    table = source_table_pb2.SourceTableConfig(name="people", source_connector_id=source.id)
    config = generator_pb2.GeneratorConfig(name="once", tables=[table])
    request = generator_pb2.CreateGeneratorRequest(config=config, request_id=str(uuid.uuid4()))
    first, second = await stub.CreateGenerator(request), await stub.CreateGenerator(request)
    assert first.id == second.id
    request.config.name = "twice"
    with pytest.raises(RequestIdReused):
        await stub.CreateGenerator(request)
    request.request_id = "x" * 257
    with pytest.raises(InvalidArgument, match="request_id: has at most 256 characters"):
        await stub.CreateGenerator(request)


def test_a_source_in_use_cannot_be_deleted(client: Simulacra, source: Connector) -> None:
    generator = client.generators.create(described(source))
    with pytest.raises(ResourceInUse, match=f"generators/{generator.id}"):
        source.delete()
    generator.delete()
    source.delete()


def test_generators_are_listed_in_pages_and_by_status(client: Simulacra, source: Connector) -> None:
    mark = uuid.uuid4().hex
    made = [client.generators.create(described(source) | {"name": f"{mark} {n}"}).id for n in range(3)]
    assert [each.id for each in client.generators.list(search_term=mark.upper())] == made[::-1]
    assert len(client.generators.list(search_term=mark, limit=2)) == 2
    assert not client.generators.list(search_term=mark, statuses=("DONE",))


def test_tables_are_added_changed_and_removed(client: Simulacra, source: Connector) -> None:
    other = client.connectors.upload(pd.DataFrame({"owner": [1, 2] * 20, "kind": ["cat", "dog"] * 20}))
    generator = client.generators.create(described(source, primary_key="age"))
    generator.add_table({"source_connector_id": other.id, "location": other.locations()[0], "name": "pets"})
    people_table, pets = generator.tables or []
    keys = [{"column": "owner", "referenced_table": "people"}]
    generator.update_table(pets.id, {"name": "pets", "foreign_keys": keys})
    generator.update_table(people_table.id, {"name": "persons"})
    persons, pets = generator.tables or []
    assert persons.name == "persons"
    assert [key.referenced_table for key in pets.foreign_keys or []] == ["persons"]
    with pytest.raises(InvalidArgument, match='"ownr" is not in table'):
        generator.update_table(pets.id, {"name": "pets", "primary_key": "ownr"})
    with pytest.raises(InvalidArgument):  # a name that is taken
        generator.update_table(pets.id, {"name": "persons"})
    with pytest.raises(ResourceInUse):
        other.delete()
    generator.delete_table(persons.id)
    (pets,) = generator.tables or []
    assert not pets.foreign_keys
    source.delete()  # its only user was the table


def test_what_cannot_be_trained_yet_is_stored_and_refused(client: Simulacra, source: Connector) -> None:
    config = described(
        source,
        columns=[{"name": "city", "model_encoding_type": "LANGUAGE_TEXT"}, {"name": "age"}],
        model_configuration={"differential_privacy": {"max_epsilon": 3}, "compute": str(uuid.uuid4())},
    )
    generator = client.generators.create(config)
    with pytest.raises(InvalidArgument) as caught:
        generator.training.start()
    assert set(fields_of(caught)) == {
        "tables.0.columns.1.model_encoding_type",
        "tables.0.model_configuration.differential_privacy",
        "tables.0.model_configuration.compute",
    }
    generator.refresh()
    assert generator.training_status == ProgressStatus.NEW


def test_a_start_can_be_tried_out(client: Simulacra, source: Connector) -> None:
    generator = client.generators.create(described(source, model_configuration={"max_training_time": 2}))
    job = generator.training.check()
    assert job.estimate is not None
    assert job.estimate.max_seconds is not None
    assert job.estimate.max_seconds >= 120
    generator.refresh()
    assert generator.training_status == ProgressStatus.NEW
    empty = client.generators.create({"name": "empty"})
    with pytest.raises(InvalidArgument, match="has no tables"):
        empty.training.check()


def test_what_needs_models_is_refused_before_the_training(client: Simulacra, source: Connector) -> None:
    generator = client.generators.create(described(source))
    refusals: list[Any] = [
        lambda: generator.clone("CONTINUE"),
        generator.export_to_file,
        generator.training.cancel,
        lambda: client.probe(generator.id),
    ]
    for refused in refusals:
        with pytest.raises(WrongState) as caught:
            refused()
        assert caught.value.metadata["current_status"] == "NEW"
    with pytest.raises(SimulacraError):
        generator.training.progress()


def test_an_encoding_that_the_sources_type_excludes_is_refused_when_made_and_when_changed(
    client: Simulacra, source: Connector
) -> None:
    columns = [{"name": "city"}, {"name": "age", "model_encoding_type": "TABULAR_DATETIME"}]
    with pytest.raises(InvalidArgument, match=r'"age".*TABULAR_NUMERIC_AUTO') as caught:
        client.generators.create(described(source, columns=columns))
    assert fields_of(caught) == ["tables.0.columns.1.model_encoding_type"]
    generator = client.generators.create(described(source, columns=[{"name": "city"}]))
    (table,) = generator.tables or []
    lat_long = [{"name": "joined", "model_encoding_type": "TABULAR_LAT_LONG"}]
    with pytest.raises(InvalidArgument, match=r'"joined".*TABULAR_DATETIME'):
        generator.update_table(table.id or "", {"name": "people", "columns": lat_long})
