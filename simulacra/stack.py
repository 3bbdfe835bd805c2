"""The whole platform in one process: four services and the gateway, with SQLite, local files and workers.

`simulacra up` and `Simulacra()` without an address run it, and so do tests. A data folder has one stack at a
time: the lock on `stack.lock` keeps it so. `stack.json` says where the running stack listens and with which
key; it and the files with keys can be read by their owner only. This is the one module of the library that
imports the services.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, get_args

from simulacra.client._embedded import (
    Endpoint,
    mark_temporary,
    private_folder,
    running_stack,
    sweep_temporary,
)
from simulacra.errors import ServiceUnavailable, SimulacraError

if TYPE_CHECKING:
    from simulacra.rpc import Component, ServiceSettings

__all__ = ["Stack", "StackRunning", "main", "serve"]

LOOPBACK = "127.0.0.1"


class StackRunning(ServiceUnavailable):
    """Another process runs a stack on this data folder; `endpoint` says where, None while it still starts."""

    def __init__(self, data_dir: Path, endpoint: Endpoint | None) -> None:
        where = f" at {endpoint.address}" if endpoint else ", which has not come up yet"
        super().__init__(f"a stack already runs on {data_dir}{where}", service="stack")
        self.endpoint = endpoint


@dataclass(frozen=True, slots=True)
class _Service:
    """One of the five: how to set it up, and what only it is told."""

    settings: "type[ServiceSettings]"
    create: "Callable[[Any], Coroutine[Any, Any, Component]]"


def _services() -> dict[str, _Service]:
    """Returns the services in the order in which they start: each is told the ports of those before it."""
    import simulacra_connector.app
    import simulacra_connector.settings
    import simulacra_gateway.app
    import simulacra_gateway.settings
    import simulacra_generator.app
    import simulacra_generator.settings
    import simulacra_qa.app
    import simulacra_qa.settings
    import simulacra_trainer.app
    import simulacra_trainer.settings

    return {
        "connector": _Service(simulacra_connector.settings.ConnectorSettings, simulacra_connector.app.create),
        "qa": _Service(simulacra_qa.settings.QaSettings, simulacra_qa.app.create),
        "trainer": _Service(simulacra_trainer.settings.TrainerSettings, simulacra_trainer.app.create),
        "generator": _Service(simulacra_generator.settings.GeneratorSettings, simulacra_generator.app.create),
        "gateway": _Service(simulacra_gateway.settings.GatewaySettings, simulacra_gateway.app.create),
    }


class Stack:
    """A running platform, for the length of an `async with`.

    Args:
        data_dir: Where databases, artifacts and keys are kept.
        host: The address that the gateway listens on; the services are on loopback whatever it is.
        port: The gateway's port; 0 is any free one.
        settings: More settings for all services that have them, such as `worker_slots`.

    Raises:
        StackRunning: If another process runs a stack on this folder.
    """

    def __init__(self, data_dir: Path, *, host: str = LOOPBACK, port: int = 0, **settings: Any) -> None:
        self.data_dir = private_folder(Path(data_dir).expanduser().absolute())
        self._host, self._port, self._settings = host, port, settings
        self._components: dict[str, Component] = {}
        self._lock: IO[bytes] | None = None
        self.api_key = self._scheme = ""

    @property
    def endpoint(self) -> Endpoint:
        """Where the gateway listens, and the first user's key."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return Endpoint(f"{self._scheme}{host}:{self.ports['gateway']}", self.api_key)

    @property
    def address(self) -> str:
        """The gateway's host and port."""
        return self.endpoint.address

    @property
    def ports(self) -> dict[str, int]:
        """The port of each service."""
        return {name: component.port for name, component in self._components.items()}

    async def __aenter__(self) -> Self:
        self._lock = await _locked(self.data_dir)
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        from simulacra.rpc.settings import read_settings

        (self.data_dir / "stack.json").unlink(missing_ok=True)  # of a stack that was killed
        self.api_key = _kept_secret(self.data_dir / "api_key")
        own: dict[str, dict[str, Any]] = {
            "gateway": {"host": self._host, "port": self._port, "bootstrap_api_key": self.api_key}
        }
        shared: dict[str, Any] = {
            "host": LOOPBACK,
            "port": 0,
            "data_dir": self.data_dir,
            "database_url": "",  # whatever the environment says: a SQLite file for each service
            "artifacts_url": "",
            "internal_key": _kept_secret(self.data_dir / "internal.key"),
        }
        # What a client of the gateway meets; between the services there is loopback only.
        inner = dict.fromkeys(("ops_port", "tls_certificate", "tls_key", "tls_client_ca", "tls_ca"))
        targets: dict[str, str] = {}
        for name, service in (await asyncio.to_thread(_services)).items():
            given = own.get(name, inner) | {"tls_ca": None}
            settings = read_settings(service.settings, **shared | targets | given | self._settings)
            self._scheme = "https://" if settings.tls_certificate else ""  # the last one is the gateway
            component = await service.create(settings)
            self._components[name] = component
            await component.start()
            targets[f"{name}_target"] = f"{LOOPBACK}:{component.port}"
        targets.pop("gateway_target")
        described = {"address": self.address, "api_key": self.api_key, "pid": os.getpid()}
        _write_private(self.data_dir / "stack.json", json.dumps(described))

    async def _stop(self) -> None:
        """Stops what has been started, callers before what they call."""
        with contextlib.suppress(FileNotFoundError):
            (self.data_dir / "stack.json").unlink()
        errors = []
        for component in reversed(self._components.values()):
            try:
                await component.stop()
            except Exception as error:
                errors.append(error)
        self._components.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if errors:
            raise ExceptionGroup("services did not stop cleanly", errors)


