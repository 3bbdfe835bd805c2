"""The report: one safe, complete page, that names no rare value and no extreme."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra_qa import evaluate
from simulacra_qa.metrics.labels import format_number
from simulacra_qa.report import Heading, render
from simulacra_qa.report.markup import embed_json, tag
from simulacra_qa.results import column_scores, metrics_document, model_metrics

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</script><b>", "{{7*7}}", "a'b&c")
VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Checks that elements nest, and collects what is there."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = html
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attrs)))
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attrs)))

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def table(rows: int, width: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 1, rows)
    columns: dict[str, object] = {}
    for i in range(width):
        noisy = base + rng.normal(0, 1 + i % 3, rows)
        columns[f"column number {i}"] = (
            noisy * 1000
            if i % 3
            else pd.cut(noisy, 14, labels=[f"category {c}" for c in range(14)]).astype(str)
        )
    return pd.DataFrame(columns)


def report(*frames: pd.DataFrame, title: str = "") -> str:
    return render(evaluate(*frames), Heading(title=title, table_name="people"))


def test_thirty_columns_stay_under_a_megabyte_and_nothing_is_loaded() -> None:
    html = report(*(table(3000, 30, seed) for seed in range(3)))
    assert len(html.encode()) < 1_000_000
    page = Page(html)
    for name, attributes in page.elements:
        assert name not in ("link", "img", "iframe", "object")
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in html
    assert "Content-Security-Policy" in html


def test_page_is_accessible_in_structure() -> None:
    page = Page(report(*(table(500, 6, seed) for seed in range(3)), title="People"))
    names = [name for name, _ in page.elements]
    assert names.count("h1") == 1
    assert names.count("main") == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for name, attributes in page.elements:
        if name == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        if name in ("input", "button"):
            assert attributes.get("aria-label")
    targets = {attributes["href"] for name, attributes in page.elements if name in ("a", "use")}
    assert {(target or "").removeprefix("#") for target in targets} <= set(ids)


def test_hostile_names_and_values_stay_text() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.choice(HOSTILE, 300) for name in HOSTILE})
    html = render(
        evaluate(frame, frame, frame), Heading(title=HOSTILE[0], table_name=HOSTILE[1], subtitle=HOSTILE[2])
    )
    page = Page(html)
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "<b>" not in html
    assert [name for name, _ in page.elements].count("script") == 4  # three of data, one of the page
    assert HOSTILE[0] in page.text
    assert all(not key.startswith("on") for _, attributes in page.elements for key in attributes)


def test_endless_values_are_cut_and_stay_apart() -> None:
    rng = np.random.default_rng(0)
    values = ["a" * 50_000 + end for end in "xyz"] + ["b" * 50_000 + "1" * 50 + "b" * 50_000, "b" * 100_050]
    frame = pd.DataFrame({"text": rng.choice(values, 300), "more": rng.choice(values, 300)})
    evaluation = evaluate(frame, frame, frame, embed=False)
    assert len(render(evaluation, Heading())) < 200_000
    for score in column_scores(evaluation):
        bins = score.bins or []
        labels = [each.label for each in bins]
        assert len(set(labels)) == len(values)
        assert max(map(len, labels)) < 120
        assert sum(each.synthetic_share for each in bins) == pytest.approx(1)
    assert model_metrics(evaluation).accuracy.overall == 1  # type: ignore[union-attr]


@given(st.text())
def test_text_never_becomes_markup(text: str) -> None:
    page = Page(tag("p", text, title=text) + embed_json("x", [text]))
    assert [name for name, _ in page.elements] == ["p", "script"]
    assert page.elements[0][1]["title"] == text


def test_no_rare_value_and_no_extreme_is_named() -> None:
    rng = np.random.default_rng(1)
    rows = 600
    frame = pd.DataFrame(
        {
            "income": np.round(rng.normal(50_000, 9_000, rows), 2),
            "skewed": np.where(rng.random(rows) < 0.97, 0.0, np.round(rng.random(rows) * 1e6)),
            "few": rng.choice([1, 2, 3], rows),
            "name": rng.choice(["Ann", "Bob"], rows),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
        }
    )
    outliers = pd.DataFrame(
        {
            "income": [987_654_321.25, -456_789_123.5],
            "skewed": [123_456_789.0, -999_999.0],
            "few": [777, 888],
            "name": ["Zebulon", "Quirinus"],
            "day": [pd.Timestamp("1871-03-04"), pd.Timestamp("2250-11-12")],
        }
    )
    frame = pd.concat([frame, outliers], ignore_index=True)
    evaluation = evaluate(frame, frame.sample(frac=1, random_state=0), frame)
    page = Page(render(evaluation, Heading()))
    attributes = [str(values.get("aria-label")) for _, values in page.elements]
    labels = [
        entry["label"] for column in metrics_document(evaluation)["columns"] for entry in column["bins"]
    ]
    data = re.findall(r'id="data-axes">(.*?)</script>', page.source)
    shown = " ".join((page.text, *attributes, *labels, *data))
    assert "Ann" in shown
    for secret in (
        "987",
        "457",
        "456",
        "123,",
        "123M",
        "M ",
        "777",
        "888",
        "999",
        "Zeb",
        "Quir",
        "1871",
        "2250",
    ):
        assert secret not in shown, secret


def test_labels_of_few_distinct_numbers_are_the_numbers() -> None:
    frame = pd.DataFrame({"grade": [1, 2, 3, 4, 5] * 40})
    (column,) = metrics_document(evaluate(frame, None, frame))["columns"]
    assert [entry["label"] for entry in column["bins"]] == ["1", "2", "3", "4", "5"]


def test_whole_numbers_get_closed_intervals() -> None:
    frame = pd.DataFrame({"age": np.arange(1000) % 50})
    (column,) = metrics_document(evaluate(frame, None, frame))["columns"]
    labels = [entry["label"] for entry in column["bins"]]
    assert (labels[0], labels[1], labels[-1]) == ("< 4", "4 – 8", "≥ 44")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.none() | st.floats() | st.integers(-(10**12), 10**12), min_size=1, max_size=80),
    st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=80),
    st.lists(st.none() | st.datetimes(), min_size=1, max_size=80),
)
def test_any_data_make_a_page(
    numbers: list[float | None], texts: list[str | None], times: list[object]
) -> None:
    size = max(len(numbers), len(texts), len(times))
    frame = pd.DataFrame(
        {
            "n": pd.Series([numbers[i % len(numbers)] for i in range(size)], dtype="float64"),
            "t": pd.Series([texts[i % len(texts)] for i in range(size)], dtype="object"),
            "d": pd.Series([times[i % len(times)] for i in range(size)], dtype="datetime64[us]"),
        }
    )
    Page(report(frame, frame.head(size // 2 + 1), frame.tail(size // 2 + 1)))


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 3, "0"),
        (12_345, 2, "12,000"),
        (1_234_567, 2, "1.2M"),
        (3.14159, 3, "3.14"),
        (-0.5, 2, "-0.5"),
        (1999, 4, "1999"),
        (1e-7, 2, "1e-07"),
        (2.5e18, 2, "2.5e+18"),
    ],
)
def test_numbers_are_written_as_people_do(value: float, digits: int, text: str) -> None:
    assert format_number(value, digits) == text
