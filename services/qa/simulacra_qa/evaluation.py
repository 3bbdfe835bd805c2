"""Evaluates a synthetic table against the data it was trained on and a holdout that it never saw.

This is the library's one entry: pure computation on tables, no service, no storage. The order of the work is
fixed and all randomness comes from `Options.seed`, so the same seed gives the same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulacra.errors import InvalidArgument
from simulacra_qa.embedder import embedder_path
from simulacra_qa.metrics.accuracy import Discretised, Marginals, Reference, measure
from simulacra_qa.metrics.association import association_matrix
from simulacra_qa.metrics.bins import Bins, Codes, discretise, fit_bins
from simulacra_qa.metrics.coherence import Coherence, coherence
from simulacra_qa.metrics.columns import read_column
from simulacra_qa.metrics.discriminator import Discrimination, discriminate
from simulacra_qa.metrics.distances import DistanceScores, closest
from simulacra_qa.metrics.exchange import PrivacyTest
from simulacra_qa.metrics.membership import Battery, attack_all
from simulacra_qa.metrics.minilm import NOT_ASKED, Absent
from simulacra_qa.metrics.privacy import leaks_of, privacy_tests
from simulacra_qa.metrics.profile import Profile, profile
from simulacra_qa.metrics.records import Records
from simulacra_qa.metrics.relations import RelationScores
from simulacra_qa.metrics.similarity import MOST_RECORDS, Similar, embed_texts, record_texts, similarity
from simulacra_qa.metrics.utility import DETECT, Utility, detected_target, utility
from simulacra_qa.prepared import Context, Prepared, Table, prepare
from simulacra_qa.seeds import seed_of

__all__ = ["DETECT", "Context", "Evaluation", "Options", "Progress", "evaluate", "evaluation_steps"]

Matrix = npt.NDArray[np.float64]

_READ, _MEASURED, _CLOSEST, _ATTACKED, _TESTED, _TOLD, _ALL = 10, 30, 35, 45, 50, 60, 100
_DISCRIMINATED_RECORDS = 4_000


@dataclass(frozen=True, slots=True)
class Options:
    """How to evaluate.

    Attributes:
        reference: What accuracy is measured against: the training data, or training and holdout together.
        seed: Seeds every draw: samples, triples, intervals; any integer.
        max_rows: At most so many rows of each table are looked at, drawn at random.
        key: The column that says whose a row is, if several may be of one subject or there is a context; it
            is not judged itself.
        target: The column that utility is measured for; `DETECT` finds one, and None measures none.
        embed: Whether records are embedded as texts, if the weights are on this machine.
        embedder: The folder of the weights; if absent, the environment, the Hugging Face cache and the
            package that has them are looked at.
    """

    reference: Reference = Reference.TRAINING
    seed: int = 0
    max_rows: int = 250_000
    embed: bool = True
    embedder: Path | None = None
    key: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        """Makes the seed one that every library takes."""
        object.__setattr__(self, "seed", seed_of(self.seed))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured. Positions in groups, profiles, bins and matrices follow `columns`.

    Columns of a context come last and have no univariate score. `relations` is for who judges several tables.
    `unjudged` are columns that only the synthetic table has, `keyless` the shares of training and synthetic
    rows without a key, which are left out.
    """

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
    similar: Similar | Absent = NOT_ASKED
    coherence: Coherence | None = None
    utility: Utility | None = None
    relations: tuple[RelationScores, ...] = ()
    unjudged: tuple[str, ...] = ()
    keyless: tuple[float, float] = (0.0, 0.0)


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
    key: str | None = None,
    context: Context | None = None,
    target: str | None = None,
) -> Evaluation:
    """Evaluates and returns the result; see `Options` for the arguments, `evaluation_steps` for progress."""
    options = Options(reference=Reference(reference), seed=seed, embed=embed, key=key, target=target)
    *_, result = evaluation_steps(training, holdout, synthetic, options, context)
    assert isinstance(result, Evaluation)
    return result


