"""Synthetic datasets: what is sampled from a generator."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from simulacra import domain
from simulacra.client._aio.jobs import wait_for
from simulacra.client._aio.session import AsyncSession
from simulacra.client._aio.sharing import AsyncOwned, new_request_id
from simulacra.client._aio.transfers import download, make_folder, read_tables, save_table
from simulacra.client._frames import frame_of
from simulacra.client._requests import validated
from simulacra.client._sampling import nullable_columns
from simulacra.client._tables import ResourceList
from simulacra.domain import (
    Job,
    JobProgress,
    ModelType,
    SyntheticDatasetConfig,
    SyntheticDatasetDelivery,
    SyntheticDatasetFormat,
    SyntheticDatasetListItem,
)
from simulacra.domain.text import file_stems
from simulacra.errors import ResourceNotFound

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AsyncGeneration", "AsyncSyntheticDataset", "AsyncSyntheticDatasets"]


class AsyncSyntheticDataset(domain.SyntheticDataset, AsyncOwned):
    """Synthetic samples of a generator's tables."""

    _service: ClassVar[str] = "SyntheticDatasetService"

    @property
    def generation(self) -> "AsyncGeneration":
        """The generation of this dataset: start, cancel, progress, wait."""
        return AsyncGeneration(self, self._session)

    async def config(self) -> SyntheticDatasetConfig:
        """Returns the writable properties; a dataset created from them is configured as this one is."""
        return await self._session.call(
            "SyntheticDatasetService.GetSyntheticDatasetConfig", SyntheticDatasetConfig, id=self.id
        )

    async def data(
        self, return_type: Literal["auto", "dict"] = "auto"
    ) -> "pd.DataFrame | dict[str, pd.DataFrame]":
        """Returns the data: a frame if there is one table, else a dict of them; always a dict with `dict`."""
        frames: dict[str, pd.DataFrame] = {}
        nullable = await self._nullable_columns()
        for table in self.tables or []:
            found = await read_tables(
                self._session,
                "SyntheticDatasetService.ReadSyntheticTable",
                synthetic_dataset_id=self.id,
                table_name=table.name,
            )
            frames[table.name] = frame_of(next(iter(found.values())), nullable=nullable.get(table.name, ()))
        return next(iter(frames.values())) if return_type == "auto" and len(frames) == 1 else frames

    async def _nullable_columns(self) -> dict[str, frozenset[str]]:
        generator_id = self.generator.id if self.generator else None
        if not generator_id:
            return {}
        try:
            learnt = await self._session.call(
                "GeneratorService.GetGenerator", domain.Generator, id=generator_id
            )
        except ResourceNotFound:  # deleted since: the data speak for themselves
            return {}
        return nullable_columns(learnt)

    async def save_tables(self, folder: str | Path) -> dict[str, Path]:
        """Writes each table as a Parquet file, batch by batch, and returns the files by table.

        A file is called after its table; what a file's name cannot have becomes `_`, and of names that are
        then the same the later ones get a number.
        """
        target, written = Path(folder), {}
        await self._session.in_thread(make_folder, target)
        stems = file_stems(table.name for table in self.tables or [])
        for table in self.tables or []:
            path = target / f"{stems[table.name]}.parquet"
            await save_table(
                self._session,
                "SyntheticDatasetService.ReadSyntheticTable",
                path,
                synthetic_dataset_id=self.id,
                table_name=table.name,
            )
            written[table.name] = path
        return written

    async def download(
        self,
        format: SyntheticDatasetFormat | str = "PARQUET",
        file_path: str | Path | None = None,
        *,
        neutralize_formulas: bool = False,
    ) -> Path:
        """Writes the data to a file (several tables: a ZIP file) and returns its path.

        Args:
            format: PARQUET, CSV, XLSX or JSON (lines).
            file_path: The file or folder; by default the platform's name for it in the working folder.
            neutralize_formulas: Makes text of CSV and XLSX cells that a spreadsheet would run as formulas.
        """
        return await download(
            self._session,
            "SyntheticDatasetService.DownloadSyntheticDataset",
            file_path,
            id=self.id,
            format=format,
            neutralize_formulas=neutralize_formulas,
        )

    async def report(
        self,
        file_path: str | Path | None = None,
        *,
        table_name: str | None = None,
        model_type: ModelType | str = ModelType.TABULAR,
        format: Literal["HTML", "JSON"] = "HTML",
    ) -> Path:
        """Writes the data report of one table to a file and returns its path."""
        tables = self.tables or []
        return await download(
            self._session,
            "SyntheticDatasetService.GetDataReport",
            file_path,
            synthetic_dataset_id=self.id,
            table_name=table_name or (tables[0].name if tables else ""),
            model_type=model_type,
            format=format,
        )

    async def update(
        self,
        name: str | None = None,
        description: str | None = None,
        delivery: SyntheticDatasetDelivery | Mapping[str, Any] | None = None,
    ) -> None:
        """Changes what is given."""
        checked = validated(SyntheticDatasetDelivery, delivery) if delivery is not None else None
        changes = {"name": name, "description": description, "delivery": checked}
        given = {field: value for field, value in changes.items() if value is not None}
        await self._session.replace(
            self, "SyntheticDatasetService.UpdateSyntheticDataset", **given, update_mask=list(given)
        )

    async def refresh(self) -> None:
        """Reads this dataset anew: status, numbers of rows, metrics."""
        await self._session.replace(self, "SyntheticDatasetService.GetSyntheticDataset")

    async def delete(self) -> None:
        """Deletes the dataset."""
        await self._session.do("SyntheticDatasetService.DeleteSyntheticDataset", id=self.id)


