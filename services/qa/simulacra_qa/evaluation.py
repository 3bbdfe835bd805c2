"""Evaluates a synthetic table against the data it was trained on and a holdout that it never saw.

This is the library's one entry: pure computation on tables, no service, no storage. The order of the work is
fixed and all randomness comes from `Options.seed`, so the same seed gives the same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from simulacra.errors import InvalidArgument, UnsupportedData
from simulacra_qa.embedder import embedder_path
from simulacra_qa.metrics.accuracy import Discretised, Marginals, Reference, measure
from simulacra_qa.metrics.association import association_matrix
from simulacra_qa.metrics.bins import Bins, Codes, discretise, fit_bins
from simulacra_qa.metrics.columns import as_table, read_column
from simulacra_qa.metrics.discriminator import Discrimination, discriminate
from simulacra_qa.metrics.distances import DistanceScores, closest
from simulacra_qa.metrics.exchange import PrivacyTest
from simulacra_qa.metrics.membership import Battery, attack_all
from simulacra_qa.metrics.minilm import Absent
from simulacra_qa.metrics.privacy import leaks_of, privacy_tests
from simulacra_qa.metrics.profile import Profile, profile
from simulacra_qa.metrics.records import Records
from simulacra_qa.metrics.similarity import MOST_RECORDS, Similar, embed_texts, record_texts, similarity

__all__ = ["Evaluation", "Options", "Progress", "evaluate", "evaluation_steps"]

Table: TypeAlias = pa.Table | pd.DataFrame
Matrix = npt.NDArray[np.float64]

_READ, _MEASURED, _CLOSEST, _ATTACKED, _TESTED, _TOLD, _ALL = 10, 30, 35, 45, 50, 60, 100
_DISCRIMINATED_RECORDS = 4_000
_NOT_ASKED = Absent("embedding was not asked for")


@dataclass(frozen=True, slots=True)
class Options:
    """How to evaluate.

    Attributes:
        reference: What accuracy is measured against: the training data, or training and holdout together.
        seed: Seeds every draw: samples, triples, intervals.
        max_rows: At most so many rows of each table are looked at, drawn at random.
        embed: Whether records are embedded as texts, if the weights are on this machine.
        embedder: The folder of the weights; if absent, the environment, the Hugging Face cache and the
            package that has them are looked at.
    """

    reference: Reference = Reference.TRAINING
    seed: int = 0
    max_rows: int = 250_000
    embed: bool = True
    embedder: Path | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured. Positions in groups, profiles, bins and matrices follow `columns`."""

    columns: tuple[str, ...]
    options: Options
    rows: tuple[int, int, int]
    data: Discretised
    profiles: tuple[Profile, ...]
    marginals: Marginals
    association_training: Matrix
    association_synthetic: Matrix
    distances: DistanceScores | None = None
    membership: Battery | None = None
    privacy: tuple[PrivacyTest, ...] = ()
    rare_categories: int | None = None
    discrimination: Discrimination | None = None
    similar: Similar | Absent = _NOT_ASKED


@dataclass(frozen=True, slots=True)
class Progress:
    """`value` of `max` steps are done."""

    value: int
    max: int


def evaluate(
    training: Table,
    holdout: Table | None,
    synthetic: Table,
    *,
    reference: Reference | str = Reference.TRAINING,
    seed: int = 0,
    embed: bool = True,
) -> Evaluation:
    """Evaluates and returns the result; see `evaluation_steps` for progress on the way."""
    options = Options(reference=Reference(reference), seed=seed, embed=embed)
    *_, result = evaluation_steps(training, holdout, synthetic, options)
    assert isinstance(result, Evaluation)
    return result


