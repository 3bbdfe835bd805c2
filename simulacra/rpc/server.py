"""The gRPC server of every service: guard, health, reflection, ops port, graceful stop."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from simulacra.errors import InvalidArgument, SimulacraError
from simulacra.logs import get_logger
from simulacra.rpc.interceptors import Authenticator, CallMetrics, Guard, SignedCalls
from simulacra.rpc.ops import OpsServer
from simulacra.rpc.reflection import REFLECTION_SERVICES, reflection_handlers
from simulacra.rpc.settings import ServiceSettings
from simulacra.rpc.tracing import tracing_server_interceptors

__all__ = ["MESSAGE_LIMIT", "Registration", "Server"]

log = get_logger("simulacra.rpc")

MESSAGE_LIMIT: Final = 4 * 1024 * 1024

_READY_SECONDS: Final = 3.0

_HEALTH: Final[str] = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.so_reuseport", 0),  # a second process on the same port fails instead of taking half of the calls
    # Idle watches live: clients may ping every ten seconds, and we ping them to notice the dead ones.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 9_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 9_000),
]


@dataclass(frozen=True, slots=True)
class Registration:
    """One servicer and the function that adds it: `Registration(add_XServicer_to_server, servicer)`."""

    add: Callable[[Any, Any], None]
    servicer: Any

    def handlers(self) -> list[grpc.ServiceRpcHandler]:
        """Returns the servicer's handlers; each knows its service's full name."""
        collector = _HandlerCollector()
        self.add(self.servicer, collector)
        return collector.handlers


class Server:
    """A gRPC server with everything that each service needs.

    Args:
        settings: Where to listen and how.
        registrations: The servicers.
        authenticate: Who calls; by default the call's signed principal.
        routes: Handlers that are not of a servicer, by service full name: the gateway's pass-through.
        ready: Raises while something that the service needs, as its database, does not answer.
        receive_limit: Bytes of the largest message that is read.
        open_methods: Paths of methods that need no authentication.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        registrations: Sequence[Registration],
        *,
        authenticate: Authenticator | None = None,
        routes: Mapping[str, grpc.GenericRpcHandler] | None = None,
        ready: Callable[[], Awaitable[object]] | None = None,
        registry: CollectorRegistry | None = None,
        receive_limit: int = MESSAGE_LIMIT,
        open_methods: Collection[str] = (),
    ) -> None:
        self.settings = settings
        self.port = 0
        self.ops_port: int | None = None
        self.registry = registry or _process_registry()
        self._registrations = registrations
        self._routes = dict(routes or {})
        self._ready = ready
        self._serving = False
        self._health = HealthServicer()
        self._ops = OpsServer(self.registry, self._readiness)
        self._guard = Guard(
            authenticate=authenticate or SignedCalls(settings.signer()),
            metrics=CallMetrics(self.registry),
            open_to_all=(_HEALTH, *REFLECTION_SERVICES, *open_methods),
        )
        self._server = grpc.aio.server(
            interceptors=[*tracing_server_interceptors(settings.service), self._guard],
            options=[*_OPTIONS, ("grpc.max_receive_message_length", receive_limit)],
        )
        self.services: tuple[str, ...] = ()

    async def start(self) -> int:
        """Binds, serves, and returns the port.

        Raises:
            InvalidArgument: If the address cannot be listened on, as when its port is taken.
        """
        self._add_handlers()
        address = f"{self.settings.host}:{self.settings.port}"
        credentials = self.settings.server_credentials()
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise InvalidArgument.of(
                "port",
                f"{address} cannot be listened on; another program may have it, so give another port, "
                "or 0 for a free one",
            ) from error
        await self._server.start()
        if self.settings.ops_port is not None:
            self.ops_port = await self._ops.start(self.settings.host, self.settings.ops_port)
        await self._set_serving(True)
        log.info(
            "serving",
            service=self.settings.service,
            host=self.settings.host,
            port=self.port,
            ops_port=self.ops_port,
        )
        return self.port

    async def drain(self) -> None:
        """Tells load balancers to send nothing more; calls are still answered."""
        if self._serving:
            await self._set_serving(False)

    async def stop(self, grace: float | None = None) -> None:
        """Takes no more calls and lets those in flight end, for `grace` seconds (default: the setting).

        Watches (methods called Watch...) are ended at once, with UNAVAILABLE: they do not end by themselves.
        """
        await self.drain()
        self._guard.end_watches()
        await self._server.stop(self.settings.grace if grace is None else grace)
        await self._ops.stop()
        log.info("stopped", service=self.settings.service)

    def _add_handlers(self) -> None:
        own = [handler for registration in self._registrations for handler in registration.handlers()]
        self.services = (*(str(handler.service_name()) for handler in own), *self._routes)
        health = Registration(health_pb2_grpc.add_HealthServicer_to_server, self._health).handlers()
        reflection = reflection_handlers((*self.services, _HEALTH, *REFLECTION_SERVICES))
        routes = list(dict.fromkeys(self._routes.values()))  # one handler may serve several services
        self._server.add_generic_rpc_handlers((*own, *health, *reflection, *routes))

    async def _set_serving(self, serving: bool) -> None:
        self._serving = serving
        statuses = health_pb2.HealthCheckResponse
        for service in ("", *self.services):
            await self._health.set(service, statuses.SERVING if serving else statuses.NOT_SERVING)

    async def _readiness(self) -> str | None:
        if not self._serving:
            return "not serving"
        if self._ready is not None:
            try:
                async with asyncio.timeout(_READY_SECONDS):
                    await self._ready()
            except TimeoutError:
                return f"the service's database does not answer within {_READY_SECONDS:g} s"
            except SimulacraError as error:
                return error.message
        return None


class _HandlerCollector:
    """Stands where generated code expects a server and keeps what would be added to it."""

    def __init__(self) -> None:
        self.handlers: list[grpc.ServiceRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.ServiceRpcHandler]) -> None:
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """The same handlers again."""


def _process_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry
