"""The SDK on a running platform: from a frame to a synthetic frame, and all that lies between."""

import asyncio
import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from simulacra.client import AsyncSimulacra, Generator, Simulacra
from simulacra.client._embedded import EmbeddedStack
from simulacra.domain import ProgressStatus, SyntheticDatasetConfig
from simulacra.errors import (
    CorruptUpload,
    InvalidArgument,
    JobFailed,
    JobNotFound,
    ResourceNotFound,
    SimulacraError,
    Unauthenticated,
)
from tests.integration.client.conftest import QUICK
from tests.integration.client.people import people


def test_training_ends_with_accuracy_and_metrics(trained: Generator) -> None:
    assert trained.training_status == ProgressStatus.DONE
    assert trained.accuracy is not None
    assert 0.5 < trained.accuracy <= 1
    (table,) = trained.tables or []
    assert table.total_rows == 600
    assert table.model_metrics is not None
    assert table.model_metrics.accuracy is not None
    assert table.model_metrics.accuracy.overall_max is not None
    progress = trained.training.progress()
    assert progress.status == ProgressStatus.DONE
    assert {str(step.status) for step in progress.steps or []} == {"DONE"}


def test_synthetic_data_has_the_types_of_the_original(client: Simulacra, trained: Generator) -> None:
    data = client.generate(trained, size=300, seed=5, progress_bar=False).data()
    assert isinstance(data, pd.DataFrame)
    assert len(data) == 300
    assert data.dtypes.astype(str).to_dict() == people().dtypes.astype(str).to_dict()
    assert set(data["city"]) <= {"Graz", "Linz", "Wien", "_RARE_"}


def test_the_same_seed_gives_the_same_rows(client: Simulacra, trained: Generator) -> None:
    first, second, other = (client.probe(trained, size=50, seed=seed) for seed in (3, 3, 4))
    assert isinstance(first, pd.DataFrame)
    assert isinstance(second, pd.DataFrame)
    assert isinstance(other, pd.DataFrame)
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(other)


def test_a_probe_of_one_row_is_the_default(client: Simulacra, trained: Generator) -> None:
    assert len(client.probe(trained)) == 1
    probes = client.probe(trained, return_type="dict")
    assert isinstance(probes, dict)
    assert probes.keys() == {"data"}
    rows = client.probe_rows({"generator_id": trained.id})
    assert rows[0].name == "data"
    assert len(rows[0].rows or []) == 1


def test_downloads_come_in_each_format(client: Simulacra, trained: Generator, tmp_path: Path) -> None:
    dataset = client.generate(trained, size=20, seed=1, progress_bar=False)
    expected = dataset.data()
    assert isinstance(expected, pd.DataFrame)
    readers = {"PARQUET": pd.read_parquet, "CSV": pd.read_csv, "XLSX": pd.read_excel}
    for format, read in readers.items():
        path = dataset.download(format, tmp_path / f"people.{format.lower()}")
        assert list(read(path).columns) == list(expected.columns)  # type: ignore[operator]
    path = dataset.download("JSON", tmp_path)
    assert len(path.read_text().splitlines()) == 20
    assert dataset.save_tables(tmp_path / "tables")["data"].exists()
    assert not list(tmp_path.rglob(".*.part"))


def test_two_tables_download_as_one_archive(client: Simulacra, tmp_path: Path) -> None:
    data = {"one": people(300, seed=1), "two": people(300, seed=2)[["age", "city"]]}
    generator = client.train(data=data, model_configuration=QUICK, progress_bar=False)
    dataset = client.generate(generator, size={"one": 10, "two": 20}, progress_bar=False)
    frames = dataset.data()
    assert isinstance(frames, dict)
    assert {name: len(frame) for name, frame in frames.items()} == {"one": 10, "two": 20}
    with zipfile.ZipFile(dataset.download("CSV", tmp_path)) as archive:
        assert sorted(Path(name).stem for name in archive.namelist()) == ["one", "two"]
    with pytest.raises(InvalidArgument, match='no table "three"'):
        client.generate(generator, size={"three": 1})


def test_a_large_frame_goes_through_an_upload(client: Simulacra) -> None:
    data = people(60_000)
    data["noise"] = range(len(data))
    generator = client.train(data={"large": data}, name="large", start=False)
    (table,) = generator.tables or []
    assert table.source_connector is not None
    assert table.source_connector.id is not None
    connector = client.connectors.get(table.source_connector.id)
    assert [column["name"] for column in connector.schema(connector.locations()[0])] == list(data.columns)
    read = connector.read_data(max_rows=100)
    pd.testing.assert_frame_equal(read, data.head(100))
    assert generator.training_status == ProgressStatus.NEW
    generator.delete()


