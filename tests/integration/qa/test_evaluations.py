"""Evaluations that clients start: durable jobs over the whole platform, their metrics and their reports."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulacra import wire
from simulacra.client import AsyncSimulacra, Simulacra
from simulacra.client._embedded import EmbeddedStack
from simulacra.domain import DataLocation, Job, ProgressStatus, StepCode
from simulacra.errors import (
    InvalidArgument,
    JobNotFound,
    RequestIdReused,
    ResourceNotFound,
    WrongState,
)
from simulacra.rpc import ServiceChannel, open_channel
from simulacra.stack import Stack
from simulacra.v1 import qa_pb2, qa_pb2_grpc

UNKNOWN = "00000000-0000-0000-0000-000000000000"


def people(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, rows)
    return pd.DataFrame(
        {
            "age": age,
            "<script>alert(1)</script>": np.where(age > 60, "old & wise", "young"),
            "income": np.exp(rng.normal(10, 1, rows)),
        }
    )


@pytest.fixture(scope="session")
def places(embedded: EmbeddedStack) -> dict[str, Any]:
    """Uploaded training, holdout and synthetic rows."""
    with Simulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        return {
            role: DataLocation(connector_id=client.connectors.upload(people(600, seed), name=role).id)
            for seed, role in enumerate(("training", "holdout", "synthetic"))
        }


@pytest.fixture(scope="session")
def ended(embedded: EmbeddedStack, places: dict[str, Any]) -> Job:
    """An evaluation that is DONE."""
    with Simulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        job = client.evaluations.start(**places, title="Fresh <b> people", seed=4)
        assert job.status.is_active
        return client.jobs.wait(job.id, progress_bar=False)


@pytest.fixture
async def channel(embedded: EmbeddedStack) -> AsyncIterator[ServiceChannel]:
    """A channel to the gateway, for stubs of the contract."""
    endpoint = embedded.endpoint
    async with open_channel(endpoint.address, api_key=endpoint.api_key) as channel:
        yield channel


def request_of(places: dict[str, Any], **fields: Any) -> qa_pb2.EvaluateRequest:
    messages: dict[str, Any] = {
        role: wire.to_proto(place, qa_pb2.DataLocation) for role, place in places.items()
    }
    return qa_pb2.EvaluateRequest(**messages, **fields)


def test_evaluation_reads_three_tables_and_then_compares_them(ended: Job) -> None:
    steps = ended.progress.steps or []
    assert [step.step_code for step in steps] == [StepCode.PULL_TRAINING_DATA] * 3 + [
        StepCode.CREATE_DATA_REPORT
    ]
    assert {step.status for step in steps} == {ProgressStatus.DONE}
    assert ended.resource_name == "Fresh <b> people"
    assert ended.resource_uri.startswith("evaluations/")


def test_metrics_come_with_every_column_and_pair_and_their_bins(client: Simulacra, ended: Job) -> None:
    metrics, columns, pairs = client.evaluations.metrics(ended.id)
    assert metrics.accuracy is not None
    assert metrics.accuracy.overall == pytest.approx(metrics.accuracy.overall_max, abs=0.03)
    assert metrics.distances is not None
    assert [score.column for score in columns] == list(people(1, 0))
    for column in columns:
        assert column.bins
        assert sum(entry.synthetic_share for entry in column.bins) == pytest.approx(1)
    assert len(pairs) == 3
    for pair in pairs:
        assert pair.first_labels
        assert pair.second_labels
        assert pair.synthetic_shares is not None
        assert len(pair.synthetic_shares) == len(pair.first_labels) * len(pair.second_labels)
        assert sum(pair.synthetic_shares) == pytest.approx(1, abs=1e-4)
    by_name = {score.column: score for score in columns}
    for pair in pairs:
        # The joint distribution's margin is the column's own.
        assert pair.synthetic_shares is not None
        table = np.array(pair.synthetic_shares).reshape(len(pair.first_labels or ()), -1)
        shares = [entry.synthetic_share for entry in by_name[pair.first_column].bins or ()]
        assert table.sum(axis=1) == pytest.approx(shares, abs=1e-4)


async def test_report_comes_in_both_forms_and_from_any_offset(
    channel: ServiceChannel, client: Simulacra, ended: Job, tmp_path: Path
) -> None:
    page = client.evaluations.report(ended.id, tmp_path / "report.html").read_text()
    assert "Fresh &lt;b&gt; people" in page
    assert "<script>alert(1)" not in page
    document = json.loads(client.evaluations.report(ended.id, tmp_path / "m.json", format="JSON").read_text())
    assert document["seed"] == 4
    stub = qa_pb2_grpc.QaServiceStub(channel)
    request = qa_pb2.GetReportRequest(job_id=ended.id, offset=len(page.encode()) - 8)
    (chunk,) = [chunk async for chunk in stub.GetReport(request)]
    assert chunk.data.decode() == page[-8:]
    assert chunk.file_name == "Fresh _b_ people.html"


def test_reference_and_seed_are_kept(client: Simulacra, places: dict[str, Any]) -> None:
    found = []
    for reference in ("TRAINING", "TRAINING_AND_HOLDOUT"):
        job = client.evaluations.start(**places, reference=reference)
        client.jobs.wait(job.id, progress_bar=False)
        found.append(client.evaluations.metrics(job.id)[0])
    first, second = (metrics.accuracy.univariate for metrics in found if metrics.accuracy)
    assert first != second


def test_frames_are_uploaded_and_a_holdout_is_not_needed(client: Simulacra) -> None:
    job = client.evaluations.start(people(300, 1), people(300, 2))
    client.jobs.wait(job.id, progress_bar=False)
    assert job.resource_name == "Quality of synthetic"
    metrics, _, _ = client.evaluations.metrics(job.id)
    assert metrics.accuracy is not None
    assert metrics.distances is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"reference": "HOLDOUT"}, 'reference: "HOLDOUT" is not one of TRAINING, TRAINING_AND_HOLDOUT'),
        ({"seed": "nine"}, "seed: "),
        ({"synthetic": "nowhere.csv"}, 'synthetic: there is no file "nowhere.csv"'),
        ({"synthetic": [people(9, 1), {"other": people(9, 1)}]}, "synthetic: is 2 tables; give one"),
        ({"synthetic": None}, "synthetic: give a DataFrame"),
        ({"training": {"connector_id": ""}}, "training.connector_id: "),
        ({"holdout": 3}, "holdout: give a DataFrame"),
        ({"context": {"training": people(9, 1), "key_column": "id"}}, "context.synthetic: "),
        ({"context": {"keycolumn": "id"}}, "context.keycolumn: "),
    ],
)
def test_wrong_values_are_named_before_anything_is_uploaded(
    client: Simulacra, fields: dict[str, Any], words: str
) -> None:
    before = client.connectors.list().total_count
    with pytest.raises(InvalidArgument, match=words):
        client.evaluations.start(**{"synthetic": people(9, 1), "training": people(9, 2), **fields})
    assert client.connectors.list().total_count == before


def trips(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Subjects, and a few rows of each."""
    rng = np.random.default_rng(seed)
    ids = np.arange(200) + 1000 * seed
    subjects = pd.DataFrame({"id": ids, "kind": rng.choice(["a", "b"], 200)})
    owner = np.repeat(ids, rng.integers(1, 5, 200))
    rows = pd.DataFrame({"owner": owner, "cost": rng.normal(0, 1, len(owner))})
    return subjects, rows.assign(mode=rng.choice(["bus", "car"], len(owner)))


