"""Configs of tables and what is kept of them."""

from itertools import count
from typing import Any

import pytest

from simulacra.domain import (
    MODELS,
    Connector,
    ForeignKeySchema,
    Generator,
    ModelEncodingType,
    SourceTable,
    SourceTableConfig,
    source_table_config,
)
from simulacra.errors import InvalidArgument
from simulacra_trainer.configuration import (
    checked,
    foreign_keys_of,
    not_yet_trainable,
    plan_hash,
    reconfigured,
    source_table,
)
from simulacra_trainer.spec import TableSpec

_numbers = count()
CONNECTOR = Connector(id="c1", name="crm", type="POSTGRES", access_type="SOURCE")


def new_id() -> str:
    return f"id-{next(_numbers)}"


def table(source: tuple[str, ...] = ("id", "age", "city"), **config: Any) -> SourceTable:
    described = {"name": "people", "source_connector_id": "c1", "location": "public.people"} | config
    made = SourceTableConfig.model_validate(described)
    return source_table(made, source, CONNECTOR, id=new_id(), new_id=new_id)


def generator(*tables: SourceTable) -> Generator:
    return Generator(id="g", name="g", training_status="NEW", metadata={}, tables=list(tables))


def test_none_listed_includes_all_columns() -> None:
    assert [(c.name, c.included) for c in table().columns] == [("id", True), ("age", True), ("city", True)]


def test_listed_columns_are_included_and_the_others_kept() -> None:
    made = table(columns=[{"name": "age"}])
    assert [(c.name, c.included) for c in made.columns] == [("id", False), ("age", True), ("city", False)]


def test_creating_from_a_config_gives_an_equal_config() -> None:
    config = SourceTableConfig(
        name="people",
        source_connector_id="c1",
        location="public.people",
        primary_key="id",
        columns=[{"name": "city", "model_encoding_type": "TABULAR_CATEGORICAL"}, {"name": "id"}],
        model_configuration={"max_epochs": 3},
    )
    once = source_table(config, ["id", "age", "city"], CONNECTOR, id="t", new_id=new_id)
    written = source_table_config(once)
    again = source_table(written, ["id", "age", "city"], CONNECTOR, id="u", new_id=new_id)
    assert source_table_config(again) == written
    assert [c.name for c in written.columns or []] == ["id", "city"]


def test_an_unknown_column_is_named_with_what_was_probably_meant() -> None:
    with pytest.raises(
        InvalidArgument, match='column "ag" is not in table "people"; did you mean "age"'
    ) as caught:
        table(primary_key="ag")
    assert caught.value.violations[0].field == "primary_key"


def test_a_change_keeps_the_columns_ids() -> None:
    before = table()
    config = source_table_config(before).updated({"columns": [{"name": "age"}], "name": "persons"})
    after = reconfigured(before, config, new_id=new_id)
    assert [column.id for column in after.columns] == [column.id for column in before.columns]
    assert after.name == "persons"
    assert [column.included for column in after.columns] == [False, True, False]


def test_tables_must_go_together() -> None:
    orphan = table(foreign_keys=[{"column": "id", "referenced_table": "cities"}])
    with pytest.raises(InvalidArgument) as caught:
        checked(generator(), [orphan])
    assert caught.value.violations[0].field == "tables.0.foreign_keys.0.referenced_table"


def test_found_keys_are_taken_if_they_point_at_a_primary_key_of_the_generator() -> None:
    people = table(primary_key="id")
    keys = [
        ForeignKeySchema(columns=["person"], referenced_location="public.people", referenced_columns=["id"]),
        ForeignKeySchema(columns=["x"], referenced_location="public.people", referenced_columns=["age"]),
        ForeignKeySchema(columns=["y"], referenced_location="public.other", referenced_columns=["id"]),
    ]
    (found,) = foreign_keys_of(keys, [people])
    assert (found.column, found.referenced_table, found.is_context) == ("person", "people", False)


def test_what_cannot_be_trained_yet_is_named() -> None:
    people = table(primary_key="id")
    pets = table(
        ("owner", "note"),
        name="pets",
        foreign_keys=[{"column": "owner", "referenced_table": "people", "is_context": True}],
        columns=[{"name": "note", "model_encoding_type": "LANGUAGE_TEXT"}],
        model_configuration={"differential_privacy": {"noise_multiplier": 1.0}, "model": "vendor/other"},
    )
    assert {path for path, _ in not_yet_trainable(generator(people, pets))} == {
        "tables.1.foreign_keys.0.is_context",
        "tables.1.columns.1.model_encoding_type",
        "tables.1.model_configuration.model",
        "tables.1.model_configuration.differential_privacy",
    }
    fitting = table(model_configuration={"model": MODELS[0].name})
    assert not list(not_yet_trainable(generator(fitting)))


def test_the_plan_depends_on_tables_and_seed_alone() -> None:
    first = generator(table())
    renamed = first.updated({"name": "other", "description": "text"})
    other = checked(first, [table(primary_key="id")])
    assert plan_hash(renamed) == plan_hash(first)
    assert plan_hash(first.updated({"seed": 1})) != plan_hash(first)
    assert plan_hash(other) != plan_hash(first)


def test_keys_are_not_learnt() -> None:
    keys = [{"column": "boss", "referenced_table": "people"}]
    people = table(("id", "boss", "age"), primary_key="id", foreign_keys=keys)
    spec = TableSpec.of(people, seed=1, initial_bundle=None)
    assert spec.learnt == ["age"]
    assert spec.keys == {"id": None, "boss": "people"}
    assert TableSpec(**spec.to_json()) == spec


def test_deprecated_encodings_are_mapped() -> None:
    made = table(columns=[{"name": "city", "model_encoding_type": "CATEGORICAL"}])
    assert made.columns[2].model_encoding_type == ModelEncodingType.TABULAR_CATEGORICAL
