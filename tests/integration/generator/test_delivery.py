"""Synthetic datasets are delivered to databases and buckets whole, with their keys, or not at all."""

import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyarrow.dataset as pads
import pytest

from simulacra.client import Connector, Generator, Simulacra, SyntheticDataset
from simulacra.domain import ProgressStatus, StepCode
from simulacra.errors import (
    AlreadyExists,
    InvalidArgument,
    JobFailed,
    ResourceInUse,
    SourceAuthenticationFailed,
    SourceUnreachable,
)
from tests.buckets import Storage, s3_storage
from tests.mariadb import MariaDbServer, mariadb_server
from tests.postgres import PostgresServer

__all__ = ["mariadb_server", "s3_storage"]


KEYS = "contype IN ('p', 'f') AND connamespace = 'public'::regnamespace"


class Warehouse:
    """A Postgres database to deliver to, and its connector."""

    def __init__(self, client: Simulacra, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self.config: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port,
            "username": parts.username,
            "database": parts.path.lstrip("/"),
        }
        self.connector: Connector = client.connectors.create(
            {"name": "warehouse", "type": "POSTGRES", "access_type": "DESTINATION", "config": self.config}
        )

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement).fetchall()

    def delivery(self, **changes: Any) -> dict[str, Any]:
        return {
            "overwrite_tables": False,
            "destination_connector_id": self.connector.id,
            "location": "public",
            **changes,
        }


@pytest.fixture
def warehouse(client: Simulacra, postgres_server: PostgresServer) -> Warehouse:
    return Warehouse(client, postgres_server.new_database())


@pytest.fixture
def generate(client: Simulacra, owners: Generator) -> Callable[..., SyntheticDataset]:
    def run(delivery: dict[str, Any], *, rows: int = 50) -> SyntheticDataset:
        dataset = client.generate(
            owners, size={"people": rows, "pets": 20}, seed=1, delivery=delivery, progress_bar=False
        )
        dataset.refresh()
        return dataset

    return run


def outcomes(dataset: SyntheticDataset) -> dict[str, tuple[str, str, int]]:
    dataset.refresh()
    found = {table.name: table.delivery for table in dataset.tables or []}
    return {name: (str(each.status), each.location, each.rows) for name, each in found.items() if each}


@pytest.mark.postgres
def test_tables_arrive_with_keys_and_each_outcome_is_told(
    client: Simulacra, generate: Callable[..., SyntheticDataset], warehouse: Warehouse
) -> None:
    dataset = generate(warehouse.delivery())
    assert outcomes(dataset) == {"people": ("DONE", "public.people", 50), "pets": ("DONE", "public.pets", 20)}
    frames = dataset.data("dict")
    assert isinstance(frames, dict)
    assert warehouse.fetch("SELECT sum(age), count(*) FROM people") == [
        (int(frames["people"]["age"].sum()), 50)
    ]
    keys = warehouse.fetch(f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE {KEYS}")
    assert sorted(keys) == [
        ("FOREIGN KEY (owner) REFERENCES people(id)",),
        ("PRIMARY KEY (id)",),
        ("PRIMARY KEY (name)",),
    ]
    steps = dataset.generation.progress().steps or []
    assert [step.step_code for step in steps][-1] == StepCode.DELIVER_DATA
    last = steps[-1].progress
    assert last is not None
    assert last.value == last.max == 70

    warehouse.connector.refresh()
    assert warehouse.connector.usage is not None
    assert warehouse.connector.usage.no_of_synthetic_datasets == 1
    with pytest.raises(ResourceInUse, match=dataset.id):
        warehouse.connector.delete()
    dataset.delete()
    warehouse.connector.delete()


@pytest.mark.postgres
def test_existing_tables_are_refused_replaced_or_added_to(
    generate: Callable[..., SyntheticDataset], warehouse: Warehouse
) -> None:
    warehouse.run("CREATE TABLE people (id int PRIMARY KEY, age int)", "INSERT INTO people VALUES (-1, 3)")
    with pytest.raises(AlreadyExists, match=r"public\.people"):
        generate(warehouse.delivery())
    with pytest.raises(JobFailed, match='"city" is not in the table'):
        generate(warehouse.delivery(overwrite_tables=True))
    assert warehouse.fetch("SELECT count(*) FROM people") == [(1,)]
    assert warehouse.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]
    warehouse.run("DROP TABLE people")
    generate(warehouse.delivery())
    generate(warehouse.delivery(overwrite_tables=True), rows=30)
    assert warehouse.fetch("SELECT count(*) FROM people") == [(30,)]
    assert warehouse.fetch(f"SELECT count(*) FROM pg_constraint WHERE {KEYS}") == [(3,)]
    warehouse.run(
        "ALTER TABLE people DROP CONSTRAINT people_pkey CASCADE", "ALTER TABLE pets DROP CONSTRAINT pets_pkey"
    )
    generate(warehouse.delivery(append_to_tables=True), rows=10)
    assert warehouse.fetch("SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM pets)") == [(40, 40)]


