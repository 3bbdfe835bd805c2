"""The examples of the page on the engine run, one after the other, and do what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "engine.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 4
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, example {number + 1}", "exec"), names)  # the page is ours
    assert names["rows"].schema.equals(names["table"].schema)
    assert names["kept"]["city"].to_pylist()[0::2] == ["Graz", "Wien"]
    assert all(names["filled"][name].null_count == 0 for name in names["filled"].column_names)
    shares = names["shifted"]["city"].to_pylist()
    assert abs(shares.count("Graz") / len(shares) - 0.6) < 0.05
    assert names["chances"].num_rows == 5
    assert len(names["surprise"]) == 5
    assert names["model"].codec.encodings["age"] == "TABULAR_NUMERIC_DISCRETE"
