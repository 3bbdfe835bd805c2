"""The data report of a generated dataset: a step of its generation, aware of what was asked for."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simulacra.client import Generator, Simulacra, SyntheticDataset
from simulacra.client._embedded import EmbeddedStack
from simulacra.domain import StepCode
from simulacra.errors import ArtifactNotFound, InvalidArgument, WrongState
from simulacra.rpc import ServiceChannel
from simulacra.v1 import synthetic_dataset_pb2 as pb
from simulacra.v1 import synthetic_dataset_pb2_grpc


@pytest.fixture(scope="session")
def dataset_id(embedded: EmbeddedStack, owners_id: str) -> str:
    """The id of a generated dataset."""
    with Simulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        config = {"generator_id": owners_id, "name": "<b> rows", "seed": 5}
        return client.generate(config=config, progress_bar=False).id


def document(dataset: SyntheticDataset, folder: Path) -> dict[str, Any]:
    path = dataset.report(folder / "people.json", table_name="people", format="JSON")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_each_table_is_judged_before_the_dataset_is_published(client: Simulacra, dataset_id: str) -> None:
    dataset = client.synthetic_datasets.get(dataset_id)
    codes = [step.step_code for step in dataset.generation.progress().steps or []]
    assert codes == [StepCode.GENERATE_DATA, StepCode.CREATE_DATA_REPORT] * 2 + [StepCode.FINALIZE_GENERATION]
    for table in dataset.tables or []:
        assert table.model_metrics is not None
        accuracy = table.model_metrics.accuracy
        assert accuracy is not None
        assert accuracy.overall_max is not None
        assert 0.4 < (accuracy.overall or 0) <= 1
        assert table.model_metrics.distances is None


def test_report_is_a_page_and_a_document(client: Simulacra, dataset_id: str, tmp_path: Path) -> None:
    dataset = client.synthetic_datasets.get(dataset_id)
    page = dataset.report(tmp_path / "people.html", table_name="people").read_text()
    assert "data report" in page
    assert "&lt;b&gt; rows: people" in page
    assert "<b> rows" not in page
    found = document(dataset, tmp_path)
    assert found["intended"] == {}
    assert found["rows"]["holdout"] == 0
    assert {column["column"] for column in found["columns"]} == {
        "age",
        "city",
        "income",
        "joined",
        "member",
        "children",
    }


def test_what_was_asked_for_is_intended(client: Simulacra, owners: Generator, tmp_path: Path) -> None:
    even = {"column": "city", "probabilities": {"Graz": 0.9}}
    tables = [
        {
            "name": "people",
            "configuration": {
                "sample_size": 500,
                "rebalancing": even,
                "imputation": {"columns": ["income"]},
                "sampling_temperature": 0.9,
            },
        },
        {"name": "pets", "configuration": {"sample_size": 10}},
    ]
    dataset = client.generate(owners, {"tables": tables, "seed": 1}, progress_bar=False)
    found = document(dataset, tmp_path)
    assert found["intended"] == {"city": "rebalanced", "income": "imputed"}
    texts = [item["text"] for item in found["findings"]]
    assert "Sampled with temperature 0.9: values vary less by intention." in texts
    assert not [text for text in texts if "Missing values were dropped" in text]
    (city,) = (column for column in found["columns"] if column["column"] == "city")
    assert city["accuracy"] == city["accuracy_max"]


def test_fair_column_is_intended_to_lose_its_links(
    client: Simulacra, owners: Generator, tmp_path: Path
) -> None:
    fairness = {"target_column": "city", "sensitive_columns": ["member"]}
    tables = [
        {"name": "people", "configuration": {"sample_size": 300, "fairness": fairness}},
        {"name": "pets", "configuration": {"sample_size": 10}},
    ]
    dataset = client.generate(owners, {"tables": tables, "seed": 1}, progress_bar=False)
    found = document(dataset, tmp_path)
    assert found["intended"] == {"city": "the same in all groups by member"}
    (link,) = (
        pair for pair in found["pairs"] if {pair["first_column"], pair["second_column"]} == {"city", "member"}
    )
    assert link["accuracy"] == link["accuracy_max"]


def test_seeded_columns_are_intended(client: Simulacra, owners: Generator, tmp_path: Path) -> None:
    seed = pd.DataFrame({"city": ["Graz"] * 80})
    dataset = client.generate(owners, seed={"people": seed}, progress_bar=False)
    found = document(dataset, tmp_path)
    assert found["intended"] == {"city": "given as seed"}
    assert {verdict["level"] for verdict in found["verdicts"].values()} <= {"good", "note"}


async def test_wrong_table_and_part_are_told(channel: ServiceChannel, dataset_id: str) -> None:
    stub = synthetic_dataset_pb2_grpc.SyntheticDatasetServiceStub(channel)

    async def read(**fields: Any) -> list[Any]:
        request = pb.GetDataReportRequest(synthetic_dataset_id=dataset_id, **fields)
        return [chunk async for chunk in stub.GetDataReport(request)]

    with pytest.raises(InvalidArgument, match="table_name: is required"):
        await read()
    with pytest.raises(InvalidArgument, match=r'"peple" is not in .*people'):
        await read(table_name="peple")
    with pytest.raises(ArtifactNotFound, match="LANGUAGE"):
        await read(table_name="people", model_type=2)
    (whole,) = await read(table_name="people")
    (rest,) = await read(table_name="people", offset=len(whole.data) - 5)
    assert rest.data == whole.data[-5:]


def test_dataset_that_is_not_generated_has_no_report(client: Simulacra, owners: Generator) -> None:
    dataset = client.generate(owners, start=False)
    with pytest.raises(WrongState):
        dataset.report(table_name="people")


def test_imported_generator_brings_its_statistics(
    client: Simulacra, owners: Generator, tmp_path: Path
) -> None:
    path = owners.export_to_file(tmp_path / "owners.zip")
    imported = client.generators.import_from_file(path)
    dataset = client.generate(imported, size={"people": 50, "pets": 5}, progress_bar=False)
    assert document(dataset, tmp_path)["rows"]["synthetic"] == 50
