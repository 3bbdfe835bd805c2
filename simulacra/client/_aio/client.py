"""The entry point: `AsyncSimulacra`, and made from it `Simulacra`."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from simulacra.client._aio.connector import AsyncConnector, AsyncConnectors
from simulacra.client._aio.evaluations import AsyncEvaluations
from simulacra.client._aio.generator import AsyncGenerator, AsyncGenerators, AsyncTraining
from simulacra.client._aio.jobs import AsyncJobs
from simulacra.client._aio.platform import (
    AsyncApiKeys,
    AsyncComputes,
    AsyncNotifications,
    AsyncUsers,
)
from simulacra.client._aio.session import AsyncSession
from simulacra.client._aio.synthetic_dataset import (
    AsyncGeneration,
    AsyncSyntheticDataset,
    AsyncSyntheticDatasets,
)
from simulacra.client._aio.transfers import read_tables, upload
from simulacra.client._frames import INLINE_LIMIT, Source, as_sources, frame_of
from simulacra.client._opener import opener
from simulacra.client._requests import assign, validated
from simulacra.client._sampling import nullable_columns, seed_sources, sizes_of, split_seed
from simulacra.client._tables import ResourceList
from simulacra.client._transport import AsyncTransport
from simulacra.domain import (
    AboutService,
    ConnectorConfig,
    CurrentUser,
    GeneratorConfig,
    ModelConfiguration,
    ModelDescription,
    Probe,
    ProgressStatus,
    SourceTableConfig,
    SyntheticDatasetConfig,
    SyntheticDatasetDelivery,
    SyntheticProbeConfig,
    SyntheticTableConfig,
    SyntheticTableConfiguration,
    UserSettingsUpdateConfig,
)
from simulacra.errors import AlreadyExists, InvalidArgument, LocationNotFound, PermissionDenied

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AsyncSimulacra"]


class AsyncSimulacra:
    """A client of a platform.

    Args:
        address: `host:port`, or a URL whose scheme says whether to use TLS (without one: for all but
            loopback). By default SIMULACRA_ADDRESS; without that, a platform is started for you in a process
            of its own, which ends with this client.
        api_key: By default SIMULACRA_API_KEY.
        data_dir: Where the platform that is started for you keeps its data; by default SIMULACRA_DATA_DIR,
            or `~/.simulacra`. If another process runs one there, that one is used. `":temporary:"` is a
            folder that goes with this client.
        tls_ca: PEM file with the authority of the platform's certificate; by default SIMULACRA_TLS_CA;
            without that, the authorities that this system trusts.
    """

    def __init__(
        self,
        address: str | None = None,
        api_key: str | None = None,
        *,
        data_dir: str | Path | None = None,
        tls_ca: str | Path | None = None,
    ) -> None:
        self._transport = AsyncTransport(opener(address, api_key, data_dir, tls_ca))
        session = self._session = AsyncSession(self._transport)
        self.connectors = AsyncConnectors(session)
        self.generators = AsyncGenerators(session)
        self.synthetic_datasets = AsyncSyntheticDatasets(session)
        self.jobs = AsyncJobs(session)
        self.computes = AsyncComputes(session)
        self.users = AsyncUsers(session)
        self.api_keys = AsyncApiKeys(session)
        self.notifications = AsyncNotifications(session)
        self.evaluations = AsyncEvaluations(session)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{f' at {self.address}' if self.address else ', not connected yet'}>"

    async def __aenter__(self) -> "AsyncSimulacra":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection, and ends the platform that was started for this client."""
        await self._transport.close()

    @property
    def address(self) -> str | None:
        """Where the platform listens; None before the first call."""
        return self._transport.endpoint.address if self._transport.endpoint else None

    async def about(self) -> AboutService:
        """Returns what the platform says about itself."""
        return await self._session.call("PlatformService.GetAbout", AboutService)

    async def models(self, model_type: str | None = None) -> ResourceList[ModelDescription]:
        """Returns what `ModelConfiguration.model` accepts."""
        found: Any = await self._session.do("PlatformService.ListModels", model_type=model_type)
        return ResourceList(self._session.bind(item, ModelDescription) for item in found.results)

    async def me(self) -> CurrentUser:
        """Returns the caller: name, settings, limits and what is used of them."""
        return await self._session.call("UserService.GetCurrentUser", CurrentUser)

    async def update_settings(self, config: UserSettingsUpdateConfig | Mapping[str, Any]) -> CurrentUser:
        """Changes the caller's profile and assistant settings."""
        return await self._session.call(
            "UserService.UpdateUserSettings", CurrentUser, config=validated(UserSettingsUpdateConfig, config)
        )

    async def connect(
        self, config: ConnectorConfig | Mapping[str, Any], test_connection: bool = True
    ) -> AsyncConnector:
        """Creates a connector to a database or bucket; the connection is tested first unless told not to."""
        return await self.connectors.create(config, test_connection=test_connection)

    async def train(
        self,
        config: GeneratorConfig | Mapping[str, Any] | None = None,
        *,
        data: object = None,
        name: str | None = None,
        seed: int | None = None,
        model_configuration: ModelConfiguration | Mapping[str, Any] | None = None,
        start: bool = True,
        wait: bool = True,
        progress_bar: bool = True,
    ) -> AsyncGenerator:
        """Creates a generator and trains it.

        Args:
            config: What to train on and how; or
            data: a frame, an Arrow table, a file (parquet, csv, ...), or a dict or list of them: one table
                each. What is over 1 MiB, and every file, is uploaded as a connector, which other generators
                may use too: it stays when this one is deleted, until `connectors.delete`.
            name: The generator's name; by default the first table's.
            seed: The seed of everything random.
            model_configuration: With `data`: how each table's model is trained.
            start: Whether to start training.
            wait: Whether to wait until it has ended.
            progress_bar: Whether to draw the progress while waiting.

        Raises:
            InvalidArgument: If the configuration or the data is wrong; each wrong field is named.
            JobFailed: If training failed, with the failed step's message.
        """
        generator = await self.generators.create(
            await self._generator_config(config, data, name, seed, model_configuration)
        )
        if start:
            await _started(generator, generator.training)
            if wait:
                await generator.training.wait(progress_bar=progress_bar)
        return generator

    async def _generator_config(
        self, config: Any, data: object, name: str | None, seed: int | None, model_configuration: Any
    ) -> GeneratorConfig:
        if (config is None) == (data is None):
            raise InvalidArgument.of("config", "give either config or data")
        made: GeneratorConfig
        if config is not None:
            made = validated(GeneratorConfig, config).model_copy(deep=True)
        else:
            sources: list[Source] = await self._session.in_thread(lambda: as_sources(data))
            tables = [await self._source_table(source, model_configuration) for source in sources]
            made = GeneratorConfig(name=sources[0].name, tables=tables)
        if name is not None:
            assign(made, "name", name)
        if seed is not None:
            assign(made, "seed", seed)
        return made

    async def _source_table(self, source: Source, model_configuration: Any) -> SourceTableConfig:
        model = (
            validated(ModelConfiguration, model_configuration) if model_configuration is not None else None
        )
        if isinstance(source.data, bytes) and source.size <= INLINE_LIMIT:
            return _table(source, model, data=source.data)
        _table(source, model)  # a wrong name is refused before the upload
        connector = await self._uploaded(source)
        location = (await connector.locations())[0]
        return _table(source, model, source_connector_id=connector.id, location=location)

    async def _uploaded(self, source: Source) -> AsyncConnector:
        return self._session.bind(await upload(self._session, source), AsyncConnector)

    async def generate(
        self,
        generator: AsyncGenerator | str | None = None,
        config: SyntheticDatasetConfig | Mapping[str, Any] | None = None,
        *,
        size: int | Mapping[str, int] | None = None,
        seed: object = None,
        name: str | None = None,
        delivery: SyntheticDatasetDelivery | Mapping[str, Any] | None = None,
        start: bool = True,
        wait: bool = True,
        progress_bar: bool = True,
    ) -> AsyncSyntheticDataset:
        """Creates a synthetic dataset and generates it.

        Args:
            generator: A trained generator, or its id; may be left out if `config` names it.
            config: The full configuration of tables and delivery; by default all tables, as large as their
                sources.
            size: The number of rows of every subject table, or a dict of them by table.
            seed: A whole number: the same seed gives the same rows. Or seed data for conditional generation:
                a frame, rows as a list of dicts, a file, or a dict of them by table; each row is completed.
            name: The dataset's name.
            delivery: The DESTINATION connector and the location there that the tables are written to, and
                whether they may replace, or add to, tables that are there.
            start: Whether to start the generation.
            wait: Whether to wait until it has ended.
            progress_bar: Whether to draw the progress while waiting.

        Raises:
            InvalidArgument: If the configuration is wrong; each wrong field is named.
            JobFailed: If the generation failed, with the failed step's message.
        """
        made = await self._sampling_config(SyntheticDatasetConfig, generator, config, size, seed)
        if name is not None:
            assign(made, "name", name)
        if delivery is not None:
            assign(made, "delivery", validated(SyntheticDatasetDelivery, delivery))
        dataset = await self.synthetic_datasets.create(made)
        if start:
            await _started(dataset, dataset.generation)
            if wait:
                await dataset.generation.wait(progress_bar=progress_bar)
        return dataset

    async def probe(
        self,
        generator: AsyncGenerator | str | None = None,
        *,
        size: int | Mapping[str, int] | None = None,
        seed: object = None,
        config: SyntheticProbeConfig | Mapping[str, Any] | None = None,
        return_type: Literal["auto", "dict"] = "auto",
    ) -> "pd.DataFrame | dict[str, pd.DataFrame]":
        """Returns a few rows at once, without making a dataset.

        Args:
            generator: A trained generator, or its id; may be left out if `config` names it.
            size: The number of rows of every subject table (default 1), or a dict of them by table.
            seed: A whole number, or seed data, as for `generate`.
            config: The full configuration.
            return_type: `auto`: a frame if there is one table, else a dict of them; `dict`: always a dict.
        """
        made = await self._sampling_config(SyntheticProbeConfig, generator, config, size, seed)
        tables = await read_tables(self._session, "ProbeService.ProbeStream", config=made)
        nullable = nullable_columns(await self._described(generator, made.generator_id))
        frames = {name: frame_of(table, nullable=nullable.get(name, ())) for name, table in tables.items()}
        return next(iter(frames.values())) if return_type == "auto" and len(frames) == 1 else frames

    async def probe_rows(self, config: SyntheticProbeConfig | Mapping[str, Any]) -> list[Probe]:
        """Returns at most 1,000 rows as plain JSON values, as clients without Arrow read them."""
        found: Any = await self._session.do(
            "ProbeService.Probe", config=validated(SyntheticProbeConfig, config)
        )
        return [self._session.bind(item, Probe) for item in found.probes]

    async def _sampling_config(
        self, cls: type[Any], generator: AsyncGenerator | str | None, config: Any, size: Any, seed: object
    ) -> Any:
        made = validated(cls, config if config is not None else {}).model_copy(deep=True)
        if generator is not None:
            made.generator_id = generator if isinstance(generator, str) else generator.id
        if not made.generator_id:
            raise InvalidArgument.of("generator_id", "is required; give a generator or its id")
        number, seed_data = split_seed(seed)
        if number is not None:
            assign(made, "seed", number)
        if size is None and seed_data is None:
            return made
        known = await self._described(generator, made.generator_id)
        tables = {table.name: table for table in made.tables or []}
        for table_name, rows in sizes_of(size, known).items():
            assign(_configuration(tables, table_name), "sample_size", rows, name="size")
        for source in await self._session.in_thread(lambda: seed_sources(seed_data, known)):
            configuration = _configuration(tables, source.name)
            if source.size <= INLINE_LIMIT and isinstance(source.data, bytes):
                configuration.sample_seed_data = source.data
            else:
                configuration.sample_seed_connector_id = (await self._uploaded(source)).id
        made.tables = list(tables.values())
        return made

    async def _described(self, generator: AsyncGenerator | str | None, generator_id: str) -> AsyncGenerator:
        """Returns the generator with its tables: the one that the caller holds, if it knows them."""
        if isinstance(generator, AsyncGenerator) and generator.training_status == ProgressStatus.DONE:
            return generator
        return await self.generators.get(generator_id)


async def _started(
    resource: AsyncGenerator | AsyncSyntheticDataset, job: AsyncTraining | AsyncGeneration
) -> None:
    """Starts the job of a resource that was made for it; one that cannot be started does not stay behind."""
    try:
        await job.start()
    except (AlreadyExists, InvalidArgument, LocationNotFound, PermissionDenied):
        await resource.delete()
        raise


def _table(source: Source, model: ModelConfiguration | None, **origin: Any) -> SourceTableConfig:
    fields = {"name": source.name, "model_configuration": model, **origin}
    return validated(SourceTableConfig, fields, prefix="data")


def _configuration(tables: dict[str, SyntheticTableConfig], name: str) -> SyntheticTableConfiguration:
    table = tables.setdefault(name, SyntheticTableConfig(name=name))
    if table.configuration is None:
        table.configuration = SyntheticTableConfiguration()
    return table.configuration
