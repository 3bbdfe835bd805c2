"""What a notebook calls: `fit` with subjects, and what needs a model that learnt any order."""

import numpy as np
import pyarrow as pa
import pytest

from simulacra import engine
from simulacra.engine import TableCodec, TrainingConfig, TrainingTask
from simulacra.errors import InvalidArgument


def test_what_one_subject_has_in_many_rows_is_protected() -> None:
    """Twelve rows share the value; of one subject they betray it, of twelve they do not."""
    rng = np.random.default_rng(0)
    kinds = rng.choice(["tea", "coffee"], 400).astype(object)
    kinds[:12] = "mate"
    rows = pa.table({"kind": kinds.tolist(), "amount": rng.integers(1, 20, 400)})
    people = np.array(["somebody"] * 12 + [f"person {i // 2}" for i in range(388)])
    for subjects, kept in ((None, True), (people, False)):
        model = engine.fit(rows, subjects=subjects, threads=1)
        assert ("mate" in engine.sample(model, 3000)["kind"].to_pylist()) == kept
    with pytest.raises(InvalidArgument, match="subjects"):
        engine.fit(rows, subjects=people[:-1])


def test_a_model_of_one_order_refuses_what_needs_others(table: pa.Table) -> None:
    codec: TableCodec = engine.analyze(table)
    config = TrainingConfig(max_epochs=1, flexible=False, threads=1)
    *_, last = engine.train(TrainingTask(codec, codec.encode(table), config))
    model = last.bundle
    assert model is not None
    assert np.isfinite(engine.log_prob(model, table)).all()
    with pytest.raises(InvalidArgument, match="enable_flexible_generation"):
        engine.log_prob(model, table.drop(["color"]))
    with pytest.raises(InvalidArgument, match="enable_flexible_generation"):
        engine.predict_proba(model, table, "color")
