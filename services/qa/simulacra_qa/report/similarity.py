"""The section on records as texts: how alike the sets are to a language model, and where they lie."""

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.minilm import NOT_ASKED, Absent
from simulacra_qa.report import charts
from simulacra_qa.report.markup import Markup, tag
from simulacra_qa.report.view import View

__all__ = ["similarity"]

_CELLS, _LEVELS = 20, 8
_TAIL = 0.01
_PANELS = ("training", "holdout", "synthetic")

Floats = npt.NDArray[np.float64]


def similarity(view: View) -> Markup | None:
    """Cosines and AUCs beside those of the holdout, and a map of the records."""
    found = view.evaluation.similar
    if found is NOT_ASKED:
        return None
    if isinstance(found, Absent):
        return tag("p", f"Records were not compared as texts: {found.reason}.", cls="panel")
    rows = (
        ("Cosine of the centroids", found.cosine_synthetic, found.cosine_holdout),
        ("AUC of a model that tells the sets apart", found.auc_synthetic, found.auc_holdout),
    )
    head = ("Training records against", "synthetic", "holdout")
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in head])),
        tag(
            "tbody",
            [
                tag(
                    "tr",
                    tag("th", name, scope="row"),
                    [tag("td", "–" if v is None else f"{v:.4f}", cls="number") for v in values],
                )
                for name, *values in rows
            ],
        ),
    )
    text = (
        f"Each of {found.records:,} records of every set is written as a text and embedded by "
        "all-MiniLM-L6-v2. The cosine is 1 where the sets agree on average; the AUC is 0.5 where a model "
        "cannot tell them apart. The figures for the holdout say what to expect. The maps show how dense the "
        "records lie on the two main axes of the training records."
    )
    return tag("div", tag("p", text), table, _maps(found.projection), cls="panel")


def _maps(projection: Floats) -> Markup:
    """Draws each set's density on a coarse grid, which shows no single record."""
    low, high = (np.nanquantile(projection[0], at, axis=0) for at in (_TAIL, 1 - _TAIL))
    drawn = []
    for name, points in zip(_PANELS, projection, strict=True):
        if np.isnan(points).any():
            continue
        scaled = (points - low) / np.maximum(high - low, 1e-12)
        x, y = (scaled * _CELLS).astype(np.int64).clip(0, _CELLS - 1).T
        counts = np.zeros((_CELLS, _CELLS))
        np.add.at(counts, (x, y), 1)
        drawn.append(_map(name, counts / max(float(counts.max()), 1.0)))
    return tag("div", drawn, cls="triptych")


def _map(name: str, density: Floats) -> Markup:
    levels = np.ceil(_LEVELS * np.sqrt(density.T[::-1])).astype(np.int64)
    return tag(
        "figure",
        tag("figcaption", name),
        tag(
            "svg",
            tag("rect", width=_CELLS, height=_CELLS, cls="frame", stroke_width=0.05),
            tag(
                "g",
                charts.heat(levels, "s" if name == "synthetic" else "t"),
                fill="none",
                transform="translate(0,.5)",
            ),
            viewBox=f"0 0 {_CELLS} {_CELLS}",
            role="img",
            aria_label=f"Density of the {name} records on two axes of the embedding",
            style="max-width:340px",
        ),
    )
