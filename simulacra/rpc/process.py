"""A service as a process: `python -m simulacra_x [serve|migrate]`, signals, graceful end."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from simulacra.errors import InvalidArgument, SimulacraError
from simulacra.logs import configure_logs, get_logger
from simulacra.rpc.settings import ServiceSettings, read_settings

__all__ = ["Component", "main", "serve_until_signal"]

log = get_logger("simulacra.rpc")


class Component(Protocol):
    """A whole service: its server, runner and connections; what `create` of each service package returns."""

    @property
    def port(self) -> int:
        """The bound port, once started."""

    async def start(self) -> None:
        """Migrates the database, starts the runner and serves."""

    async def stop(self) -> None:
        """Drains the server, hands steps back, answers the calls in flight, closes everything."""


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def main(
    settings_class: type[SettingsT],
    *,
    create: Callable[[SettingsT], Coroutine[Any, Any, Component]],
    migrate: Callable[[SettingsT], Coroutine[Any, Any, None]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Runs a service's command line; exit code 0, 2 for wrong settings, 1 for a failed start."""
    parser = argparse.ArgumentParser(
        prog=f"simulacra_{settings_class.service}", description=settings_class.__doc__
    )
    parser.add_argument(
        "command", nargs="?", default="serve", choices=["serve", "migrate"],
        help="serve (default), or bring the database to this version's schema and end",
    )  # fmt: skip
    command = parser.parse_args(arguments).command
    try:
        settings = read_settings(settings_class)
    except InvalidArgument as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    configure_logs(log_format=settings.log_format, level=settings.log_level)
    try:
        asyncio.run(migrate(settings) if command == "migrate" else serve_until_signal(settings, create))
    except (SimulacraError, OSError, RuntimeError) as error:
        log.error("start_failed", service=settings.service, error=str(error), exc_info=True)
        return 1
    return 0


async def serve_until_signal(
    settings: SettingsT, create: Callable[[SettingsT], Coroutine[Any, Any, Component]]
) -> None:
    """Starts a component, waits for SIGTERM or SIGINT, and stops it."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    component = await create(settings)
    try:
        await component.start()
        await ended.wait()
        log.info("stopping", service=settings.service)
    finally:
        await component.stop()