def test_a_generator_is_exported_and_imported(client: Simulacra, trained: Generator, tmp_path: Path) -> None:
    path = trained.export_to_file(tmp_path)
    imported = client.generators.import_from_file(path, name="copy")
    assert imported.name == "copy"
    assert imported.training_status == ProgressStatus.DONE
    assert client.probe(imported, size=5, seed=1).equals(client.probe(trained, size=5, seed=1))  # type: ignore[union-attr, arg-type]
    damaged = tmp_path / "damaged"
    damaged.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SimulacraError):
        client.generators.import_from_file(damaged)


def test_configurations_round_trip(client: Simulacra, trained: Generator) -> None:
    config = trained.config()
    assert client.generators.create(config).config() == config
    dataset = client.generate(trained, size=3, name="three", progress_bar=False)
    wanted = dataset.config()
    assert isinstance(wanted, SyntheticDatasetConfig)
    assert client.synthetic_datasets.create(wanted).config() == wanted


def test_resources_are_listed_changed_and_deleted(client: Simulacra, trained: Generator) -> None:
    clone = trained.clone()
    clone.update(name="a clone", description="of people")
    assert (clone.name, clone.description) == ("a clone", "of people")
    assert "a clone" in {item.name for item in client.generators.list(search_term="clone")}
    assert len(client.generators.list(limit=1)) == 1
    assert client.generators.list(limit=0) == []
    with pytest.raises(InvalidArgument, match="limit: must be 0 or more, got -1"):
        client.generators.list(limit=-1)
    clone.delete()
    with pytest.raises(ResourceNotFound):
        client.generators.get(clone.id)


def test_a_report_is_written_for_each_model(trained: Generator, tmp_path: Path) -> None:
    (report,) = trained.reports(tmp_path)
    assert report.name == "data-tabular.html"
    assert "<html" in report.read_text()
    metrics = trained.report(tmp_path / "metrics.json", format="JSON")
    assert json.loads(metrics.read_text())


def test_wrong_input_names_the_field(client: Simulacra, trained: Generator) -> None:
    with pytest.raises(InvalidArgument, match="give either config or data"):
        client.train()
    with pytest.raises(InvalidArgument, match="neither Parquet nor JSON lines") as caught:
        client.train({"tables": [{"name": "t", "data": b"not parquet"}]})
    assert [violation.field for violation in caught.value.violations] == ["tables.0.data"]
    with pytest.raises(CorruptUpload):
        client.train({"tables": [{"name": "t", "data": b"PAR1 and nothing else"}]})
    with pytest.raises(InvalidArgument) as caught:
        client.generate(trained, {"tables": [{"name": "date"}]})
    assert any(violation.field.startswith("tables") for violation in caught.value.violations)
    with pytest.raises(ResourceNotFound):
        client.probe("00000000-0000-0000-0000-000000000000")


def test_a_wrong_key_is_refused(embedded: EmbeddedStack) -> None:
    with Simulacra(embedded.endpoint.address, "wrong") as stranger, pytest.raises(Unauthenticated):
        stranger.me()


def test_a_canceled_training_says_so_and_can_be_started_again(client: Simulacra) -> None:
    generator = client.train(data=people(20_000), name="canceled", wait=False)
    generator.training.cancel()
    with pytest.raises(JobFailed, match="canceled"):
        generator.training.wait(progress_bar=False)
    assert generator.training_status == ProgressStatus.CANCELED
    job = generator.training.start()
    assert job.progress is not None
    assert job.progress.status in (ProgressStatus.QUEUED, ProgressStatus.IN_PROGRESS)
    generator.training.cancel()


def test_waiting_for_what_was_never_started_is_refused(client: Simulacra) -> None:
    generator = client.train(data=people(50), start=False)
    with pytest.raises(JobNotFound, match="no job has been started"):
        generator.training.wait(progress_bar=False)


def test_a_failed_training_raises_with_the_steps_message(client: Simulacra) -> None:
    empty = pd.DataFrame({"a": pd.Series([], dtype="int64"), "b": pd.Series([], dtype="str")})
    with pytest.raises((JobFailed, InvalidArgument, SimulacraError)) as caught:
        client.train(data={"empty": empty}, progress_bar=False)
    assert caught.value.message


