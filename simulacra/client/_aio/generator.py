"""Generators: sets of models trained on source tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from simulacra import domain
from simulacra.client._aio.jobs import wait_for
from simulacra.client._aio.session import AsyncSession
from simulacra.client._aio.sharing import AsyncOwned, new_request_id
from simulacra.client._aio.transfers import chunk_messages, download, make_folder, sha256_of, size_of
from simulacra.client._requests import message_of, validated
from simulacra.client._tables import ResourceList
from simulacra.client._transport import request_class
from simulacra.domain import (
    GeneratorConfig,
    GeneratorListItem,
    Job,
    JobProgress,
    ModelType,
    SourceTableAddConfig,
    SourceTableConfig,
)
from simulacra.domain.text import file_stems

__all__ = ["AsyncGenerator", "AsyncGenerators", "AsyncTraining"]


class AsyncGenerator(domain.Generator, AsyncOwned):
    """A set of models that can generate synthetic data."""

    _service: ClassVar[str] = "GeneratorService"

    @property
    def training(self) -> "AsyncTraining":
        """The training of this generator: start, cancel, progress, wait."""
        return AsyncTraining(self, self._session)

    async def clone(self, training_status: Literal["NEW", "CONTINUE"] = "NEW") -> "AsyncGenerator":
        """Returns a new generator with the same configuration, for CONTINUE with the trained weights too."""
        return await self._session.call(
            "GeneratorService.CloneGenerator",
            AsyncGenerator,
            id=self.id,
            training_status=training_status,
            request_id=new_request_id(),
        )

    async def config(self) -> GeneratorConfig:
        """Returns the writable properties; a generator created from them is configured as this one is."""
        return await self._session.call("GeneratorService.GetGeneratorConfig", GeneratorConfig, id=self.id)

    async def export_to_file(self, file_path: str | Path | None = None) -> Path:
        """Writes the generator to a file, which `generators.import_from_file` reads, and returns its path."""
        return await download(self._session, "GeneratorService.ExportGenerator", file_path, id=self.id)

    async def update(self, name: str | None = None, description: str | None = None) -> None:
        """Changes what is given."""
        changes = {"name": name, "description": description}
        given = {field: value for field, value in changes.items() if value is not None}
        await self._session.replace(
            self, "GeneratorService.UpdateGenerator", **given, update_mask=list(given)
        )

    async def refresh(self) -> None:
        """Reads this generator anew: status, accuracy, metrics."""
        await self._session.replace(self, "GeneratorService.GetGenerator")

    async def delete(self) -> None:
        """Deletes the generator with its models."""
        await self._session.do("GeneratorService.DeleteGenerator", id=self.id)

    async def add_table(self, config: SourceTableAddConfig | Mapping[str, Any]) -> None:
        """Adds a table of a connector, on request with the tables that belong to it."""
        await self._session.replace(
            self,
            "GeneratorService.AddSourceTable",
            generator_id=self.id,
            config=validated(SourceTableAddConfig, config),
            request_id=new_request_id(),
        )

    async def update_table(self, table_id: str, config: SourceTableConfig | Mapping[str, Any]) -> None:
        """Changes the fields of a source table that `config` sets; `name` must always be given."""
        table = validated(SourceTableConfig, config)
        await self._session.replace(
            self,
            "GeneratorService.UpdateSourceTable",
            generator_id=self.id,
            table_id=table_id,
            config=table,
            update_mask=sorted(table.model_fields_set),
        )

    async def delete_table(self, table_id: str) -> None:
        """Removes a source table."""
        await self._session.replace(
            self, "GeneratorService.DeleteSourceTable", generator_id=self.id, table_id=table_id
        )

    async def value_ranges(self, table_name: str) -> "dict[str, domain.SourceColumnValueRange]":
        """Returns the privacy-safe range of each column of a table, with the lists of values, by column."""
        full = await self._session.call(
            "GeneratorService.GetGenerator", domain.Generator, id=self.id, view="FULL", table_name=table_name
        )
        columns = [column for table in full.tables or [] for column in table.columns]
        return {column.name: column.value_range for column in columns if column.value_range is not None}

    async def report(
        self,
        file_path: str | Path | None = None,
        *,
        table_name: str | None = None,
        model_type: ModelType | str = ModelType.TABULAR,
        format: Literal["HTML", "JSON"] = "HTML",
    ) -> Path:
        """Writes the quality report of one model to a file and returns its path.

        Args:
            file_path: The file or folder; by default the platform's name for it in the working folder.
            table_name: The model's table; may be left out where there is one.
            model_type: TABULAR or LANGUAGE.
            format: HTML, or all scores as JSON.
        """
        return await download(
            self._session,
            "GeneratorService.GetModelReport",
            file_path,
            generator_id=self.id,
            table_name=table_name or self._only_table(),
            model_type=model_type,
            format=format,
        )

    async def reports(
        self, folder: str | Path = ".", *, format: Literal["HTML", "JSON"] = "HTML"
    ) -> list[Path]:
        """Writes the report of every model of every table into a folder and returns the files."""
        target, written = Path(folder), []
        await self._session.in_thread(make_folder, target)
        stems = file_stems(table.name for table in self.tables or [])
        for table in self.tables or []:
            for model_type, metrics in (
                (ModelType.TABULAR, table.model_metrics),
                (ModelType.LANGUAGE, table.language_model_metrics),
            ):
                if metrics is not None:
                    name = f"{stems[table.name]}-{model_type.lower()}.{format.lower()}"
                    written.append(
                        await self.report(
                            target / name, table_name=table.name, model_type=model_type, format=format
                        )
                    )
        return written

    def _only_table(self) -> str:
        return (self.tables or [])[0].name if self.tables else ""


class AsyncTraining:
    """The training of one generator."""

    def __init__(self, generator: AsyncGenerator, session: AsyncSession) -> None:
        self._generator = generator
        self._session = session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._generator!r}>"

    async def start(self) -> Job:
        """Starts training and returns its job; after FAILED or CANCELED it goes on from what is there."""
        return await self._then_refresh("GeneratorService.StartTraining", request_id=new_request_id())

    async def check(self) -> Job:
        """Checks what `start` would check and starts nothing; the answer has an estimate of time and cost."""
        return await self._session.call(
            "GeneratorService.StartTraining", Job, generator_id=self._generator.id, validate_only=True
        )

    async def cancel(self) -> Job:
        """Cancels training."""
        return await self._then_refresh("GeneratorService.CancelTraining")

    async def progress(self) -> JobProgress:
        """Returns the progress of the training."""
        return await self._session.call(
            "GeneratorService.GetTrainingProgress", JobProgress, generator_id=self._generator.id
        )

    async def wait(self, progress_bar: bool = True, interval: float = 2) -> None:
        """Waits until training has ended; the generator then has its accuracy and metrics.

        Args:
            progress_bar: Whether to draw the progress.
            interval: Seconds between redraws when nothing changes.

        Raises:
            JobFailed: If training failed, with the failed step's message, or was canceled.
        """
        try:
            await wait_for(
                self._session,
                resource_ids=(self._generator.id,),
                progress_bar=progress_bar,
                interval=interval,
                again="generator.training.wait()",
            )
        finally:
            await self._generator.refresh()

    async def _then_refresh(self, method: str, **fields: Any) -> Job:
        job = await self._session.call(method, Job, generator_id=self._generator.id, **fields)
        await self._generator.refresh()
        return job


class AsyncGenerators:
    """All generators that the caller may see."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, generator_id: str) -> AsyncGenerator:
        """Returns one generator."""
        return await self._session.call("GeneratorService.GetGenerator", AsyncGenerator, id=generator_id)

    async def create(self, config: GeneratorConfig | Mapping[str, Any]) -> AsyncGenerator:
        """Creates a generator; its training is not started."""
        return await self._session.call(
            "GeneratorService.CreateGenerator",
            AsyncGenerator,
            config=validated(GeneratorConfig, config),
            request_id=new_request_id(),
        )

    async def list(
        self, *, search_term: str | None = None, statuses: tuple[str, ...] = (), limit: int | None = None
    ) -> ResourceList[GeneratorListItem]:
        """Returns generators, newest first; all of them unless `limit` is given."""
        return await self._session.pages(
            "GeneratorService.ListGenerators",
            GeneratorListItem,
            limit=limit,
            search_term=search_term,
            statuses=statuses,
        )

    async def delete(self, generator_id: str) -> None:
        """Deletes a generator with its models."""
        await self._session.do("GeneratorService.DeleteGenerator", id=generator_id)

    async def import_from_file(self, file_path: str | Path, *, name: str | None = None) -> AsyncGenerator:
        """Makes a generator from an exported file.

        Raises:
            CorruptBundle: If the file is damaged or not an exported generator.
        """
        path, method = Path(file_path), "GeneratorService.ImportGenerator"
        header = {
            "name": name,
            "total_size": await self._session.in_thread(size_of, path),
            "sha256": await self._session.in_thread(sha256_of, path),
            "request_id": new_request_id(),
        }
        first: Any = request_class(method)()
        first.header.CopyFrom(message_of(type(first.header), header))
        return await self._session.send(method, AsyncGenerator, _chained(first, chunk_messages(method, path)))


def _chained(first: Any, rest: Any) -> Any:
    yield first
    yield from rest
