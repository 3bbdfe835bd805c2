"""Probes: a few rows at once."""

import time
import uuid

import pandas as pd
import pytest

from simulacra.client import Generator, Simulacra
from simulacra.errors import InvalidArgument, ResourceNotFound
from simulacra.rpc import ServiceChannel
from simulacra.v1 import probe_pb2, probe_pb2_grpc


def test_a_probe_has_one_row_of_each_table(client: Simulacra, owners: Generator) -> None:
    probes = client.probe_rows({"generator_id": owners.id})
    assert [(probe.name, len(probe.rows or [])) for probe in probes] == [("people", 1), ("pets", 1)]
    row = (probes[0].rows or [])[0]
    assert set(row) == {"id", "age", "city", "income", "joined", "member", "children"}
    assert isinstance(row["joined"], str)


def test_seeds_of_a_probe_are_kept(client: Simulacra, owners: Generator) -> None:
    config = {
        "generator_id": owners.id,
        "tables": [
            {"name": "people", "configuration": {"sample_seed_dict": b'{"city": "Graz"}\n{"age": 40}'}}
        ],
    }
    people, _ = client.probe_rows(config)
    assert (people.rows or [])[0]["city"] == "Graz"
    assert (people.rows or [])[1]["age"] == 40


def test_a_probe_is_the_same_for_the_same_seed(client: Simulacra, owners: Generator) -> None:
    probes = [client.probe(owners, size={"people": 40, "pets": 1}, seed=9) for _ in range(2)]
    first, second = (probe["people"] for probe in probes)
    assert isinstance(first, pd.DataFrame)
    assert isinstance(second, pd.DataFrame)
    pd.testing.assert_frame_equal(first, second)


def test_too_many_rows_are_refused_with_the_way_out(client: Simulacra, owners: Generator) -> None:
    tables = [{"name": "people", "configuration": {"sample_size": 1001}}]
    with pytest.raises(InvalidArgument, match="create a synthetic dataset"):
        client.probe_rows({"generator_id": owners.id, "tables": tables})
    with pytest.raises(ResourceNotFound):
        client.probe_rows({"generator_id": str(uuid.uuid4())})


async def test_a_warm_probe_is_quick(channel: ServiceChannel, owners_id: str) -> None:
    stub = probe_pb2_grpc.ProbeServiceStub(channel)
    config = probe_pb2.SyntheticProbeConfig(generator_id=owners_id)
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        await stub.Probe(probe_pb2.ProbeRequest(config=config))
        seconds.append(time.perf_counter() - started)
    assert min(seconds[1:]) < 0.3
