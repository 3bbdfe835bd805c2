"""A gateway before two small services, on free ports, and clients with keys."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from simulacra.rpc import ServiceChannel, open_channel
from simulacra_gateway.app import Gateway, create
from simulacra_gateway.settings import GatewaySettings
from tests.integration.gateway.upstream import ADMIN_KEY, KEY, JobTable, Upstream, reachable


@pytest.fixture
async def connector(tmp_path: Path) -> AsyncIterator[Upstream]:
    async with running(Upstream(JobTable(), tmp_path)) as upstream:
        yield upstream


@pytest.fixture
async def trainer(tmp_path: Path) -> AsyncIterator[Upstream]:
    async with running(Upstream(JobTable(), tmp_path)) as upstream:
        yield upstream


@contextlib.asynccontextmanager
async def running(upstream: Upstream) -> AsyncIterator[Upstream]:
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.stop()


Settings = Callable[..., GatewaySettings]


@pytest.fixture
def settings(tmp_path: Path, connector: Upstream, trainer: Upstream) -> Settings:
    def make(**changes: Any) -> GatewaySettings:
        values: dict[str, Any] = {
            "data_dir": tmp_path / "gateway",
            "internal_key": KEY,
            "bootstrap_api_key": ADMIN_KEY,
            "connector_target": connector.target,
            "trainer_target": trainer.target,
            "grace": 0,
            **changes,
        }
        return GatewaySettings(**values)

    return make


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    made = await create(settings())
    await made.start()
    await reachable(made)
    try:
        yield made
    finally:
        await made.stop()


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[ServiceChannel]:
    async with open_channel(f"127.0.0.1:{gateway.port}", api_key=ADMIN_KEY) as channel:
        yield channel
