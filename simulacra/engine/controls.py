"""What a sampling request asks for, resolved against a model: known codes, forbidden codes, order, shares."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
import pyarrow as pa

from simulacra.engine.bundle import Bundle
from simulacra.engine.codecs import CategoricalCodec, Codec, DiscreteCodec
from simulacra.engine.table import TableCodec
from simulacra.errors import InvalidArgument, UnsupportedData

__all__ = [
    "BLOCK_ROWS",
    "UNKNOWN",
    "Fairness",
    "Plan",
    "Rebalancing",
    "SampleRequest",
    "can_impute",
    "encode_seeds",
    "make_plan",
    "require_flexible",
]

BLOCK_ROWS = 4096
UNKNOWN = -1
_SHOWN = 10
_SLACK = 0.01
"""How much less than 1 shares may add up to when no other value is left: thirds are often rounded."""


@dataclass(frozen=True, slots=True)
class Rebalancing:
    """A column whose categories are to have given probabilities; the others keep their proportions."""

    column: str
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fairness:
    """A column that is to be equally distributed in all groups by sensitive columns."""

    target_column: str
    sensitive_columns: tuple[str, ...]


@dataclass(frozen=True)
class SampleRequest:
    """What to sample.

    The last block is computed with the next power of two of rows, so a probe is fast; its rows are therefore
    not those of a larger request of the same seed.

    Attributes:
        rows: Rows in all; taken from `seeds` when those are given.
        seed: Same seed, same request, same rows, whatever range of blocks is computed where.
        table: Name of the table: tables of one dataset must differ in their random numbers.
        first_block: First block to compute.
        last_block: Block after the last one to compute; all by default.
        temperature: Above 1 flattens the distributions, below 1 sharpens them; 0 takes the likeliest.
        top_p: Sample from the likeliest codes that together have at least this probability.
        seeds: Known values: a row per row of the result. Missing columns and nulls are generated.
        nearest_seeds: Take seed values that the model does not know as their nearest code rather than refuse
            them.
        rebalancing: A column to rebalance.
        imputation: Columns that must not be null.
        fairness: A column to make fair.
        systematic: Spread the draws of rows with like probabilities evenly instead of independently. Each
            row has the same distribution as ever and shares come out closer to the model's, but rows are no
            longer independent: a spread estimated from them is too small.
    """

    rows: int | None = None
    seed: int = 0
    table: str = ""
    first_block: int = 0
    last_block: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seeds: pa.Table | None = None
    nearest_seeds: bool = False
    rebalancing: Rebalancing | None = None
    imputation: tuple[str, ...] = field(default=())
    fairness: Fairness | None = None
    systematic: bool = False

    @property
    def total(self) -> int:
        """The rows of the whole request."""
        if self.rows is not None:
            return self.rows
        return self.seeds.num_rows if self.seeds is not None else 0


@dataclass(frozen=True)
class Plan:
    """A request, resolved.

    Attributes:
        order: The columns, as positions, in the order of sampling.
        forbidden: Codes that each target must not get.
        known: Known codes of all rows, `UNKNOWN` where there is none; None when nothing is known.
        rebalanced: A target and the probabilities of its codes.
        fair: The target of fairness and the targets of its sensitive columns.
    """

    order: list[int]
    forbidden: list[list[int]]
    known: np.ndarray | None = None
    rebalanced: tuple[int, Mapping[int, float]] | None = None
    fair: tuple[int, tuple[int, ...]] | None = None


def make_plan(bundle: Bundle, request: SampleRequest) -> Plan:
    """Resolves a request.

    Raises:
        InvalidArgument: A control or a seed value is not possible; the error names it.
    """
    _check_numbers(request)
    controls = ("seeds", "rebalancing", "imputation", "fairness")
    steering = [name for name in controls if getattr(request, name) not in (None, ())]
    if steering:
        require_flexible(bundle, " and ".join(steering))
    forbidden = _forbidden(bundle, request.imputation)
    rebalanced = _rebalanced(bundle, request.rebalancing, forbidden) if request.rebalancing else None
    fair = _fair(bundle, request.fairness) if request.fairness else None
    known = _known(bundle.codec, request)
    return Plan(_order(bundle, request), [sorted(codes) for codes in forbidden], known, rebalanced, fair)


def _check_numbers(request: SampleRequest) -> None:
    rows, temperature, top_p = request.rows, request.temperature, request.top_p
    if rows is None and request.seeds is None:
        raise InvalidArgument.of("rows", "is missing; give how many rows to sample, or seeds")
    if rows is not None and not (_is(rows, Integral) and rows >= 0):
        raise InvalidArgument.of("rows", f"{rows!r} is not a whole number of at least 0")
    if not _is(request.seed, Integral):
        raise InvalidArgument.of("seed", f"{request.seed!r} is not a whole number")
    if not (_is(temperature, Real) and 0 <= temperature <= 2):
        raise InvalidArgument.of("sampling_temperature", f"{temperature!r} is not in [0, 2]")
    if not (_is(top_p, Real) and 0 < top_p <= 1):
        raise InvalidArgument.of("sampling_top_p", f"{top_p!r} is not in (0, 1]")


def _is(value: object, kind: type) -> bool:
    """Says whether a value is a number of a kind, whatever its annotation promises: notebooks check none."""
    return isinstance(value, kind)


def require_flexible(bundle: Bundle, what: str) -> None:
    """Raises `InvalidArgument` for a model that learnt only the canonical order."""
    if not bundle.facts.get("flexible", True):
        raise InvalidArgument(
            f"for {what} the model must be trained with enable_flexible_generation; train it again"
        )


def first_of(bundle: Bundle, column: int) -> int:
    """Returns a column's first target."""
    return bundle.config.columns.index(column)


