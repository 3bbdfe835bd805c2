"""Resources give their writable configuration and list item, and say what fits them."""

from typing import Any

import pytest
from pydantic import ValidationError

from simulacra.domain import (
    Connector,
    Generator,
    GeneratorConfig,
    Job,
    ModelConfiguration,
    ProgressStatus,
    SyntheticDataset,
    SyntheticDatasetConfig,
    SyntheticDatasetDelivery,
    SyntheticTableConfig,
    check_tables,
    connector_list_item,
    generator_config,
    generator_list_item,
    synthetic_dataset_config,
    synthetic_dataset_list_item,
)
from simulacra.errors import InvalidArgument


def column(
    name: str, encoding: str = "TABULAR_CATEGORICAL", *, included: bool = True, **range_: Any
) -> dict[str, Any]:
    return {
        "id": f"id of {name}",
        "name": name,
        "included": included,
        "model_encoding_type": encoding,
        "value_range": range_ or None,
    }


@pytest.fixture
def generator() -> Generator:
    """A trained generator of people and their trips."""
    people = {
        "id": "t1",
        "name": "people",
        "source_connector": {"id": "c1"},
        "location": "public.people",
        "primary_key": "id",
        "columns": [
            column("id", included=False),
            column("sex", values=["f", "m"]),
            column("race", values=["a", "b"]),
            column("age", "TABULAR_NUMERIC_BINNED", min="17", max="90"),
        ],
        "model_configuration": ModelConfiguration(max_epochs=3),
    }
    trips = {
        "id": "t2",
        "name": "trips",
        "columns": [column("person"), column("mode", values=["bus"])],
        "foreign_keys": [{"id": "k", "column": "person", "referenced_table": "people", "is_context": True}],
    }
    return Generator(
        id="g",
        name="travel",
        training_status="DONE",
        metadata={"owner_id": "u"},
        tables=[people, trips],
        seed=7,
    )


def test_generator_gives_its_writable_configuration(generator: Generator) -> None:
    config = generator_config(generator)
    people, trips = config.tables or []
    assert (people.source_connector_id, people.location, people.primary_key) == ("c1", "public.people", "id")
    assert [item.name for item in people.columns or []] == ["sex", "race", "age"]
    assert people.model_configuration == ModelConfiguration(max_epochs=3)
    assert trips.foreign_keys is not None
    assert trips.foreign_keys[0].is_context
    assert config.seed == 7
    assert GeneratorConfig.model_validate_json(config.model_dump_json()) == config


def test_list_items_show_the_essentials(generator: Generator) -> None:
    item = generator_list_item(generator)
    assert (item.id, item.training_status, item.metadata.owner_id) == ("g", ProgressStatus.DONE, "u")
    connector = Connector(id="c", name="x", type="POSTGRES", access_type="SOURCE")
    assert connector_list_item(connector).name == "x"


def test_synthetic_dataset_gives_its_writable_configuration() -> None:
    dataset = SyntheticDataset(
        id="d",
        name="copy",
        metadata={},
        generation_status="NEW",
        generator={"id": "g"},
        tables=[{"id": "t", "name": "people", "configuration": {"sample_size": 5}, "total_rows": 5}],
        seed=3,
    )
    expected = SyntheticDatasetConfig(
        generator_id="g",
        name="copy",
        tables=[{"name": "people", "configuration": {"sample_size": 5}}],
        seed=3,
    )
    assert synthetic_dataset_config(dataset) == expected
    assert synthetic_dataset_list_item(dataset).name == "copy"


def test_missing_table_or_column_comes_with_a_hint(generator: Generator) -> None:
    with pytest.raises(KeyError, match='did you mean "people"'):
        generator.table("peple")
    with pytest.raises(KeyError, match='column "agee" is not in table "people"; did you mean "age"'):
        generator.table("people").column("agee")
    assert generator.table("people").is_subject_table
    assert not generator.table("trips").is_subject_table


@pytest.mark.parametrize(
    ("table", "configuration", "path", "text"),
    [
        ("peoples", {}, "tables.0.name", 'did you mean "people"'),
        ("trips", {"sample_size": 5}, "sample_size", "hangs on a context table"),
        ("trips", {"sample_seed_dict": b"{}"}, "sample_seed_dict", "hangs on a context table"),
        (
            "people",
            {"rebalancing": {"column": "sx", "probabilities": {"f": 1}}},
            "rebalancing.column",
            '"sex"',
        ),
        (
            "people",
            {"rebalancing": {"column": "age", "probabilities": {"17": 1}}},
            "rebalancing.column",
            "categorical",
        ),
        (
            "people",
            {"rebalancing": {"column": "sex", "probabilities": {"x": 1}}},
            "rebalancing.probabilities",
            '"x"',
        ),
        ("people", {"imputation": {"columns": ["age", "id"]}}, "imputation.columns.1", "not in table"),
        (
            "people",
            {"fairness": {"target_column": "age", "sensitive_columns": ["sex"]}},
            "fairness.target_column",
            "categorical",
        ),
        (
            "people",
            {"fairness": {"target_column": "sex", "sensitive_columns": ["race", "age"]}},
            "fairness.sensitive_columns.1",
            "categorical",
        ),
    ],
)
def test_sampling_that_does_not_fit_the_generator_is_refused(
    generator: Generator, table: str, configuration: dict[str, Any], path: str, text: str
) -> None:
    config = SyntheticTableConfig(name=table, configuration=configuration)
    with pytest.raises(InvalidArgument, match=text) as error:
        check_tables([config], generator)
    assert [item.field.removeprefix("tables.0.configuration.") for item in error.value.violations] == [path]


def test_sampling_that_fits_is_accepted(generator: Generator) -> None:
    configuration = {
        "sample_size": 5,
        "rebalancing": {"column": "sex", "probabilities": {"f": 0.5}},
        "imputation": {"columns": ["age"]},
        "fairness": {"target_column": "race", "sensitive_columns": ["sex"]},
    }
    check_tables([SyntheticTableConfig(name="people", configuration=configuration)], generator)
    check_tables(None, generator)


def test_job_knows_its_id_and_status() -> None:
    job = Job(
        progress={"id": "j", "status": "ON_HOLD"},
        kind="TRAINING",
        resource_uri="generators/g",
        resource_name="travel",
        owner_id="u",
    )
    assert (job.id, job.status) == ("j", ProgressStatus.ON_HOLD)
    assert job.status.is_active
    assert not job.status.is_final
    assert ProgressStatus.CANCELED.is_final


def test_adding_to_tables_says_that_they_are_not_replaced() -> None:
    place = {"destination_connector_id": "c", "location": "public"}
    adding = SyntheticDatasetDelivery.model_validate(place | {"append_to_tables": True})
    assert (adding.overwrite_tables, adding.append_to_tables) == (False, True)
    with pytest.raises(
        ValidationError, match=r"overwrite_tables: say if a table that exists .*append_to_tables"
    ):
        SyntheticDatasetDelivery.model_validate(place)
