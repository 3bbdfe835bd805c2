"""The delivery of a generated dataset: checked before, made in a step of its own, told for each table."""

import asyncio
from collections.abc import Mapping, Sequence

from simulacra.artifacts import ArtifactStore
from simulacra.domain import (
    ConnectorAccessType,
    Generator,
    ProgressStatus,
    SourceTable,
    SyntheticDataset,
    SyntheticDatasetDelivery,
    SyntheticTable,
    TableDelivery,
)
from simulacra.errors import (
    InvalidArgument,
    LocationNotFound,
    ResourceNotFound,
    SimulacraError,
)
from simulacra.jobs import StepContext, StepResult
from simulacra.rpc import Principal
from simulacra.store import Database, Transaction, body_hash
from simulacra.store.database import utc_now
from simulacra_generator.documents import dataset_of, document_of
from simulacra_generator.peers import ConnectorPeer, DeliveredKey, DeliveredRows, TrainerPeer
from simulacra_generator.state import DatasetState, GeneratedTable
from simulacra_generator.store import DatasetRows

__all__ = ["DeliveryStep", "check_delivery", "check_destination"]

_SERVICE = Principal.of_service("generator")
_FIELD = "delivery.destination_connector_id"


async def check_destination(connectors: ConnectorPeer, delivery: SyntheticDatasetDelivery | None) -> None:
    """Checks that a delivery's connector is there and a DESTINATION.

    Raises:
        InvalidArgument: It is not.
    """
    if delivery is None:
        return
    try:
        connector = await connectors.get(delivery.destination_connector_id)
    except ResourceNotFound as error:
        raise InvalidArgument.of(_FIELD, error.message) from error
    if connector.access_type is not ConnectorAccessType.DESTINATION:
        raise InvalidArgument.of(
            _FIELD,
            f'connector "{connector.name}" is a {connector.access_type}: data cannot be written through it; '
            "make another one with access_type DESTINATION",
        )


async def check_delivery(connectors: ConnectorPeer, dataset: SyntheticDataset) -> None:
    """Checks what can be known of a delivery before anything is generated.

    Raises:
        InvalidArgument: The connector or the location is not there.
        AlreadyExists: A table is at the destination and may neither be replaced nor added to.
        SourceUnreachable: The destination does not answer.
    """
    delivery = dataset.delivery
    if delivery is None:
        return
    await check_destination(connectors, delivery)
    tables = [DeliveredRows(table.name) for table in dataset.tables or ()]
    try:
        async for _ in connectors.deliver(delivery, tables, delivery_id="", validate_only=True):
            pass
    except LocationNotFound as error:
        raise InvalidArgument.of("delivery.location", error.message) from error


