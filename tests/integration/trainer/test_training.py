"""Trainings: what they leave and what they do not, how they are stopped and go on."""

import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simulacra.client import Generator, Simulacra
from simulacra.client._embedded import EmbeddedStack
from simulacra.domain import ProgressStatus, StepCode
from simulacra.errors import JobFailed, WrongState
from simulacra.rpc import ServiceChannel
from simulacra.v1 import generator_pb2, generator_pb2_grpc
from tests.integration.client.people import people
from tests.integration.trainer.conftest import QUICK


def steps_of(generator: Generator) -> dict[StepCode | None, Any]:
    return {step.step_code: step for step in generator.training.progress().steps or []}


def test_a_training_fills_in_what_it_finds(client: Simulacra, trained: Generator) -> None:
    assert trained.training_status == ProgressStatus.DONE
    assert trained.training_time is not None
    assert trained.usage is not None
    assert trained.provenance is not None
    assert trained.provenance.seed == 7
    (source,) = trained.provenance.sources or []
    assert (source.rows, len(source.content_sha256 or "")) == (400, 64)
    (bundle,) = trained.provenance.bundles or []
    assert len(bundle.sha256) == 64
    (table,) = trained.tables or []
    assert table.total_rows == 400
    assert table.model_metrics is not None
    age, city = table.column("age").value_range, table.column("city").value_range
    assert age is not None
    assert city is not None
    assert not city.values  # only the full view of one table has them
    assert set(trained.value_ranges("people")["city"].values or []) == {"Graz", "Linz", "Wien"}
    assert table.column("id").value_range is None  # keys are not learnt


def test_the_copies_of_the_source_are_gone_when_the_training_is_done(
    embedded: EmbeddedStack, trained: Generator
) -> None:
    artifacts = embedded.data_dir / "artifacts"
    job_id = trained.training.progress().id
    assert not list((artifacts / "training").glob(f"{job_id}/**/*.parquet"))
    kept = {path.name for path in (artifacts / "generators" / trained.id).rglob("*") if path.is_file()}
    assert kept >= {"weights.safetensors", "model.json", "report.html"}
    scores = {"pairs.parquet"}  # of the columns' pairs
    assert {name for name in kept if name.endswith((".parquet", ".npy"))} <= scores


def test_unique_values_of_the_key_are_in_no_artifact(embedded: EmbeddedStack, trained: Generator) -> None:
    for path in (embedded.data_dir / "artifacts" / "generators" / trained.id).rglob("*"):
        if path.is_file():
            assert b"p399" not in path.read_bytes(), path


def test_the_same_seed_gives_the_same_model(client: Simulacra, trained: Generator) -> None:
    again = trained.clone()
    again.training.start()
    again.training.wait(progress_bar=False)
    rows = [client.probe(each, size=20, seed=1) for each in (again, trained)]
    assert isinstance(rows[0], pd.DataFrame)
    assert isinstance(rows[1], pd.DataFrame)
    pd.testing.assert_frame_equal(rows[0], rows[1])


def test_a_clone_goes_on_from_the_weights(client: Simulacra, trained: Generator) -> None:
    clone = trained.clone("CONTINUE")
    assert str(clone.training_status) == "CONTINUE"
    with pytest.raises(WrongState, match="fit table"):
        clone.update_table((clone.tables or [])[0].id, {"name": "people", "columns": [{"name": "age"}]})
    clone.training.start()
    clone.training.wait(progress_bar=False)
    assert str(clone.training_status) == "DONE"
    assert clone.accuracy is not None
    assert len(client.probe(clone, size=3)) == 3


def test_what_is_done_is_not_started_again(trained: Generator) -> None:
    for refused in (trained.training.start, trained.training.cancel):
        with pytest.raises(WrongState) as caught:
            refused()
        assert caught.value.metadata["current_status"] == "DONE"