@pytest.mark.postgres
def test_a_failed_delivery_changes_nothing_and_can_be_started_again(
    client: Simulacra, generate: Callable[..., SyntheticDataset], warehouse: Warehouse
) -> None:
    # The second table breaks a rule, after the first has been copied.
    warehouse.run(
        "CREATE TABLE pets (name text PRIMARY KEY, kind text CHECK (kind = 'dragon'), owner int, age int)",
        "INSERT INTO pets VALUES ('Fuchur', 'dragon', 1, 1)",
    )
    with pytest.raises(JobFailed, match="pets_kind_check"):
        generate(warehouse.delivery(overwrite_tables=True))
    assert warehouse.fetch("SELECT name FROM pets") == [("Fuchur",)]
    assert warehouse.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]
    found = client.synthetic_datasets.list(limit=1)[0]
    dataset = client.synthetic_datasets.get(found.id)
    assert dataset.generation_status == ProgressStatus.FAILED
    table = next(table for table in dataset.tables or [] if table.name == "pets")
    assert table.delivery is not None
    assert table.delivery.status == ProgressStatus.FAILED
    assert "pets_kind_check" in (table.delivery.error_message or "")
    assert len(dataset.data("dict")["people"]) == 50  # the rows themselves are there

    warehouse.run("ALTER TABLE pets DROP CONSTRAINT pets_kind_check")
    dataset.generation.start()
    dataset.generation.wait(progress_bar=False)
    assert outcomes(dataset)["pets"] == ("DONE", "public.pets", 20)
    assert warehouse.fetch("SELECT count(*) FROM pets") == [(20,)]


@pytest.mark.postgres
def test_a_cancelled_delivery_changes_nothing_and_leaves_no_query_running(
    client: Simulacra, owners: Generator, warehouse: Warehouse
) -> None:
    warehouse.run(
        "CREATE TABLE pets (name text, kind text, owner int8, age int8)",
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE INSERT ON pets FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    delivery = warehouse.delivery(append_to_tables=True)
    dataset = client.generate(owners, seed=1, delivery=delivery, wait=False)
    deadline = time.monotonic() + 60
    while not warehouse.fetch("SELECT 1 FROM pg_stat_progress_copy WHERE tuples_processed > 5"):
        assert time.monotonic() < deadline
    dataset.generation.cancel()
    with pytest.raises(JobFailed):
        dataset.generation.wait(progress_bar=False)
    assert {status for status, _, _ in outcomes(dataset).values()} == {"CANCELED"}
    assert dataset.generation_status == ProgressStatus.CANCELED
    assert warehouse.fetch("SELECT 1 FROM pg_stat_activity WHERE application_name = 'simulacra'") == []
    assert warehouse.fetch("SELECT count(*) FROM pets") == [(0,)]
    assert warehouse.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]

    warehouse.run("DROP TRIGGER slow ON pets")
    dataset.generation.start()
    dataset.generation.wait(progress_bar=False)
    assert outcomes(dataset)["pets"] == ("DONE", "public.pets", 300)


@pytest.mark.slow
@pytest.mark.postgres
def test_a_delivery_that_failed_may_go_elsewhere(
    client: Simulacra, owners: Generator, warehouse: Warehouse, postgres_server: PostgresServer
) -> None:
    other = Warehouse(client, postgres_server.new_database())
    dataset = client.synthetic_datasets.create(
        {"generator_id": owners.id, "seed": 1, "delivery": warehouse.delivery()}
    )
    warehouse.run("CREATE TABLE pets (a int)")
    with pytest.raises(AlreadyExists):
        dataset.generation.start()
    dataset.update(delivery=other.delivery())
    warehouse.connector.delete()  # nothing uses it any more
    with pytest.raises(ResourceInUse):
        other.connector.delete()
    dataset.generation.start()
    dataset.generation.wait(progress_bar=False)
    assert other.fetch("SELECT count(*) FROM pets") == [(300,)]


@pytest.mark.slow
@pytest.mark.postgres
def test_a_delivery_may_be_given_up_and_taken_up(
    client: Simulacra, owners: Generator, warehouse: Warehouse
) -> None:
    warehouse.run("CREATE TABLE pets (a int)")
    config = {"generator_id": owners.id, "seed": 1, "delivery": warehouse.delivery(overwrite_tables=True)}
    dataset = client.synthetic_datasets.create(config)
    dataset.generation.start()
    with pytest.raises(JobFailed, match="is not in the table"):
        dataset.generation.wait(progress_bar=False)
    assert warehouse.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]
    generated = (dataset.generation.progress().steps or [])[0].end_date
    warehouse.run("DROP TABLE pets")
    dataset.update(delivery=warehouse.delivery())
    dataset.generation.start()
    dataset.generation.wait(progress_bar=False)
    assert warehouse.fetch("SELECT count(*) FROM pets") == [(300,)]
    steps = dataset.generation.progress().steps or []
    assert steps[0].end_date == generated  # what was there was not generated again


