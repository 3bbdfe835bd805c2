"""How many rows are fetched at once."""

from simulacra_connector.drivers.sql.pace import Pace


def test_narrow_rows_come_in_ever_larger_pieces() -> None:
    pace, asked = Pace(8192), []
    for _ in range(5):
        asked.append(pace.rows)
        pace.saw(pace.rows, 100 * pace.rows)
    assert asked == [64, 512, 4096, 8192, 8192]


def test_wide_rows_come_in_pieces_of_some_megabytes() -> None:
    pace = Pace(8192)
    pace.saw(64, 64 * 2**20)
    assert pace.rows == 8
    pace.saw(8, 8 * 2**30)
    assert pace.rows == 1
    pace.saw(1, 10)
    assert pace.rows == 8
    pace.saw(0, 0)
    assert pace.rows == 8