def test_jobs_can_be_watched_listed_and_read(client: Simulacra, trained: Generator) -> None:
    (job,) = client.jobs.list(resource_ids=(trained.id,))
    assert job.progress is not None
    assert job.progress.id is not None
    states = list(client.jobs.watch(job.progress.id))
    assert states[-1].progress is not None
    assert states[-1].progress.status == ProgressStatus.DONE
    assert client.jobs.wait(job.progress.id, progress_bar=False).resource_name == "people"
    assert [line.sequence for line in client.jobs.log(job.progress.id)] == sorted(
        line.sequence for line in client.jobs.log(job.progress.id)
    )


async def test_the_asynchronous_client_does_the_same(embedded: EmbeddedStack, trained_id: str) -> None:
    async with AsyncSimulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        about, me, computes, probes = await asyncio.gather(
            client.about(), client.me(), client.computes(), client.probe(trained_id, size=3)
        )
        assert about.version
        assert me.id
        assert {str(compute.type) for compute in computes} >= {"LOCAL", "RAY"}
        assert len(probes) == 3


INTERRUPTED = """
import sys
from simulacra import Simulacra
from tests.integration.client.people import people
with Simulacra(sys.argv[1], sys.argv[2]) as client:
    generator = client.train(data=people(20_000), name="interrupted", wait=False)
    print(generator.id, flush=True)
    generator.training.wait()
"""


def test_an_interrupted_wait_says_that_the_job_goes_on(embedded: EmbeddedStack, client: Simulacra) -> None:
    endpoint = embedded.endpoint
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, endpoint.address, endpoint.api_key or ""],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        generator = client.generators.get(process.stdout.readline().strip())
        first_drawn = process.stderr.readline()  # the wait has begun
        assert "DONE" in first_drawn or "IN_PROGRESS" in first_drawn
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert "the job goes on" in errors
    assert "simulacra watch" in errors
    generator.refresh()
    assert generator.training_status in (ProgressStatus.QUEUED, ProgressStatus.IN_PROGRESS)
    generator.training.cancel()


def test_tables_of_like_names_get_files_of_their_own(client: Simulacra, tmp_path: Path) -> None:
    data = people(200)[["age", "city"]].to_parquet()
    tables = [{"name": name, "data": data, "model_configuration": QUICK} for name in ("a/b", "c/b", "a_b")]
    generator = client.train({"name": "likes", "tables": tables}, progress_bar=False)
    dataset = client.generate(generator, size={"a/b": 1, "c/b": 2, "a_b": 3}, progress_bar=False)
    files = dataset.save_tables(tmp_path)
    assert {name: (path.name, len(pd.read_parquet(path))) for name, path in files.items()} == {
        "a/b": ("a_b.parquet", 1),
        "c/b": ("c_b.parquet", 2),
        "a_b": ("a_b_2.parquet", 3),
    }
    assert len({path.name for path in generator.reports(tmp_path)}) == 3
    assert repr(generator.training) == f"<Training of {generator!r}>"
    generator_text = str(generator)
    assert "likes" in generator_text
    assert len(generator_text) < 4000


def test_what_cannot_be_started_does_not_stay_behind(client: Simulacra, trained: Generator) -> None:
    with pytest.raises(InvalidArgument, match="has no tables"):
        client.train({"name": "nothing", "tables": []})
    assert "nothing" not in [item.name for item in client.generators.list()]
    assert client.train({"name": "nothing", "tables": []}, start=False).name == "nothing"


def test_a_column_without_a_name_is_found(client: Simulacra) -> None:
    frame = people(30).rename(columns={"city": ""})
    with pytest.raises(InvalidArgument, match='column 2 of table "p" has no name') as error:
        client.train(data={"p": frame}, start=False)
    assert [violation.field for violation in error.value.violations] == ["tables.0.columns.1.name"]


@pytest.mark.parametrize("text", ["n\0ul", "\0"])
def test_the_character_0_is_refused_by_field(client: Simulacra, text: str) -> None:
    def refused(call: Callable[[], object], field: str) -> None:
        with pytest.raises(InvalidArgument) as error:
            call()
        assert [violation.field for violation in error.value.violations] == [field]

    refused(lambda: client.generators.get(text), "id")
    refused(lambda: client.jobs.get(text), "id")
    refused(lambda: client.generators.list(search_term=text), "search_term")
    frame = people(20)
    refused(lambda: client.train(data=frame, name=text, start=False), "name")
    refused(lambda: client.train(data={text: frame}, start=False), "data.name")
