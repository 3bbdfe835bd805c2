"""Accuracy against a naive reading of its definition, and the properties that it must have."""

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from simulacra.domain import Accuracy
from simulacra.errors import InvalidArgument, UnsupportedData
from simulacra_qa import Evaluation, evaluate
from simulacra_qa.results import metrics_document, model_metrics


def accuracy_of(evaluation: Evaluation) -> Accuracy:
    metrics = model_metrics(evaluation)
    assert metrics.accuracy is not None
    return metrics.accuracy


def people(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(0, 90, rows)
    city = rng.choice([f"city {i}" for i in range(30)], rows, p=np.arange(1, 31) / 465)
    income = np.round(np.exp(rng.normal(10 + age / 60, 0.5, rows)), 2)
    return pd.DataFrame(
        {
            "age": age,
            "city": pd.Series(city).mask(rng.random(rows) < 0.1),
            "income": np.where(rng.random(rows) < 0.2, np.nan, income),
            "children": rng.poisson(1, rows),
            "member": rng.random(rows) < 0.3,
        }
    )


class Naive:
    """The definition, spelled out with lists and dicts, for numbers and texts."""

    def __init__(self, training: pd.DataFrame, holdout: pd.DataFrame, synthetic: pd.DataFrame) -> None:
        self.training = training
        self.binned: list[dict[str, list[Hashable]]] = [{}, {}]
        for name in training:
            original = [*training[name], *holdout[name]]
            numeric = pd.api.types.is_numeric_dtype(training[name]) and training[name].dtype != bool
            bin_of = self._numeric(original) if numeric else self._categorical(original)
            for target, frame in zip(self.binned, (training, synthetic), strict=True):
                target[str(name)] = [bin_of(value) for value in frame[name]]

    def _numeric(self, original: Sequence[float]) -> Callable[[Any], Hashable]:
        values = sorted(v for v in original if v == v)
        distinct = sorted(set(values))
        if len(distinct) <= 10:
            edges = distinct
        else:
            parts = 10
            while True:
                picked = [values[int(i * (len(values) - 1) / parts)] for i in range(parts + 1)]
                if len(set(picked)) > 10 or parts == 1000:
                    break
                parts += 1
            edges = sorted(set(picked))[:-1]
            for decimals in range(20):
                floors = [np.floor(e * 10.0**decimals) / 10.0**decimals for e in sorted(set(picked))]
                if len(set(floors)) == len(set(picked)):
                    edges = floors[:-1]
                    break
        return lambda v: "missing" if v != v else max([e for e in edges if e <= v], default=edges[0])

    def _categorical(self, original: Sequence[Any]) -> Callable[[Any], Hashable]:
        counts = Counter(_text(value) for value in original).most_common(10)
        top = {text for text, count in counts if count >= 5} | {"(n/a)"}
        return lambda v: _text(v) if _text(v) in top else "(other)"

    def accuracy(self, names: tuple[str, ...]) -> float:
        shares = []
        for part in self.binned:
            rows = list(zip(*(part[name] for name in names), strict=True))
            shares.append({cell: count / len(rows) for cell, count in Counter(rows).items()})
        cells = shares[0].keys() | shares[1].keys()
        return 1 - sum(abs(shares[0].get(c, 0) - shares[1].get(c, 0)) for c in cells) / 2

    def mean(self, width: int) -> float:
        groups = list(itertools.combinations([str(name) for name in self.training], width))
        return sum(self.accuracy(group) for group in groups) / len(groups)


def _text(value: Any) -> str:
    return "(n/a)" if pd.isna(value) else str(value)


def test_accuracy_equals_its_definition() -> None:
    training, holdout, synthetic = people(400, 1), people(150, 2), people(300, 3)
    synthetic["income"] *= 1.3
    naive = Naive(training, holdout, synthetic)
    accuracy = accuracy_of(evaluate(training, holdout, synthetic))
    assert accuracy.univariate == pytest.approx(naive.mean(1), abs=1e-6)
    assert accuracy.bivariate == pytest.approx(naive.mean(2), abs=1e-6)
    assert accuracy.trivariate == pytest.approx(naive.mean(3), abs=1e-6)
    assert accuracy.overall == pytest.approx((naive.mean(1) + naive.mean(2)) / 2, abs=1e-6)


def test_reference_may_be_training_and_holdout() -> None:
    training, holdout, synthetic = people(400, 1), people(150, 2), people(300, 3)
    both = pd.concat([training, holdout], ignore_index=True)
    pooled = accuracy_of(evaluate(training, holdout, synthetic, reference="training+holdout"))
    alone = accuracy_of(evaluate(both, None, synthetic))
    assert (pooled.univariate, pooled.bivariate) == (alone.univariate, alone.bivariate)


def test_identical_data_are_perfect() -> None:
    data = people(500, 0)
    accuracy = accuracy_of(evaluate(data, people(200, 1), data))
    assert (accuracy.overall, accuracy.univariate, accuracy.bivariate, accuracy.trivariate) == (1, 1, 1, 1)


def test_disjoint_data_score_nothing() -> None:
    accuracy = accuracy_of(evaluate(pd.DataFrame({"a": ["x"] * 50}), None, pd.DataFrame({"a": ["y"] * 50})))
    assert (accuracy.univariate, accuracy.bivariate, accuracy.overall) == (0, None, 0)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | st.integers(-5, 50), st.none() | st.sampled_from(["a", "b", "", "_RARE_"])),
        min_size=1,
        max_size=60,
    ),
)
def test_order_of_rows_and_columns_does_not_matter(
    rows: list[tuple[int | None, str | None]],
) -> None:
    data = pa.table({"n": [n for n, _ in rows], "t": [t for _, t in rows]})
    half = data.slice(0, max(len(data) // 2, 1))
    order = np.random.default_rng(len(rows)).permutation(len(data))
    first = accuracy_of(evaluate(half, None, data))
    second = accuracy_of(evaluate(half.select(["t", "n"]), None, data.take(order)))
    assert first == second
    assert first.overall is not None
    assert 0 <= first.overall <= 1


def test_same_seed_gives_same_numbers() -> None:
    tables = people(300, 1), people(100, 2), people(300, 3)
    first, second = (evaluate(*tables, seed=7) for _ in range(2))
    assert model_metrics(first) == model_metrics(second)
    assert first.marginals.overall_interval == second.marginals.overall_interval


@pytest.mark.parametrize("seed", [-1, 2**32, 2**62])
def test_any_integer_is_a_seed(seed: int) -> None:
    tables = people(300, 1), people(100, 2), people(300, 3)
    assert model_metrics(evaluate(*tables, seed=seed)) == model_metrics(evaluate(*tables, seed=seed % 2**32))


def test_the_numbers_do_not_depend_on_the_number_of_threads() -> None:
    tables = people(3000, 1), people(3000, 2), people(3000, 3)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(metrics_document(evaluate(*tables, embed=False)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("training", "synthetic"),
    [
        (pa.array([1, 2, None]), pa.array(["1", "two", None])),
        (pa.array(["1", "2", None]), pa.array([1, 2, None])),
        (pa.array([True, None]), pa.array(["true", None])),
        (pa.array([1.5, float("inf"), float("nan")]), pa.array([1, 2, 3])),
        (pa.array([None, None], pa.null()), pa.array(["a", "b"])),
        (pa.array([0, 10**9], pa.timestamp("s")), pa.array(["2001-01-01", "no date"])),
        (pa.array([0, 1], pa.date32()), pa.array([0, 1], pa.timestamp("ns", "Europe/Vienna"))),
        (pa.array([1, 2], pa.time32("s")), pa.array([1, 2], pa.time64("us"))),
        (pa.array([1, 2], pa.duration("ms")), pa.array([1, 2], pa.int64())),
        (pa.array([b"\xff", None]), pa.array([b"\x00", None])),
        (pa.array([[1], None]), pa.array([[2], []])),
        (pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", None])),
        (pa.array([1, 2]).cast(pa.decimal128(30, 2)), pa.array([1.0, 2.0])),
    ],
)
def test_any_types_are_compared(training: pa.Array, synthetic: pa.Array) -> None:
    accuracy = accuracy_of(evaluate(pa.table({"c": training}), None, pa.table({"c": synthetic})))
    assert accuracy.univariate is not None
    assert 0 <= accuracy.univariate <= 1


def test_extra_columns_are_left_out_and_missing_ones_named() -> None:
    data = people(50, 0)
    assert evaluate(data, None, data.assign(extra=1)).columns == tuple(data)
    with pytest.raises(InvalidArgument, match='synthetic: the table lacks the column "city"'):
        evaluate(data, None, data.drop(columns="city"))
    with pytest.raises(UnsupportedData, match='two columns named "a"'):
        evaluate(pa.table([[1], [2]], names=["a", "a"]), None, pa.table({"a": [1]}))
    with pytest.raises(InvalidArgument, match="training: the table is empty"):
        evaluate(data.head(0), None, data)


def test_triples_are_drawn_when_there_are_many() -> None:
    rng = np.random.default_rng(0)
    wide = pd.DataFrame({f"c{i}": rng.integers(0, 3, 40) for i in range(45)})
    drawn = [score.columns for score in evaluate(wide, None, wide).marginals.trivariate]
    assert len(set(drawn)) == 10_000
    assert all(i < j < k for i, j, k in drawn)
