"""Round numbers among others keep their share, in bins of any kind; values without heaps have none."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from simulacra.engine.codecs import FitOptions, Protection, codec_from_json, codec_to_json, fit_codec
from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.cells import Cells
from simulacra.errors import CorruptBundle

PROTECTED = FitOptions(Protection(5))


def decoded_of(column: pa.Array, options: FitOptions = PROTECTED) -> pa.Array:
    document = json.loads(json.dumps(codec_to_json(fit_codec(column, "AUTO", options)), allow_nan=False))
    codec = codec_from_json(Document(document))
    decoded = codec.decode(codec.encode(column), np.random.default_rng(1))
    decoded.validate(full=True)
    return decoded


def distance(before: np.ndarray, after: np.ndarray) -> float:
    """Returns the largest difference of the cumulative shares."""
    grid = np.union1d(before, after)
    shares = [np.searchsorted(np.sort(part), grid, "right") / len(part) for part in (before, after)]
    return float(np.abs(shares[0] - shares[1]).max())


@pytest.mark.parametrize("threshold", [1, 5])
@pytest.mark.parametrize("rows", [6000, 30_000])
def test_round_salaries_among_others_keep_their_share(rows: int, threshold: int) -> None:
    rng = np.random.default_rng(0)
    round_ones = rng.random(rows) < 0.9
    values = np.where(round_ones, rng.integers(20, 300, rows) * 1000, rng.integers(20_000, 300_000, rows))
    found = decoded_of(pa.array(values), FitOptions(Protection(threshold))).to_numpy()
    assert abs((found % 1000 == 0).mean() - round_ones.mean()) < 0.02
    assert distance(values, found) < 0.01


def test_prices_keep_their_endings() -> None:
    rng = np.random.default_rng(0)
    cents = rng.integers(1, 200, 20_000) * 100 + rng.choice([99, 49, 0], 20_000, p=[0.7, 0.2, 0.1])
    found = np.rint(decoded_of(pa.array(cents / 100)).to_numpy() * 100).astype(int)
    for ending, share in ((99, 0.7), (49, 0.2), (0, 0.1)):
        assert abs((found % 100 == ending).mean() - share) < 0.03


def test_heaps_of_floats_stay() -> None:
    rng = np.random.default_rng(0)
    thirds = rng.integers(0, 900, 20_000) / 3
    values = np.where(rng.random(20_000) < 0.8, thirds, rng.uniform(0, 300, 20_000))
    found = decoded_of(pa.array(values)).to_numpy()
    assert abs(np.isin(found, thirds).mean() - np.isin(values, thirds).mean()) < 0.02


def test_times_at_the_quarter_of_an_hour_stay_there() -> None:
    rng = np.random.default_rng(0)
    clock = np.where(rng.random(8000) < 0.7, rng.integers(0, 96, 8000) * 900, rng.integers(0, 86_400, 8000))
    moments = (np.datetime64("2020-01-01", "s") + rng.integers(0, 2000, 8000) * 86_400) + clock
    found = decoded_of(pa.array(moments)).cast(pa.int64()).to_numpy() % 86_400
    assert abs((found % 900 == 0).mean() - (clock % 900 == 0).mean()) < 0.02
    assert distance(clock, found) < 0.01


@pytest.mark.parametrize("kind", ["uniform", "skewed", "normal"])
def test_values_without_heaps_have_none(kind: str) -> None:
    rng = np.random.default_rng(0)
    drawn = {
        "uniform": rng.random(30_000),
        "skewed": rng.gamma(2, 0.1, 30_000),
        "normal": rng.normal(size=30_000),
    }
    values = np.rint(drawn[kind] * 5000).astype(np.int64)
    cells = Cells.fit(values, Protection(5))
    assert cells is not None
    assert len(cells.often.values) < 0.01 * len(np.unique(values))


def test_a_heap_counts_subjects_not_rows() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 10**6, 5000)
    values[100:112] = 777_777
    for subjects, kept in ((np.arange(5000), True), (np.arange(5000).clip(min=111), False)):
        cells = Cells.fit(values, Protection(5, subjects))
        assert cells is not None
        assert (777_777 in cells.often.values) is kept


def test_no_row_gets_what_few_subjects_have_beside_a_heap() -> None:
    values = np.sort(np.concatenate([np.repeat(np.arange(200) * 1000, 30), np.arange(4) * 50_000 + 1234]))
    found = decoded_of(pa.array(values))
    assert pc.all(pc.equal(pc.subtract(found, pc.multiply(pc.divide(found, 1000), 1000)), 0)).as_py()


@pytest.mark.parametrize(
    "change",
    [
        {"values": [1, 2, 3]},
        {"bins": [10**9]},
        {"bins": [-1]},
        {"shares": [2.0]},
        {"shares": [-0.1]},
        {"values": [10**12]},
        {"values": None},
        {"shares": "x"},
    ],
)
def test_damaged_heaps_are_refused(change: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 10**6, 5000)
    values[100:112] = 777_777
    cells = Cells.fit(values, Protection(5))
    assert cells is not None
    document = cells.to_json()
    document["often"] = {"values": [777_777], "bins": [3], "shares": [0.1]}
    assert Cells.from_json(Document(document)).often.values.tolist() == [777_777]
    document["often"] |= change
    with pytest.raises(CorruptBundle):
        Cells.from_json(Document(document))
