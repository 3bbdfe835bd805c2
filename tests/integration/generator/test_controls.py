"""Conditional generation through the service: each control does what it says, in datasets and in probes."""

from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulacra.client import Generator, Simulacra
from simulacra.errors import InvalidArgument, JobFailed
from tests.integration.client.people import people


@pytest.fixture(scope="module")
def lenders_id(embedded: Any) -> str:
    """A generator of loans of which members get many more."""
    data = people(600).drop(columns=["income", "joined"])
    data["granted"] = np.where(
        np.random.default_rng(0).random(600) < np.where(data["member"], 0.9, 0.2), "y", "n"
    )
    table = {"name": "loans", "data": data.to_parquet(), "model_configuration": {"max_epochs": 25}}
    with Simulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        return client.train({"name": "loans", "seed": 3, "tables": [table]}, progress_bar=False).id


@pytest.fixture
def lenders(client: Simulacra, lenders_id: str) -> Generator:
    return client.generators.get(lenders_id)


def rows(client: Simulacra, generator: Generator, **configuration: Any) -> pd.DataFrame:
    tables = [{"name": "loans", "configuration": configuration}]
    dataset = client.generate(generator, {"tables": tables, "seed": 1}, progress_bar=False)
    found = dataset.data()
    assert isinstance(found, pd.DataFrame)
    return found


def difference(frame: pd.DataFrame) -> float:
    shares = (frame["granted"] == "y").groupby(frame["member"]).mean()
    return float(abs(shares[True] - shares[False]))


def test_fairness_gives_groups_the_same_shares(client: Simulacra, lenders: Generator) -> None:
    assert difference(rows(client, lenders, sample_size=5000)) > 0.4
    fairness = {"target_column": "granted", "sensitive_columns": ["member"]}
    assert difference(rows(client, lenders, sample_size=5000, fairness=fairness)) < 0.02


def test_rebalancing_gives_the_shares_that_were_asked_for(client: Simulacra, lenders: Generator) -> None:
    wish = {"column": "city", "probabilities": {"Graz": 0.7}}
    found = rows(client, lenders, sample_size=5000, rebalancing=wish)
    assert abs((found["city"] == "Graz").mean() - 0.7) < 0.03


def test_imputed_columns_have_no_nulls(client: Simulacra, lenders: Generator) -> None:
    assert rows(client, lenders, sample_size=2000)["children"].isna().any()
    assert (
        not rows(client, lenders, sample_size=2000, imputation={"columns": ["children"]})["children"]
        .isna()
        .any()
    )


def test_temperature_and_top_p_narrow_what_is_drawn(client: Simulacra, lenders: Generator) -> None:
    plain = rows(client, lenders, sample_size=1000)["city"].nunique()
    assert plain == 3
    assert rows(client, lenders, sample_size=1000, sampling_temperature=0.0)["city"].nunique() == 1
    assert rows(client, lenders, sample_size=1000, sampling_top_p=0.3)["city"].nunique() < 3


def test_seeds_from_a_frame_keep_their_values_and_fill_their_gaps(
    client: Simulacra, lenders: Generator
) -> None:
    seeds = pd.DataFrame({"city": ["Graz", None, "Linz"] * 50, "granted": ["y"] * 150})
    buffer = BytesIO()
    seeds.to_parquet(buffer)
    found = rows(client, lenders, sample_seed_data=buffer.getvalue())
    known = seeds["city"].notna()
    assert (found["city"][known] == seeds["city"][known]).all()
    assert found["city"].notna().all()
    assert found["member"].mean() > rows(client, lenders, sample_size=2000)["member"].mean()


def test_a_seed_value_that_does_not_suit_its_column_is_named(client: Simulacra, lenders: Generator) -> None:
    seeds = pd.DataFrame({"city": ["Graz", "Linz"], "age": ["forty", "50"]})
    with pytest.raises(InvalidArgument, match='column "age" cannot be read as int64') as error:
        client.probe(lenders, seed=seeds)
    assert [item.field for item in error.value.violations] == ["tables.0.configuration.sample_seed_data"]
    tables = [{"name": "loans", "configuration": {"sample_seed_dict": b'{"age": "forty"}'}}]
    with pytest.raises(InvalidArgument) as error:
        client.probe(config={"generator_id": lenders.id, "tables": tables})
    assert [item.field for item in error.value.violations] == ["tables.0.configuration.sample_seed_dict"]


def test_seeds_from_a_connector_keep_their_values(client: Simulacra, lenders: Generator) -> None:
    source = client.connectors.upload(pd.DataFrame({"city": ["Wien"] * 30}), name="seeds of loans")
    found = rows(client, lenders, sample_seed_connector_id=source.id)
    assert found["city"].tolist() == ["Wien"] * 30