def test_sequences_with_their_context_are_judged(client: Simulacra) -> None:
    parts = [trips(seed) for seed in (1, 2, 3)]
    roles = ("training", "holdout", "synthetic")
    context: dict[str, Any] = {role: subjects for role, (subjects, _) in zip(roles, parts, strict=True)}
    rows: dict[str, Any] = {role: part for role, (_, part) in zip(roles, parts, strict=True)}
    job = client.evaluations.start(
        **rows,
        key_column="owner",
        context={**context, "key_column": "id"},
        target_column="mode",
        embed=False,
    )
    client.jobs.wait(job.id, progress_bar=False)
    metrics, columns, pairs = client.evaluations.metrics(job.id)
    assert metrics.accuracy is not None
    assert metrics.accuracy.coherence == pytest.approx(metrics.accuracy.coherence_max, abs=0.1)
    assert metrics.utility is not None
    assert metrics.utility.target == "mode"
    assert metrics.relations is not None
    (relation,) = metrics.relations
    assert (relation.child_table, relation.parent_table) == ("synthetic", "context_synthetic")
    assert relation.referential_integrity == 1
    assert metrics.similarity is not None
    assert "not asked for" in metrics.similarity.embedding_absent_reason
    assert [score.column for score in columns] == ["cost", "mode"]
    named = {(pair.first_column, pair.second_column) for pair in pairs}
    assert {("cost", "mode"), ("cost", "cost"), ("mode", "mode")} < named
    assert {(column, "kind (context)") for column in ("cost", "mode")} < named


