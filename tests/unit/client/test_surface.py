"""The SDK covers the contract, and its two clients are the same."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import simulacra.client
from simulacra.client import AsyncSimulacra, Simulacra, _aio, _sync, _unasync
from simulacra.client._transport import method_descriptor

PRIVATE = "internal.proto"
SHARED_BY_ALL = ("Share", "Unshare", "ListShares", "TransferOwnership", "Like", "Unlike")


def public_methods() -> set[str]:
    method_descriptor("PlatformService.GetAbout")  # loads the contract
    package = importlib.import_module("simulacra.v1")
    found = set()
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"simulacra.v1.{module.name}").DESCRIPTOR
            if not file.name.endswith(PRIVATE):
                for service in file.services_by_name.values():
                    found |= {f"{service.name}.{method.name}" for method in service.methods}
    return found


def called_methods() -> set[str]:
    found = set()
    for path in Path(str(_aio.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    services = {"ConnectorService", "GeneratorService", "SyntheticDatasetService"}
    return found | {f"{service}.{method}" for service in services for method in SHARED_BY_ALL}


def test_every_public_rpc_has_a_method_of_the_sdk() -> None:
    assert len(public_methods()) > 60
    assert public_methods() - called_methods() == set()


def test_the_sdk_calls_nothing_that_the_contract_does_not_have() -> None:
    named = {name for name in called_methods() if name.partition(".")[0].endswith("Service") and "." in name}
    assert named - public_methods() == set()


def test_the_blocking_client_is_what_is_made_from_the_asynchronous_one() -> None:
    for path, text in _unasync.generated_modules().items():
        assert path.read_text() == text, (
            f"run `python -m simulacra.client._unasync`: {path.name} is out of date"
        )


def modules_of(package: ModuleType) -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def surface(cls: type[Any]) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize("module", modules_of(_aio))
def test_both_clients_have_the_same_classes_and_methods(module: str) -> None:
    asynchronous = importlib.import_module(f"simulacra.client._aio.{module}")
    blocking = importlib.import_module(f"simulacra.client._sync.{module}")
    for name in asynchronous.__all__:
        twin = getattr(blocking, name.removeprefix("Async"))
        if inspect.isclass(twin):
            assert surface(getattr(asynchronous, name)) == surface(twin)
            for method in surface(twin):
                assert not inspect.iscoroutinefunction(getattr(twin, method))
                assert not inspect.isasyncgenfunction(getattr(twin, method))


def test_the_schemas_methods_are_there() -> None:
    expected = {
        "Connector": {"delete", "locations", "schema", "update"},
        "Generator": {"clone", "config", "delete", "export_to_file", "update"},
        "SyntheticDataset": {"config", "data", "delete", "download", "update"},
        "Simulacra": {"about", "connect", "generate", "me", "probe", "train"},
    }
    for name, methods in expected.items():
        assert methods <= surface(getattr(simulacra.client, name)).keys()
    for handle in ("generator.Training", "synthetic_dataset.Generation"):
        module, _, cls = handle.partition(".")
        found = surface(getattr(importlib.import_module(f"simulacra.client._sync.{module}"), cls))
        assert {"start", "cancel", "progress", "wait"} <= found.keys()
        assert found["wait"] == ["self", "progress_bar", "interval"]


def test_clients_have_the_same_collections() -> None:
    def names(client: object) -> set[str]:
        return {name for name in vars(client) if not name.startswith("_")}

    asynchronous, blocking = AsyncSimulacra("localhost:1"), Simulacra("localhost:1")
    assert names(asynchronous) == names(blocking)
    assert {"connectors", "generators", "synthetic_datasets", "jobs", "computes", "users"} <= names(blocking)


def test_modules_are_generated_for_each_other() -> None:
    assert modules_of(_aio) == modules_of(_sync)
