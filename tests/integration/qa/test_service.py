"""The qa service over a real server: artifacts in, a report artifact out."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from simulacra import wire
from simulacra.artifacts import ArtifactStore
from simulacra.domain import ModelMetrics
from simulacra.errors import ArtifactNotFound, InvalidArgument, UnsignedCall
from simulacra.jobs import ProcessExecutor
from simulacra.rpc import Principal, PrincipalSigner, ServiceChannel, open_channel
from simulacra.v1 import internal_pb2, internal_pb2_grpc, job_pb2, job_pb2_grpc
from simulacra_qa.app import QaComponent, create
from simulacra_qa.settings import QaSettings

KEY = "a key of the tests, long enough"


@pytest.fixture
def settings(tmp_path: Path) -> QaSettings:
    return QaSettings(data_dir=tmp_path, internal_key=KEY, grace=0)


@pytest.fixture
def artifacts(settings: QaSettings) -> ArtifactStore:
    return ArtifactStore.from_url(settings.artifacts_url)


@pytest.fixture
def executor(settings: QaSettings) -> ProcessExecutor:
    return ProcessExecutor(settings.artifacts_url, slots=1, preload=("simulacra_qa.tasks",))


@pytest.fixture
async def component(settings: QaSettings, executor: ProcessExecutor) -> AsyncIterator[QaComponent]:
    component = await create(settings, executor=executor)
    await component.start()
    yield component
    await component.stop()


@pytest.fixture
async def channel(component: QaComponent) -> AsyncIterator[ServiceChannel]:
    signer = PrincipalSigner(KEY.encode())
    principal = Principal.of_service("trainer")
    async with open_channel(f"127.0.0.1:{component.port}", signer=signer, principal=principal) as channel:
        yield channel


def people(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, rows)
    return pa.table(
        {
            "age": age,
            "<script>alert(1)</script>": np.where(age > 60, "old & wise", "young"),
            "income": np.exp(rng.normal(10, 1, rows)),
        }
    )


def request_for(
    artifacts: ArtifactStore, rows: int = 1000, *, seed: int = 0
) -> internal_pb2.EvaluateArtifactsRequest:
    for number, role in enumerate(("training", "holdout", "synthetic")):
        artifacts.write_table(f"data/{role}", people(rows, seed * 10 + number))
    return internal_pb2.EvaluateArtifactsRequest(
        training_artifact="data/training",
        holdout_artifact="data/holdout",
        synthetic_artifact="data/synthetic",
        report_artifact="reports/one",
        table_name="people",
        title="People <b>",
    )


async def test_evaluation_streams_progress_and_publishes_report_and_metrics(
    channel: ServiceChannel, artifacts: ArtifactStore
) -> None:
    stub = internal_pb2_grpc.QaInternalServiceStub(channel)
    answers = [answer async for answer in stub.EvaluateArtifacts(request_for(artifacts))]
    values = [answer.value for answer in answers[:-1]]
    assert values == sorted(values)
    assert len(set(values)) > 3
    assert all(0 <= answer.value <= answer.max for answer in answers[:-1])
    assert [answer.done for answer in answers] == [False] * (len(answers) - 1) + [True]
    metrics = wire.from_proto(answers[-1].metrics, ModelMetrics)
    assert metrics.accuracy is not None
    assert metrics.accuracy.overall is not None
    assert metrics.accuracy.overall_max is not None
    assert abs(metrics.accuracy.overall - metrics.accuracy.overall_max) < 0.02
    assert metrics.distances is not None
    report = artifacts.open("reports/one")
    assert set(report.files) >= {"report.html", "metrics.json"}
    document = json.loads(report.read_bytes("metrics.json"))
    assert ModelMetrics.model_validate(document["metrics"]) == metrics
    html = report.read_bytes("report.html").decode()
    assert "<script>alert(1)" not in html
    assert "People <b>" not in html


async def test_generated_data_are_compared_with_the_statistics_of_a_report(
    channel: ServiceChannel, artifacts: ArtifactStore
) -> None:
    stub = internal_pb2_grpc.QaInternalServiceStub(channel)
    _ = [answer async for answer in stub.EvaluateArtifacts(request_for(artifacts, 3000))]
    for role in ("training", "holdout"):  # no original row is needed
        artifacts.delete(f"data/{role}")
    young = people(4000, 7).filter(pc.less(people(4000, 7)["age"], 50))
    artifacts.write_table("data/generated", young)
    request = internal_pb2.EvaluateGeneratedRequest(
        synthetic_artifact="data/generated",
        statistics_artifact="reports/one",
        report_artifact="reports/two",
        table_name="people",
        seeded_columns=["age"],
        notes=["Sampled with <b>."],
    )
    *_, last = [answer async for answer in stub.EvaluateGenerated(request)]
    assert last.done
    assert last.metrics.HasField("accuracy")
    assert not last.metrics.HasField("distances")
    report = artifacts.open("reports/two")
    document = json.loads(report.read_bytes("metrics.json"))
    assert document["intended"] == {"age": "given as seed"}
    assert {verdict["level"] for verdict in document["verdicts"].values()} <= {"good", "note"}
    page = report.read_bytes("report.html").decode()
    assert "Sampled with &lt;b&gt;." in page
    assert "<script>alert(1)" not in page


async def test_report_without_statistics_is_told(channel: ServiceChannel, artifacts: ArtifactStore) -> None:
    stub = internal_pb2_grpc.QaInternalServiceStub(channel)
    artifacts.write_table("data/generated", people(100, 0))
    request = internal_pb2.EvaluateGeneratedRequest(
        synthetic_artifact="data/generated",
        statistics_artifact="data/generated",
        report_artifact="reports/two",
    )
    with pytest.raises(ArtifactNotFound, match="no statistics"):
        _ = [answer async for answer in stub.EvaluateGenerated(request)]
    request.statistics_artifact = ""
    with pytest.raises(InvalidArgument, match="statistics_artifact: is required"):
        _ = [answer async for answer in stub.EvaluateGenerated(request)]


async def test_repeated_call_answers_from_the_published_report(
    channel: ServiceChannel, artifacts: ArtifactStore
) -> None:
    stub = internal_pb2_grpc.QaInternalServiceStub(channel)
    request = request_for(artifacts)
    first = [answer async for answer in stub.EvaluateArtifacts(request)]
    artifacts.delete("data/training")
    again = [answer async for answer in stub.EvaluateArtifacts(request)]
    assert [answer.done for answer in again] == [True]
    assert again[0].metrics == first[-1].metrics


async def test_without_holdout_there_are_no_distances(
    channel: ServiceChannel, artifacts: ArtifactStore
) -> None:
    request = request_for(artifacts)
    request.holdout_artifact = ""
    stub = internal_pb2_grpc.QaInternalServiceStub(channel)
    *_, last = [answer async for answer in stub.EvaluateArtifacts(request)]
    assert last.metrics.HasField("accuracy")
    assert not last.metrics.HasField("distances")


async def test_missing_artifact_column_and_name_are_told(
    channel: ServiceChannel, artifacts: ArtifactStore
) -> None:
    stub = internal_pb2_grpc.QaInternalServiceStub(channel)
    request = request_for(artifacts)
    request.synthetic_artifact = "data/gone"
    with pytest.raises(ArtifactNotFound, match="data/gone"):
        _ = [answer async for answer in stub.EvaluateArtifacts(request)]
    artifacts.write_table("data/narrow", people(100, 0).drop_columns(["age"]))
    request.synthetic_artifact = "data/narrow"
    with pytest.raises(InvalidArgument, match='lacks the column "age"'):
        _ = [answer async for answer in stub.EvaluateArtifacts(request)]
    request.report_artifact = ""
    with pytest.raises(InvalidArgument, match="report_artifact: is required"):
        _ = [answer async for answer in stub.EvaluateArtifacts(request)]


async def test_cancelling_the_call_kills_the_worker_and_leaves_no_report(
    channel: ServiceChannel, artifacts: ArtifactStore, executor: ProcessExecutor
) -> None:
    stub = internal_pb2_grpc.QaInternalServiceStub(channel)
    call = stub.EvaluateArtifacts(request_for(artifacts, 100_000))
    await call.read()
    (worker,) = executor.worker_pids
    ended = asyncio.Event()
    handle = os.pidfd_open(worker)
    asyncio.get_running_loop().add_reader(handle, ended.set)
    call.cancel()
    try:
        await asyncio.wait_for(ended.wait(), 2)
    finally:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
    assert not artifacts.exists("reports/one")


async def test_jobs_are_served_for_the_gateway(channel: ServiceChannel) -> None:
    stub = job_pb2_grpc.JobServiceStub(channel)
    assert (await stub.ListJobs(job_pb2.ListJobsRequest())).total_count == 0
    watch = stub.WatchJobs(job_pb2.WatchJobsRequest())
    async for answer in watch:
        assert answer.resume_token
        break
    watch.cancel()


async def test_unsigned_call_is_refused(component: QaComponent) -> None:
    async with open_channel(f"127.0.0.1:{component.port}") as channel:
        stub = internal_pb2_grpc.QaInternalServiceStub(channel)
        with pytest.raises(UnsignedCall):
            _ = [a async for a in stub.EvaluateArtifacts(internal_pb2.EvaluateArtifactsRequest())]
