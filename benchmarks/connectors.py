"""PostgreSQL in and out against plain scripts: `python -m benchmarks.connectors [--rows N] [--rounds N]`.

Memory of many rows: `python -m benchmarks.connectors --rows 10000000 --rounds 1 --subjects pull deliver`.

Reading: a table of ten columns into a Parquet artifact, against a script that reads with ADBC and writes
zstd-compressed Parquet. Delivery: the same rows into a table, against a script that copies CSV, made ahead,
into one. Each round runs every subject once, each in a process of its own; what counts are the medians'
ratios.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.machine import describe

TABLE = """
CREATE UNLOGGED TABLE bench AS SELECT i::bigint AS id, (random() * 1000)::int AS a, random() AS b,
  'name ' || (random() * 10000)::int AS c, md5(i::text) AS d, date '2020-01-01' + (random() * 1000)::int AS e,
  timestamp '2020-01-01' + random() * interval '1000 days' AS f, random() < 0.5 AS g,
  (random() * 1e6)::numeric(12, 2) AS h, (array['red', 'green', 'blue'])[1 + (random() * 2.9)::int] AS i
FROM generate_series(1, {rows}) i
"""


def plain_read(url: str, folder: Path) -> None:
    """Reads with ADBC and writes zstd Parquet."""
    import adbc_driver_postgresql.dbapi as adbc
    import pyarrow.parquet as pq

    with adbc.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM bench")
        reader = cursor.fetch_record_batch()
        with pq.ParquetWriter(folder / "plain.parquet", reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)


def pull(url: str, folder: Path) -> None:
    """Pulls the table into an artifact as the service does."""
    sources, connection, options = _sources(url, folder)

    async def run() -> None:
        from simulacra_connector.sources import PullRequest

        async for _ in sources.pull(connection, [PullRequest("public.bench", "a/b", options)]):
            pass

    asyncio.run(run())


def plain_copy(url: str, folder: Path) -> None:
    """Copies CSV that is there already into a new table."""
    import psycopg

    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS copied")
        cursor.execute("CREATE TABLE copied (LIKE bench)")
        with (
            (folder.parent / "bench.csv").open("rb") as source,
            cursor.copy("COPY copied FROM STDIN (FORMAT csv)") as copy,
        ):
            while block := source.read(1 << 20):
                copy.write(block)


def deliver(url: str, folder: Path) -> None:
    """Writes the artifact's rows as the service does."""
    from simulacra_connector.drivers.base import WriteMode
    from simulacra_connector.sources import TableRequest

    sources, connection, _ = _sources(url, folder.parent)
    tables = [TableRequest("delivered", "a/b")]

    async def run() -> None:
        async for _ in sources.deliver(connection, "public", tables, WriteMode.OVERWRITE, _Journal()):
            pass

    asyncio.run(run())


class _Journal:
    """A journal in memory: what is measured is delivered once."""

    id = "benchmark"

    def __init__(self) -> None:
        self._note: Mapping[str, Any] | None = None

    def load(self) -> Mapping[str, Any] | None:
        return self._note

    def save(self, note: Mapping[str, Any]) -> None:
        self._note = note


SUBJECTS: dict[str, Callable[[str, Path], None]] = {
    function.__name__: function for function in (plain_read, pull, plain_copy, deliver)
}


def _sources(url: str, folder: Path) -> tuple[Any, Any, Any]:
    from simulacra.artifacts import ArtifactStore
    from simulacra.domain import ConnectorType
    from simulacra_connector.drivers.base import ReadOptions, SessionOptions
    from simulacra_connector.sources import Sources
    from simulacra_connector.threads import DriverThreads
    from simulacra_connector.types import check_connection

    parts = urlsplit(url)
    config = {
        "host": parts.hostname,
        "port": parts.port,
        "username": parts.username,
        "database": parts.path.lstrip("/"),
    }
    connection = check_connection(ConnectorType.POSTGRES, config=config, secrets=None, ssl=None)
    store = ArtifactStore.from_url((folder / "artifacts").as_uri())
    return Sources(DriverThreads(1), SessionOptions(), store), connection, ReadOptions()


