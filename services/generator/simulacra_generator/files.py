"""Synthetic data on their way out: downloads, built once per format, and tables as Arrow streams."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing

import pyarrow as pa

from simulacra.artifacts import Artifact, ArtifactStore
from simulacra.domain import ModelType, ReportFormat, SyntheticDataset, SyntheticDatasetFormat
from simulacra.domain.text import did_you_mean
from simulacra.errors import ArtifactNotFound, InvalidArgument, WrongState
from simulacra.jobs import Executor
from simulacra.rpc import Principal
from simulacra.rpc.downloads import DownloadFile
from simulacra_generator.arrow import ipc_pieces
from simulacra_generator.downloads import XLSX_MAX_ROWS, xlsx_refusal
from simulacra_generator.probes import ArrowPiece
from simulacra_generator.reporting import REPORT_FILES
from simulacra_generator.service import DatasetService, dataset_prefix
from simulacra_generator.state import GeneratedTable

__all__ = ["FileService"]


class FileService:
    """The rows of datasets as files and streams.

    Args:
        datasets: The datasets.
        artifacts: Where their rows are.
        executor: Builds files.
    """

    def __init__(self, datasets: DatasetService, artifacts: ArtifactStore, executor: Executor) -> None:
        self._datasets = datasets
        self._artifacts = artifacts
        self._executor = executor
        self._building: dict[str, asyncio.Lock] = {}

    async def download(
        self, viewer: Principal, id: str, form: SyntheticDatasetFormat, *, neutralise_formulas: bool
    ) -> DownloadFile:
        """Returns the file of a dataset, built at the first call.

        Raises:
            WrongState: The dataset is not generated.
            UnsupportedData: The format cannot hold a table.
        """
        dataset, tables = await self._generated(viewer, id)
        if form == SyntheticDatasetFormat.XLSX:
            for table in tables:
                if table.rows >= XLSX_MAX_ROWS:
                    raise xlsx_refusal(table.name, table.rows)
        safe = "-safe" if neutralise_formulas and form in _SPREADSHEETS else ""
        name = f"{dataset_prefix(id)}/downloads/{form.value.lower()}{safe}"
        artifact = await self._built(name, dataset, tables, form, neutralise_formulas=bool(safe))
        entry = artifact.manifest.files["file"]
        shown = artifact.manifest.attributes["file_name"]
        return DownloadFile(shown, entry.size, entry.sha256, lambda: artifact.open_file("file"))

    async def read(
        self, viewer: Principal, id: str, *, table_name: str, columns: Sequence[str], max_rows: int | None
    ) -> AsyncIterator[ArrowPiece]:
        """Yields the rows of one table as an Arrow IPC stream.

        Raises:
            WrongState: The dataset is not generated.
            InvalidArgument: There is no such table or column.
        """
        if max_rows is not None and max_rows < 1:
            raise InvalidArgument.of("max_rows", f"must be at least 1, got {max_rows}")
        _, tables = await self._generated(viewer, id)
        table = _chosen(tables, table_name)
        artifact = await asyncio.to_thread(self._artifacts.open, table.artifact)
        schema = _selected(artifact.schema, columns, table.name)
        rows = table.rows if max_rows is None else min(max_rows, table.rows)
        pieces = ipc_pieces(schema, _first(artifact.batches(schema.names), rows))
        total: int | None = rows
        while (data := await asyncio.to_thread(next, pieces, None)) is not None:
            yield ArrowPiece(table.name, data, total)
            total = None

    async def report(
        self, viewer: Principal, id: str, *, table_name: str, model_type: ModelType, form: ReportFormat
    ) -> DownloadFile:
        """Returns the data report of one table.

        Raises:
            WrongState: The dataset is not generated.
            InvalidArgument: There is no such table.
            ArtifactNotFound: The table has no report.
        """
        dataset, tables = await self._generated(viewer, id)
        table = _chosen(tables, table_name)
        if table.report is None or model_type is not ModelType.TABULAR:
            raise ArtifactNotFound(
                f'the {model_type} part of table "{table.name}" has no data report; the job\'s log says why'
            )
        artifact = await asyncio.to_thread(self._artifacts.open, table.report)
        file = REPORT_FILES[form]
        entry = artifact.manifest.files[file]
        stem = "".join(c if c.isalnum() or c in " _.-" else "_" for c in f"{dataset.name}-{table.name}")
        shown = f"{stem[:100].strip(' .')}-data-report.{file.rpartition('.')[2]}"
        return DownloadFile(shown, entry.size, entry.sha256, lambda: artifact.open_file(file))

    async def _generated(
        self, viewer: Principal, id: str
    ) -> tuple[SyntheticDataset, Sequence[GeneratedTable]]:
        dataset, state = await self._datasets.read(viewer, id)
        if not state.tables:
            raise WrongState(
                f'synthetic dataset "{dataset.name}" is {dataset.generation_status} and has no rows',
                current_status=dataset.generation_status.value,
            )
        return dataset, state.tables

    async def _built(
        self,
        name: str,
        dataset: SyntheticDataset,
        tables: Sequence[GeneratedTable],
        form: SyntheticDatasetFormat,
        *,
        neutralise_formulas: bool,
    ) -> Artifact:
        async with self._building.setdefault(name, asyncio.Lock()):
            try:
                return await asyncio.to_thread(self._artifacts.open, name)
            except ArtifactNotFound:
                payload = {
                    "tables": [(table.name, table.artifact) for table in tables],
                    "output": name,
                    "format": form.value,
                    "stem": dataset.name,
                    "neutralise_formulas": neutralise_formulas,
                }
                running = self._executor.run("simulacra_generator.tasks:make_download", payload)
                async with aclosing(running):
                    async for _ in running:
                        pass
            finally:
                self._building.pop(name, None)
            return await asyncio.to_thread(self._artifacts.open, name)


_SPREADSHEETS = (SyntheticDatasetFormat.CSV, SyntheticDatasetFormat.XLSX)


def _chosen(tables: Sequence[GeneratedTable], name: str) -> GeneratedTable:
    if not name and len(tables) == 1:
        return tables[0]
    for table in tables:
        if table.name == name:
            return table
    known = [table.name for table in tables]
    if not name:
        raise InvalidArgument.of("table_name", f"is required: the synthetic dataset has {len(known)} tables")
    raise InvalidArgument.of(
        "table_name", f'table "{name}" is not in the synthetic dataset{did_you_mean(name, known)}'
    )


def _selected(schema: pa.Schema, columns: Sequence[str], table: str) -> pa.Schema:
    for index, name in enumerate(columns):
        if name not in schema.names:
            hint = did_you_mean(name, schema.names)
            raise InvalidArgument.of(f"columns.{index}", f'column "{name}" is not in table "{table}"{hint}')
    return pa.schema([schema.field(name) for name in columns]) if columns else schema


def _first(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.slice(0, rows)
        rows -= batch.num_rows
        if rows <= 0:
            return