class DeliveryStep:
    """The handler of DELIVER_DATA.

    Args:
        database: The service's.
        rows: The datasets.
        trainer: Knows the tables' keys.
        connectors: Writes.
    """

    def __init__(
        self, database: Database, rows: DatasetRows, trainer: TrainerPeer, connectors: ConnectorPeer
    ) -> None:
        self._database = database
        self._rows = rows
        self._trainer = trainer
        self._connectors = connectors

    async def run(self, ctx: StepContext) -> StepResult:
        """Has the connector service write all tables, and records what came of each."""
        async with self._database.read() as connection:
            row = await self._rows.get(connection, _SERVICE, ctx.resource_id)
        dataset, state = dataset_of(row, _SERVICE, {}), DatasetState.model_validate(row["state"])
        delivery, generated = dataset.delivery, state.tables or []
        if delivery is None:  # taken back since the job failed
            return StepResult({})
        generator = (await self._trainer.trained(row["generator_id"])).generator
        tables = await asyncio.to_thread(_tables, ctx.artifacts, generator, generated)
        total = sum(table.rows for table in generated)
        outcomes = {
            table.name: TableDelivery(location=delivery.location, status=ProgressStatus.FAILED)
            for table in generated
        }
        copied: dict[str, int] = {}
        # Another delivery of the same job, after a failure, is one to another place.
        name = f"{ctx.job_id}/{body_hash(delivery.model_dump(mode='json'))[:16]}"
        try:
            async for event in self._connectors.deliver(delivery, tables, delivery_id=name):
                copied[event.table_name] = event.rows
                outcomes[event.table_name] = TableDelivery(
                    location=event.location,
                    status=ProgressStatus.DONE if event.done else ProgressStatus.FAILED,
                    rows=event.rows if event.done else 0,
                    ended_at=utc_now() if event.done else None,
                )
                await ctx.report(value=sum(copied.values()), max=max(total, 1))
        except asyncio.CancelledError:
            await asyncio.shield(self._note(ctx, _ended(outcomes, ProgressStatus.CANCELED, None)))
            raise
        except SimulacraError as error:
            await self._note(ctx, _ended(outcomes, ProgressStatus.FAILED, error.message))
            raise
        await ctx.log(f"delivered {len(tables)} tables with {total} rows to {delivery.location}")

        async def commit(tx: Transaction) -> None:
            await self._record(tx, ctx, outcomes)

        return StepResult({"rows": total}, commit=commit)

    async def _note(self, ctx: StepContext, outcomes: Mapping[str, TableDelivery]) -> None:
        """Records what came of an attempt that failed, unless a later one has succeeded since."""
        async with self._database.begin() as tx:
            now = await self._rows.get(tx.connection, _SERVICE, ctx.resource_id)
            if now["generation_status"] != ProgressStatus.DONE:
                await self._record(tx, ctx, outcomes)

    async def _record(self, tx: Transaction, ctx: StepContext, outcomes: Mapping[str, TableDelivery]) -> None:
        now = await self._rows.get(tx.connection, _SERVICE, ctx.resource_id)
        dataset = dataset_of(now, _SERVICE, {})
        tables = [_with_outcome(table, outcomes.get(table.name)) for table in dataset.tables or ()]
        changed = dataset.updated({"tables": tables})
        await self._rows.update(tx, ctx.resource_id, document=document_of(changed))


def _with_outcome(table: SyntheticTable, outcome: TableDelivery | None) -> SyntheticTable:
    return table if outcome is None else table.updated({"delivery": outcome})


def _ended(
    outcomes: Mapping[str, TableDelivery], status: ProgressStatus, message: str | None
) -> dict[str, TableDelivery]:
    """Returns the outcomes where those that are not DONE have ended so."""
    changes = {"status": status, "error_message": message, "ended_at": utc_now()}
    return {
        name: outcome if outcome.status is ProgressStatus.DONE else outcome.updated(changes)
        for name, outcome in outcomes.items()
    }


def _tables(
    artifacts: ArtifactStore, generator: Generator, generated: Sequence[GeneratedTable]
) -> list[DeliveredRows]:
    """Returns what to deliver: each table with those keys whose columns it has, after those it refers to."""
    sources = {table.name: table for table in generator.tables or ()}
    columns = {table.name: set(artifacts.open(table.artifact).schema.names) for table in generated}
    made: dict[str, DeliveredRows] = {}
    for table in generated:
        source = sources[table.name]
        key = _primary_key(source)
        made[table.name] = DeliveredRows(
            table.name,
            table.artifact,
            key if set(key) <= columns[table.name] else (),
            tuple(
                found for found in _foreign_keys(source, sources) if set(found.columns) <= columns[table.name]
            ),
        )
    return _parents_first(made)


def _primary_key(table: SourceTable) -> tuple[str, ...]:
    if table.primary_key_columns:
        return tuple(table.primary_key_columns)
    return (table.primary_key,) if table.primary_key else ()


def _foreign_keys(table: SourceTable, sources: Mapping[str, SourceTable]) -> list[DeliveredKey]:
    found = []
    for key in table.foreign_keys or ():
        columns = tuple(key.columns or ([key.column] if key.column else []))
        referenced = _primary_key(sources[key.referenced_table])
        if len(columns) == len(referenced):
            found.append(DeliveredKey(columns, key.referenced_table, referenced))
    return found


def _parents_first(tables: Mapping[str, DeliveredRows]) -> list[DeliveredRows]:
    """Orders tables so that each comes after those that it refers to; cycles are left as they are."""
    ordered: dict[str, DeliveredRows] = {}
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name in begun:
            return
        begun.add(name)
        for key in tables[name].foreign_keys:
            if key.referenced_table in tables:
                visit(key.referenced_table)
        ordered[name] = tables[name]

    for name in tables:
        visit(name)
    return list(ordered.values())