async def test_a_repeated_start_gives_the_same_job(channel: ServiceChannel, client: Simulacra) -> None:
    generator = client.train(data=people(5_000), start=False)
    stub = generator_pb2_grpc.GeneratorServiceStub(channel)
    request = generator_pb2.StartTrainingRequest(generator_id=generator.id, request_id=str(uuid.uuid4()))
    first, second = await stub.StartTraining(request), await stub.StartTraining(request)
    assert first.progress.id == second.progress.id
    with pytest.raises(WrongState, match="is being trained"):
        generator.training.start()
    with pytest.raises(WrongState, match="cancel its training first"):
        generator.delete()
    await stub.CancelTraining(generator_pb2.CancelTrainingRequest(generator_id=generator.id))
    with pytest.raises(JobFailed):
        generator.training.wait(progress_bar=False)


def test_a_canceled_training_goes_on_from_what_is_there(client: Simulacra, embedded: EmbeddedStack) -> None:
    configuration = {"max_epochs": 500, "max_training_time": 60}
    generator = client.train(data=people(20_000), model_configuration=configuration, wait=False)
    _until_training(client, generator)
    generator.training.cancel()
    with pytest.raises(JobFailed):
        generator.training.wait(progress_bar=False)
    job_id = generator.training.progress().id
    data = embedded.data_dir / "artifacts" / "training" / str(job_id)
    assert list(data.rglob("codes.npy"))
    pulled_at = steps_of(generator)[StepCode.PULL_TRAINING_DATA].end_date
    generator.training.start()
    _until_training(client, generator)
    assert generator.training.progress().id == job_id
    assert steps_of(generator)[StepCode.PULL_TRAINING_DATA].end_date == pulled_at
    generator.training.cancel()
    with pytest.raises(JobFailed):
        generator.training.wait(progress_bar=False)
    generator.delete()
    assert not data.exists()


def test_a_failed_training_says_why_and_can_be_mended(client: Simulacra) -> None:
    columns = [{"name": "city", "model_encoding_type": "TABULAR_NUMERIC_BINNED"}, {"name": "age"}]
    table = {
        "name": "people",
        "data": people(200).to_parquet(),
        "columns": columns,
        "model_configuration": QUICK,
    }
    generator = client.generators.create({"name": "wrong encoding", "tables": [table]})
    generator.training.start()
    with pytest.raises(JobFailed, match='column "city"'):
        generator.training.wait(progress_bar=False)
    assert str(generator.training_status) == "FAILED"
    failed = generator.training.progress()
    generator.update_table((generator.tables or [])[0].id, {"name": "people", "columns": [{"name": "age"}]})
    generator.training.start()
    generator.training.wait(progress_bar=False)
    assert str(generator.training_status) == "DONE"
    assert generator.training.progress().id != failed.id  # another plan, another job


def test_a_table_without_rows_fails_with_its_name(client: Simulacra) -> None:
    empty = pd.DataFrame({"a": pd.Series([], dtype="int64")})
    generator = client.train(data={"void": empty}, wait=False)
    with pytest.raises(JobFailed, match='table "void" has no rows'):
        generator.training.wait(progress_bar=False)


def test_models_of_different_tables_train_side_by_side(client: Simulacra) -> None:
    data = {name: people(500, seed=seed) for seed, name in enumerate(("one", "two"))}
    generator = client.train(data=data, model_configuration=QUICK, progress_bar=False)
    assert [table.model_metrics is not None for table in generator.tables or []] == [True, True]
    steps = generator.training.progress().steps or []
    assert [step.model_label for step in steps if step.step_code == StepCode.TRAIN_MODEL] == [
        "one:TABULAR",
        "two:TABULAR",
    ]


def test_an_export_goes_on_after_a_break_and_hides_where_the_data_came_from(
    trained: Generator, tmp_path: Path
) -> None:
    first = trained.export_to_file(tmp_path / "first.zip").read_bytes()
    assert trained.export_to_file(tmp_path / "second.zip").read_bytes() == first
    connector = (trained.tables or [])[0].source_connector
    assert connector is not None
    assert str(connector.id).encode() not in first


def _until_training(client: Simulacra, generator: Generator) -> None:
    """Returns when the model's training has made some steps."""
    job_id = str(generator.training.progress().id)
    for job in client.jobs.watch(job_id):
        for step in (job.progress.steps or []) if job.progress else []:
            if step.step_code == StepCode.TRAIN_MODEL and step.progress and (step.progress.value or 0) > 3:
                return
    raise AssertionError("the job ended first")