def evaluation_steps(
    training: Table,
    holdout: Table | None,
    synthetic: Table,
    options: Options,
    context: Context | None = None,
) -> Iterator[Progress | Evaluation]:
    """Yields progress, and at last the evaluation.

    Raises:
        InvalidArgument: The synthetic or holdout table lacks a column of the training table, the key or the
            target is not there, or there are no rows.
        UnsupportedData: The training table has two columns of one name.
    """
    prepared = prepare(
        training,
        holdout,
        synthetic,
        key=options.key,
        context=context,
        max_rows=options.max_rows,
        seed=options.seed,
    )
    tables, rows, sequences = prepared.tables, prepared.rows, prepared.sequences
    names = tables[0].column_names
    target = _target(options.target, names[: prepared.targets])
    sampling, resampling, attacking = (np.random.default_rng([options.seed, i]) for i in range(3))
    candidates = sequences.one_row_each(sampling) if sequences else None
    records = Records.sampled(rows, sampling, candidates)
    leaks = leaks_of(records, rows, sequences.of_rows if sequences else None) if records is not None else None
    bins: list[Bins] = []
    profiles: list[Profile] = []
    codes: Codes = np.empty((len(names), sum(rows)), np.int16)
    for position, name in enumerate(names):
        column = read_column(tables, name)
        bins.append(fit_bins(column, rows[0] + rows[1]))
        codes[position] = discretise(column, bins[-1])
        profiles.append(profile(column, rows))
        if records is not None and position < prepared.targets:
            records.add(column)
        if leaks is not None and position < prepared.targets:
            leaks.add(column)
        yield Progress(_READ * (position + 1) // len(names), _ALL)
    data = Discretised(tuple(bins), codes, rows)
    subjects = sequences if sequences and sequences.sequential else None
    measuring = measure(
        data, reference=options.reference, rng=resampling, targets=prepared.targets, subjects=subjects
    )
    for measured in measuring:
        if isinstance(measured, Marginals):
            marginals = measured
        else:
            yield Progress(_READ + int((_MEASURED - _READ) * measured), _ALL)
    unfolding = None
    if subjects is not None:
        unfolding = coherence(data, prepared.targets, subjects, options.reference, resampling)
    distances = None
    for found in closest(records) if records is not None else ():
        if isinstance(found, DistanceScores):
            distances = found
        else:
            yield Progress(_MEASURED + int((_CLOSEST - _MEASURED) * found), _ALL)
    membership, discrimination, useful = None, None, None
    privacy: tuple[PrivacyTest, ...] = ()
    association = association_matrix(data, marginals.counts, 0)
    if records is not None:
        membership = attack_all(records.points(), attacking)
        yield Progress(_ATTACKED, _ALL)
        privacy = tuple(privacy_tests(records, leaks, attacking))
        yield Progress(_TESTED, _ALL)
        cells, categorical = records.cells(_DISCRIMINATED_RECORDS)
        discrimination = discriminate(cells, categorical, options.seed)
        if target is not None:
            own = association[: prepared.targets, : prepared.targets]
            useful = utility(
                records, detected_target(own, categorical) if target < 0 else target, options.seed
            )
        yield Progress(_TOLD, _ALL)
    similar = _similar(prepared, options) if options.embed else NOT_ASKED
    yield Progress(_ALL, _ALL)
    yield Evaluation(
        columns=tuple(names),
        options=options,
        rows=rows,
        unjudged=prepared.unjudged,
        keyless=prepared.keyless,
        data=data,
        profiles=tuple(profiles),
        marginals=marginals,
        association_training=association,
        association_synthetic=association_matrix(data, marginals.counts, 2),
        distances=distances,
        membership=membership,
        privacy=privacy,
        rare_categories=leaks.rare_categories if leaks is not None else None,
        discrimination=discrimination,
        similar=similar,
        coherence=unfolding,
        utility=useful,
    )


def _target(name: str | None, names: list[str]) -> int | None:
    """Returns the position of the target, -1 to detect one, None if there is to be none."""
    if name is None:
        return None
    if name == DETECT:
        return -1
    if name not in names:
        raise InvalidArgument.of("target", f'there is no column "{name}"; there are {names}')
    return names.index(name)


def _similar(prepared: Prepared, options: Options) -> Similar | Absent:
    rng = np.random.default_rng([options.seed, 3])
    if prepared.sequences is None:
        picked = [table.take(rng.permutation(len(table))[:MOST_RECORDS]) for table in prepared.tables]
        texts = [record_texts(table) for table in picked]
    else:
        texts = list(prepared.sequences.texts(prepared.tables, prepared.targets, MOST_RECORDS, rng))
    embedded = embed_texts(texts, options.embedder or embedder_path())
    return embedded if isinstance(embedded, Absent) else similarity(embedded, options.seed)