async def _locked(data_dir: Path) -> IO[bytes]:
    """Returns the folder's lock file, locked for this process."""
    file = (data_dir / "stack.lock").open("ab")
    for _ in range(10):  # a client that only looks holds the lock for an instant
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        await asyncio.sleep(0.02)
    file.close()
    raise StackRunning(data_dir, running_stack(data_dir))


def _kept_secret(path: Path) -> str:
    """Returns the secret in a file, made when it is not there."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    secret = secrets.token_urlsafe(32)
    _write_private(path, secret + "\n")
    return secret


def _write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, at once as a whole."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


async def serve(
    stack: Stack,
    *,
    ready: Callable[[Endpoint], None],
    end_with_stdin: bool = False,
    wait_for_other: float = 0.0,
) -> None:
    """Runs a stack until SIGTERM or SIGINT, or until standard input ends.

    Args:
        stack: The stack.
        ready: Is told where it listens.
        end_with_stdin: Whether the end of standard input, so of the process that started this one, ends it.
        wait_for_other: Seconds to wait for another process's stack on the folder that is still starting.

    Raises:
        StackRunning: If another process runs a stack on the folder.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if end_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _read_stdin, loop, ended)
    deadline = loop.time() + wait_for_other
    while True:
        try:
            async with stack:
                ready(stack.endpoint)
                await ended.wait()
            return
        except StackRunning as error:
            if error.endpoint is not None or loop.time() > deadline or ended.is_set():
                raise
        await asyncio.sleep(0.2)


def _read_stdin(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        ended.set()


def main() -> int:
    """`python -m simulacra.stack`: what an `EmbeddedStack` starts; says on stdout where it listens."""
    from simulacra.logs import LogLevel, configure_logs

    parser = argparse.ArgumentParser(
        prog="simulacra.stack", description="The embedded platform of one client."
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--temporary", action="store_true", help="remove the data folder at the end")
    parser.add_argument("--log-level", default="info", choices=get_args(LogLevel))
    arguments = parser.parse_args()
    configure_logs(log_format="json", level=arguments.log_level)
    try:
        return _main(arguments.data_dir, temporary=arguments.temporary)
    finally:
        if arguments.temporary:
            shutil.rmtree(arguments.data_dir, ignore_errors=True)


def _main(data_dir: Path, *, temporary: bool) -> int:
    def ready(endpoint: Endpoint) -> None:
        if temporary:
            mark_temporary(data_dir)
            threading.Thread(target=sweep_temporary, daemon=True).start()
        _announce(endpoint)

    try:
        asyncio.run(serve(Stack(data_dir), ready=ready, end_with_stdin=True, wait_for_other=60.0))
    except StackRunning as error:
        if error.endpoint is None:
            return _say({"error": error.message, "reason": error.reason}, 1)
        _announce(error.endpoint)
    except SimulacraError as error:
        return _say({"error": error.message, "reason": error.reason}, 1)
    except (OSError, ImportError, RuntimeError) as error:
        return _say({"error": f"{type(error).__name__}: {error}"}, 1)
    return 0


def _announce(endpoint: Endpoint) -> None:
    _say({"address": endpoint.address, "api_key": endpoint.api_key or ""}, 0)


def _say(described: dict[str, str], code: int) -> int:
    sys.stdout.write(json.dumps(described) + "\n")
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
