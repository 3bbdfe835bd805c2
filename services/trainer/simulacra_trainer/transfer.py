"""Generators as files: exported with their models and reports, imported as untrusted input."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from simulacra.artifacts import ArtifactStore
from simulacra.domain import Generator, ModelType, ProgressStatus, ReportFormat
from simulacra.errors import (
    ArtifactNotFound,
    ChecksumMismatch,
    CorruptBundle,
    InvalidArgument,
    LimitExceeded,
    OffsetMismatch,
    WrongState,
)
from simulacra.jobs import Executor
from simulacra.rpc import Principal
from simulacra.rpc.downloads import DownloadFile
from simulacra.store import Database, body_hash
from simulacra_trainer.archive import ArchiveLimits, ArchiveReader, ArchiveWriter
from simulacra_trainer.documents import document_of, generator_of
from simulacra_trainer.models import generator_prefix
from simulacra_trainer.service import GeneratorService
from simulacra_trainer.state import TrainedModel, TrainingState
from simulacra_trainer.steps import bundle_sha256
from simulacra_trainer.store import GeneratorRows

__all__ = ["ImportHeader", "ImportPart", "TransferService"]

_ARCHIVE_FILE = "generator.zip"
_REPORT_FILES = {ReportFormat.HTML: "report.html", ReportFormat.JSON: "metrics.json"}
# Put before the report of somebody else's making: no script of it runs, and it loads nothing.
_NO_SCRIPTS = (
    b'<!doctype html><meta http-equiv="Content-Security-Policy" '
    b"content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
)


@dataclass(frozen=True, slots=True)
class ImportHeader:
    """What is to be made of an imported file; size and sha256 are checked if given."""

    name: str | None = None
    total_size: int | None = None
    sha256: str | None = None
    request_id: str | None = None


ImportPart = ImportHeader | tuple[int, bytes]
"""The header, or a piece of the file with its offset."""


class TransferService:
    """Export, import, and the reports of models.

    Args:
        database: The trainer's.
        rows: The generators.
        generators: Adds what is imported.
        artifacts: The platform's.
        executor: Checks imported models, apart from the trainings.
        limit: Largest imported file in bytes.
        new_id: Gives ids.
    """

    def __init__(
        self,
        database: Database,
        rows: GeneratorRows,
        generators: GeneratorService,
        artifacts: ArtifactStore,
        executor: Executor,
        *,
        limit: int,
        new_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._rows = rows
        self._generators = generators
        self._artifacts = artifacts
        self._executor = executor
        self._limit = limit
        self._new_id = new_id

    async def export(self, viewer: Principal, id: str) -> DownloadFile:
        """Makes the file of a trained generator, without secrets and source data, once for each revision.

        Raises:
            WrongState: The generator has no models yet.
        """
        generator, state = await self._read(viewer, id)
        if not state.models:
            raise WrongState(
                f'generator "{generator.name}" is {generator.training_status} and has no models; train it',
                current_status=generator.training_status.value,
            )
        name = f"{generator_prefix(id)}/export"
        await asyncio.to_thread(self._build, name, generator, state)
        return await asyncio.to_thread(self._file, name, _ARCHIVE_FILE, f"{_file_stem(generator)}.zip")

    async def report(
        self, viewer: Principal, id: str, *, table_name: str, model_type: ModelType, form: ReportFormat
    ) -> DownloadFile:
        """Returns the quality report of one model.

        Raises:
            InvalidArgument: The generator has no such table, or several and none was named.
            ArtifactNotFound: The model has no report.
        """
        generator, state = await self._read(viewer, id)
        names = [table.name for table in generator.tables or ()]
        if not table_name and len(names) != 1:
            raise InvalidArgument.of("table_name", f"is required: the generator has {len(names)} tables")
        try:
            table = generator.table(table_name or names[0])
        except KeyError as error:
            raise InvalidArgument.of("table_name", str(error.args[0])) from None
        models = (m for m in state.models or () if m.table_id == table.id and m.model_type == model_type)
        report = next((model.report for model in models if model.report), None)
        if report is None:
            raise ArtifactNotFound(
                f'the {model_type} model of table "{table.name}" has no report; its generator is '
                f"{generator.training_status}"
            )
        file = _REPORT_FILES[form]
        shown = f"{_file_stem(generator)}-{_safe(table.name)}-{model_type.value.lower()}{Path(file).suffix}"
        return await asyncio.to_thread(self._file, report, file, shown)

    async def receive(self, viewer: Principal, parts: AsyncIterator[ImportPart]) -> Generator:
        """Makes a generator of an exported file that comes in pieces; all of it or nothing."""
        with tempfile.NamedTemporaryFile(prefix="simulacra-import-") as file:
            header, digest = await self._spool(parts, file)
            await asyncio.to_thread(file.flush)
            request = body_hash({"sha256": digest, "name": header.name})
            earlier = await self._generators.earlier_import(viewer, header.request_id, request)
            if earlier is not None:
                return earlier
            id = self._new_id()
            try:
                generator, state = await asyncio.to_thread(self._unpack, id, Path(file.name), header.name)
                for model in state.models or ():
                    await self._check(model.bundle)
                return await self._generators.insert_imported(
                    viewer, generator, state, header.request_id, request
                )
            except BaseException:
                await asyncio.shield(asyncio.to_thread(self._artifacts.delete, generator_prefix(id)))
                raise

    async def _spool(self, parts: AsyncIterator[ImportPart], file: IO[bytes]) -> tuple[ImportHeader, str]:
        header, size, digest = ImportHeader(), 0, hashlib.sha256()
        async for part in parts:
            if isinstance(part, ImportHeader):
                header = part
                continue
            offset, data = part
            if offset != size:
                raise OffsetMismatch(
                    f"a chunk starts at byte {offset}, but {size} have come", committed_size=str(size)
                )
            size += len(data)
            if size > self._limit:
                raise LimitExceeded(f"the file is larger than {self._limit} bytes", limit=str(self._limit))
            digest.update(data)
            await asyncio.to_thread(file.write, data)
        if header.total_size is not None and header.total_size != size:
            raise ChecksumMismatch(f"{size} bytes came of a file of {header.total_size}; send it again")
        if header.sha256 and header.sha256.lower() != digest.hexdigest():
            raise ChecksumMismatch("the file has another sha256 than its header says; send it again")
        return header, digest.hexdigest()

    async def _check(self, bundle: str) -> None:
        running = self._executor.run("simulacra_trainer.tasks:check_bundle", {"bundle": bundle})
        async with aclosing(running):
            async for _ in running:
                pass

    async def _read(self, viewer: Principal, id: str) -> tuple[Generator, TrainingState]:
        async with self._database.read() as connection:
            row = await self._rows.get(connection, viewer, id)
        return generator_of(row, viewer, {}), TrainingState.model_validate(row["state"])

    def _file(self, artifact: str, file: str, shown: str) -> DownloadFile:
        opened = self._artifacts.open(artifact)
        entry = opened.manifest.files[file]
        return DownloadFile(shown, entry.size, entry.sha256, lambda: opened.open_file(file))

    def _build(self, name: str, generator: Generator, state: TrainingState) -> None:
        with suppress(ArtifactNotFound):
            if self._artifacts.open(name).manifest.attributes.get("revision") == generator.revision:
                return
        positions = {table.id: index for index, table in enumerate(generator.tables or ())}
        models: list[dict[str, Any]] = []
        with self._artifacts.create(name) as artifact:
            with artifact.open(_ARCHIVE_FILE) as sink, ArchiveWriter(sink) as archive:
                for model in state.models or ():
                    folder = f"models/{positions[model.table_id]}/{model.model_type.value}"
                    self._add(archive, model.bundle, f"{folder}/bundle")
                    if model.report:
                        self._add(archive, model.report, f"{folder}/report")
                    described = {"table": positions[model.table_id], "model_type": model.model_type.value}
                    models.append({**described, "folder": folder, "has_report": model.report is not None})
                archive.add_document({"generator": _portable(generator), "models": models})
            artifact.publish(kind="export", attributes={"revision": generator.revision})

    def _add(self, archive: ArchiveWriter, artifact: str, folder: str) -> None:
        opened = self._artifacts.open(artifact)
        for file in opened.files:
            with opened.open_file(file) as source:
                archive.add_file(f"{folder}/{file}", source)

    def _unpack(self, id: str, path: Path, name: str | None) -> tuple[Generator, TrainingState]:
        with ArchiveReader(path, ArchiveLimits(total_bytes=4 * self._limit)) as archive:
            generator = self._imported(id, archive.document, name)
            models = [
                self._unpack_model(archive, generator, described) for described in _models(archive.document)
            ]
        if {model.table_id for model in models} != {table.id for table in generator.tables or ()}:
            raise CorruptBundle("the archive has not one model for each of its tables")
        return generator, TrainingState(models=models)

    def _unpack_model(
        self, archive: ArchiveReader, generator: Generator, described: Mapping[str, Any]
    ) -> TrainedModel:
        try:
            table = (generator.tables or [])[described["table"]]
            model_type, folder = ModelType(described["model_type"]), str(described["folder"])
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise CorruptBundle("the archive describes a model of a table that it does not have") from error
        base = f"{generator_prefix(generator.id)}/imported/{table.id}/{model_type.value.lower()}"
        bundle = self._unpack_artifact(archive, f"{folder}/bundle", f"{base}/bundle", "bundle")
        if bundle is None:
            raise CorruptBundle(f'the archive has no model of table "{table.name}"')
        report = self._unpack_artifact(archive, f"{folder}/report", f"{base}/report", "report")
        sha256 = bundle_sha256(self._artifacts, bundle)
        return TrainedModel(
            table_id=table.id, model_type=model_type, bundle=bundle, sha256=sha256, report=report
        )

    def _unpack_artifact(self, archive: ArchiveReader, folder: str, name: str, kind: str) -> str | None:
        files = archive.names(folder)
        if not files:
            return None
        with self._artifacts.create(name) as writer:
            for file in files:
                with writer.open(file) as sink:
                    if file.endswith(".html"):
                        sink.write(_NO_SCRIPTS)
                    archive.copy(f"{folder}/{file}", sink.write)
            writer.publish(kind=kind)
        return name

    def _imported(self, id: str, document: Mapping[str, Any], name: str | None) -> Generator:
        """Makes the generator that an archive describes, under new ids."""
        try:
            described = dict(document["generator"])
            tables = [self._with_new_ids(table) for table in described.pop("tables")]
            generator = Generator.model_validate(
                {
                    **{key: described.get(key) for key in _PORTABLE},
                    **({"name": name} if name else {}),
                    "id": id,
                    "metadata": {},
                    "training_status": ProgressStatus.DONE,
                    "tables": tables,
                }
            )
        except ValidationError as error:
            raise CorruptBundle(
                f"generator.json of the archive is wrong: {error.errors()[0]['msg']}"
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptBundle("generator.json of the archive does not describe a generator") from error
        return generator

    def _with_new_ids(self, table: Mapping[str, Any]) -> dict[str, Any]:
        parts = {
            part: [{**item, "id": self._new_id()} for item in table.get(part) or ()]
            for part in ("columns", "foreign_keys")
        }
        return {**table, **parts, "id": self._new_id(), "source_connector": None, "location": None}


_PORTABLE = ("name", "description", "training_time", "accuracy", "seed", "provenance")


def _portable(generator: Generator) -> dict[str, Any]:
    """Returns what of a generator goes into its file: nothing of its owner, its connectors, its use."""
    document = {**document_of(generator), "name": generator.name}
    tables = [
        {key: value for key, value in table.items() if key not in ("source_connector", "location")}
        for table in document.get("tables", ())
    ]
    provenance = document.get("provenance") or {}
    provenance["sources"] = [
        {key: value for key, value in source.items() if key not in ("connector_id", "location")}
        for source in provenance.get("sources", ())
    ]
    return {**{key: document.get(key) for key in _PORTABLE}, "provenance": provenance, "tables": tables}


def _models(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    models = document.get("models")
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
        raise CorruptBundle("generator.json of the archive does not list its models")
    return models


def _file_stem(generator: Generator) -> str:
    return _safe(generator.name or "generator")


def _safe(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in " _.-" else "_" for c in name).strip(" .")
    return kept[:100] or "generator"