class AsyncGeneration:
    """The generation of one synthetic dataset."""

    def __init__(self, dataset: AsyncSyntheticDataset, session: AsyncSession) -> None:
        self._dataset = dataset
        self._session = session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._dataset!r}>"

    async def start(self) -> Job:
        """Starts the generation and returns its job; after FAILED or CANCELED it goes on where it was."""
        return await self._then_refresh(
            "SyntheticDatasetService.StartGeneration", request_id=new_request_id()
        )

    async def check(self) -> Job:
        """Checks what `start` would check and starts nothing; the answer has an estimate of time and cost."""
        return await self._session.call(
            "SyntheticDatasetService.StartGeneration",
            Job,
            synthetic_dataset_id=self._dataset.id,
            validate_only=True,
        )

    async def cancel(self) -> Job:
        """Cancels the generation."""
        return await self._then_refresh("SyntheticDatasetService.CancelGeneration")

    async def progress(self) -> JobProgress:
        """Returns the progress of the generation."""
        return await self._session.call(
            "SyntheticDatasetService.GetGenerationProgress",
            JobProgress,
            synthetic_dataset_id=self._dataset.id,
        )

    async def wait(self, progress_bar: bool = True, interval: float = 2) -> None:
        """Waits until the generation has ended.

        Args:
            progress_bar: Whether to draw the progress.
            interval: Seconds between redraws when nothing changes.

        Raises:
            JobFailed: If the generation failed, with the failed step's message, or was canceled.
        """
        try:
            await wait_for(
                self._session,
                resource_ids=(self._dataset.id,),
                progress_bar=progress_bar,
                interval=interval,
                again="synthetic_dataset.generation.wait()",
            )
        finally:
            await self._dataset.refresh()

    async def _then_refresh(self, method: str, **fields: Any) -> Job:
        job = await self._session.call(method, Job, synthetic_dataset_id=self._dataset.id, **fields)
        await self._dataset.refresh()
        return job


class AsyncSyntheticDatasets:
    """All synthetic datasets that the caller may see."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, synthetic_dataset_id: str) -> AsyncSyntheticDataset:
        """Returns one synthetic dataset."""
        return await self._session.call(
            "SyntheticDatasetService.GetSyntheticDataset", AsyncSyntheticDataset, id=synthetic_dataset_id
        )

    async def create(self, config: SyntheticDatasetConfig | Mapping[str, Any]) -> AsyncSyntheticDataset:
        """Creates a synthetic dataset; its generation is not started."""
        return await self._session.call(
            "SyntheticDatasetService.CreateSyntheticDataset",
            AsyncSyntheticDataset,
            config=validated(SyntheticDatasetConfig, config),
            request_id=new_request_id(),
        )

    async def list(
        self,
        *,
        search_term: str | None = None,
        statuses: tuple[str, ...] = (),
        generator_id: str | None = None,
        limit: int | None = None,
    ) -> ResourceList[SyntheticDatasetListItem]:
        """Returns synthetic datasets, newest first; all of them unless `limit` is given."""
        return await self._session.pages(
            "SyntheticDatasetService.ListSyntheticDatasets",
            SyntheticDatasetListItem,
            limit=limit,
            search_term=search_term,
            statuses=statuses,
            generator_id=generator_id,
        )

    async def delete(self, synthetic_dataset_id: str) -> None:
        """Deletes a synthetic dataset."""
        await self._session.do("SyntheticDatasetService.DeleteSyntheticDataset", id=synthetic_dataset_id)
