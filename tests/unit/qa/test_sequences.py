"""Sequences and context: coherence by its definition, ceilings that know of subjects, and what goes wrong."""

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable

import numpy as np
import pandas as pd
import pytest

from simulacra.domain import Accuracy
from simulacra.errors import InvalidArgument
from simulacra_qa import Context, Evaluation, evaluate
from simulacra_qa.report import Heading, render
from simulacra_qa.results import metrics_document, model_metrics, pair_scores
from simulacra_qa.verdict import findings


def trips(subjects: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """People, and their trips: means of transport persist, costs grow with age, some travel more."""
    rng = np.random.default_rng(seed)
    people = pd.DataFrame(
        {
            "id": [f"p{seed}-{i}" for i in range(subjects)],
            "age": rng.integers(20, 80, subjects),
            "city": rng.choice(["A", "B", "C"], subjects),
        }
    )
    rows = []
    for name, age, city in zip(people["id"], people["age"].to_numpy(), people["city"], strict=True):
        means = rng.choice(["bus", "car", "train"])
        for _ in range(1 + rng.poisson(4)):
            if rng.random() < 0.2:
                means = rng.choice(["bus", "car", "train"])
            rows.append((name, means, round(float(age * rng.gamma(4, 0.25)), 2), city))
    return people, pd.DataFrame(rows, columns=["person", "means", "cost", "from"])


Parts = tuple[tuple[pd.DataFrame, pd.DataFrame], ...]


@pytest.fixture(scope="module")
def parts() -> Parts:
    return trips(600, 1), trips(600, 2), trips(600, 3)


def judged(parts: Parts, synthetic: pd.DataFrame | None = None) -> Evaluation:
    (people, rows), (others, other_rows), (made, made_rows) = parts
    return evaluate(
        rows,
        other_rows,
        made_rows if synthetic is None else synthetic,
        key="person",
        context=Context(people, others, made, "id"),
        embed=False,
    )


def accuracy_of(evaluation: Evaluation) -> Accuracy:
    found = model_metrics(evaluation).accuracy
    assert found is not None
    return found


def similarity_of(left: Iterable[Hashable], right: Iterable[Hashable]) -> float:
    before, after = Counter(left), Counter(right)
    cells = before.keys() | after.keys()
    return 1 - sum(abs(before[c] / before.total() - after[c] / after.total()) for c in cells) / 2


def test_coherence_equals_its_definition(parts: Parts) -> None:
    found = judged(parts).coherence
    assert found is not None
    training, synthetic = (
        [list(group) for _, group in rows.groupby("person")["means"]] for rows in (parts[0][1], parts[2][1])
    )
    expected = (
        similarity_of(*([p for s in part for p in itertools.pairwise(s)] for part in (training, synthetic))),
        similarity_of(*([len(set(s)) for s in part] for part in (training, synthetic))),
        similarity_of(*([v for s in part for v in set(s)] for part in (training, synthetic))),
    )
    got = (found.transitions[0], found.values_per_sequence[0], found.sequences_per_value[0])
    assert [score.accuracy for score in got] == pytest.approx(expected, abs=1e-9)


def test_fresh_subjects_reach_the_ceilings(parts: Parts) -> None:
    draws = [
        accuracy_of(judged((trips(400, 10 * i), trips(400, 10 * i + 1), trips(400, 10 * i + 2))))
        for i in range(4)
    ]
    for name in ("univariate", "bivariate", "trivariate", "coherence", "overall"):
        above = [getattr(accuracy, name) - getattr(accuracy, f"{name}_max") for accuracy in draws]
        assert float(np.mean(above)) == pytest.approx(0, abs=0.012), name
    evaluation = judged(parts)
    accuracy = accuracy_of(evaluation)
    assert evaluation.columns == ("means", "cost", "from", "age (context)", "city (context)")
    assert len(evaluation.marginals.univariate) == 3
    assert len(evaluation.marginals.bivariate) == 3 + 3 * 2
    assert accuracy.overall == pytest.approx(
        np.mean([accuracy.univariate, accuracy.bivariate, accuracy.coherence]), abs=1e-6
    )
    assert not [finding for finding in findings(evaluation) if finding.metric == "coherence"]
    assert min(test.p_value for test in evaluation.privacy) > 0.001


def test_rows_of_one_subject_are_no_independent_evidence(parts: Parts) -> None:
    # A subject's place of departure never changes, so there are 600 values of it, not 3,000.
    together, alone = (
        judged(parts),
        evaluate(*(rows.drop(columns="person") for _, rows in parts), embed=False),
    )
    assert together.columns[2] == alone.columns[2] == "from"
    assert 1 - together.marginals.univariate[2].ceiling > 1.5 * (1 - alone.marginals.univariate[2].ceiling)


def test_shuffled_sequences_are_found(parts: Parts) -> None:
    shuffled = parts[2][1].assign(means=np.random.default_rng(0).permutation(parts[2][1]["means"]))
    evaluation = judged(parts, shuffled)
    accuracy = accuracy_of(evaluation)
    assert accuracy.univariate == pytest.approx(accuracy.univariate_max, abs=0.015)
    assert (accuracy.coherence or 1) < (accuracy.coherence_max or 0) - 0.05
    texts = [finding.text for finding in findings(evaluation) if finding.metric == "coherence"]
    assert len(texts) == 1
    assert "how a row follows another differs" in texts[0]
    assert "“means”" in texts[0]


def test_short_sequences_are_found(parts: Parts) -> None:
    evaluation = judged(parts, parts[2][1].groupby("person").head(2))
    texts = [finding.text for finding in findings(evaluation) if finding.metric == "coherence"]
    assert any("lengths of sequences differ" in text for text in texts)


def test_lost_context_is_found(parts: Parts) -> None:
    people = parts[2][0].assign(city=np.random.default_rng(0).permutation(parts[2][0]["city"]))
    broken = (parts[0], parts[1], (people, parts[2][1]))
    scores = {
        (score.first_column, score.second_column): score.accuracy for score in pair_scores(judged(broken))
    }
    assert scores["from", "city (context)"] < 0.5
    assert scores["means", "city (context)"] > 0.9
    assert scores["means", "means"] > 0.9


def test_copied_subjects_are_found(parts: Parts) -> None:
    own = parts[2][1]
    copied = parts[0][1][parts[0][1]["person"].isin(parts[0][0]["id"][:120])]
    evaluation = judged(parts, pd.concat([copied, own[own["person"].isin(parts[2][0]["id"][120:])]]))
    found = {test.name: test for test in evaluation.privacy}
    assert found["identical_match"].p_value < 0.001


def test_order_of_subjects_does_not_matter(parts: Parts) -> None:
    moved = parts[2][1].iloc[::-1].groupby("person", sort=False)
    turned = pd.concat([group.iloc[::-1] for _, group in moved])
    first, second = judged(parts), judged(parts, turned)
    assert first.coherence is not None
    assert second.coherence is not None
    assert first.coherence.accuracy == pytest.approx(second.coherence.accuracy, abs=1e-12)


def test_one_row_per_subject_is_context_without_coherence() -> None:
    people, rows = trips(200, 1)
    single = rows.groupby("person").head(1)
    evaluation = evaluate(single, single, single, key="person", context=Context(people, people, people, "id"))
    assert evaluation.coherence is None
    assert accuracy_of(evaluation).coherence is None
    assert len(evaluation.marginals.bivariate) == 3 + 3 * 2


def test_report_and_document_have_the_sequences(parts: Parts) -> None:
    evaluation = judged(parts)
    html, document = render(evaluation, Heading()), metrics_document(evaluation)
    assert "Sequences per value" in html
    assert document["metrics"]["accuracy"]["coherence_max"] is not None
    assert [column["column"] for column in document["columns"]] == ["means", "cost", "from"]


def test_wrong_keys_are_named(parts: Parts) -> None:
    (people, rows), _, (made, made_rows) = parts
    with pytest.raises(InvalidArgument, match='lacks the key "who"'):
        evaluate(rows, None, made_rows, key="who")
    with pytest.raises(InvalidArgument, match="required with a context"):
        evaluate(rows, None, made_rows, context=Context(people, None, made, "id"))
    with pytest.raises(InvalidArgument, match='lacks the column "nr"'):
        evaluate(rows, None, made_rows, key="person", context=Context(people, None, made, "nr"))
    with pytest.raises(InvalidArgument, match="no column but the key"):
        evaluate(rows[["person"]], None, made_rows[["person"]], key="person")
    with pytest.raises(InvalidArgument, match='no row of the training table has a value in "person"'):
        evaluate(rows.assign(person=None), None, made_rows, key="person")
    with pytest.raises(
        InvalidArgument, match=r'context.synthetic: .*lacks the column "id" of the context.tr'
    ):
        evaluate(
            rows, None, made_rows, key="person", context=Context(people, None, made.drop(columns="id"), "id")
        )


def test_rows_of_nobody_are_told(parts: Parts) -> None:
    (_, rows), _, (_, made) = parts
    lost = made.assign(person=made["person"].mask(np.arange(len(made)) % 5 == 0))
    texts = [finding.text for finding in findings(evaluate(rows, None, lost, key="person", embed=False))]
    assert any("20.0 % of the synthetic rows have no “person”, but 0.0 % of the training" in t for t in texts)
    assert "“person”" not in " ".join(f.text for f in findings(evaluate(rows, None, made, key="person")))
