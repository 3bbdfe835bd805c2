"""Synthetic datasets: made of a trained generator, generated, read, deleted."""

import io
import json
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from simulacra.client import Generator, Simulacra, SyntheticDataset
from simulacra.client._embedded import EmbeddedStack
from simulacra.domain import ProgressStatus
from simulacra.errors import (
    InvalidArgument,
    JobFailed,
    OffsetMismatch,
    ResourceInUse,
    ResourceNotFound,
    WrongState,
)
from simulacra.rpc import ServiceChannel
from simulacra.v1 import synthetic_dataset_pb2 as pb
from simulacra.v1 import synthetic_dataset_pb2_grpc


def generated(client: Simulacra, generator: Generator, **people: Any) -> SyntheticDataset:
    """Generates a dataset with a configuration of the table of people, and ten pets."""
    tables = [
        {"name": "people", "configuration": people},
        {"name": "pets", "configuration": {"sample_size": 10}},
    ]
    return client.generate(generator, {"tables": tables, "seed": 1}, progress_bar=False)


def frame(dataset: SyntheticDataset, table: str = "people") -> pd.DataFrame:
    frames = dataset.data("dict")
    assert isinstance(frames, dict)
    return frames[table]


def fields_of(error: pytest.ExceptionInfo[InvalidArgument]) -> list[str]:
    return [violation.field for violation in error.value.violations]


@pytest.fixture(scope="session")
def dataset_id(embedded: EmbeddedStack, owners_id: str) -> str:
    """The id of a dataset of the default sizes."""
    with Simulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        config = {"generator_id": owners_id, "name": "all", "seed": 5}
        dataset = client.synthetic_datasets.create(config)
        dataset.generation.start()
        dataset.generation.wait(progress_bar=False)
    return dataset.id


@pytest.fixture
def dataset(client: Simulacra, dataset_id: str) -> SyntheticDataset:
    """That dataset."""
    return client.synthetic_datasets.get(dataset_id)


def test_a_generation_fills_in_what_it_made(dataset: SyntheticDataset, owners: Generator) -> None:
    assert dataset.generation_status == ProgressStatus.DONE
    assert dataset.generation_time is not None
    assert [(t.name, t.total_rows, t.source_table_total_rows) for t in dataset.tables or []] == [
        ("people", 400, 400),
        ("pets", 300, 300),
    ]
    assert dataset.usage is not None
    assert dataset.usage.total_datapoints == 400 * 7 + 300 * 4
    assert dataset.accuracy == owners.accuracy
    assert dataset.provenance is not None
    assert dataset.provenance.seed == 5
    assert owners.provenance is not None
    assert dataset.provenance.bundles == owners.provenance.bundles
    owners.refresh()
    assert owners.usage is not None
    assert (owners.usage.total_datapoints or 0) >= 400 * 7 + 300 * 4
    assert (owners.usage.no_of_synthetic_datasets or 0) >= 1


def test_keys_are_unique_new_and_point_at_rows(dataset: SyntheticDataset) -> None:
    people, pets = frame(dataset), frame(dataset, "pets")
    assert people.columns[0] == "id"
    assert list(pets.columns) == ["kind", "name", "owner", "age"]
    assert people["id"].tolist() == list(range(1, 401))
    assert pets["name"].is_unique
    assert not pets["name"].str.startswith("pet ").any()  # nothing of the original
    assert pets["owner"].isin(people["id"]).all()
    assert pets["owner"].nunique() > 100


