"""How many rows to fetch at once: few where they are wide, so that memory is bounded whatever is in them."""

__all__ = ["Pace"]

_FIRST_ROWS, _GROWTH = 64, 8
_WANTED_BYTES = 2**23


class Pace:
    """Follows a result: asks for `rows` at a time, after what the last ones weighed in Arrow."""

    def __init__(self, most_rows: int) -> None:
        self.rows = min(_FIRST_ROWS, most_rows)
        self._most_rows = most_rows

    def saw(self, rows: int, size: int) -> None:
        """Notes how many bytes some rows have become."""
        if rows:
            fitting = _WANTED_BYTES * rows // max(size, 1)
            self.rows = max(1, min(fitting, _GROWTH * self.rows, self._most_rows))
