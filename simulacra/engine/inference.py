"""Exact probabilities of a model: of whole rows, and of one column given others."""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from simulacra.engine.codecs import CategoricalCodec, DiscreteCodec
from simulacra.engine.controls import encode_seeds, first_of, position_of, require_flexible
from simulacra.engine.sampling import Sampler
from simulacra.errors import InvalidArgument

__all__ = ["log_prob", "predict_proba"]

_BATCH = 4096


@torch.no_grad()
def log_prob(sampler: Sampler, table: pa.Table) -> np.ndarray:
    """Returns the log-probability of each row in nats, float64.

    It is that of the row's codes: a value in a bin counts as its bin, a rare category as the rare one.
    Columns of the model that the table has not are left out of the sum: it is the probability of the given
    columns, where a missing column comes later in the order than all given ones.

    Raises:
        InvalidArgument: A column is not in the model.
    """
    bundle = sampler.bundle
    codes = encode_seeds(bundle.codec, table, nearest=True, nulls=True)
    names, canonical = bundle.codec.columns, bundle.config.canonical_order()
    present = set(table.column_names)
    if not present.issuperset(names):
        require_flexible(bundle, "probabilities of some of the columns")
    ranks = bundle.config.ranks(sorted(canonical, key=lambda column: names[column] not in present))
    targets = [t for t in np.argsort(ranks).tolist() if names[bundle.config.columns[t]] in present]
    result = np.zeros(len(codes))
    for start in range(0, len(codes), _BATCH):
        part = torch.from_numpy(codes[start : start + _BATCH])
        result[start : start + _BATCH] = _sum(sampler, part, targets, ranks).numpy()
    return result


def _sum(sampler: Sampler, codes: Tensor, targets: list[int], ranks: list[int]) -> Tensor:
    known, level = sampler.conditional.empty(len(codes)), -1
    total = torch.zeros(len(codes), dtype=torch.float64)
    levels = sampler.bundle.config.levels
    for target in targets:
        if ranks[target] * levels // len(ranks) > level:
            level = ranks[target] * levels // len(ranks)
            sampler.conditional.advance(known)
        scores = torch.log_softmax(sampler.conditional.logits(known, target).double(), 1)
        total += scores.gather(1, codes[:, target, None])[:, 0]
        sampler.conditional.learn(known, target, codes[:, target])
    return total


@torch.no_grad()
def predict_proba(sampler: Sampler, table: pa.Table, column: str) -> pa.Table:
    """Returns the probability of each value of a categorical column, given the other columns of each row.

    Args:
        sampler: The model.
        table: What is known; nulls and missing columns are unknown. The column itself is not looked at.
        column: A column with a code per value.

    Returns:
        A float column per value, named by the value's text; "null" and "_RARE_" where the model has them.

    Raises:
        InvalidArgument: The column is not categorical or not in the model.
    """
    bundle = sampler.bundle
    position = position_of(bundle.codec, column, "column")
    codec = bundle.codec.codecs[position]
    if not isinstance(codec, CategoricalCodec | DiscreteCodec):
        raise InvalidArgument.of("column", f'"{column}" is not categorical but {codec.encoding}')
    require_flexible(bundle, "probabilities of a column")
    target = first_of(bundle, position)
    codes = encode_seeds(
        bundle.codec, table.drop([column]) if column in table.column_names else table, nearest=True
    )
    parts = []
    for start in range(0, len(codes), _BATCH):
        part = torch.from_numpy(codes[start : start + _BATCH])
        known = sampler.conditional.empty(len(part))
        sampler.learn_given(known, part)
        sampler.conditional.advance(known)
        parts.append(torch.softmax(sampler.conditional.logits(known, target).double(), 1).numpy())
    probabilities = np.concatenate(parts) if parts else np.zeros((0, codec.cardinalities[0]))
    return pa.table(dict(zip(codec.labels(), probabilities.T, strict=True)))
