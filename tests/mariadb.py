"""A throw-away MariaDB server for tests: the fixture `mariadb_server`."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.require import require

__all__ = ["MariaDbServer", "mariadb_available", "mariadb_server"]

_USER = "mysql"


class MariaDbServer:
    """A server on loopback, with an administrator `root` who has no password."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        user = [f"--user={_USER}"] if os.geteuid() == 0 else []
        if user:
            shutil.chown(folder, _USER)
        self._options = ["--no-defaults", *user, f"--datadir={folder / 'data'}"]
        install = ["mariadb-install-db", *self._options, "--auth-root-authentication-method=normal"]
        subprocess.run(install, check=True, capture_output=True)
        self.start()

    def start(self, *options: str) -> None:
        """Starts the server, with more options, and waits until it answers."""
        network = [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self._folder / 'socket'}"]
        program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        command = [program, *self._options, *network, "--innodb-flush-log-at-trx-commit=0", *options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.run("SELECT 1")
            except pymysql.err.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Kills the server."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(timeout=30)
            self._process = None

    def run(self, *statements: str) -> None:
        """Runs statements as the administrator."""
        for statement in statements:
            self.fetch(statement)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        """Runs a statement as the administrator and returns its rows."""
        connection = pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mariadb_available() -> bool:
    """Tells whether this machine has a server."""
    return shutil.which("mariadb-install-db") is not None


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDbServer]:
    """A MariaDB server for the test session; skips where there is none (`apt install mariadb-server`)."""
    require(
        "mariadb", mariadb_available(), "no MariaDB server binaries; apt install mariadb-server brings them"
    )
    with tempfile.TemporaryDirectory(prefix="simulacra-mariadb-") as name:
        server = MariaDbServer(Path(name))
        try:
            yield server
        finally:
            server.stop()
