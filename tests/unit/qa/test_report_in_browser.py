"""The report in a real Chromium: both themes, paper, keyboard, accessibility, and names that are scripts."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulacra_qa import Context, evaluate
from simulacra_qa.against import Asked, Compared, compare_steps
from simulacra_qa.families import with_relation
from simulacra_qa.metrics.columns import as_table
from simulacra_qa.metrics.minilm import Absent
from simulacra_qa.report import Heading, render
from simulacra_qa.statistics import statistics_of
from tests.require import require
from tests.unit.qa.browser import Browser, axe_source

HOSTILE = "<script>alert(1)</script>"


def people(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.normal(45, 12, rows).round()
    return pd.DataFrame(
        {
            "age": pd.Series(age).mask(rng.random(rows) < 0.1),
            "income": age * 900 + rng.normal(0, 9000, rows),
            HOSTILE: np.where(age + rng.normal(0, 9, rows) > 45, "<img src=x onerror=alert(2)>", "plain"),
            "job": rng.choice(["clerk", "nurse", "smith"], rows),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
        }
    )


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """A model's report of data with flaws, and a data report."""
    training, holdout, synthetic = (people(900, seed) for seed in range(3))
    synthetic.iloc[:150] = training.iloc[:150]
    synthetic["age"] = synthetic["age"].fillna(50)
    evaluation = evaluate(training, holdout, synthetic)
    *_, compared = compare_steps(
        statistics_of(evaluation), as_table(people(700, 5)), Asked(rebalanced=[HOSTILE])
    )
    assert isinstance(compared, Compared)
    heading = Heading(title=HOSTILE, table_name=HOSTILE, subtitle=HOSTILE)
    owners = [pd.DataFrame({"id": range(150), HOSTILE: people(150, seed)["job"]}) for seed in range(3)]
    visits = [people(450, seed).assign(owner=np.repeat(np.arange(150), 3)) for seed in range(3)]
    context = Context(owners[0], owners[1], owners[2], "id")
    rows = (visits[0], visits[1], visits[2])
    sequences = evaluate(*rows, key="owner", context=context, target="job", embed=False)
    return {
        "sequences": render(with_relation(sequences, rows, context, child=HOSTILE, parent=HOSTILE), heading),
        "model": render(evaluation, heading),
        "data": render(compared.evaluation, heading, compared.intent),
    }


def axe_script() -> str:
    """What runs axe-core on a page and returns the violations in words."""
    source = axe_source().replace("</script", "<\\/script")
    return (
        source
        + """;
    for (const e of document.querySelectorAll("details")) e.open = true;
    const found = await axe.run(document, {resultTypes: ["violations"]});
    const told = (node) => node.html + node.failureSummary;
    return found.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map(told)}`);
    """
    )


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(tmp_path)


def test_page_runs_nothing_from_data_loads_nothing_and_fits(browser: Browser, pages: dict[str, str]) -> None:
    script = """
    return {problems: window.problems, loaded: performance.getEntriesByType("resource").length,
            title: document.title, heading: document.querySelector("h1").textContent,
            wide: document.documentElement.scrollWidth - window.innerWidth,
            columns: [...document.querySelectorAll("#columns tbody th")].map((e) => e.firstChild.data)};
    """
    for page in (pages["model"], pages["sequences"]):
        for width in (1300, 500):
            seen = browser.ask(page, script, width=width)
            assert seen["problems"] == []
            assert seen["loaded"] == 0
            assert seen["title"] == seen["heading"] == HOSTILE
            assert [name.strip() for name in seen["columns"]][:5] == list(people(1, 0))
            assert seen["wide"] <= 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["model", "data", "sequences"])
def test_axe_finds_no_violation(browser: Browser, pages: dict[str, str], kind: str, theme: str) -> None:
    assert browser.ask(pages[kind], axe_script(), theme=theme) == []


def test_axe_finds_no_violation_on_a_narrow_screen(browser: Browser, pages: dict[str, str]) -> None:
    assert browser.ask(pages["sequences"], axe_script(), width=500) == []


def test_axe_finds_no_violation_in_the_maps_of_texts(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIMULACRA_EMBEDDER_PATH", raising=False)
    evaluation = evaluate(*(people(120, seed) for seed in range(3)))
    require(
        "embedder", not isinstance(evaluation.similar, Absent), "there are no weights to embed texts with"
    )
    page = render(evaluation, Heading(title=HOSTILE))
    assert "Density of the synthetic records" in page
    for theme in ("light", "dark"):
        assert browser.ask(page, axe_script(), theme=theme) == []


def test_theme_filter_and_tip_work(browser: Browser, pages: dict[str, str]) -> None:
    script = """
    const ground = () => getComputedStyle(document.body).backgroundColor, seen = {light: ground()};
    document.getElementById("theme").click();
    seen.dark = ground();
    const filter = document.getElementById("filter");
    filter.value = "job"; filter.dispatchEvent(new Event("input"));
    seen.cards = [...document.querySelectorAll("#univariates article")].filter((e) => !e.hidden).length;
    filter.value = ""; filter.dispatchEvent(new Event("input"));
    const frame = document.querySelector("#bivariates svg.pair .frame"), box = frame.getBoundingClientRect();
    const at = {bubbles: true, clientX: box.x + 3, clientY: box.y + 3};
    frame.dispatchEvent(new PointerEvent("pointermove", at));
    seen.tip = document.getElementById("tip").textContent;
    const controls = [...document.querySelectorAll("nav a, nav input, nav button")];
    seen.focusable = controls.length > 5 && controls.every((e) => e.tabIndex === 0);
    seen.problems = window.problems;
    return seen;
    """
    seen: dict[str, Any] = browser.ask(pages["model"], script)
    light, dark = (sum(map(int, re.findall(r"\d+", seen[theme]))) for theme in ("light", "dark"))
    assert light > 600 > 200 > dark
    assert seen["cards"] == 1
    assert "training" in seen["tip"]
    assert seen["focusable"]
    assert seen["problems"] == []


def test_page_is_drawn_and_printed(browser: Browser, pages: dict[str, str], tmp_path: Path) -> None:
    page, image, paper = tmp_path / "report.html", tmp_path / "report.png", tmp_path / "report.pdf"
    page.write_text(pages["model"], encoding="utf-8")
    browser.screenshot(page, image)
    assert image.read_bytes().startswith(b"\x89PNG")
    assert image.stat().st_size > 20_000
    browser.print(page, paper)
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 20