async def test_repeat_with_the_same_request_id_starts_nothing(
    channel: ServiceChannel, places: dict[str, Any]
) -> None:
    stub = qa_pb2_grpc.QaServiceStub(channel)
    first = await stub.Evaluate(request_of(places, request_id="once"))
    again = await stub.Evaluate(request_of(places, request_id="once"))
    assert first.progress.id == again.progress.id
    with pytest.raises(RequestIdReused):
        await stub.Evaluate(request_of(places, request_id="once", seed=9))


async def test_wrong_requests_name_field_and_way_out(
    channel: ServiceChannel, client: Simulacra, places: dict[str, Any]
) -> None:
    stub = qa_pb2_grpc.QaServiceStub(channel)
    with pytest.raises(InvalidArgument, match="synthetic: is required"):
        await stub.Evaluate(qa_pb2.EvaluateRequest())
    with pytest.raises(InvalidArgument, match="connector_id"):
        await stub.Evaluate(request_of({"training": places["training"]}, synthetic=qa_pb2.DataLocation()))
    with pytest.raises(ResourceNotFound):
        await stub.Evaluate(request_of(places | {"holdout": DataLocation(connector_id=UNKNOWN)}))
    narrow = await asyncio.to_thread(
        lambda: client.connectors.upload(people(50, 1).rename(columns={"age": "aeg"}), name="narrow").id
    )
    with pytest.raises(InvalidArgument, match=r'synthetic: the table lacks the column "age".*aeg'):
        await stub.Evaluate(request_of(places | {"synthetic": DataLocation(connector_id=narrow)}))
    around = qa_pb2.EvaluationContext(
        synthetic=wire.to_proto(places["synthetic"], qa_pb2.DataLocation),
        training=wire.to_proto(places["training"], qa_pb2.DataLocation),
        key_column="aeg",
    )
    for fields, words in (
        ({"context": around}, "key_column: is required with a context"),
        ({"context": around, "key_column": "age"}, "context.holdout: "),
        ({"key_column": "aeg"}, r'key_column: column "aeg" is not in .*age'),
        ({"target_column": "aeg"}, r'target_column: column "aeg" is not in .*age'),
    ):
        with pytest.raises(InvalidArgument, match=words):
            await stub.Evaluate(request_of(places, **fields))
    alone = {role: place for role, place in places.items() if role != "holdout"}
    with pytest.raises(InvalidArgument, match=r'context.key_column: column "aeg"'):
        await stub.Evaluate(request_of(alone, context=around, key_column="age"))
    with pytest.raises(InvalidArgument, match="job_id: is required"):
        _ = [part async for part in stub.GetMetrics(qa_pb2.GetMetricsRequest())]
    with pytest.raises(JobNotFound):
        _ = [part async for part in stub.GetReport(qa_pb2.GetReportRequest(job_id=UNKNOWN))]


