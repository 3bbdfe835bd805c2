"""Columns of a database's own types are learnt and come back as they were, or are refused by name."""

from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from simulacra.client import Simulacra
from simulacra.domain import ModelConfiguration
from simulacra.errors import JobFailed
from tests.postgres import PostgresServer

pytestmark = pytest.mark.postgres

TABLE = (
    "CREATE TABLE {} (id int PRIMARY KEY, wake time, price numeric(12, 2), huge numeric, mood mood, "
    "uid uuid, doc jsonb, span interval, net inet, big int8, flag bool, at timestamptz, name varchar(20))"
)
FILL = (
    "INSERT INTO t SELECT i, time '06:00' + i % 50 * interval '7 minutes', i % 40 * 1.25, "
    "9007199254740993 + i % 3, (ARRAY['sad', 'glad'])[i % 2 + 1]::mood, "
    "('00000000-0000-0000-0000-0000000000' || lpad((i % 40)::text, 2, '0'))::uuid, "
    "jsonb_build_object('a', i % 3), i % 4 * interval '1 hour', ('10.0.0.' || i % 5)::inet, "
    "9007199254740993 + i % 40, i % 2 = 0, timestamptz '2024-01-01 00:00Z' + i % 90 * interval '1 day', "
    "'name ' || i % 6 FROM generate_series(1, 600) i"
)


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    url = postgres_server.new_database()
    run(url, "CREATE TYPE mood AS ENUM ('sad', 'glad')", TABLE.format("t"), FILL)
    return url


def run(url: str, *statements: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def config_of(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    database = parts.path.lstrip("/")
    return {"host": parts.hostname, "port": parts.port, "username": parts.username, "database": database}


def test_types_of_postgres_survive_the_platform(client: Simulacra, url: str) -> None:
    source = client.connectors.create({"type": "POSTGRES", "config": config_of(url)})
    quick = ModelConfiguration(max_epochs=1, max_training_time=0.1)
    generator = client.generators.create({"name": "types", "seed": 1})
    generator.add_table(
        {"source_connector_id": source.id, "location": "public.t", "model_configuration": quick}
    )
    generator.training.start()
    generator.training.wait(progress_bar=False)
    run(url, "CREATE SCHEMA out", TABLE.format("out.t"))
    destination = client.connectors.create(
        {"type": "POSTGRES", "access_type": "DESTINATION", "config": config_of(url)}
    )
    delivery = {"overwrite_tables": True, "destination_connector_id": destination.id, "location": "out"}
    client.generate(generator, delivery=delivery, progress_bar=False)
    columns = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = '{}'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert run(url, columns.format("out.t")) == run(url, columns.format("t"))
    assert run(url, "SELECT count(*) FROM out.t") == [(600,)]
    # What is a category, and large numbers, are values of the source to the last digit.
    for column in ("mood", "net", "flag", "doc"):
        strange = f"SELECT {column} FROM out.t WHERE {column} NOT IN (SELECT {column} FROM t)"
        assert run(url, strange) == []
    assert run(url, "SELECT 1 FROM out.t WHERE huge NOT BETWEEN 9007199254740993 AND 9007199254740995") == []
    assert run(url, "SELECT 1 FROM out.t WHERE wake < '06:00' OR wake > '12:00'") == []


def test_what_cannot_be_learnt_is_named(client: Simulacra, url: str) -> None:
    run(
        url,
        "CREATE TABLE odd (tags text[], x int)",
        "INSERT INTO odd SELECT '{a,b}', i FROM generate_series(1, 300) i",
    )
    source = client.connectors.create({"type": "POSTGRES", "config": config_of(url)})
    quick = ModelConfiguration(max_epochs=1, max_training_time=0.1)
    generator = client.generators.create({"name": "odd", "seed": 1})
    generator.add_table(
        {"source_connector_id": source.id, "location": "public.odd", "model_configuration": quick}
    )
    generator.training.start()
    with pytest.raises(JobFailed, match='"tags"'):
        generator.training.wait(progress_bar=False)
