"""`simulacra up`: the whole platform in this process."""

import asyncio
import os
from pathlib import Path
from typing import Any, get_args

from simulacra.cli.output import console, print_json
from simulacra.client._embedded import Endpoint, default_data_dir
from simulacra.logs import LogFormat, LogLevel, configure_logs
from simulacra.stack import Stack, StackRunning, serve

__all__ = ["run"]


def run(data_dir: Path | None, *, host: str, port: int, as_json: bool) -> None:
    """Serves until Ctrl-C; if a stack runs on the folder already, says where."""
    configure_logs(
        log_format=_chosen("SIMULACRA_LOG_FORMAT", LogFormat, "auto"),
        level=_chosen("SIMULACRA_LOG_LEVEL", LogLevel, "warning"),
    )
    stack = Stack(data_dir or default_data_dir(), host=host, port=port)

    def ready(endpoint: Endpoint, *, already: bool = False) -> None:
        if as_json:
            print_json(
                {"address": endpoint.address, "api_key": endpoint.api_key, "data_dir": str(stack.data_dir)}
            )
            return
        out = console()
        out.print(f"Simulacra {'already runs' if already else 'is up'} at [bold]{endpoint.address}[/bold]")
        out.print(f"Data and the API key (file api_key): {stack.data_dir}", highlight=False, soft_wrap=True)
        here = "" if stack.data_dir == default_data_dir() else f'data_dir="{stack.data_dir}"'
        out.print(f"In Python: Simulacra({here}); elsewhere set SIMULACRA_ADDRESS and SIMULACRA_API_KEY.")
        if not already:
            out.print("Ctrl-C ends it.", style="dim")

    try:
        asyncio.run(serve(stack, ready=ready, wait_for_other=60.0))
    except StackRunning as error:
        if error.endpoint is None:
            raise
        ready(error.endpoint, already=True)


def _chosen(variable: str, choices: Any, default: str) -> Any:
    """Returns what the environment chooses; what is none of the choices the services refuse themselves."""
    value = os.environ.get(variable)
    return value if value in get_args(choices) else default