def evaluation_steps(
    training: Table, holdout: Table | None, synthetic: Table, options: Options
) -> Iterator[Progress | Evaluation]:
    """Yields progress, and at last the evaluation.

    Raises:
        InvalidArgument: The synthetic or holdout table lacks a column of the training table, or there are no
            rows.
        UnsupportedData: The training table has two columns of one name.
    """
    tables = _aligned(training, holdout, synthetic)
    tables = [_capped(table, options.max_rows, seed) for seed, table in enumerate(tables, options.seed)]
    rows = (len(tables[0]), len(tables[1]), len(tables[2]))
    sampling, resampling, attacking = (np.random.default_rng([options.seed, i]) for i in range(3))
    records = Records.sampled(rows, sampling)
    leaks = leaks_of(records, rows) if records is not None else None
    bins: list[Bins] = []
    profiles: list[Profile] = []
    names = tables[0].column_names
    codes: Codes = np.empty((len(names), sum(rows)), np.int16)
    for position, name in enumerate(names):
        column = read_column(tables, name)
        bins.append(fit_bins(column, rows[0] + rows[1]))
        codes[position] = discretise(column, bins[-1])
        profiles.append(profile(column, rows))
        if records is not None:
            records.add(column)
        if leaks is not None:
            leaks.add(column)
        yield Progress(_READ * (position + 1) // len(names), _ALL)
    data = Discretised(tuple(bins), codes, rows)
    for measured in measure(data, reference=options.reference, rng=resampling):
        if isinstance(measured, Marginals):
            marginals = measured
        else:
            yield Progress(_READ + int((_MEASURED - _READ) * measured), _ALL)
    distances = None
    for found in closest(records) if records is not None else ():
        if isinstance(found, DistanceScores):
            distances = found
        else:
            yield Progress(_MEASURED + int((_CLOSEST - _MEASURED) * found), _ALL)
    membership, discrimination = None, None
    privacy: tuple[PrivacyTest, ...] = ()
    if records is not None:
        membership = attack_all(records.points(), attacking)
        yield Progress(_ATTACKED, _ALL)
        privacy = tuple(privacy_tests(records, leaks, attacking))
        yield Progress(_TESTED, _ALL)
        cells, categorical = records.cells(_DISCRIMINATED_RECORDS)
        discrimination = discriminate(cells, categorical, options.seed)
        yield Progress(_TOLD, _ALL)
    similar = _similar(tables, options) if options.embed else _NOT_ASKED
    yield Progress(_ALL, _ALL)
    yield Evaluation(
        tuple(names),
        options,
        rows,
        data,
        tuple(profiles),
        marginals,
        association_matrix(data, marginals.counts, 0),
        association_matrix(data, marginals.counts, 2),
        distances,
        membership,
        privacy,
        leaks.rare_categories if leaks is not None else None,
        discrimination,
        similar,
    )


def _similar(tables: list[pa.Table], options: Options) -> Similar | Absent:
    rng = np.random.default_rng([options.seed, 3])
    picked = [table.take(rng.permutation(len(table))[:MOST_RECORDS]) for table in tables]
    embedded = embed_texts([record_texts(table) for table in picked], options.embedder or embedder_path())
    return embedded if isinstance(embedded, Absent) else similarity(embedded, options.seed)


def _aligned(training: Table, holdout: Table | None, synthetic: Table) -> list[pa.Table]:
    """Returns the three tables with the training table's columns, in its order, and no others."""
    first = as_table(training)
    names = first.column_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UnsupportedData(f'the training table has two columns named "{twice}"; rename one', column=twice)
    second = first.slice(0, 0) if holdout is None else as_table(holdout)
    third = as_table(synthetic)
    for role, table in (("holdout", second), ("synthetic", third)):
        missing = [name for name in names if name not in table.column_names]
        if missing:
            raise InvalidArgument.of(role, f'the table lacks the column "{missing[0]}" of the training table')
    for role, table in (("training", first), ("synthetic", third)):
        if not len(table) or not names:
            raise InvalidArgument.of(role, "the table is empty; there is nothing to evaluate")
    return [first, second.select(names), third.select(names)]


def _capped(table: pa.Table, most: int, seed: int) -> pa.Table:
    if len(table) <= most:
        return table
    return table.take(np.sort(np.random.default_rng(seed).choice(len(table), most, replace=False)))