async def test_cancelled_evaluation_has_no_report_and_leaves_no_data(tmp_path: Path) -> None:
    async with (
        Stack(tmp_path, worker_slots=1) as stack,
        AsyncSimulacra(stack.address, stack.api_key) as client,
    ):
        job = await client.evaluations.start(people(60_000, 1), people(60_000, 2), people(60_000, 3))
        async for state in client.jobs.watch(job.id):
            if any(
                step.step_code == StepCode.CREATE_DATA_REPORT and step.status == ProgressStatus.IN_PROGRESS
                for step in state.progress.steps or ()
            ):
                break
        with pytest.raises(WrongState, match="wait for it"):
            await client.evaluations.metrics(job.id)
        await client.jobs.cancel(job.id)
        async for state in client.jobs.watch(job.id):
            last = state
        assert last.status == ProgressStatus.CANCELED
        with pytest.raises(WrongState, match="start another"):
            await client.evaluations.metrics(job.id)
        await stack._components["qa"].housekeeping.idle()  # type: ignore[attr-defined]
    assert not list((tmp_path / "artifacts").glob("evaluation/*/*/*/manifest.json"))


async def test_only_the_owner_sees_an_evaluation_and_copies_of_data_go_at_its_end(tmp_path: Path) -> None:
    from simulacra.rpc import Principal, PrincipalSigner

    async with Stack(tmp_path) as stack, AsyncSimulacra(stack.address, stack.api_key) as client:
        job = await client.evaluations.start(people(200, 1), people(200, 2))
        await client.jobs.wait(job.id, progress_bar=False)
        await stack._components["qa"].housekeeping.idle()  # type: ignore[attr-defined]
        kept = sorted(
            path.parent.name for path in (tmp_path / "artifacts").glob("evaluation/*/*/*/manifest.json")
        )
        assert [re.sub(r"^\d+-", "", name) for name in kept] == ["report"]
        signer = PrincipalSigner((tmp_path / "internal.key").read_text().strip().encode())
        stranger = Principal(user_id="somebody else", user_name="Eve")
        target = f"127.0.0.1:{stack.ports['qa']}"
        async with open_channel(target, signer=signer, principal=stranger) as channel:
            stub = qa_pb2_grpc.QaServiceStub(channel)
            with pytest.raises(JobNotFound):
                _ = [part async for part in stub.GetMetrics(qa_pb2.GetMetricsRequest(job_id=job.id))]
            with pytest.raises(JobNotFound):
                _ = [part async for part in stub.GetReport(qa_pb2.GetReportRequest(job_id=job.id))]


def test_an_evaluation_is_deleted_with_its_report(client: Simulacra) -> None:
    job = client.evaluations.start(people(60, 1), people(60, 2), embed=False)
    client.jobs.wait(job.id or "", progress_bar=False)
    client.evaluations.delete(job.id or "")
    for call in (client.jobs.get, client.evaluations.metrics, client.evaluations.delete):
        with pytest.raises(JobNotFound):
            call(job.id or "")


async def test_old_evaluations_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULACRA_QA__KEEP_EVALUATIONS_DAYS", "1e-9")
    async with Stack(tmp_path) as stack, AsyncSimulacra(stack.address, stack.api_key) as client:
        job = await client.evaluations.start(people(200, 1), people(200, 2))
        await client.jobs.wait(job.id, progress_bar=False)
        qa: Any = stack._components["qa"]
        await qa.housekeeping.tidy()
        with pytest.raises(JobNotFound):
            await client.jobs.get(job.id)
    assert not list((tmp_path / "artifacts").glob("evaluation/*/*/*/manifest.json"))
