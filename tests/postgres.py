"""A throw-away Postgres server for tests, which may stop and start it: the fixture `postgres_server`."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.require import require

__all__ = ["PostgresServer", "postgres_binaries", "postgres_server", "running_postgres"]

_USER = "postgres"


class PostgresServer:
    """A server on loopback, which refuses to run as root, so root starts it as the user `postgres`."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._run("initdb", "-D", str(folder / "data"), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        options = {"listen_addresses": "127.0.0.1", "port": str(self._port), "fsync": "off"}
        options["unix_socket_directories"] = str(self._folder)
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = [*_as_user(), str(self._binaries / "postgres"), "-D", str(self._folder / "data"), *flags]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 30
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        """Stops the server at once, breaking all connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)
            self._process = None

    def kill(self) -> None:
        """Kills all processes of the server with SIGKILL."""
        if self._process is not None:
            parent = psutil.Process(self._process.pid)
            family = [parent, *parent.children(recursive=True)]
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait(timeout=30)
            psutil.wait_procs(family, timeout=30)
            self._process = None

    def new_database(self) -> str:
        """Creates an empty database; returns its URL."""
        self._databases += 1
        name = f"test_{self._databases}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", _USER, name)
        return f"postgresql://{_USER}@127.0.0.1:{self._port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*_as_user(), str(self._binaries / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder)


def _as_user() -> list[str]:
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"] if os.geteuid() == 0 else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_binaries() -> Path | None:
    """Where the newest server on this machine is, if there is one."""
    on_path = shutil.which("initdb")
    found = (
        [Path(on_path).resolve().parent]
        if on_path
        else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    )
    return next((folder for folder in found if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def running_postgres(binaries: Path) -> Iterator[PostgresServer]:
    """A server with data of its own, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="simulacra-postgres-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            entry = pwd.getpwnam(_USER)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        server = PostgresServer(binaries, folder)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A Postgres server for the whole test session; skips where there is none (`apt install postgresql`)."""
    binaries = postgres_binaries()
    require(
        "postgres", binaries is not None, "no Postgres server binaries; apt install postgresql brings them"
    )
    assert binaries is not None
    with running_postgres(binaries) as server:
        yield server
