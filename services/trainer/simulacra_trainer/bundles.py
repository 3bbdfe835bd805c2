"""What the generator service needs of trained generators: their models, and to be counted as their user."""

from simulacra.domain import Generator
from simulacra.errors import InvalidArgument, ResourceNotFound, WrongState
from simulacra.rpc import Principal
from simulacra.store import Database, add_reference, remove_reference
from simulacra_trainer.documents import generator_of
from simulacra_trainer.state import TrainedModel, TrainingState
from simulacra_trainer.store import GeneratorRows

__all__ = ["BundleService"]

_TRAINER = Principal.of_service("trainer")
_MOST_BYTES = 3 << 20
"""What fits into a message; a wider generator is given without the values of value ranges."""


class BundleService:
    """Trained generators, for those who sample from them."""

    def __init__(self, database: Database, rows: GeneratorRows) -> None:
        self._database = database
        self._rows = rows

    async def get(self, viewer: Principal, id: str) -> tuple[Generator, list[tuple[str, TrainedModel]]]:
        """Reads a trained generator, and its models by the names of their tables.

        Raises:
            ResourceNotFound: There is none that `viewer` may see.
            WrongState: It is not trained.
        """
        async with self._database.read() as connection:
            row = await self._rows.get(connection, viewer, id)
        generator = generator_of(row, viewer, {})
        state = TrainingState.model_validate(row["state"])
        if not state.models:
            raise WrongState(
                f'generator "{generator.name}" is {generator.training_status}, not DONE; train it first',
                current_status=generator.training_status.value,
            )
        names = {table.id: table.name for table in generator.tables or ()}
        if len(generator.model_dump_json()) > _MOST_BYTES:
            generator = generator_of(row, viewer, {}, values=False)
        return generator, [(names[model.table_id], model) for model in state.models]

    async def add_reference(self, viewer: Principal, id: str, *, user_uri: str, user_name: str) -> None:
        """Notes that a synthetic dataset uses a generator, which then cannot be deleted."""
        async with self._database.begin() as tx:
            await self._rows.get(tx.connection, viewer, id)
            await add_reference(tx, id, user_uri=user_uri, user_name=user_name)

    async def remove_reference(self, id: str, *, user_uri: str) -> None:
        """Notes that a synthetic dataset no longer uses a generator."""
        async with self._database.begin() as tx:
            await remove_reference(tx, id, user_uri=user_uri)

    async def record_usage(self, id: str, *, usage_id: str, datapoints: int) -> None:
        """Counts generated values; nothing happens if the generator is gone."""
        if datapoints < 0:
            raise InvalidArgument.of("datapoints", f"must be 0 or more, got {datapoints}")
        async with self._database.begin() as tx:
            try:
                await self._rows.get(tx.connection, _TRAINER, id)
            except ResourceNotFound:
                return
            await self._rows.record_usage(tx, id, usage_id=usage_id, datapoints=datapoints)
