"""Requests are made from the domain's values, and wrong ones are refused with the field's name."""

from typing import Any

import numpy as np
import pytest

from simulacra.client import AsyncSimulacra
from simulacra.client._embedded import Endpoint
from simulacra.client._opener import opener
from simulacra.client._requests import assign, request, validated
from simulacra.client._sampling import split_seed
from simulacra.client._transport import _target
from simulacra.domain import GeneratorConfig, SourceTableConfig, SyntheticTableConfiguration
from simulacra.errors import InvalidArgument, ServiceUnavailable


def test_values_go_into_their_fields() -> None:
    made: Any = request(
        "ConnectorService.UpdateConnector",
        {
            "id": "c1",
            "config": {"port": 5432},
            "secrets": {"password": "x"},
            "update_mask": ["config"],
            "name": None,
        },
    )
    assert made.config["port"] == 5432
    assert dict(made.secrets) == {"password": "x"}
    assert list(made.update_mask.paths) == ["config"]
    assert not made.HasField("name")


def test_enums_go_by_name() -> None:
    made: Any = request("JobService.ListJobs", {"statuses": ["DONE", "failed"]})
    assert list(made.statuses) == [6, 7]
    with pytest.raises(InvalidArgument, match="is not one of NEW, CONTINUE") as caught:
        request("JobService.ListJobs", {"statuses": ["RUNNING"]})
    assert caught.value.violations[0].field == "statuses"


def test_configs_are_taken_as_objects_and_as_dicts() -> None:
    config = GeneratorConfig(name="g", tables=[SourceTableConfig(name="t", data=b"x")])
    made: Any = request("GeneratorService.CreateGenerator", {"config": config})
    assert made.config.tables[0].data == b"x"
    assert validated(GeneratorConfig, {"name": "g"}).name == "g"


def test_a_wrong_value_names_the_argument() -> None:
    with pytest.raises(InvalidArgument, match=r"size: .* 1; got 0"):
        assign(SyntheticTableConfiguration(), "sample_size", 0, name="size")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"name": "g", "nam": 1}, 'nam: there is no such field; did you mean "name"?'),
        ({"tables": [{"name": "t", "colums": []}]}, 'tables.0.colums: .* did you mean "columns"'),
        (
            {"tables": [{"name": "t", "model_configuration": {"zzz": 1}}]},
            "zzz: .* there are model, .*batch_size",
        ),
    ],
)
def test_an_unknown_field_is_told_with_the_nearest(config: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        validated(GeneratorConfig, config)


def test_numpys_numbers_are_seeds_and_fractions_are_not() -> None:
    assert split_seed(np.int64(7)) == (7, None)
    for wrong in (1.5, np.float64(2)):
        with pytest.raises(InvalidArgument, match=r"seed: .* is not a whole number"):
            split_seed(wrong)


def test_a_key_without_an_address_opens_the_stack_that_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stack:
        def __init__(self, folder: object, *, temporary: bool) -> None:
            self.endpoint = Endpoint("127.0.0.1:1", "first")

    monkeypatch.setattr("simulacra.client._opener.EmbeddedStack", Stack)
    monkeypatch.delenv("SIMULACRA_ADDRESS", raising=False)
    for given, used in (("second", "second"), (None, "first")):
        found: Any = opener(None, given, "folder")()
        assert found.endpoint.api_key == used


async def test_a_key_with_characters_that_no_header_takes_is_refused() -> None:
    for key in ("schlüssel", "line\n"):
        async with AsyncSimulacra("127.0.0.1:1", key) as client:
            with pytest.raises(InvalidArgument, match=r"api_key: .* copy it anew"):
                await client.about()


async def test_a_platform_that_does_not_answer_is_named() -> None:
    async with AsyncSimulacra("127.0.0.1:1", "k") as client:
        with pytest.raises(ServiceUnavailable, match=r"the platform at 127\.0\.0\.1:1 .* check the address"):
            await client.about()


def test_a_wrong_config_names_its_fields() -> None:
    with pytest.raises(InvalidArgument) as caught:
        validated(GeneratorConfig, {"tables": [{"name": "", "model_configuration": {"batch_size": 0}}]})
    fields = {violation.field for violation in caught.value.violations}
    assert {"tables.0.name", "tables.0.model_configuration.batch_size"} <= fields


@pytest.mark.parametrize(
    ("address", "target", "secure"),
    [
        ("localhost:7411", "localhost:7411", False),
        ("127.0.0.1:1", "127.0.0.1:1", False),
        ("[::1]:5", "[::1]:5", False),
        ("sim.example.com", "sim.example.com:443", True),
        ("http://sim.internal:8080", "sim.internal:8080", False),
        ("https://sim.example.com", "sim.example.com:443", True),
    ],
)
def test_tls_is_used_beyond_this_machine(address: str, target: str, secure: bool) -> None:
    assert _target(address) == (target, secure)


@pytest.mark.parametrize("address", ["", "ftp://a:1", "host:port", ":80"])
def test_a_wrong_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument, match="address"):
        _target(address)
