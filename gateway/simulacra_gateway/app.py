"""The gateway as a component: its database, its channels to the services, its server."""

from simulacra.rpc import Principal, Registration, Server, ServiceChannel, open_channel
from simulacra.rpc.proxy import PassThrough
from simulacra.store import Database
from simulacra.v1 import (
    compute_pb2_grpc,
    job_pb2_grpc,
    notification_pb2_grpc,
    platform_pb2_grpc,
    user_pb2_grpc,
)
from simulacra_gateway.accounts import Accounts
from simulacra_gateway.board import Board
from simulacra_gateway.computes import Computes
from simulacra_gateway.jobs import Jobs
from simulacra_gateway.profile import Profiles
from simulacra_gateway.routes import ROUTES
from simulacra_gateway.servicer import (
    ComputeServicer,
    JobServicer,
    PlatformServicer,
    UserServicer,
    add_job_servicer,
)
from simulacra_gateway.settings import GatewaySettings
from simulacra_gateway.store import GatewayStore

__all__ = ["Gateway", "create", "migrate"]

# Larger than what services take, so that the refusal of a large message can be put in the platform's words.
_RECEIVE_LIMIT = 16 * 1024 * 1024
_SERVICE_HEARTBEAT = 15.0


class Gateway:
    """The whole gateway."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self._database = Database(settings.database_url, schema=settings.service)
        self._channels = {service: self._open(target) for service, target in settings.targets().items()}
        self._own_channels = {
            service: self._open(target, principal=Principal.of_service("gateway"))
            for service, target in settings.targets().items()
        }
        follow = {
            service: job_pb2_grpc.JobServiceStub(channel) for service, channel in self._own_channels.items()
        }
        ask = {service: job_pb2_grpc.JobServiceStub(channel) for service, channel in self._channels.items()}
        self.board = Board(follow, silence=3 * _SERVICE_HEARTBEAT)
        self._jobs = Jobs(ask, self.board)
        store = GatewayStore(self._database)
        self.accounts = Accounts(store, settings)
        self._computes = Computes(store, settings)
        self._profiles = Profiles(store, self.board)
        self._server = self._make_server()

    @property
    def port(self) -> int:
        """The bound port, once started."""
        return self._server.port

    @property
    def ops_port(self) -> int | None:
        """The bound port of metrics and probes, once started."""
        return self._server.ops_port

    async def start(self) -> None:
        """Migrates the database, makes the first user and key in an empty one, and serves."""
        await self._database.migrate("simulacra_gateway")
        await self.accounts.ensure_first_user()
        await self._computes.put_configured()
        self.board.start()
        await self._server.start()

    async def stop(self) -> None:
        """Lets calls in flight end, then closes everything."""
        await self._server.stop()
        await self.board.stop()
        await self.accounts.close()
        for channel in (*self._channels.values(), *self._own_channels.values()):
            await channel.close()
        await self._database.close()

    def _open(self, target: str, *, principal: Principal | None = None) -> ServiceChannel:
        return open_channel(
            target,
            signer=self.settings.signer(),
            principal=principal,
            credentials=self.settings.peer_credentials(),
        )

    def _make_server(self) -> Server:
        jobs = JobServicer(self._jobs, self.board, heartbeat=self.settings.heartbeat_seconds)
        users = UserServicer(self.accounts, self._profiles)  # type: ignore[abstract]  # the rest is UNIMPLEMENTED
        computes = ComputeServicer(self._computes)  # type: ignore[abstract]  # the rest is UNIMPLEMENTED
        notifications = notification_pb2_grpc.NotificationServiceServicer()  # type: ignore[abstract]  # all are
        registrations = [
            Registration(platform_pb2_grpc.add_PlatformServiceServicer_to_server, PlatformServicer()),
            Registration(user_pb2_grpc.add_UserServiceServicer_to_server, users),
            Registration(compute_pb2_grpc.add_ComputeServiceServicer_to_server, computes),
            Registration(notification_pb2_grpc.add_NotificationServiceServicer_to_server, notifications),
            Registration(add_job_servicer, jobs),
        ]
        routes = {
            service.full_name: handler
            for owner, services in ROUTES.items()
            if owner in self._channels
            for handler in [PassThrough(owner, self._channels[owner], services)]
            for service in services
        }
        return Server(
            self.settings,
            registrations,
            authenticate=self.accounts.authenticate,
            routes=routes,
            ready=self._database.revision,
            receive_limit=_RECEIVE_LIMIT,
            open_methods=["/simulacra.v1.PlatformService/GetAbout"],
        )


async def create(settings: GatewaySettings) -> Gateway:
    """Makes the gateway; nothing runs before `start`."""
    return Gateway(settings)


async def migrate(settings: GatewaySettings) -> None:
    """Brings the gateway's database to this version's schema."""
    database = Database(settings.database_url, schema=settings.service)
    try:
        await database.migrate("simulacra_gateway")
    finally:
        await database.close()
