"""The platform as five separate processes that tests may kill and start again."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2

__all__ = ["SERVICES", "Platform", "free_port", "running_platform"]

SERVICES = ("connector", "qa", "trainer", "generator", "gateway")
START_SECONDS = 60.0


def free_port() -> int:
    """Returns a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Platform:
    """Five `python -m simulacra_*` processes with their own ports, which stay the same over restarts."""

    def __init__(self, data_dir: Path, extra: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self.api_key = secrets.token_urlsafe(24)
        self.internal_key = secrets.token_hex(16)
        self.ports = {service: free_port() for service in SERVICES}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._environment = dict(os.environ) | {
            "SIMULACRA_INTERNAL_KEY": self.internal_key,
            "SIMULACRA_BOOTSTRAP_API_KEY": self.api_key,
            "SIMULACRA_ARTIFACTS_URL": (data_dir / "artifacts").as_uri(),
            "SIMULACRA_LOG_FORMAT": "json",
            **{f"SIMULACRA_{name.upper()}__PORT": str(port) for name, port in self.ports.items()},
            **{f"SIMULACRA_{name.upper()}__DATA_DIR": str(data_dir / name) for name in SERVICES},
            **{f"SIMULACRA_{name.upper()}_TARGET": f"127.0.0.1:{self.ports[name]}" for name in SERVICES[:-1]},
            **extra,
        }

    @property
    def address(self) -> str:
        """The gateway's address."""
        return f"127.0.0.1:{self.ports['gateway']}"

    def log(self, service: str) -> str:
        """What a service has written to its standard error."""
        return (self.data_dir / f"{service}.log").read_text()

    def pid(self, service: str) -> int:
        """The process id of a running service."""
        return self._processes[service].pid

    def workers(self, service: str) -> list[psutil.Process]:
        """The worker processes below a service, the busiest first."""
        children = [
            child
            for child in psutil.Process(self.pid(service)).children(recursive=True)
            if "simulacra.jobs.worker" in " ".join(child.cmdline())
        ]
        return sorted(children, key=lambda child: -sum(child.cpu_times()[:2]))

    async def start(self, *services: str) -> None:
        """Starts services (all by default) and returns when they serve."""
        names = services or SERVICES
        for service in names:
            (self.data_dir / service).mkdir(parents=True, exist_ok=True)
            with (self.data_dir / f"{service}.log").open("ab") as log:
                self._processes[service] = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    f"simulacra_{service}",
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                )
        await asyncio.gather(*(self._serving(service) for service in names))

    async def kill(self, service: str) -> None:
        """Kills a service with SIGKILL."""
        process = self._processes.pop(service)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def stop(self) -> None:
        """Ends all services as an operator would."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                await asyncio.wait_for(process.wait(), 30)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._processes.clear()

    async def _serving(self, service: str) -> None:
        process = self._processes[service]
        async with (
            asyncio.timeout(START_SECONDS),
            grpc.aio.insecure_channel(f"127.0.0.1:{self.ports[service]}") as channel,
        ):
            ready = asyncio.ensure_future(channel.channel_ready())
            ended = asyncio.ensure_future(process.wait())
            await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise RuntimeError(f"{service} ended with {ended.result()}: {self.log(service)[-3000:]}")
            ended.cancel()
            watch = channel.unary_stream(
                "/grpc.health.v1.Health/Watch",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )(health_pb2.HealthCheckRequest())
            async for reply in watch:
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    break
            watch.cancel()


@contextlib.asynccontextmanager
async def running_platform(data_dir: Path, **extra: str) -> AsyncIterator[Platform]:
    """Runs all five services; `extra` are further environment variables."""
    platform = Platform(data_dir, extra)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()