def position_of(codec: TableCodec, name: str, control: str) -> int:
    """Returns a column's position; raises `InvalidArgument` for a column that is not in the model."""
    try:
        return codec.columns.index(name)
    except ValueError:
        known = _listed(f'"{column}"' for column in codec.columns)
        raise InvalidArgument.of(control, f'column "{name}" is not in the model; it has {known}') from None


def can_impute(codec: Codec) -> bool:
    """Says whether a column has anything besides null to fill its gaps with."""
    never = {code for sub, code in codec.forbidden if sub == 0}
    return not codec.nullable or codec.cardinalities[0] > len(never | {0})


def _listed(items: Iterable[str]) -> str:
    known = list(items)
    return ", ".join(known[:_SHOWN]) + (" and more" if len(known) > _SHOWN else "")


def _order(bundle: Bundle, request: SampleRequest) -> list[int]:
    """Returns the canonical order with a rebalanced column first and imputed ones late."""
    names = bundle.codec.columns
    first = request.rebalancing.column if request.rebalancing else None

    def place(column: int) -> int:
        name = names[column]
        return 0 if name == first else 2 if name in request.imputation else 1

    return sorted(bundle.config.canonical_order(), key=place)


def _forbidden(bundle: Bundle, imputation: tuple[str, ...]) -> list[set[int]]:
    codec = bundle.codec
    forbidden: list[set[int]] = [set() for _ in codec.sub_columns]
    for column, part in enumerate(codec.codecs):
        for sub, code in part.forbidden:
            forbidden[first_of(bundle, column) + sub].add(code)
    for name in imputation:
        column = position_of(codec, name, "imputation")
        if not can_impute(codec.codecs[column]):
            raise InvalidArgument.of(
                "imputation", f'of column "{name}" the model knows nothing but nulls; leave the column out'
            )
        if codec.codecs[column].nullable:
            forbidden[first_of(bundle, column)].add(0)
    return forbidden


def _known(codec: TableCodec, request: SampleRequest) -> np.ndarray | None:
    if request.seeds is None:
        return None
    if request.seeds.num_rows != request.total:
        raise InvalidArgument.of(
            "seeds",
            f"{request.seeds.num_rows} seed rows for {request.total} rows; leave the number of rows out",
        )
    return encode_seeds(codec, request.seeds, nearest=request.nearest_seeds)


def encode_seeds(
    codec: TableCodec, seeds: pa.Table, *, nearest: bool = False, nulls: bool = False, control: str = "seeds"
) -> np.ndarray:
    """Returns the codes of known values, int32, `UNKNOWN` where a column is missing or a value null.

    Args:
        codec: The table's codecs.
        seeds: Some of the table's columns.
        nearest: Take values that the model does not know as their nearest code: a number as that of its
            cell, a category as the rare one. Where there is none, the value is `UNKNOWN`.
        nulls: Take null as a value, `UNKNOWN` in a column that had none.
        control: What errors call the seeds.

    Raises:
        InvalidArgument: A value is not one that the model knows, and `nearest` does not allow the nearest
            one, or cannot be read; the error names column and value.
    """
    starts = np.cumsum([0, *(len(part.cardinalities) for part in codec.codecs)])
    known = np.full((seeds.num_rows, starts[-1]), UNKNOWN, np.int32)
    for name in seeds.column_names:
        column = position_of(codec, name, control)
        if seeds.column_names.count(name) > 1:
            raise InvalidArgument.of(control, f'there are two columns "{name}"; leave one out')
        part = codec.codecs[column]
        try:
            values = codec.read(seeds, column)
            unknown = part.unknown(values)
            codes = part.encode(values)
        except InvalidArgument as error:
            text = error.violations[0].description
            raise InvalidArgument.of(control, f'column "{name}" {text}') from error
        except UnsupportedData as error:
            raise InvalidArgument.of(
                control,
                f'column "{name}" cannot be read as {part.encoding}: {error.message.partition(";")[0]}',
            ) from error
        if unknown.any() and not nearest:
            raise InvalidArgument.of(control, _not_known(name, part, values.filter(pa.array(unknown))))
        null = values.is_null().to_numpy(zero_copy_only=False)
        if isinstance(part, CategoricalCodec) and not part.rare:
            codes[unknown] = UNKNOWN
        if not (nulls and part.nullable):
            codes[null] = UNKNOWN
        known[:, starts[column] : starts[column + 1]] = codes
    return known


