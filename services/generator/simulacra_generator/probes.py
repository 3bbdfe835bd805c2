"""Probes: a few rows at once, from models that a warm worker keeps loaded."""

import asyncio
import base64
import datetime as dt
import decimal
import io
import math
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from simulacra.artifacts import ArtifactStore
from simulacra.domain import Probe, SyntheticProbeConfig
from simulacra.errors import InvalidArgument
from simulacra.jobs import Executor, Resources, TaskProgress
from simulacra.jobs.computes import Computes
from simulacra_generator.controls import checked_controls, with_references
from simulacra_generator.peers import ConnectorPeer, TrainerPeer
from simulacra_generator.seeds import seed_rows
from simulacra_generator.service import trained_generator
from simulacra_generator.spec import TableControls

__all__ = ["ArrowPiece", "ProbeService"]

_ROWS_IN_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class ArrowPiece:
    """A piece of a table's Arrow IPC stream; the first one of a table says how many rows there are."""

    table_name: str
    data: bytes
    total_rows: int | None = None


class ProbeService:
    """Samples without a job.

    Args:
        executor: Workers for probes alone, so that none waits for a generation.
        artifacts: The platform's.
        trainer: Where generators are.
        connectors: Where seeds come from.
        computes: Where models can run.
        limit: Most rows of a table.
        new_id: Gives ids.
    """

    def __init__(
        self,
        executor: Executor,
        artifacts: ArtifactStore,
        trainer: TrainerPeer,
        connectors: ConnectorPeer,
        computes: Computes,
        *,
        limit: int,
        new_id: Callable[[], str],
    ) -> None:
        self._executor = executor
        self._artifacts = artifacts
        self._trainer = trainer
        self._connectors = connectors
        self._computes = computes
        self._limit = limit
        self._new_id = new_id

    async def probe(self, config: SyntheticProbeConfig) -> list[Probe]:
        """Samples rows as JSON-like objects; the tables in the generator's order."""
        streams: dict[str, io.BytesIO] = {}
        async with aclosing(self.stream(config, limit=_ROWS_IN_MESSAGE)) as pieces:
            async for piece in pieces:
                streams.setdefault(piece.table_name, io.BytesIO()).write(piece.data)
        return [Probe(name=name, rows=_rows(stream.getvalue())) for name, stream in streams.items()]

    async def stream(
        self, config: SyntheticProbeConfig, *, limit: int | None = None
    ) -> AsyncGenerator[ArrowPiece, None]:
        """Samples rows as Arrow IPC streams, one table after the other.

        Raises:
            InvalidArgument: The config does not fit the generator, or asks for more than `limit` rows.
            WrongState: The generator is not trained.
        """
        limit = limit or self._limit
        trained = await trained_generator(self._trainer, config.generator_id)
        seed = config.seed if config.seed is not None else secrets.randbelow(2**31)
        controls = checked_controls(trained, config.tables, seed=seed, computes=self._computes, probe=True)
        prefix = f"probes/{self._new_id()}"
        has_seeds = any(
            each.seed_connector
            or ((table := _configured(config, each.name)) and seed_rows(table) is not None)
            for each in controls
        )
        try:
            if has_seeds:
                controls = [
                    await self._seeded(config, each, f"{prefix}/{i}") for i, each in enumerate(controls)
                ]
                controls = with_references(controls, trained.generator.tables or ())
            _require_few(controls, limit, config)
            async with aclosing(self._sample(controls)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            if has_seeds:
                await asyncio.to_thread(self._artifacts.delete, prefix)

    async def _sample(self, controls: list[TableControls]) -> AsyncGenerator[ArrowPiece, None]:
        payload = {"tables": [each.to_json() for each in controls]}
        begun: set[int] = set()
        running = self._executor.run(
            "simulacra_generator.tasks:probe", payload, resources=Resources(cpus=1), affinity="probe"
        )
        async with aclosing(running):
            async for event in running:
                if isinstance(event, TaskProgress) and event.message is not None:
                    index = event.message["table"]
                    total = None if index in begun else controls[index].rows
                    begun.add(index)
                    yield ArrowPiece(controls[index].name, base64.b64decode(event.message["data"]), total)

    async def _seeded(
        self, config: SyntheticProbeConfig, controls: TableControls, name: str
    ) -> TableControls:
        """Puts the seed rows of a table into an artifact, if it has any."""
        if controls.seed_connector is not None:
            rows = await self._connectors.pull(controls.seed_connector, name)
            return replace(controls, seeds=name, rows=controls.rows or rows)
        configuration = _configured(config, controls.name)
        seeds = seed_rows(configuration) if configuration is not None else None
        if seeds is None:
            return controls
        await asyncio.to_thread(self._artifacts.write_table, name, seeds)
        return replace(controls, seeds=name)


def _configured(config: SyntheticProbeConfig, name: str) -> Any:
    return next((table.configuration for table in config.tables or () if table.name == name), None)


def _require_few(controls: list[TableControls], limit: int, config: SyntheticProbeConfig) -> None:
    positions = {table.name: index for index, table in enumerate(config.tables or ())}
    for each in controls:
        if (each.rows or 0) > limit:
            raise InvalidArgument.of(
                f"tables.{positions[each.name]}.configuration.sample_size",
                f'{each.rows} rows of table "{each.name}" are too many for a probe, at most {limit}; '
                "create a synthetic dataset",
            )


def _rows(stream: bytes) -> list[dict[str, Any]]:
    table = pa.ipc.open_stream(stream).read_all()
    return [{name: _json(value) for name, value in row.items()} for row in table.to_pylist()]


def _json(value: Any) -> Any:
    """Returns a value that a JSON-like object holds without loss: what it cannot hold becomes text."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= 2**53 else str(value)
        case float():
            return value if math.isfinite(value) else None
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case list():
            return [_json(item) for item in value]
        case dict():
            return {str(key): _json(item) for key, item in value.items()}
        case _:
            return str(value)
