"""Configurations are checked when they are made; what is wrong is named by path, with a hint."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from simulacra.domain import (
    ComputeResources,
    Connector,
    ConnectorConfig,
    DifferentialPrivacyConfig,
    FairnessConfig,
    GeneratorConfig,
    ImputationConfig,
    Metadata,
    ModelConfiguration,
    ModelEncodingType,
    RebalancingConfig,
    SourceColumnConfig,
    SourceForeignKeyConfig,
    SourceTableConfig,
    SyntheticDatasetConfig,
    SyntheticTableConfiguration,
    invalid_argument,
    unknown_columns,
)


def violations(cls: type[BaseModel], values: dict[str, Any]) -> dict[str, str]:
    """The wrong fields of a configuration with what is said about them."""
    with pytest.raises(ValidationError) as error:
        cls(**values)
    return {item.field: item.description for item in invalid_argument(error.value).violations}


@pytest.mark.parametrize(
    ("cls", "field", "wrong"),
    [
        (ModelConfiguration, "max_sample_size", 0),
        (ModelConfiguration, "batch_size", 0),
        (ModelConfiguration, "max_training_time", 0),
        (ModelConfiguration, "max_epochs", -1),
        (ModelConfiguration, "max_sequence_window", 0),
        (ModelConfiguration, "max_epochs", float("nan")),
        (ModelConfiguration, "rare_category_replacement_method", "DROP"),
        (DifferentialPrivacyConfig, "max_epsilon", 0),
        (DifferentialPrivacyConfig, "max_epsilon", 10_001),
        (DifferentialPrivacyConfig, "noise_multiplier", -0.1),
        (DifferentialPrivacyConfig, "max_grad_norm", 0),
        (DifferentialPrivacyConfig, "delta", 1),
        (SyntheticTableConfiguration, "sample_size", 0),
        (SyntheticTableConfiguration, "sampling_temperature", 2.1),
        (SyntheticTableConfiguration, "sampling_top_p", 0),
        (GeneratorConfig, "name", ""),
        (GeneratorConfig, "name", "x" * 257),
        (GeneratorConfig, "seed", 1 << 63),
        (ComputeResources, "gpus", -1),
    ],
)
def test_value_out_of_range_is_refused_by_name(cls: type[BaseModel], field: str, wrong: object) -> None:
    assert list(violations(cls, {field: wrong})) == [field]


@pytest.mark.parametrize(
    ("cls", "field", "right"),
    [
        (DifferentialPrivacyConfig, "max_epsilon", 10_000),
        (DifferentialPrivacyConfig, "noise_multiplier", 0),
        (SyntheticTableConfiguration, "sampling_temperature", 0),
        (SyntheticTableConfiguration, "sampling_temperature", 2),
        (SyntheticTableConfiguration, "sampling_top_p", 1),
        (ModelConfiguration, "max_sample_size", 1),
    ],
)
def test_limits_are_included(cls: type[BaseModel], field: str, right: float) -> None:
    assert getattr(cls(**{field: right}), field) == right


@pytest.mark.parametrize("name", ["n\0ul", "\x1b[31mred\x1b[0m", "two\nlines", "c1\x9b", "\x7f"])
def test_a_name_has_no_control_characters(name: str) -> None:
    for cls in (GeneratorConfig, SyntheticDatasetConfig, SourceTableConfig):
        found = violations(cls, {"name": name})
        assert list(found) == ["name"]
        assert "control character U+" in found["name"]
        assert name not in found["name"]


@pytest.mark.parametrize("name", ["Bevölkerung", "人口", "census 🎉", "a/b", "שלום"])
def test_a_name_may_be_of_any_language(name: str) -> None:
    assert GeneratorConfig(name=name).name == name


def test_none_means_the_default() -> None:
    config = ModelConfiguration(max_training_time=None, value_protection=None, batch_size=None)
    assert config == ModelConfiguration()
    assert (config.max_training_time, config.value_protection, config.batch_size) == (10, True, None)
    assert ConnectorConfig(type="POSTGRES", access_type=None).access_type == "SOURCE"
    assert ComputeResources(gpus=None).gpus == 0
    config.max_epochs = 3
    config.max_epochs = None
    assert config == ModelConfiguration()


def test_empty_collection_means_none() -> None:
    assert GeneratorConfig(tables=[]) == GeneratorConfig()
    assert ConnectorConfig(type="POSTGRES", config={}, secrets={}).config is None
    config = GeneratorConfig(tables=[SourceTableConfig(name="people")])
    config.tables = []
    assert config.tables is None


def test_fields_are_checked_when_they_are_set() -> None:
    config = ModelConfiguration()
    with pytest.raises(ValidationError):
        config.batch_size = 0
    assert config == ModelConfiguration()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CATEGORICAL", ModelEncodingType.TABULAR_CATEGORICAL),
        ("NUMERIC_DIGIT", ModelEncodingType.TABULAR_NUMERIC_DIGIT),
        ("datetime", ModelEncodingType.TABULAR_DATETIME),
        ("TEXT", ModelEncodingType.LANGUAGE_TEXT),
        ("AUTO", ModelEncodingType.AUTO),
    ],
)
def test_deprecated_encoding_names_are_mapped(name: str, expected: ModelEncodingType) -> None:
    assert SourceColumnConfig(name="age", model_encoding_type=name).model_encoding_type is expected


def test_times_are_in_utc() -> None:
    naive = Metadata(created_at=datetime(2024, 1, 1))
    assert naive.created_at == datetime(2024, 1, 1, tzinfo=UTC)
    east = Metadata(created_at=datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert east == naive
    with pytest.raises(ValidationError, match="1 to 9999"):
        Metadata(created_at=datetime.max.replace(tzinfo=timezone(timedelta(hours=-2))))


def test_file_is_bytes_or_base64() -> None:
    assert SourceTableConfig(name="t", data="UEFSMQ==").data == b"PAR1"
    assert SourceTableConfig(name="t", data=b"PAR1").model_dump(mode="json")["data"] == "UEFSMQ=="
    assert violations(SourceTableConfig, {"name": "t", "data": "PAR1?"}) == {
        "data": "must be bytes, or text in base64"
    }


def test_secrets_are_not_shown() -> None:
    shown = repr(
        Connector(id="1", name="x", type="POSTGRES", access_type="SOURCE", secrets={"password": "hunter2"})
    )
    assert "hunter2" not in shown


def table(name: str, *keys: tuple[str, str, bool], **values: Any) -> dict[str, Any]:
    """A table's configuration; a key is (column, referenced table, is context)."""
    return {
        "name": name,
        "primary_key": "id",
        "foreign_keys": [
            {"column": column, "referenced_table": other, "is_context": context}
            for column, other, context in keys
        ],
        **values,
    }


