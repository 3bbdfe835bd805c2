"""A database behind separate services: deliveries outlive killed processes, and a password is nowhere."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from simulacra.client import AsyncSimulacra
from simulacra.domain import ProgressStatus, StepCode
from simulacra.errors import JobFailed, SourceAuthenticationFailed
from tests.collector import Collector, running_collector
from tests.e2e.platform import Platform, running_platform
from tests.e2e.scenes import people, step_of, until
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

PASSWORD = "planted/p@ss:w0rd'\\%20"
ROWS = 2000


class Database:
    """An empty database whose user `loader` must give a password."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.run("CREATE ROLE loader LOGIN PASSWORD '" + PASSWORD.replace("'", "''") + "'")
        self.run("GRANT ALL ON SCHEMA public TO loader")
        parts = urlsplit(url)
        self.config: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port,
            "username": "loader",
            "database": parts.path.lstrip("/"),
        }

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    async def copying(self) -> None:
        """Returns when rows are on their way."""
        async with asyncio.timeout(90):
            progress = "SELECT 1 FROM pg_stat_progress_copy WHERE tuples_processed > 50"
            while not await asyncio.to_thread(self.run, progress):
                pass


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    url = postgres_server.new_database()
    database = Database(url)
    [(path,)] = database.run("SHOW hba_file")
    before = Path(path).read_text()
    Path(path).write_text("host all loader 127.0.0.1/32 scram-sha-256\n" + before)
    database.run("SELECT pg_reload_conf()")
    yield database
    Path(path).write_text(before)
    database.run("SELECT pg_reload_conf()")
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'loader'")
    database.run("DROP OWNED BY loader")
    database.run("DROP ROLE loader")


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with running_collector() as collector:
        yield collector


@pytest.fixture
async def platform(tmp_path: Path, collector: Collector) -> AsyncIterator[Platform]:
    settings = {
        "SIMULACRA_LOG_LEVEL": "debug",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    async with running_platform(tmp_path, **settings) as platform:
        yield platform


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[AsyncSimulacra]:
    async with AsyncSimulacra(platform.address, platform.api_key) as client:
        yield client


async def test_delivery_outlives_killed_services_and_a_password_is_nowhere(
    platform: Platform, client: AsyncSimulacra, database: Database, collector: Collector
) -> None:
    said: list[str] = []
    source = {"type": "POSTGRES", "config": database.config, "secrets": {"password": PASSWORD}}
    with pytest.raises(SourceAuthenticationFailed) as refused:
        await client.connectors.create(source | {"secrets": {"password": PASSWORD + "?"}})
    said.append(repr(refused.value) + str(refused.value.metadata))
    reader = await client.connectors.create(source)
    writer = await client.connectors.create(source | {"access_type": "DESTINATION"})
    await reader.update(secrets={"password": PASSWORD})
    await reader.test_connection()
    said += [repr(reader), repr(await client.connectors.list()), repr(await client.connectors.get(writer.id))]

    generator = await client.train(
        data=people(),
        seed=1,
        model_configuration={"max_training_time": 0.1, "max_epochs": 1},
        progress_bar=False,
    )
    # Each row takes its time, so that there is a middle; rows that came twice would be counted.
    [table] = [table.name for table in generator.tables or ()]
    columns = "age int8, city text, income float8, joined timestamp, member bool"
    for statement in (
        f'CREATE TABLE "{table}" ({columns})',
        f'GRANT ALL ON "{table}" TO loader',
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$",
        f'CREATE TRIGGER slow BEFORE INSERT ON "{table}" FOR EACH ROW EXECUTE FUNCTION slow()',
    ):
        database.run(statement)
    delivery = {
        "destination_connector_id": writer.id,
        "location": "public",
        "overwrite_tables": False,
        "append_to_tables": True,
    }
    dataset = await client.generate(generator, size=ROWS, seed=1, delivery=delivery, wait=False)
    await database.copying()
    for service in ("connector", "generator"):
        await platform.kill(service)
        await platform.start(service)
        await database.copying()
    assert database.run(f'SELECT count(*) FROM "{table}"') == [(0,)]
    progress = await dataset.generation.progress()
    assert progress.id is not None
    job = await until(client, progress.id, ProgressStatus.DONE, seconds=120)
    assert database.run(f'SELECT count(*) FROM "{table}"') == [(ROWS,)]
    assert (step_of(job, StepCode.DELIVER_DATA).restarts or 0) >= 1
    await dataset.refresh()
    [outcome] = [each.delivery for each in dataset.tables or ()]
    assert outcome is not None
    assert (outcome.status, outcome.rows) == (ProgressStatus.DONE, ROWS)

    # A delivery that fails in the middle tells why, and not with what.
    database.run(f'ALTER TABLE "{table}" ADD CHECK (age < 0) NOT VALID')
    with pytest.raises(JobFailed, match="check") as failed:
        await client.generate(generator, size=10, delivery=delivery, progress_bar=False)
    said += [repr(failed.value), repr(job), repr(dataset)]

    secret = PASSWORD.encode()
    assert not [text for text in said if PASSWORD in text or repr(PASSWORD)[1:-1] in text]
    await platform.stop()
    files = [path for path in platform.data_dir.rglob("*") if path.is_file()]
    assert {f"{service}.log" for service in ("connector", "generator", "gateway")} <= {
        path.name for path in files
    }
    forms = [secret, repr(PASSWORD)[1:-1].encode(), PASSWORD.replace("\\", "\\\\").encode()]
    assert not [path for path in files if any(form in path.read_bytes() for form in forms)]

    # Spans of the calls that had the password, and of those that failed, whole.
    assert {"CreateConnector", "UpdateConnector", "TestConnection"} <= collector.names("simulacra-gateway")
    assert {"CreateConnector", "DeliverTables"} <= collector.names("simulacra-connector")
    assert collector.failed("simulacra-connector") >= {"CreateConnector", "DeliverTables"}
    assert not [span for _, span in collector.spans if span.events]  # such as exceptions
    assert not [sent for sent in collector.requests if any(form in sent for form in forms)]
