"""References between tables, and what models learn: by their definitions, and what is wrong is said."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from simulacra.errors import InvalidArgument
from simulacra_qa import DETECT, Evaluation, Relation, evaluate, relation_scores
from simulacra_qa.metrics.relations import RelationScores
from simulacra_qa.report import Heading, render
from simulacra_qa.results import model_metrics, relation_metrics
from simulacra_qa.verdict import findings

Shop = dict[str, pd.DataFrame]
ORDERS = Relation("orders", "customer_id", "customers", "id")


def shop(customers: int, seed: int) -> Shop:
    """Customers with orders; the gold ones order more and dearer, a tenth of the orders have no customer."""
    rng = np.random.default_rng(seed)
    level = rng.choice(["gold", "plain"], customers, p=[0.3, 0.7])
    parents = pd.DataFrame({"id": np.arange(customers) + 1000 * seed, "level": level})
    counts = rng.poisson(np.where(level == "gold", 5, 2))
    owner = np.repeat(np.arange(customers), counts)
    price = np.round(rng.gamma(2, np.where(level[owner] == "gold", 40, 10)), 2)
    late = rng.random(len(owner)) < 0.2
    children = pd.DataFrame(
        {
            "customer_id": pd.Series(parents["id"].to_numpy()[owner], dtype="Int64").mask(
                rng.random(len(owner)) < 0.1
            ),
            "price": pd.Series(price).mask(late),
            "coupon": pd.Series(rng.choice(["A", "B"], len(owner))).mask(late),
        }
    )
    return {"customers": parents, "orders": children}


@pytest.fixture(scope="module")
def shops() -> tuple[Shop, Shop, Shop]:
    return shop(800, 1), shop(800, 2), shop(800, 3)


def judged(shops: tuple[Shop, Shop, Shop], **changed: pd.DataFrame) -> RelationScores:
    (scores,) = relation_scores(shops[0], shops[1], {**shops[2], **changed}, [ORDERS])
    return scores


def told(evaluation: Evaluation, scores: RelationScores) -> list[str]:
    return [f.text for f in findings(replace(evaluation, relations=(scores,))) if f.metric == "relations"]


@pytest.fixture(scope="module")
def evaluation(shops: tuple[Shop, Shop, Shop]) -> Evaluation:
    return evaluate(*(part["orders"].drop(columns="customer_id") for part in shops), embed=False)


def test_fresh_families_reach_their_ceilings(shops: tuple[Shop, Shop, Shop], evaluation: Evaluation) -> None:
    scores = judged(shops)
    assert scores.referential_integrity == 1
    assert scores.key_uniqueness == 1
    assert scores.null_shares == pytest.approx((0.1, 0.1), abs=0.02)
    metrics = relation_metrics(scores)
    assert metrics.child_counts == pytest.approx(metrics.child_counts_max, abs=0.03)
    assert metrics.bivariate == pytest.approx(metrics.bivariate_max, abs=0.03)
    assert metrics.null_patterns == pytest.approx(metrics.null_patterns_max, abs=0.03)
    assert told(evaluation, scores) == []


def test_scores_equal_their_definitions(shops: tuple[Shop, Shop, Shop]) -> None:
    scores = judged(shops)
    shares = []
    for part in (shops[0], shops[2]):
        joined = part["orders"].merge(part["customers"], left_on="customer_id", right_on="id")
        cells = Counter(zip(joined["coupon"].fillna("-"), joined["level"], strict=True))
        shares.append({cell: count / cells.total() for cell, count in cells.items()})
    expected = 1 - sum(abs(shares[0][cell] - shares[1][cell]) for cell in shares[0]) / 2
    assert scores.bivariates["coupon", "level"].accuracy == pytest.approx(expected)
    counts = []
    for part in (shops[0], shops[2]):
        children = part["orders"]["customer_id"].value_counts().reindex(part["customers"]["id"]).fillna(0)
        counts.append(np.bincount(children.astype(int), minlength=30) / len(children))
    # Few parents have many children, so bins differ from the counts only there.
    assert scores.child_counts.accuracy >= 1 - np.abs(counts[0] - counts[1]).sum() / 2
    assert scores.child_counts.accuracy == pytest.approx(
        1 - np.abs(counts[0] - counts[1]).sum() / 2, abs=0.02
    )


def test_broken_references_are_found(shops: tuple[Shop, Shop, Shop], evaluation: Evaluation) -> None:
    orders = shops[2]["orders"].copy()
    orders.loc[orders.index[:100], "customer_id"] = 999_999
    scores = judged(shops, orders=orders)
    known = int(orders["customer_id"].notna().sum())
    assert scores.referential_integrity == pytest.approx(1 - 100 / known)
    assert any("References are broken" in text for text in told(evaluation, scores))


def test_repeated_keys_are_found(shops: tuple[Shop, Shop, Shop], evaluation: Evaluation) -> None:
    customers = pd.concat([shops[2]["customers"], shops[2]["customers"].head(80)])
    scores = judged(shops, customers=customers)
    assert scores.key_uniqueness == pytest.approx(800 / 880)
    assert any("is not unique: 9.1 %" in text for text in told(evaluation, scores))


def test_wrong_numbers_of_children_and_lost_links_are_found(
    shops: tuple[Shop, Shop, Shop], evaluation: Evaluation
) -> None:
    rng = np.random.default_rng(0)
    shuffled = shops[2]["orders"].assign(
        customer_id=rng.choice(shops[2]["customers"]["id"], len(shops[2]["orders"]))
    )
    scores = judged(shops, orders=shuffled)
    assert scores.child_counts.accuracy < scores.child_counts.ceiling - 0.05
    link = scores.bivariates["price", "level"]
    assert link.accuracy < link.ceiling - 0.1
    texts = told(evaluation, scores)
    assert any("how many rows refer to the same parent" in text for text in texts)
    html = render(replace(evaluation, relations=(scores,)), Heading())
    assert "orders.customer_id → customers" in html


def test_values_missing_apart_are_found(shops: tuple[Shop, Shop, Shop], evaluation: Evaluation) -> None:
    orders = shops[2]["orders"]
    scores = judged(
        shops, orders=orders.assign(coupon=np.random.default_rng(0).permutation(orders["coupon"]))
    )
    assert any("which values are missing together" in text for text in told(evaluation, scores))


def test_keys_of_any_type_are_matched(shops: tuple[Shop, Shop, Shop]) -> None:
    text = {**shops[2], "orders": shops[2]["orders"].astype({"customer_id": "float64"})}
    (scores,) = relation_scores(shops[0], None, text, [ORDERS])
    assert scores.referential_integrity == 1
    assert scores.child_counts.accuracy == pytest.approx(judged(shops).child_counts.accuracy, abs=0.02)


def test_missing_tables_and_keys_are_named(shops: tuple[Shop, Shop, Shop]) -> None:
    with pytest.raises(InvalidArgument, match='synthetic: there is no table "orders"'):
        relation_scores(shops[0], None, {"customers": shops[2]["customers"]}, [ORDERS])
    with pytest.raises(InvalidArgument, match='lacks the column "owner"'):
        relation_scores(shops[0], None, shops[2], [replace(ORDERS, foreign_key="owner")])


def test_what_models_learn_is_measured(shops: tuple[Shop, Shop, Shop]) -> None:
    def joined(part: Shop) -> pd.DataFrame:
        both = part["orders"].merge(part["customers"], left_on="customer_id", right_on="id")
        return both[["price", "coupon", "level"]].dropna()

    frames = [joined(part) for part in shops]
    good = evaluate(*frames, embed=False, target=DETECT)
    metrics = model_metrics(good).utility
    assert metrics is not None
    assert (metrics.target, metrics.measure) == ("level", "AUC")
    assert metrics.synthetic == pytest.approx(metrics.training, abs=0.04)
    assert metrics.training > 0.7
    assert metrics.difference_interval.low <= 0.01
    assert "utility" not in {finding.metric for finding in findings(good)}

    frames[2] = frames[2].assign(level=np.random.default_rng(0).permutation(frames[2]["level"]))
    bad = evaluate(*frames, embed=False, target="level")
    found = model_metrics(bad).utility
    assert found is not None
    assert found.synthetic < 0.6
    assert any("Models learn less" in finding.text for finding in findings(bad))
    assert "One that learnt from synthetic records" in render(bad, Heading())

    number = model_metrics(evaluate(*frames, embed=False, target="price")).utility
    assert number is not None
    assert number.measure == "R2"
    with pytest.raises(InvalidArgument, match='there is no column "prize"'):
        evaluate(*frames, target="prize")
