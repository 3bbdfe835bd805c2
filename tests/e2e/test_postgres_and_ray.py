"""Five processes on Postgres, the work done by Ray actors: a table goes from a database to synthetic rows."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pandas as pd
import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from simulacra.client import AsyncSimulacra
from simulacra.domain import ProgressStatus, StepCode
from tests.e2e.platform import Platform, free_port, running_platform
from tests.e2e.scenes import people, step_of, training_under_way, until
from tests.postgres import PostgresServer
from tests.require import require

pytestmark = [pytest.mark.ray, pytest.mark.postgres, pytest.mark.timeout(420)]

RAY_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
    "RAY_USAGE_STATS_ENABLED": "0",
}


@pytest.fixture(scope="module")
def ray_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Ray head on loopback with four logical processors."""
    command = Path(sys.executable).with_name("ray")
    require("ray", command.exists(), "ray is not installed")
    log = (tmp_path_factory.mktemp("ray") / "log").open("wb")
    port = free_port()
    options = [
        "--node-ip-address=127.0.0.1",
        f"--port={port}",
        "--num-cpus=4",
        "--include-dashboard=false",
    ]
    head = subprocess.Popen(
        [str(command), "start", "--head", "--block", "--disable-usage-stats", *options],
        env=os.environ | RAY_ENVIRONMENT,
        stdout=log,
        stderr=log,
    )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(30)
        log.close()


@pytest.fixture
async def platform(tmp_path: Path, postgres_server: PostgresServer, ray_head: str) -> AsyncIterator[Platform]:
    extra = {
        "SIMULACRA_DATABASE_URL": postgres_server.new_database(),
        "SIMULACRA_TRAINER__EXECUTOR": "ray",
        "SIMULACRA_GENERATOR__EXECUTOR": "ray",
        "SIMULACRA_QA__EXECUTOR": "ray",
        "SIMULACRA_RAY_ADDRESS": ray_head,
    }
    async with running_platform(tmp_path, **extra, **RAY_ENVIRONMENT) as platform:
        yield platform


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[AsyncSimulacra]:
    async with AsyncSimulacra(platform.address, platform.api_key) as client:
        yield client


@pytest.fixture
def source(postgres_server: PostgresServer) -> dict[str, str | int]:
    """A database with a table `public.people`; returns a connector's config."""
    url = postgres_server.new_database()
    frame = people(2_000)
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        columns = "age int, city text, income numeric(12, 2), joined timestamp, member boolean"
        cursor.execute(f"CREATE TABLE people ({columns})")
        with cursor.copy("COPY people FROM STDIN") as copy:
            for row in frame.itertuples(index=False):
                copy.write_row(row)
    parts = conninfo_to_dict(url)
    return {
        "host": "127.0.0.1",
        "port": int(parts["port"] or 0),
        "username": str(parts["user"]),
        "database": str(parts["dbname"]),
    }


async def test_table_of_a_database_becomes_synthetic_rows(
    client: AsyncSimulacra, source: dict[str, str | int]
) -> None:
    connector = await client.connect(
        {"name": "people", "type": "POSTGRES", "config": source, "secrets": {"password": "unused"}}
    )
    assert "public.people" in await connector.locations("public")
    table = {
        "name": "people",
        "source_connector_id": connector.id,
        "location": "public.people",
        "model_configuration": {"max_epochs": 3},
    }
    generator = await client.train({"name": "people", "tables": [table]}, progress_bar=False)
    assert generator.training_status == ProgressStatus.DONE
    assert generator.accuracy is not None
    assert generator.accuracy > 0.8

    dataset = await client.generate(generator, size=500, seed=7, progress_bar=False)
    rows = await dataset.data()
    assert isinstance(rows, pd.DataFrame)
    assert list(rows.columns) == ["age", "city", "income", "joined", "member"]
    assert len(rows) == 500

    job = await client.evaluations.start(
        rows, {"connector_id": connector.id, "location": "public.people"}, people(2_000, seed=1)
    )
    await client.jobs.wait(job.id, progress_bar=False)
    metrics, columns, _ = await client.evaluations.metrics(job.id)
    assert metrics.distances is not None
    assert len(columns) == 5


def actors() -> list[psutil.Process]:
    """The actors that run tasks of ours."""
    titles = (
        (process, " ".join(process.info["cmdline"] or ())) for process in psutil.process_iter(["cmdline"])
    )
    return [process for process, title in titles if title.startswith("ray::TaskActor")]


async def test_cancel_leaves_no_actor(client: AsyncSimulacra) -> None:
    _, job_id = await training_under_way(client)
    running = actors()
    assert running
    await client.jobs.cancel(job_id)
    await until(client, job_id, ProgressStatus.CANCELED, seconds=2)
    _, alive = await asyncio.to_thread(psutil.wait_procs, running, 10)
    assert not alive


async def test_killed_trainer_leaves_no_actor_and_the_job_ends_done(
    platform: Platform, client: AsyncSimulacra
) -> None:
    _, job_id = await training_under_way(client)
    await platform.kill("trainer")
    await platform.start("trainer")
    await until(client, job_id, 1, seconds=30)
    job = await until(client, job_id, ProgressStatus.DONE, seconds=150)
    assert step_of(job, StepCode.TRAIN_MODEL).restarts == 1
    assert not actors()