def generator_violations(*tables: dict[str, Any]) -> dict[str, str]:
    return violations(GeneratorConfig, {"tables": list(tables)})


def test_table_names_are_unique() -> None:
    assert generator_violations(table("a"), table("a")) == {
        "tables.1.name": 'table "a" is in the generator twice; names must be unique'
    }


def test_column_names_are_unique() -> None:
    found = generator_violations(table("a", columns=[{"name": "x"}, {"name": "y"}, {"name": "x"}]))
    assert found == {"tables.0.columns.2.name": 'column "x" is in table "a" twice'}


def test_referenced_table_must_exist() -> None:
    found = generator_violations(table("players"), table("batting", ("player", "playrs", True)))
    assert list(found) == ["tables.1.foreign_keys.0.referenced_table"]
    (text,) = found.values()
    assert text == 'table "playrs" is not in the generator; did you mean "players"?'


def test_referenced_table_must_have_a_primary_key() -> None:
    found = generator_violations(
        table("players", primary_key=None), table("batting", ("player", "players", True))
    )
    assert "has no primary key" in found["tables.1.foreign_keys.0.referenced_table"]


def test_only_one_context_for_a_table() -> None:
    found = generator_violations(table("a"), table("b"), table("c", ("x", "a", True), ("y", "b", True)))
    assert list(found) == ["tables.2.foreign_keys.1.is_context"]


