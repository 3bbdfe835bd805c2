"""Stand-ins for warehouses, each a program on loopback: fakesnow for Snowflake."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.require import require

__all__ = ["SnowflakeServer", "snowflake_server"]


class SnowflakeServer:
    """A server that speaks Snowflake's protocol and keeps its tables in DuckDB."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        command = [sys.executable, "-m", "fakesnow", "-s", "-p", str(self.port), "--host", "127.0.0.1"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        deadline = time.monotonic() + 60
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.05)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://localhost:{self.port}"

    def fetch(self, *statements: str) -> list[Any]:
        """Runs statements and returns the rows of the last one."""
        import snowflake.connector

        rows: list[Any] = []
        with snowflake.connector.connect(
            user="admin", password="x", account="test", host="localhost", port=self.port, protocol="http"
        ) as connection:
            for statement in statements:
                cursor = connection.cursor()
                cursor.execute(statement)
                rows = cursor.fetchall()
        return rows

    def stop(self) -> None:
        """Kills it."""
        self._process.kill()
        self._process.wait(timeout=30)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture(scope="session")
def snowflake_server() -> Iterator[SnowflakeServer]:
    """A stand-in for Snowflake; skips where fakesnow is not installed."""
    require("snowflake", find_spec("fakesnow") is not None, "no fakesnow; pip install 'fakesnow[server]'")
    with tempfile.TemporaryDirectory(prefix="simulacra-snowflake-") as name:
        server = SnowflakeServer(Path(name))
        try:
            yield server
        finally:
            server.stop()
