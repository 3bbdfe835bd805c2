"""Bundles come back as they were, and damaged or hostile ones are refused."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra import engine
from simulacra.engine import Bundle, Sampler, SampleRequest, TrainingConfig, TrainingTask
from simulacra.errors import CorruptBundle


def test_a_loaded_bundle_samples_the_same_rows(tmp_path: Path, bundle: Bundle) -> None:
    bundle.save(tmp_path / "model")
    loaded = Bundle.load(tmp_path / "model")
    request = SampleRequest(50, seed=3)
    assert list(Sampler(loaded).sample(request)) == list(Sampler(bundle).sample(request))
    assert loaded.facts == dict(bundle.facts)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptBundle, match=r"weights\.safetensors"):
        Bundle.load(tmp_path)


def edited(bundle: Bundle, edit: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
    files = bundle.to_files()
    document = json.loads(files["model.json"])
    edit(document)
    return {**files, "model.json": json.dumps(document).encode()}


@pytest.fixture(scope="module")
def wide_bundle(table: pa.Table) -> Bundle:
    codec = engine.analyze(table)
    config = TrainingConfig(max_epochs=1, threads=1, sources=2)
    bundle = list(engine.train(TrainingTask(codec, codec.encode(table), config)))[-1].bundle
    assert bundle is not None
    assert bundle.config.sources
    return bundle


def test_a_wide_bundle_comes_back(wide_bundle: Bundle) -> None:
    loaded = Bundle.from_files(wide_bundle.to_files())
    assert loaded.config == wide_bundle.config
    assert list(Sampler(loaded).sample(SampleRequest(20))) == list(
        Sampler(wide_bundle).sample(SampleRequest(20))
    )


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(format_version=99),
        lambda d: d.pop("codec"),
        lambda d: d["network"].update(hidden=10**9),
        lambda d: d["network"].update(hidden=65),
        lambda d: d["network"]["cardinalities"].append(3),
        lambda d: d["network"]["columns"].reverse(),
        lambda d: d["network"]["columns"].pop(),
        lambda d: d["network"]["columns"].append(9),
        lambda d: d["network"]["cardinalities"].__setitem__(0, -5),
        lambda d: d["network"]["cardinalities"].__setitem__(0, 2**62),
        lambda d: d["network"].update(dropout="x"),
        lambda d: d.update(facts=[]),
        lambda d: d["codec"]["columns"].pop(),
        lambda d: d["codec"].update(columns=None),
        lambda d: d["network"].update(cardinalities=[]),
        lambda d: d["network"].update(cardinalities=[], columns=[]),
        lambda d: (
            d["network"].update(cardinalities=[], columns=[], widths=[]) or d["codec"].update(columns=[])
        ),
        lambda d: d["network"]["widths"].pop(),
        lambda d: d["network"]["widths"].append(1),
        lambda d: d["network"].update(widths=[]),
        lambda d: d["network"].update(widths=None),
        lambda d: d["network"]["widths"].__setitem__(0, 0),
        lambda d: d["network"]["widths"].__setitem__(0, -1),
        lambda d: d["network"]["widths"].__setitem__(0, 2.5),
        lambda d: d["network"]["widths"].__setitem__(0, d["network"]["embedding"] + 1),
        lambda d: d["network"].update(sources=[[] for _ in d["network"]["cardinalities"]]),
        lambda d: d["network"].update(sources=[[0] for _ in d["network"]["cardinalities"]]),
        lambda d: d["network"].update(shared=8),
    ],
)
def test_documents_that_do_not_fit_are_refused(
    bundle: Bundle, edit: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(CorruptBundle):
        Bundle.from_files(edited(bundle, edit))


@pytest.mark.parametrize(
    "edit",
    [
        lambda n: n.update(sources=[]),
        lambda n: n.update(sources=[[]]),
        lambda n: n.update(sources=[[] for _ in n["sources"]]),
        lambda n: n.update(sources=[[], *n["sources"][1:]]),
        lambda n: n.update(sources=None),
        lambda n: n["sources"].pop(),
        lambda n: n["sources"][0].pop(),
        lambda n: n["sources"][0].append(0),
        lambda n: n["sources"][0].__setitem__(0, -1),
        lambda n: n["sources"][0].__setitem__(0, len(n["sources"])),
        lambda n: n["sources"][0].__setitem__(0, 2**63),
        lambda n: n.update(widths=[0 for _ in n["sources"]]),
        lambda n: n.update(shared=0),
        lambda n: n.update(shared=-1),
        lambda n: n.update(levels=0),
        lambda n: n.update(cardinalities=[]),
    ],
)
def test_documents_of_wide_networks_that_do_not_fit_are_refused(
    wide_bundle: Bundle, edit: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(CorruptBundle):
        Bundle.from_files(edited(wide_bundle, lambda d: edit(d["network"])))


def test_weights_of_another_shape_or_not_finite_are_refused(bundle: Bundle) -> None:
    files = bundle.to_files()
    weights = safetensors.numpy.load(files["weights.safetensors"])
    for wrong in (np.full_like(weights["input_bias"], np.nan), np.zeros(3, np.float32)):
        changed = safetensors.numpy.save({**weights, "input_bias": wrong})
        with pytest.raises(CorruptBundle, match="input_bias"):
            Bundle.from_files({**files, "weights.safetensors": changed})


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.sampled_from(["model.json", "weights.safetensors"]))
def test_random_damage_is_refused_or_harmless(bundle: Bundle, data: st.DataObject, name: str) -> None:
    files = bundle.to_files()
    damaged = bytearray(files[name])
    for _ in range(3):
        position = data.draw(st.integers(0, min(len(damaged), 4000) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    try:
        loaded = Bundle.from_files({**files, name: bytes(damaged)})
    except CorruptBundle:
        return
    list(Sampler(loaded).sample(SampleRequest(5)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"facts":{', b'"facts":{"loss":NaN,'),
        (b'"facts":{', b'"facts":{"loss":-Infinity,'),
        (b'{"format":', b'{"format_version":1,"format":'),
        (b'"name":', b'"name":"other","name":'),
        (b'"facts":{', b'"facts":{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b","),
        (b'"facts":{', b'"facts":{"long":' + b"9" * 10_000 + b","),
    ],
)
def test_json_that_says_two_things_or_no_number_is_refused(
    bundle: Bundle, before: bytes, after: bytes
) -> None:
    files = bundle.to_files()
    with pytest.raises(CorruptBundle, match=r"model\.json is not JSON"):
        Bundle.from_files({**files, "model.json": files["model.json"].replace(before, after, 1)})


@pytest.mark.parametrize("outer", ["dictionary", "run_ends"])
@pytest.mark.parametrize("depth", [2, 400])
def test_types_within_types_are_refused(bundle: Bundle, outer: str, depth: int) -> None:
    kind: Any = "string"
    for _ in range(depth):
        kind = {outer: "int32", "values": kind, "ordered": False}
    with pytest.raises(CorruptBundle, match="single"):
        Bundle.from_files(edited(bundle, lambda d: d["codec"]["columns"][0].update(type=kind)))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, bundle: Bundle) -> None:
    bundle.save(tmp_path)
    with (tmp_path / "model.json").open("ab") as file:
        file.truncate(1 << 30)  # a hole, which takes no room
    with pytest.raises(CorruptBundle, match=r"model\.json is larger than"):
        Bundle.load(tmp_path)


def test_a_pickle_is_not_loaded(bundle: Bundle) -> None:
    with pytest.raises(CorruptBundle):
        Bundle.from_files({**bundle.to_files(), "weights.safetensors": pickle.dumps({"a": 1})})


def test_fit_and_sample_work_alone(table: pa.Table) -> None:
    seen: list[int] = []
    model = engine.fit(
        table, max_minutes=0.02, threads=1, on_progress=lambda progress: seen.append(progress.step)
    )
    assert engine.sample(model, 10).schema.equals(table.schema)
    assert seen
