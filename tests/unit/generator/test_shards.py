"""How a table is split into tasks, and Arrow streams into pieces."""

import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulacra_generator.arrow import PIECE_BYTES, ipc_pieces
from simulacra_generator.steps import shard_ranges


@given(st.integers(0, 10_000_000), st.integers(1, 64))
def test_ranges_cover_all_blocks_once(rows: int, shards: int) -> None:
    ranges = list(shard_ranges(rows, shards))
    assert [first for first, _ in ranges] == [0, *(last for _, last in ranges[:-1])]
    assert ranges[-1][1] == max(1, -(-rows // 4096))


@pytest.mark.parametrize(
    ("rows", "shards", "count"), [(1, 8, 1), (24_421, 2, 1), (200_000, 2, 2), (1_000_000, 2, 4)]
)
def test_shards_are_neither_tiny_nor_huge(rows: int, shards: int, count: int) -> None:
    assert len(list(shard_ranges(rows, shards))) == count


def test_the_pieces_of_a_stream_fit_into_messages_and_join_to_it() -> None:
    table = pa.table({"x": list(range(400_000))})
    pieces = list(ipc_pieces(table.schema, table.to_batches(max_chunksize=200_000)))
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert pa.ipc.open_stream(io.BytesIO(b"".join(pieces))).read_all().equals(table)