def test_context_keys_form_no_cycle() -> None:
    found = generator_violations(
        table("a", ("x", "b", True)), table("b", ("x", "a", True)), table("c", ("x", "a", True))
    )
    assert list(found) == ["tables.0.foreign_keys.0.is_context"]
    assert "a -> b -> a" in found["tables.0.foreign_keys.0.is_context"]
    assert list(generator_violations(table("a", ("x", "a", True)))) == ["tables.0.foreign_keys.0.is_context"]


def test_self_reference_that_is_no_context_is_allowed() -> None:
    GeneratorConfig(tables=[table("staff", ("manager", "staff", False))])


def test_composite_key_starts_with_its_column_and_fits_the_other() -> None:
    two = table("orders", primary_key_columns=["id", "line"])
    key = SourceForeignKeyConfig(column="order", referenced_table="orders", columns=["order", "line"])
    GeneratorConfig(tables=[two, table("notes") | {"foreign_keys": [key]}])
    found = generator_violations(two, table("notes", ("order", "orders", False)))
    assert list(found) == ["tables.1.foreign_keys.0.columns"]
    assert list(violations(SourceTableConfig, table("t", primary_key_columns=["line", "id"]))) == [
        "primary_key_columns"
    ]


def test_data_come_from_one_source() -> None:
    both = {"name": "t", "data": b"x", "source_connector_id": "1"}
    assert list(violations(SourceTableConfig, both)) == ["data"]
    assert list(violations(SourceTableConfig, {"name": "t", "location": "public.t"})) == [
        "source_connector_id"
    ]


def test_keys_and_columns_must_be_at_the_source() -> None:
    config = SourceTableConfig(
        name="people",
        primary_key="Id",
        columns=[SourceColumnConfig(name="ag")],
        foreign_keys=[SourceForeignKeyConfig(column="home", referenced_table="homes")],
    )
    assert unknown_columns(config, ["id", "age", "home"]) == [
        ("columns.0.name", 'column "ag" is not in table "people"; did you mean "age"?'),
        ("primary_key", 'column "Id" is not in table "people"; did you mean "id"?'),
    ]


def test_rebalancing_probabilities_are_probabilities() -> None:
    RebalancingConfig(column="sex", probabilities={"a": 0.1, "b": 0.2, "c": 0.7})
    assert list(violations(RebalancingConfig, {"column": "sex", "probabilities": {"a": 0.6, "b": 0.6}})) == [
        "probabilities"
    ]
    assert list(violations(RebalancingConfig, {"column": "sex", "probabilities": {"a": -0.1}})) == [
        "probabilities.a"
    ]
    assert list(violations(RebalancingConfig, {"column": "sex", "probabilities": {}})) == ["probabilities"]


def test_fairness_target_is_not_sensitive() -> None:
    wrong = {"target_column": "income", "sensitive_columns": ["sex", "income"]}
    assert list(violations(FairnessConfig, wrong)) == ["sensitive_columns.1"]
    assert list(violations(ImputationConfig, {"columns": []})) == ["columns"]


def test_at_most_one_seed() -> None:
    wrong = {"sample_seed_dict": b"{}", "sample_seed_data": b"PAR1"}
    assert list(violations(SyntheticTableConfiguration, wrong)) == ["sample_seed_data"]


def test_tables_are_listed_once() -> None:
    wrong = {"tables": [{"name": "people"}, {"name": "people"}]}
    assert list(violations(SyntheticDatasetConfig, wrong)) == ["tables.1.name"]


def test_unknown_field_is_refused() -> None:
    assert list(violations(GeneratorConfig, {"tabels": []})) == ["tabels"]


def test_braces_in_names_are_shown_as_they_are() -> None:
    found = generator_violations(table("{a}"), table("{a}"))
    assert found["tables.1.name"].startswith('table "{a}" is in the generator twice')


def test_domain_imports_no_transport_and_no_data_library() -> None:
    code = "import sys, simulacra.domain; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"google", "grpc", "pandas", "numpy", "pyarrow", "sqlalchemy", "torch"} & set(loaded)
