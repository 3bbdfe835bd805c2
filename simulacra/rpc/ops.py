"""The ops port: Prometheus metrics, liveness and readiness over plain HTTP, for a kubelet and a scraper."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["OpsServer", "ReadinessCheck"]

ReadinessCheck = Callable[[], Awaitable[str | None]]
"""Returns None when ready, else what is missing."""

_TIMEOUT: Final = 5.0
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


class OpsServer:
    """Answers GET /metrics, /livez and /readyz; one request per connection."""

    def __init__(self, registry: CollectorRegistry, ready: ReadinessCheck) -> None:
        self._registry = registry
        self._ready = ready
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the port."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=8192)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(head.split(b"\r\n", 1)[0].split(b" "))
                writer.write(
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                )
                writer.write(body)
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _answer(self, request_line: list[bytes]) -> tuple[int, str, bytes]:
        text = "text/plain; charset=utf-8"
        match request_line:
            case [b"GET", b"/metrics", _]:
                return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
            case [b"GET", b"/livez", _]:
                return 200, text, b"alive\n"
            case [b"GET", b"/readyz", _]:
                missing = await self._ready()
                return (200, text, b"ready\n") if missing is None else (503, text, f"{missing}\n".encode())
            case [_, _, _]:
                return 404, text, b"there are /metrics, /livez and /readyz\n"
            case _:
                return 400, text, b"not an HTTP request\n"
