"""From the tables of a database, with their keys, to a generator, and from there into other databases."""

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyarrow.dataset as pads
import pytest

from simulacra.client import Connector, Generator, Simulacra
from simulacra.domain import ModelConfiguration
from simulacra.errors import InvalidArgument
from tests.buckets import Storage, s3_storage
from tests.mariadb import MariaDbServer, mariadb_server
from tests.postgres import PostgresServer

__all__ = ["mariadb_server", "s3_storage"]

pytestmark = pytest.mark.postgres

# A bank: tables below others, two keys in one table, a table that only others refer to, a reserved word.
BANK = [
    "CREATE TABLE district (district_id int8 PRIMARY KEY, region text, salary float8)",
    "CREATE TABLE account (account_id int8 PRIMARY KEY, district_id int8 REFERENCES district, "
    "frequency text, opened timestamp)",
    "CREATE TABLE client (client_id int8 PRIMARY KEY, district_id int8 REFERENCES district, born int8)",
    "CREATE TABLE disp (disp_id int8 PRIMARY KEY, client_id int8 REFERENCES client, "
    "account_id int8 REFERENCES account, kind text)",
    "CREATE TABLE card (card_id int8 PRIMARY KEY, disp_id int8 REFERENCES disp, kind text, issued date)",
    "CREATE TABLE loan (loan_id int8 PRIMARY KEY, account_id int8 REFERENCES account, "
    "amount numeric(12, 2), status text)",
    'CREATE TABLE "order" (order_id int8 PRIMARY KEY, account_id int8 REFERENCES account, amount float8)',
    "CREATE TABLE unrelated (a int)",
    "INSERT INTO district SELECT i, 'region ' || i % 4, 8000 + i * 13 FROM generate_series(1, 200) i",
    "INSERT INTO account SELECT i, i % 200 + 1, (ARRAY['monthly', 'weekly'])[i % 2 + 1], "
    "timestamp '1993-01-01' + i * interval '1 day' FROM generate_series(1, 300) i",
    "INSERT INTO client SELECT i, i % 200 + 1, 400000 + i * 7 FROM generate_series(1, 300) i",
    "INSERT INTO disp SELECT i, i, i, (ARRAY['OWNER', 'USER'])[i % 2 + 1] FROM generate_series(1, 300) i",
    "INSERT INTO card SELECT i, i, (ARRAY['gold', 'junior'])[i % 2 + 1], date '1998-01-01' + i::int "
    "FROM generate_series(1, 200) i",
    "INSERT INTO loan SELECT i, i, i * 100.25, (ARRAY['A', 'B'])[i % 2 + 1] FROM generate_series(1, 200) i",
    'INSERT INTO "order" SELECT i, i % 300 + 1, i / 3.0 FROM generate_series(1, 400) i',
]
KEYS = {
    "district": [],
    "account": ["district"],
    "client": ["district"],
    "disp": ["account", "client"],
    "card": ["disp"],
    "loan": ["account"],
    "order": ["account"],
}


@pytest.fixture
def bank(client: Simulacra, postgres_server: PostgresServer) -> Connector:
    url = postgres_server.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in BANK:
            connection.execute(statement)
    parts = urlsplit(url)
    config: dict[str, Any] = {
        "host": parts.hostname,
        "port": parts.port,
        "username": parts.username,
        "database": parts.path.lstrip("/"),
    }
    return client.connectors.create({"name": "bank", "type": "POSTGRES", "config": config})


@pytest.fixture
def add(client: Simulacra, bank: Connector) -> Callable[..., Generator]:
    def run(location: str, **config: Any) -> Generator:
        generator = client.generators.create({"name": "bank", "seed": 1})
        generator.add_table({"source_connector_id": bank.id, "location": location, **config})
        generator.refresh()
        return generator

    return run


def keys_of(generator: Generator) -> dict[str, list[str]]:
    return {
        table.name: sorted(key.referenced_table for key in table.foreign_keys or ())
        for table in generator.tables or ()
    }


