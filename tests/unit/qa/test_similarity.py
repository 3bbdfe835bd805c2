"""Records as texts: the embedding is that of all-MiniLM-L6-v2; without weights, the report says so."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from simulacra.domain import Similarity
from simulacra_qa.evaluation import Evaluation, Options, evaluation_steps
from simulacra_qa.metrics.minilm import Absent, Embedder, find_weights
from simulacra_qa.metrics.similarity import record_texts
from simulacra_qa.report import Heading, render
from simulacra_qa.results import model_metrics
from simulacra_qa.verdict import Level, verdicts
from tests.require import require


@pytest.fixture(scope="module")
def weights() -> Path:
    found = find_weights()
    require("embedder", isinstance(found, Path), f"no weights: {found}")
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="module")
def embedder(weights: Path) -> Embedder:
    return Embedder(weights)


def visits(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "city": rng.choice(["Vienna", "Lisbon", "Oslo"], rows),
            "guests": rng.poisson(3, rows),
            "mood": pd.Series(rng.choice(["glad", "tired", "-"], rows)).replace("-", None),
        }
    )


def evaluation_of(options: Options, *frames: pd.DataFrame) -> Evaluation:
    *_, result = evaluation_steps(frames[0], frames[1], frames[2], options)
    assert isinstance(result, Evaluation)
    return result


def similarity_of(evaluation: Evaluation) -> Similarity:
    found = model_metrics(evaluation).similarity
    assert found is not None
    return found


def test_vectors_are_those_of_the_published_model(embedder: Embedder) -> None:
    # The model's card shows these sentences; the figures are what its authors' library gives.
    first, second = embedder.embed(["This is an example sentence", "Each sentence is converted"])
    assert first[:5] == pytest.approx([0.067657, 0.063496, 0.048713, 0.079305, 0.037448], abs=1e-5)
    assert second[:4] == pytest.approx([0.086439, 0.102763, 0.005395, 0.002044], abs=1e-5)


def test_what_is_embedded_beside_a_text_does_not_matter(embedder: Embedder) -> None:
    texts = ["short", "a somewhat longer text, of several words", "word " * 2000, "short", "Ünïcödé 漢字"]
    together = embedder.embed(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert (together[0] == together[3]).all()


def test_records_are_alike_or_not(weights: Path) -> None:
    options = Options(embedder=weights)
    training, holdout = visits(120, 1), visits(120, 2)
    good = evaluation_of(options, training, holdout, visits(120, 3))
    found = similarity_of(good)
    assert found.embedded_samples == 120
    assert found.embedding_absent_reason == ""
    assert found.cosine_similarity_training_synthetic == pytest.approx(1, abs=0.02)
    assert found.cosine_similarity_training_holdout == pytest.approx(1, abs=0.02)
    assert found.discriminator_auc_training_synthetic == pytest.approx(0.5, abs=0.12)
    assert verdicts(good)["similarity"].level is Level.GOOD
    html = render(good, Heading())
    assert "Each of 120 records" in html
    assert html.count("Density of the") == 3

    bad = evaluation_of(options, training, holdout, visits(120, 3).assign(city="a very long river"))
    found = similarity_of(bad)
    assert (found.discriminator_auc_training_synthetic or 0) > 0.95
    assert (found.cosine_similarity_training_synthetic or 1) < 0.95
    assert verdicts(bad)["similarity"].level is Level.POOR
    assert similarity_of(evaluation_of(options, training, holdout, visits(120, 3))) == similarity_of(good)


def test_without_weights_the_metric_is_absent_and_says_why(tmp_path: Path) -> None:
    frames = [visits(60, seed) for seed in range(3)]
    evaluation = evaluation_of(Options(embedder=tmp_path), *frames)
    found = similarity_of(evaluation)
    assert found.cosine_similarity_training_synthetic is None
    assert found.discriminator_auc_training_synthetic is None
    assert found.boosting_auc_training_synthetic is not None
    assert f'the folder "{tmp_path}" lacks model.safetensors' in found.embedding_absent_reason
    assert "Records were not compared as texts" in render(evaluation, Heading())
    assert "similarity" not in verdicts(evaluation)
    assert similarity_of(evaluation_of(Options(embed=False), *frames)).embedding_absent_reason
    assert isinstance(find_weights(tmp_path), Absent)


def test_broken_weights_do_not_break_the_report(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"{}")
    found = similarity_of(evaluation_of(Options(embedder=tmp_path), *(visits(60, seed) for seed in range(3))))
    assert found.cosine_similarity_training_synthetic is None
    assert f'the weights in "{tmp_path}" cannot be read' in found.embedding_absent_reason


def test_records_read_as_people_write_them() -> None:
    table = pa.table({"b": [1.0, 2.5], "a": ["x", None], "c": [float("nan"), 1 / 3], "d": ["y" * 2000, "z"]})
    first, second = record_texts(table)
    assert first.startswith("x 1 yyy")
    assert len(first) == 1000
    assert second == "2.5 0.333333 z"
