"""A connector service on a free port, and stubs that call it as different people."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from simulacra.rpc import Principal, ServiceChannel, open_channel
from simulacra_connector.app import ConnectorComponent, create
from simulacra_connector.settings import ConnectorSettings
from tests.buckets import azure_storage, google_storage, s3_storage
from tests.integration.connector.client import Client
from tests.mariadb import mariadb_server
from tests.postgres import PostgresServer

__all__ = ["azure_storage", "google_storage", "mariadb_server", "s3_storage"]

KEY = "an internal key of tests"

Settings = Callable[..., ConnectorSettings]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    def make(**changes: Any) -> ConnectorSettings:
        values = {"data_dir": tmp_path / "connector", "internal_key": KEY, "grace": 0, **changes}
        return ConnectorSettings(**values)

    return make


@pytest.fixture
async def component(settings: Settings) -> AsyncIterator[ConnectorComponent]:
    made = await create(settings())
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Client]]:
    """Opens a client towards a component, as a user."""
    channels: list[ServiceChannel] = []

    def make(component: ConnectorComponent, user: str = "ada", *, service: str | None = None) -> Client:
        principal = Principal.of_service(service) if service else Principal(user, user.title())
        signer = ConnectorSettings(internal_key=KEY).signer()
        channel = open_channel(f"127.0.0.1:{component.port}", signer=signer, principal=principal)
        channels.append(channel)
        return Client(channel)

    yield make
    for channel in channels:
        await channel.close()


@pytest.fixture
def ada(component: ConnectorComponent, connect: Callable[..., Client]) -> Client:
    return connect(component, "ada")


@pytest.fixture
def bob(component: ConnectorComponent, connect: Callable[..., Client]) -> Client:
    return connect(component, "bob")


@pytest.fixture
def source(postgres_server: PostgresServer) -> "SourceDatabase":
    return SourceDatabase(postgres_server.new_database())


class SourceDatabase:
    """A Postgres database to read from."""

    def __init__(self, url: str) -> None:
        from urllib.parse import urlsplit

        self.url = url
        parts = urlsplit(url)
        self.config: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port,
            "username": parts.username,
            "database": parts.path.lstrip("/"),
        }

    def run(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement).fetchall()
