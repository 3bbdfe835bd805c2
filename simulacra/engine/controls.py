"""What a sampling request asks for, resolved against a model: known codes, forbidden codes, order, shares."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from simulacra.engine.bundle import Bundle
from simulacra.engine.codecs import CategoricalCodec, Codec, DiscreteCodec
from simulacra.engine.table import TableCodec
from simulacra.errors import InvalidArgument

__all__ = [
    "BLOCK_ROWS",
    "UNKNOWN",
    "Fairness",
    "Plan",
    "Rebalancing",
    "SampleRequest",
    "encode_seeds",
    "make_plan",
    "require_flexible",
]

BLOCK_ROWS = 4096
UNKNOWN = -1


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
    codec = bundle.codec
    if not 0 <= request.temperature <= 2:
        raise InvalidArgument.of("sampling_temperature", f"{request.temperature} is not in [0, 2]")
    if not 0 < request.top_p <= 1:
        raise InvalidArgument.of("sampling_top_p", f"{request.top_p} is not in (0, 1]")
    steered = request.seeds is not None or request.rebalancing or request.imputation or request.fairness
    if steered:
        require_flexible(bundle, "seeds, rebalancing, imputation and fairness")
    forbidden = _forbidden(bundle, request.imputation)
    rebalanced = _rebalanced(bundle, request.rebalancing) if request.rebalancing else None
    fair = _fair(bundle, request.fairness) if request.fairness else None
    return Plan(_order(bundle, request), forbidden, _known(codec, request), rebalanced, fair)


def require_flexible(bundle: Bundle, what: str) -> None:
    """Raises `InvalidArgument` for a model that learnt only the canonical order."""
    if not bundle.facts.get("flexible", True):
        raise InvalidArgument(f"{what} need a model trained with enable_flexible_generation")


def first_of(bundle: Bundle, column: int) -> int:
    """Returns a column's first target."""
    return bundle.config.columns.index(column)


def position_of(codec: TableCodec, name: str, control: str) -> int:
    """Returns a column's position; raises `InvalidArgument` for a column that is not in the model."""
    try:
        return codec.columns.index(name)
    except ValueError:
        raise InvalidArgument.of(control, f'column "{name}" is not in the model') from None


def _order(bundle: Bundle, request: SampleRequest) -> list[int]:
    """Returns the canonical order with a rebalanced column first and imputed ones late."""
    names = bundle.codec.columns
    first = request.rebalancing.column if request.rebalancing else None

    def place(column: int) -> int:
        name = names[column]
        return 0 if name == first else 2 if name in request.imputation else 1

    return sorted(bundle.config.canonical_order(), key=place)


def _forbidden(bundle: Bundle, imputation: tuple[str, ...]) -> list[list[int]]:
    codec = bundle.codec
    forbidden: list[set[int]] = [set() for _ in codec.sub_columns]
    for column, part in enumerate(codec.codecs):
        for sub, code in part.forbidden:
            forbidden[first_of(bundle, column) + sub].add(code)
    for name in imputation:
        column = position_of(codec, name, "imputation")
        target = first_of(bundle, column)
        if (
            codec.codecs[column].nullable
            and codec.codecs[column].cardinalities[0] > len(forbidden[target]) + 1
        ):
            forbidden[target].add(0)
    return [sorted(codes) for codes in forbidden]


def _known(codec: TableCodec, request: SampleRequest) -> np.ndarray | None:
    if request.seeds is None:
        return None
    if request.seeds.num_rows != request.total:
        raise InvalidArgument.of("seeds", f"{request.seeds.num_rows} seed rows for {request.total} rows")
    return encode_seeds(codec, request.seeds, nearest=request.nearest_seeds)


def encode_seeds(
    codec: TableCodec, seeds: pa.Table, *, nearest: bool = False, nulls: bool = False
) -> np.ndarray:
    """Returns the codes of known values, `UNKNOWN` where a column is missing or a value null.

    Args:
        codec: The table's codecs.
        seeds: Some of the table's columns.
        nearest: Take values that the model does not know as their nearest code.
        nulls: Take null as a value.

    Raises:
        InvalidArgument: A value is not one that the model knows, and `nearest` does not allow the nearest
            one.
    """
    starts = np.cumsum([0, *(len(part.cardinalities) for part in codec.codecs)])
    known = np.full((seeds.num_rows, starts[-1]), UNKNOWN, np.int64)
    for name in seeds.column_names:
        column = position_of(codec, name, "seeds")
        values = codec.read(seeds, column)
        unknown = codec.codecs[column].unknown(values)
        if unknown.any() and not nearest:
            examples = values.filter(pa.array(unknown)).unique()[:5].to_pylist()
            raise InvalidArgument.of(name, f"seed values that the model does not know: {examples!r}")
        codes = codec.codecs[column].encode(values)
        if not nulls:
            codes[values.is_null().to_numpy(zero_copy_only=False)] = UNKNOWN
        known[:, starts[column] : starts[column + 1]] = codes
    return known


def _categorical(bundle: Bundle, name: str, control: str) -> tuple[Codec, int]:
    """Returns the codec and the target of a column with a code per value."""
    column = position_of(bundle.codec, name, control)
    codec = bundle.codec.codecs[column]
    if not isinstance(codec, CategoricalCodec | DiscreteCodec):
        raise InvalidArgument.of(control, f'column "{name}" is not categorical but {codec.encoding}')
    return codec, first_of(bundle, column)


def _rebalanced(bundle: Bundle, rebalancing: Rebalancing) -> tuple[int, Mapping[int, float]]:
    """Returns the target and the wished probabilities of codes."""
    codec, target = _categorical(bundle, rebalancing.column, "rebalancing")
    wished = rebalancing.probabilities
    if sum(wished.values()) > 1 + 1e-9 or any(not 0 <= share <= 1 for share in wished.values()):
        raise InvalidArgument.of("rebalancing", "probabilities must be in [0, 1] and add up to at most 1")
    try:
        values = pa.array(list(wished), pa.string()).cast(codec.kind)
    except pa.ArrowException as error:
        raise InvalidArgument.of("rebalancing", str(error)) from error
    unknown = codec.unknown(values)
    if unknown.any():
        raise InvalidArgument.of(
            "rebalancing", f"unknown values {values.filter(pa.array(unknown)).to_pylist()!r}"
        )
    return target, dict(zip(codec.encode(values)[:, 0].tolist(), wished.values(), strict=True))


def _fair(bundle: Bundle, fairness: Fairness) -> tuple[int, tuple[int, ...]]:
    _, target = _categorical(bundle, fairness.target_column, "fairness")
    if not fairness.sensitive_columns or fairness.target_column in fairness.sensitive_columns:
        raise InvalidArgument.of("fairness", "name at least one sensitive column, and not the target")
    return target, tuple(_categorical(bundle, name, "fairness")[1] for name in fairness.sensitive_columns)
