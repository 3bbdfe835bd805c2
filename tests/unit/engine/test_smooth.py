"""Weights of neighbouring codes, and what keeps single rows unknown to the likelihood."""

import numpy as np
import pyarrow as pa
import torch

from simulacra import engine
from simulacra.engine import TableCodec, analyze
from simulacra.engine.network import Network, NetworkConfig


def test_places_follow_the_order_of_the_values(table: pa.Table) -> None:
    codec = analyze(table)
    assert len(codec.places) == len(codec.sub_columns)
    for part, places in zip(codec.sub_columns, codec.places, strict=True):
        assert places is None or len(places) == part.cardinality
    (score,) = (codec.codecs[i] for i, name in enumerate(codec.columns) if name == "score")
    (places,) = score.places
    assert places is not None
    codes = np.repeat(np.arange(len(places)), 20)[:, None]
    values = score.decode(codes, np.random.default_rng(0)).to_numpy()
    means = [values[codes[:, 0] == code].mean() for code in range(len(places))]
    assert (np.argsort(means) == np.argsort(places)).all()


def test_folded_weights_predict_the_same(table: pa.Table) -> None:
    codec: TableCodec = analyze(table)
    parts = codec.sub_columns
    config = NetworkConfig(tuple(p.cardinality for p in parts), tuple(p.column for p in parts))
    smooth = Network(config, torch.Generator().manual_seed(0), codec.places)
    for weight in smooth.parameters():
        torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(1))
    plain = Network(config, torch.Generator())
    plain.load_state_dict(smooth.folded())
    codes = torch.from_numpy(codec.encode(table)).long()
    ranks = torch.arange(len(parts)).expand(len(codes), -1)
    assert torch.allclose(smooth.nll(codes, ranks), plain.nll(codes, ranks), atol=1e-4)


def test_the_likelihood_hardly_tells_the_rows_of_a_small_wide_table_from_others() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(600, 4))
    values = factors @ rng.normal(size=(4, 25)) + rng.normal(size=(600, 25))
    rows = pa.table({f"x{i}": column for i, column in enumerate(values.T)})
    model = engine.fit(rows.slice(0, 300), threads=1)
    seen, others = (engine.log_prob(model, rows.slice(start, 300)) for start in (0, 300))
    above = (seen[:, None] > others[None]).mean()
    assert above < 0.6, f"a training row is likelier than another row in {above:.0%} of cases"