def test_the_same_seed_gives_the_same_rows(client: Simulacra, owners: Generator) -> None:
    first, second = (frame(generated(client, owners, sample_size=50)) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_seeds_are_kept_and_the_rest_is_generated(client: Simulacra, owners: Generator) -> None:
    rows = [{"city": "Graz", "age": 30}, {"city": "Wien"}] * 5
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    made = frame(generated(client, owners, sample_seed_dict=lines))
    assert made["city"].tolist() == ["Graz", "Wien"] * 5
    assert made["age"].iloc[::2].eq(30).all()
    assert made["id"].tolist() == list(range(1, 11))
    parquet = pd.DataFrame({"city": ["Linz"] * 3}).to_parquet()
    assert frame(generated(client, owners, sample_seed_data=parquet))["city"].tolist() == ["Linz"] * 3
    source = client.connectors.upload(pd.DataFrame({"city": ["Graz", "Linz"]}))
    made = frame(generated(client, owners, sample_seed_connector_id=source.id))
    assert made["city"].tolist() == ["Graz", "Linz"]


def test_rebalancing_and_imputation_reach_the_engine(client: Simulacra, owners: Generator) -> None:
    made = frame(
        generated(
            client,
            owners,
            sample_size=500,
            rebalancing={"column": "city", "probabilities": {"Graz": 0.9}},
            imputation={"columns": ["income", "children"]},
        )
    )
    assert 0.8 < (made["city"] == "Graz").mean() < 0.97
    assert not made[["income", "children"]].isna().any().any()


@pytest.mark.parametrize(
    ("configuration", "field", "text"),
    [
        ({"rebalancing": {"column": "ctiy", "probabilities": {"Graz": 1}}}, "rebalancing.column", '"city"'),
        (
            {"rebalancing": {"column": "city", "probabilities": {"Gratz": 1}}},
            "rebalancing.probabilities",
            '"Graz"',
        ),
        ({"imputation": {"columns": ["nope"]}}, "imputation.columns.0", "not in table"),
    ],
)
def test_what_does_not_fit_the_generator_is_named(
    client: Simulacra, owners: Generator, configuration: Any, field: str, text: str
) -> None:
    with pytest.raises(InvalidArgument, match=text) as caught:
        generated(client, owners, **configuration)
    assert fields_of(caught) == [f"tables.0.configuration.{field}"]


@pytest.mark.parametrize(
    ("configuration", "field"),
    [
        ({"tabular_compute": "somewhere"}, "tabular_compute"),
        ({"sample_seed_dict": b"{"}, "sample_seed_dict"),
        ({"sample_seed_dict": b'{"nope": 1}'}, "sample_seed_dict"),
        ({"sample_seed_dict": b'{"city": "Graz"}', "sample_size": 2}, "sample_size"),
    ],
)
def test_what_cannot_be_sampled_is_refused_at_the_start(
    client: Simulacra, owners: Generator, configuration: Any, field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        generated(client, owners, **configuration)
    assert fields_of(caught) == [f"tables.0.configuration.{field}"]


def test_an_unknown_seed_value_fails_with_its_name(client: Simulacra, owners: Generator) -> None:
    with pytest.raises((JobFailed, InvalidArgument), match="Atlantis"):
        generated(client, owners, sample_seed_dict=b'{"city": "Atlantis"}')


def test_generator_and_dataset_hold_each_other(client: Simulacra, owners: Generator) -> None:
    dataset = client.synthetic_datasets.create({"generator_id": owners.id, "name": "held"})
    with pytest.raises(ResourceInUse) as caught:
        owners.delete()
    assert f"synthetic-datasets/{dataset.id}" in caught.value.metadata["used_by"]
    dataset.delete()
    with pytest.raises(ResourceNotFound):
        client.synthetic_datasets.get(dataset.id)
    with pytest.raises(ResourceNotFound):
        client.synthetic_datasets.create({"generator_id": str(uuid.uuid4())})


def test_what_is_not_generated_has_no_rows(client: Simulacra, owners: Generator) -> None:
    dataset = client.synthetic_datasets.create({"generator_id": owners.id})
    for refused in (dataset.data, dataset.generation.cancel):
        with pytest.raises(WrongState) as caught:
            refused()
        assert caught.value.metadata["current_status"] == "NEW"
    dataset.delete()


def test_a_canceled_generation_can_be_started_again(client: Simulacra, owners: Generator) -> None:
    tables = [{"name": "people", "configuration": {"sample_size": 3_000_000}}]
    dataset = client.synthetic_datasets.create({"generator_id": owners.id, "tables": tables})
    dataset.generation.start()
    with pytest.raises(WrongState, match="cancel its generation first"):
        dataset.delete()
    dataset.generation.cancel()
    with pytest.raises(JobFailed):
        dataset.generation.wait(progress_bar=False)
    assert dataset.generation_status == ProgressStatus.CANCELED
    dataset.generation.start()
    dataset.generation.cancel()
    with pytest.raises(JobFailed):
        dataset.generation.wait(progress_bar=False)
    dataset.delete()


def test_nothing_is_left_of_a_deleted_dataset(
    client: Simulacra, embedded: EmbeddedStack, owners: Generator, tmp_path: Path
) -> None:
    dataset = generated(client, owners, sample_size=5)
    dataset.download("CSV", tmp_path / "data.zip")
    dataset.download("CSV", tmp_path / "again.zip")
    assert (tmp_path / "data.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    folder = embedded.data_dir / "artifacts" / "datasets" / dataset.id
    assert folder.exists()
    dataset.delete()
    assert not folder.exists()


async def test_a_download_goes_on_from_an_offset(channel: ServiceChannel, dataset_id: str) -> None:
    stub = synthetic_dataset_pb2_grpc.SyntheticDatasetServiceStub(channel)
    request = pb.DownloadSyntheticDatasetRequest(id=dataset_id, format=pb.SYNTHETIC_DATASET_FORMAT_CSV)
    chunks = [chunk async for chunk in stub.DownloadSyntheticDataset(request)]
    whole = b"".join(chunk.data for chunk in chunks)
    assert (chunks[0].total_size, chunks[0].file_name) == (len(whole), "all.zip")
    assert len(chunks[-1].sha256) == 64
    request.offset = 100
    rest = [chunk async for chunk in stub.DownloadSyntheticDataset(request)]
    assert b"".join(chunk.data for chunk in rest) == whole[100:]
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.namelist() == ["people.csv", "pets.csv"]
    request.offset = len(whole) + 1
    with pytest.raises(OffsetMismatch):
        _ = [chunk async for chunk in stub.DownloadSyntheticDataset(request)]


async def test_a_table_is_read_as_an_arrow_stream(channel: ServiceChannel, dataset_id: str) -> None:
    stub = synthetic_dataset_pb2_grpc.SyntheticDatasetServiceStub(channel)
    request = pb.ReadSyntheticTableRequest(
        synthetic_dataset_id=dataset_id, table_name="pets", columns=["owner", "kind"], max_rows=7
    )
    chunks = [chunk async for chunk in stub.ReadSyntheticTable(request)]
    assert chunks[0].total_rows == 7
    table = pa.ipc.open_stream(b"".join(chunk.data for chunk in chunks)).read_all()
    assert (table.num_rows, table.column_names) == (7, ["owner", "kind"])
    for changes in ({"table_name": ""}, {"table_name": "pet"}, {"columns": ["ownr"]}, {"max_rows": 0}):
        wrong = pb.ReadSyntheticTableRequest()
        wrong.CopyFrom(request)
        wrong.ClearField("columns")
        wrong.MergeFrom(pb.ReadSyntheticTableRequest(**changes))
        if changes.get("table_name") == "":
            wrong.table_name = ""
        with pytest.raises(InvalidArgument):
            _ = [chunk async for chunk in stub.ReadSyntheticTable(wrong)]


async def test_a_repeated_request_makes_nothing_twice(channel: ServiceChannel, owners_id: str) -> None:
    stub = synthetic_dataset_pb2_grpc.SyntheticDatasetServiceStub(channel)
    config = pb.SyntheticDatasetConfig(generator_id=owners_id, name="once")
    create = pb.CreateSyntheticDatasetRequest(config=config, request_id=str(uuid.uuid4()))
    first, second = await stub.CreateSyntheticDataset(create), await stub.CreateSyntheticDataset(create)
    assert first.id == second.id
    start = pb.StartGenerationRequest(synthetic_dataset_id=first.id, request_id=str(uuid.uuid4()))
    jobs = [await stub.StartGeneration(start) for _ in range(2)]
    assert jobs[0].progress.id == jobs[1].progress.id
    tried = pb.StartGenerationRequest(synthetic_dataset_id=first.id, validate_only=True)
    with pytest.raises(WrongState):
        await stub.StartGeneration(tried)


def test_datasets_are_listed_by_name_and_changed(client: Simulacra, owners: Generator) -> None:
    mark = uuid.uuid4().hex
    made = [
        client.synthetic_datasets.create({"generator_id": owners.id, "name": f"{mark} {n}"}) for n in range(2)
    ]
    listed = client.synthetic_datasets.list(search_term=mark)
    assert [each.id for each in listed] == [each.id for each in made[::-1]]
    made[0].update(name="renamed", description=mark)
    assert len(client.synthetic_datasets.list(search_term=mark)) == 2  # found by description
    for each in made:
        each.delete()


@pytest.mark.parametrize("rows", [10**12, 10**9 + 1])
def test_more_rows_than_a_table_may_have_are_refused_at_once(
    client: Simulacra, owners: Generator, rows: int
) -> None:
    tables = [{"name": "pets"}, {"name": "people", "configuration": {"sample_size": rows}}]
    with pytest.raises(InvalidArgument, match="at most 1,000,000,000") as error:
        client.synthetic_datasets.create({"generator_id": owners.id, "tables": tables})
    assert fields_of(error) == ["tables.1.configuration.sample_size"]


def test_a_billion_rows_can_be_started_watched_and_canceled(client: Simulacra, owners: Generator) -> None:
    tables = [{"name": name, "configuration": {"sample_size": 10**9}} for name in ("people", "pets")]
    dataset = client.synthetic_datasets.create({"generator_id": owners.id, "tables": tables})
    started = time.monotonic()
    dataset.generation.start()
    assert time.monotonic() - started < 2
    until = time.monotonic() + 30
    while not any(
        ((step.progress and step.progress.value) or 0) > 1
        for step in dataset.generation.progress().steps or []
    ):
        assert time.monotonic() < until, "nothing was sampled"
        time.sleep(0.2)
    asked = time.monotonic()
    dataset.generation.progress()
    dataset.generation.cancel()
    assert time.monotonic() - asked < 2
    with pytest.raises(JobFailed):
        dataset.generation.wait(progress_bar=False)
    dataset.delete()