@pytest.mark.postgres
def test_where_a_delivery_cannot_go_is_told_before_anything_is_generated(
    client: Simulacra, owners: Generator, warehouse: Warehouse
) -> None:
    reader = client.connectors.create({"type": "POSTGRES", "config": warehouse.config})
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"destination_connector_id": reader.id}, "SOURCE", "delivery.destination_connector_id"),
        (
            {"destination_connector_id": str(uuid.uuid4())},
            "no connector",
            "delivery.destination_connector_id",
        ),
        ({"location": "nowhere"}, "nowhere", "delivery.location"),
        ({"overwrite_tables": True, "append_to_tables": True}, "choose one", "delivery.append_to_tables"),
    ]
    for changes, words, field in wrong:
        with pytest.raises(InvalidArgument, match=words) as caught:
            client.generate(owners, delivery=warehouse.delivery(**changes), progress_bar=False)
        assert field.endswith(caught.value.violations[0].field)
    warehouse.connector.update(config=warehouse.config | {"port": 1}, test_connection=False)
    with pytest.raises((SourceUnreachable, SourceAuthenticationFailed)):
        client.generate(owners, delivery=warehouse.delivery(), progress_bar=False)


def test_delivery_to_mariadb(
    client: Simulacra, generate: Callable[..., SyntheticDataset], mariadb_server: MariaDbServer
) -> None:
    name = f"d{uuid.uuid4().hex[:8]}"
    mariadb_server.run(f"CREATE DATABASE {name}")
    config = {"host": "127.0.0.1", "port": mariadb_server.port, "username": "root"}
    made = client.connectors.create({"type": "MARIADB", "access_type": "DESTINATION", "config": config})
    delivery = {"overwrite_tables": False, "destination_connector_id": made.id, "location": name}
    dataset = generate(delivery)
    assert outcomes(dataset) == {
        "people": ("DONE", f"{name}.people", 50),
        "pets": ("DONE", f"{name}.pets", 20),
    }
    keys = mariadb_server.fetch(
        "SELECT table_name, column_name, referenced_table_name FROM information_schema.key_column_usage "
        f"WHERE table_schema = '{name}' ORDER BY 1, 3, 2"
    )
    assert keys == ([("people", "id", None), ("pets", "name", None), ("pets", "owner", "people")])
    frames = dataset.data("dict")
    assert isinstance(frames, dict)
    [(ages,)] = mariadb_server.fetch(f"SELECT sum(age) FROM {name}.people")
    assert ages == int(frames["people"]["age"].sum())
    with pytest.raises(AlreadyExists):
        generate(delivery)
    # The parent loses rows that children point at: nothing changes.
    mariadb_server.run(
        f"CREATE TABLE {name}.visits (pet varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin, "
        f"FOREIGN KEY (pet) REFERENCES {name}.pets (name))",
        f"INSERT INTO {name}.visits VALUES ('20')",
    )
    generate(delivery | {"overwrite_tables": True})
    mariadb_server.run(
        f"INSERT INTO {name}.pets (name) VALUES ('Fuchur')", f"INSERT INTO {name}.visits VALUES ('Fuchur')"
    )
    with pytest.raises(JobFailed, match="visits"):
        generate(delivery | {"overwrite_tables": True})
    tables = mariadb_server.fetch(f"SHOW TABLES FROM {name}")
    assert sorted(table for (table,) in tables) == ["people", "pets", "visits"]
    assert mariadb_server.fetch(f"SELECT count(*) FROM {name}.pets") == [(21,)]


def test_delivery_to_a_bucket(
    client: Simulacra, generate: Callable[..., SyntheticDataset], s3_storage: Storage
) -> None:
    bucket = f"b{uuid.uuid4().hex[:8]}"
    s3_storage.filesystem.create_dir(bucket)
    made = client.connectors.create(
        {
            "type": "S3_STORAGE",
            "access_type": "DESTINATION",
            "config": s3_storage.config,
            "secrets": s3_storage.secrets,
        }
    )
    delivery = {"overwrite_tables": False, "destination_connector_id": made.id, "location": f"{bucket}/out"}

    def rows(table: str) -> int:
        return int(pads.dataset(f"{bucket}/out/{table}", filesystem=s3_storage.filesystem).count_rows())

    with pytest.raises(InvalidArgument, match=rf'delivery\.location.*no bucket or container "{bucket}-none"'):
        generate(delivery | {"location": f"{bucket}-none/out"})
    dataset = generate(delivery)
    assert outcomes(dataset)["people"] == ("DONE", f"{bucket}/out/people", 50)
    assert (rows("people"), rows("pets")) == (50, 20)
    with pytest.raises(AlreadyExists):
        generate(delivery)
    generate(delivery | {"overwrite_tables": True}, rows=30)
    assert (rows("people"), rows("pets")) == (30, 20)
    generate(delivery | {"append_to_tables": True}, rows=30)
    assert (rows("people"), rows("pets")) == (60, 40)