@pytest.mark.parametrize("location", ["public.account", "public.district"])
def test_include_children_brings_all_tables_with_their_keys(
    add: Callable[..., Generator], location: str
) -> None:
    generator = add(location, include_children=True)
    assert keys_of(generator) == KEYS
    assert {table.name: table.primary_key for table in generator.tables or ()} == {
        name: f"{name}_id" for name in KEYS
    }
    assert not any(key.is_context for table in generator.tables or () for key in table.foreign_keys or ())


def test_a_leaf_brings_what_it_refers_to_and_names_are_not_taken_twice(add: Callable[..., Generator]) -> None:
    generator = add("public.card", include_children=True, name="cards")
    assert keys_of(generator) == {
        "district": [],
        "account": ["district"],
        "client": ["district"],
        "disp": ["account", "client"],
        "cards": ["disp"],
    }
    generator.add_table(
        {
            "source_connector_id": (generator.tables or [])[0].source_connector.id,  # type: ignore[union-attr]
            "location": "public.loan",
            "include_children": True,
        }
    )
    generator.refresh()
    assert list(keys_of(generator)) == ["district", "account", "client", "disp", "cards", "loan"]
    assert keys_of(generator)["loan"] == ["account"]
    assert list(keys_of(add("public.account"))) == ["account"]


def test_a_destination_is_no_source(client: Simulacra, bank: Connector) -> None:
    config = {"name": "out", "type": "POSTGRES", "access_type": "DESTINATION", "config": bank.config}
    writer = client.connectors.create(config)
    table = {"source_connector_id": writer.id, "location": "public.account"}
    generator = client.generators.create({"name": "bank"})
    with pytest.raises(InvalidArgument, match=r'"out" is a DESTINATION.*access_type SOURCE') as added:
        generator.add_table(table)
    with pytest.raises(InvalidArgument, match="is a DESTINATION") as created:
        client.generators.create({"name": "bank", "tables": [table | {"name": "account"}]})
    fields = [error.value.violations[0].field for error in (added, created)]
    assert all(field.endswith("source_connector_id") for field in fields)


def test_from_one_database_into_others(
    client: Simulacra,
    add: Callable[..., Generator],
    mariadb_server: MariaDbServer,
    s3_storage: Storage,
) -> None:
    quick = ModelConfiguration(max_epochs=1, max_training_time=0.1)
    generator = add("public.card", include_children=True, model_configuration=quick)
    generator.training.start()
    generator.training.wait(progress_bar=False)

    database = f"bank{uuid.uuid4().hex[:8]}"
    mariadb_server.run(f"CREATE DATABASE {database}")
    maria = client.connectors.create(
        {
            "type": "MARIADB",
            "access_type": "DESTINATION",
            "config": {"host": "127.0.0.1", "port": mariadb_server.port, "username": "root"},
        }
    )
    delivery = {"overwrite_tables": False, "destination_connector_id": maria.id, "location": database}
    dataset = client.generate(generator, delivery=delivery, progress_bar=False)
    counts = {
        table: mariadb_server.fetch(f"SELECT count(*) FROM {database}.{table}")[0][0]
        for table in ("district", "account", "client", "disp", "card")
    }
    assert counts == {"district": 200, "account": 300, "client": 300, "disp": 300, "card": 200}
    assert mariadb_server.fetch(
        f"SELECT count(*) FROM {database}.card JOIN {database}.disp USING (disp_id) "
        f"JOIN {database}.account USING (account_id) JOIN {database}.district USING (district_id)"
    ) == [(200,)]

    bucket = database
    s3_storage.filesystem.create_dir(bucket)
    s3 = client.connectors.create(
        {
            "type": "S3_STORAGE",
            "access_type": "DESTINATION",
            "config": s3_storage.config,
            "secrets": s3_storage.secrets,
        }
    )
    delivery = {"overwrite_tables": False, "destination_connector_id": s3.id, "location": f"{bucket}/out"}
    again = client.generate(
        generator,
        seed=dataset.provenance.seed if dataset.provenance else 1,
        delivery=delivery,
        progress_bar=False,
    )
    frames = again.data("dict")
    assert isinstance(frames, dict)
    for table, frame in frames.items():
        stored = pads.dataset(f"{bucket}/out/{table}", filesystem=s3_storage.filesystem)
        assert stored.count_rows() == len(frame)