def one(subject: str, url: str, folder: Path) -> dict[str, float]:
    """Runs a subject in this process; imports are not counted."""
    import adbc_driver_postgresql.dbapi
    import pandas
    import psycopg

    import simulacra_connector.drivers.postgres
    import simulacra_connector.sources

    del adbc_driver_postgresql, pandas, psycopg, simulacra_connector
    started, used = time.perf_counter(), time.process_time()
    SUBJECTS[subject](url, folder)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - used,
        "peak_mib": _peak_kib() / 1024,
    }


def _peak_kib() -> int:
    # Not getrusage: its maximum is inherited from the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _prepare(url: str, rows: int, folder: Path, subjects: Sequence[str]) -> None:
    import psycopg
    import pyarrow.csv as pacsv

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE.format(rows=rows).encode())
        connection.execute("VACUUM ANALYZE bench")
    pull(url, folder)
    if "plain_copy" not in subjects:
        return
    from simulacra.artifacts import ArtifactStore

    artifact = ArtifactStore.from_url((folder / "artifacts").as_uri()).open("a/b")
    options = pacsv.WriteOptions(include_header=False, quoting_style="all_valid")
    with pacsv.CSVWriter(folder / "bench.csv", artifact.schema, write_options=options) as csv:
        for batch in artifact.batches():
            csv.write_batch(batch)


def _server(folder: Path) -> Iterator[str]:
    from tests.postgres import PostgresServer, postgres_binaries

    binaries = postgres_binaries()
    if binaries is None:
        raise SystemExit("no Postgres server binaries; apt install postgresql brings them")
    server = PostgresServer(binaries, folder)
    try:
        yield server.new_database()
    finally:
        server.stop()


def main() -> None:
    """Measures all subjects and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--url", default="", help="an existing, empty database instead of a server of its own"
    )
    parser.add_argument(
        "--subjects",
        nargs="+",
        choices=SUBJECTS,
        default=list(SUBJECTS),
        help="what to measure; all by default",
    )
    parser.add_argument("--one", choices=SUBJECTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one, arguments.url, arguments.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="simulacra-bench-") as name:
        print(json.dumps(_measure(arguments, Path(name)), indent=1))


def _measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    servers = iter([arguments.url]) if arguments.url else _server(_own_folder(folder / "postgres"))
    url = next(servers)
    runs: dict[str, list[dict[str, float]]] = {subject: [] for subject in arguments.subjects}
    try:
        _prepare(url, arguments.rows, folder, arguments.subjects)
        for number in range(arguments.rounds):
            for subject in arguments.subjects:
                own = folder / f"{subject}-{number}"
                own.mkdir()
                command = [sys.executable, "-m", "benchmarks.connectors", "--one", subject]
                output = subprocess.check_output([*command, "--url", url, "--folder", str(own)])
                runs[subject].append(json.loads(output))
    finally:
        for _ in servers:
            pass
    medians = {
        subject: {key: round(statistics.median(run[key] for run in found), 3) for key in found[0]}
        for subject, found in runs.items()
    }
    return {
        **describe("pyarrow", "adbc-driver-postgresql", "psycopg"),
        "rows": arguments.rows,
        "rounds": arguments.rounds,
        "medians": medians,
        **{
            f"speed_of_{subject}": round(medians[plain]["seconds"] / medians[subject]["seconds"], 3)
            for plain, subject in (("plain_read", "pull"), ("plain_copy", "deliver"))
            if {plain, subject} <= medians.keys()
        },
    }


def _own_folder(folder: Path) -> Path:
    import os
    import shutil

    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        folder.parent.chmod(0o755)  # the server's user must come through
    return folder


if __name__ == "__main__":
    main()
