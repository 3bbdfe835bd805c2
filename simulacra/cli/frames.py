"""Rows on the screen and in JSON."""

import json
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from simulacra.cli.output import console

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["records_of", "show_frame"]

CELL = 24
"""The characters that a cell shows at most."""


def records_of(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Returns rows as JSON objects: missing values as null, dates in ISO format."""
    records: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", date_format="iso"))
    return records


def show_frame(frame: "pd.DataFrame", *, rows: int = 8, stderr: bool = False) -> None:
    """Prints the first rows as a table, of as many columns as the screen has room for."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    target = console(stderr=stderr)
    shown = frame.head(rows)
    columns = {str(name): [_text(value) for value in shown[name]] for name in frame.columns}
    widths = [min(CELL, max(map(len, [name, *texts]))) + 3 for name, texts in columns.items()]
    room = max(1, sum(end <= target.width for end in accumulate(widths)))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in list(columns)[:room]:
        numeric = frame[name].dtype.kind in "iuf"
        table.add_column(
            name, justify="right" if numeric else "left", overflow="ellipsis", no_wrap=True, max_width=CELL
        )
    for row in zip(*list(columns.values())[:room], strict=True):
        table.add_row(*map(Text, row))
    target.print(table)
    if room < len(columns):
        target.print(f"and {', '.join(list(columns)[room:])}", style="dim", highlight=False)


def _text(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp):
        return str(value).removesuffix(":00").removesuffix(" 00:00")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