def test_a_probe_takes_seeds_rebalancing_and_fairness(client: Simulacra, lenders: Generator) -> None:
    def probe(**configuration: Any) -> list[dict[str, Any]]:
        tables = [{"name": "loans", "configuration": configuration}]
        (found,) = client.probe_rows({"generator_id": lenders.id, "tables": tables})
        return found.rows or []

    assert [row["city"] for row in probe(sample_seed_dict=b'{"city": "Graz"}\n{"city": "Linz"}')] == [
        "Graz",
        "Linz",
    ]
    only = {"column": "city", "probabilities": {"Wien": 1.0}}
    assert {row["city"] for row in probe(sample_size=40, rebalancing=only)} == {"Wien"}
    fairness = {"target_column": "granted", "sensitive_columns": ["member", "city"]}
    assert len(probe(sample_size=60, fairness=fairness)) == 60


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown value": (
        {"sample_seed_dict": b'{"city": "Graz"}\n{"city": "Paris"}'},
        "sample_seed_dict",
        "'Paris'.*'Wien', 'Linz', 'Graz'",
    ),
    "number out of range": ({"sample_seed_dict": b'{"age": 300}'}, "sample_seed_dict", r"\[300\].*it knows"),
    "no columns": ({"sample_seed_dict": b"{}\n{}"}, "sample_seed_dict", "has no columns"),
    "nested value": (
        {"sample_seed_dict": b'{"age": [1]}'},
        "sample_seed_dict",
        'column "age" cannot be read',
    ),
    "no connector": ({"sample_seed_connector_id": "x"}, "sample_seed_connector_id", "no connector"),
    "nothing left": (
        {"rebalancing": {"column": "city", "probabilities": {"Graz": 0.1, "Linz": 0.1, "Wien": 0.1}}},
        "rebalancing",
        "no other value",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_model_cannot_do_is_refused_before_a_job_is_started(
    client: Simulacra, lenders: Generator, case: str
) -> None:
    configuration, field, said = WRONG[case]
    before = {job.id for job in client.jobs.list()}
    with pytest.raises(InvalidArgument, match=said) as error:
        rows(client, lenders, **configuration)
    assert [item.field for item in error.value.violations] == [f"tables.0.configuration.{field}"]
    assert {job.id for job in client.jobs.list()} == before


def test_wrong_seeds_of_a_connector_end_the_job_before_anything_is_generated(
    client: Simulacra, lenders: Generator
) -> None:
    for data, said in (
        ({"city": ["Wien", "Paris"]}, "'Paris'"),
        ({"town": ["Wien"]}, 'column "town" is not in the model'),
    ):
        source = client.connectors.upload(pd.DataFrame(data), name="wrong seeds of loans")
        with pytest.raises(JobFailed, match=f"Pull context data.*sample_seed_connector_id: .*{said}"):
            rows(client, lenders, sample_seed_connector_id=source.id)
    right = client.connectors.upload(pd.DataFrame({"city": ["Wien"]}), name="right seeds of loans")
    with pytest.raises(JobFailed, match="sample_seed_connector_id: 1 seed rows for 5 rows"):
        rows(client, lenders, sample_seed_connector_id=right.id, sample_size=5)


def test_keys_are_made_anew_and_cannot_be_steered(client: Simulacra, owners: Generator) -> None:
    def refused(**configuration: Any) -> list[str]:
        tables = [{"name": "people", "configuration": configuration}]
        with pytest.raises(InvalidArgument, match='column "id" is a key') as error:
            client.probe_rows({"generator_id": owners.id, "tables": tables})
        return [item.field.removeprefix("tables.0.configuration.") for item in error.value.violations]

    assert refused(sample_seed_dict=b'{"id": 7, "city": "Graz"}') == ["sample_seed_dict"]
    assert refused(rebalancing={"column": "id", "probabilities": {"1": 0.5}}) == ["rebalancing.column"]
    assert refused(imputation={"columns": ["city", "id"]}) == ["imputation.columns.1"]
    fairness = {"target_column": "city", "sensitive_columns": ["member", "id"]}
    assert refused(fairness=fairness) == ["fairness.sensitive_columns.1"]


def test_the_index_of_a_filtered_frame_is_no_seed(client: Simulacra, lenders: Generator) -> None:
    frame = pd.DataFrame({"city": ["Wien", "Graz", "Linz"]})
    buffer = BytesIO()
    frame[frame["city"] != "Graz"].to_parquet(buffer)
    assert rows(client, lenders, sample_seed_data=buffer.getvalue())["city"].tolist() == ["Wien", "Linz"]