def _not_known(name: str, codec: Codec, values: pa.Array) -> str:
    """Says which seed values of a column are not known, and which are."""
    found = codec.value_range()
    known = ""
    if found.values:
        known = f"; it knows {_listed(map(repr, found.values))}"
    elif found.min is not None:
        known = f"; it knows {found.min} to {found.max}"
    return (
        f'column "{name}" has seed values that the model does not know: {values.unique()[:5].to_pylist()!r}'
        f"{known}; take one of those, or leave the value out to have it generated"
    )


def _categorical(bundle: Bundle, name: str, control: str) -> tuple[CategoricalCodec | DiscreteCodec, int]:
    """Returns the codec and the target of a column with a code per value."""
    column = position_of(bundle.codec, name, control)
    codec = bundle.codec.codecs[column]
    if not isinstance(codec, CategoricalCodec | DiscreteCodec):
        raise InvalidArgument.of(
            control,
            f'column "{name}" is not categorical but {codec.encoding}; take a column of few values, or train '
            "with the encoding TABULAR_CATEGORICAL or TABULAR_NUMERIC_DISCRETE",
        )
    return codec, first_of(bundle, column)


def _rebalanced(
    bundle: Bundle, rebalancing: Rebalancing, forbidden: list[set[int]]
) -> tuple[int, Mapping[int, float]]:
    """Returns the target and the wished probabilities of codes; 0 for those that are never sampled."""
    codec, target = _categorical(bundle, rebalancing.column, "rebalancing")
    shares = list(rebalancing.probabilities.values())
    if (
        not shares
        or any(not (_is(share, Real) and 0 <= share <= 1) for share in shares)
        or sum(shares) > 1 + 1e-9
    ):
        raise InvalidArgument.of(
            "rebalancing",
            f"probabilities must be in [0, 1] and add up to at most 1, not {rebalancing.probabilities!r}",
        )
    codes = _codes_of(codec, rebalancing)
    wished = dict(zip(codes, shares, strict=True))
    if len(wished) < len(shares):
        raise InvalidArgument.of("rebalancing", f"names a value twice: {list(rebalancing.probabilities)!r}")
    never = forbidden[target]
    if any(wished.get(code, 0) > 0 for code in never):
        names = [codec.labels()[code] for code in sorted(never) if wished.get(code, 0) > 0]
        raise InvalidArgument.of("rebalancing", f"{names!r} cannot be sampled here; leave it out")
    wished |= dict.fromkeys(never, 0.0)
    if len(wished) == codec.cardinalities[0] and sum(shares) < 1 - _SLACK:
        raise InvalidArgument.of(
            "rebalancing",
            f'probabilities add up to {sum(shares):.6g}, but column "{rebalancing.column}" has no other '
            "value for the rest; let them add up to 1",
        )
    return target, wished


def _codes_of(codec: CategoricalCodec | DiscreteCodec, rebalancing: Rebalancing) -> list[int]:
    """Returns the code of each value that is to be rebalanced."""
    texts = [None if value is None else str(value) for value in rebalancing.probabilities]
    try:
        values = pa.array(texts, pa.string()).cast(codec.kind)
    except pa.ArrowException as error:
        raise InvalidArgument.of("rebalancing", f'column "{rebalancing.column}": {error}') from error
    unknown = codec.unknown(values)
    if not codec.nullable:
        unknown = unknown | values.is_null().to_numpy(zero_copy_only=False)
    if unknown.any():
        wrong, known = values.filter(pa.array(unknown)).to_pylist(), _listed(map(repr, codec.labels()))
        raise InvalidArgument.of(
            "rebalancing", f'column "{rebalancing.column}" has no values {wrong!r}; it has {known}'
        )
    codes: list[int] = codec.encode(values)[:, 0].tolist()
    return codes


def _fair(bundle: Bundle, fairness: Fairness) -> tuple[int, tuple[int, ...]]:
    _, target = _categorical(bundle, fairness.target_column, "fairness")
    if not fairness.sensitive_columns or fairness.target_column in fairness.sensitive_columns:
        raise InvalidArgument.of("fairness", "name at least one sensitive column, and not the target")
    return target, tuple(_categorical(bundle, name, "fairness")[1] for name in fairness.sensitive_columns)
