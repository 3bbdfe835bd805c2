"""Exact probabilities of a model: of whole rows, and of one column given others."""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from simulacra.engine.codecs import CategoricalCodec, DiscreteCodec
from simulacra.engine.computing import computing
from simulacra.engine.controls import encode_seeds, first_of, position_of, require_flexible
from simulacra.engine.sampling import Sampler
from simulacra.errors import InvalidArgument

__all__ = ["log_prob", "predict_proba"]

_BATCH = 4096
_BATCH_SCORES = 1 << 22
"""Most scores of one target that are computed at once: columns of 10,000 values take fewer rows."""


@torch.no_grad()
def log_prob(sampler: Sampler, table: pa.Table) -> np.ndarray:
    """Returns the log-probability of each row in nats, float64.

    It is that of the row's codes: a value in a bin counts as its bin, a rare category as the rare one, a
    number outside of the learnt range as the nearest. What has no code at all, such as an unseen category of
    a column without rare ones, or null in a column that had none, counts as the column's least likely code.
    Columns of the model that the table has not are left out of the sum: it is the probability of the given
    columns, where a missing column comes later in the order than all given ones.

    Raises:
        InvalidArgument: A column is not in the model, or cannot be read as its type.
    """
    bundle = sampler.bundle
    codes = encode_seeds(bundle.codec, table, nearest=True, nulls=True, control="table")
    names, canonical = bundle.codec.columns, bundle.config.canonical_order()
    present = set(table.column_names)
    if not present.issuperset(names):
        require_flexible(bundle, "probabilities of some of the columns")
    ranks = bundle.config.ranks(sorted(canonical, key=lambda column: names[column] not in present))
    targets = [t for t in np.argsort(ranks).tolist() if names[bundle.config.columns[t]] in present]
    result = np.zeros(len(codes))
    batch = max(1, min(_BATCH, _BATCH_SCORES // max(bundle.config.cardinalities)))
    with computing(torch.get_num_threads()):
        for start in range(0, len(codes), batch):
            part = torch.from_numpy(codes[start : start + batch]).long()
            result[start : start + batch] = _sum(sampler, part, targets, ranks).numpy()
    return result


def _sum(sampler: Sampler, codes: Tensor, targets: list[int], ranks: list[int]) -> Tensor:
    known, level = sampler.conditional.empty(len(codes)), -1
    total = torch.zeros(len(codes), dtype=torch.float64)
    levels = sampler.bundle.config.levels
    for target in targets:
        if ranks[target] * levels // len(ranks) > level:
            level = ranks[target] * levels // len(ranks)
            sampler.conditional.advance(known)
        code = codes[:, target]
        total += _score(sampler, sampler.conditional.logits(known, target).double(), target, code)
        there = (code >= 0).nonzero()[:, 0]
        sampler.conditional.learn(known, target, code[there], there)
    return total


def _score(sampler: Sampler, logits: Tensor, target: int, code: Tensor) -> Tensor:
    """Returns the log-probability of a target's codes, such that those of all values add up to 1.

    Beside its first code, a value's codes leave no choice whether it is there: code 0, which says that it is
    not, or that a text has ended, follows from the first one.
    """
    part = sampler.bundle.codec.sub_columns[target]
    codec = sampler.bundle.codec.codecs[part.column]
    absent = part.part > 0 and (codec.nullable or codec.ragged) and part.cardinality > 1
    if absent and not codec.ragged:
        logits[:, 0] = -torch.inf
    scores = torch.log_softmax(logits, 1)
    if absent and codec.ragged:  # decoding takes an end before the end for the first letter
        scores[:, 1] = torch.logaddexp(scores[:, 0], scores[:, 1])
    if absent:
        scores[:, 0] = 0.0
    least = scores[:, int(absent) :].min(1).values if part.part == 0 else torch.zeros(len(code)).double()
    return torch.where(code >= 0, scores.gather(1, code.clamp(min=0)[:, None])[:, 0], least)


@torch.no_grad()
def predict_proba(sampler: Sampler, table: pa.Table, column: str) -> pa.Table:
    """Returns the probability of each value of a categorical column, given the other columns of each row.

    Args:
        sampler: The model.
        table: What is known; nulls and missing columns are unknown. The column itself is not looked at.
        column: A column with a code per value.

    Returns:
        A float32 column per value, named by the value's text; "null" and "_RARE_" where the model has them,
        in parentheses where a value is called so.

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
    given = table.drop([column]) if column in table.column_names else table
    codes = encode_seeds(bundle.codec, given, nearest=True, control="table")
    schema = pa.schema([(name, pa.float32()) for name in _distinct(codec.labels())])
    batches = []
    for start in range(0, len(codes), _BATCH):
        part = torch.from_numpy(codes[start : start + _BATCH]).long()
        known = sampler.conditional.empty(len(part))
        sampler.learn_given(known, part)
        sampler.conditional.advance(known)
        chances = (
            torch.softmax(sampler.conditional.logits(known, target).double(), 1).float().t().contiguous()
        )
        batches.append(pa.RecordBatch.from_arrays([pa.array(row) for row in chances.numpy()], schema=schema))
    return pa.Table.from_batches(batches, schema)


def _distinct(labels: list[str]) -> list[str]:
    """Returns the labels of codes, with those of null and rare values, which come first, told from others."""
    return [f"({label})" if label in labels[place + 1 :] else label for place, label in enumerate(labels)]
