"""The quality metrics' own quality: `python -m benchmarks.qa [TABLE] [--draws 200] [--wide] [--peer PYTHON]`.

- *Calibration*: training, holdout and synthetic data are draws of one distribution, so every alarm is false.
  At level .05, each test may raise 3 to 19 in 200 draws (the central 99.8 % of a binomial).
- *Power*: the same with a tenth of the synthetic records copied from training.
- *Speed*: a table is split in halves; training half, holdout half and a resample of both are evaluated,
  report included, once without and, if weights are there, once with embedding texts. `--wide` adds one of
  100,000 rows and 100 columns.
- *Referee*: with `--peer`, an interpreter that has mostlyai-qa scores the same three tables; ours then takes
  training and holdout as the reference, as it does.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.machine import describe
from simulacra_qa import Evaluation, Reference, evaluate
from simulacra_qa.embedder import embedder_path
from simulacra_qa.metrics.accuracy import Interval
from simulacra_qa.metrics.minilm import find_weights
from simulacra_qa.report import Heading, render
from simulacra_qa.results import metrics_document, model_metrics

PEER = """
import sys, time
import pandas as pd
from mostlyai import qa

training, holdout, synthetic = (pd.read_parquet(path) for path in sys.argv[1:4])
start = time.perf_counter()
_, metrics = qa.report(
    syn_tgt_data=synthetic, trn_tgt_data=training, hol_tgt_data=holdout, report_path=sys.argv[4]
)
print('{"seconds": %.1f, "metrics": %s}' % (time.perf_counter() - start, metrics.model_dump_json()))
"""
LEVEL = 0.05
ROWS = 500


def population(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draws rows of eight dependent columns: numbers, whole numbers, times, categories, missing values."""
    age = rng.gamma(9, 5, rows)
    region = rng.integers(0, 5, rows)
    popularity = 1 / np.arange(1, 81)
    income = np.round(np.exp(rng.normal(9 + age / 90, 0.6, rows)), 0)
    return pd.DataFrame(
        {
            "age": np.floor(age),
            "income": pd.Series(income).mask(rng.random(rows) < 0.1),
            "score": age / 50 + rng.normal(0, 1, rows),
            "joined": pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 3000, rows), "D"),
            "region": region.astype(str),
            "town": [
                f"{r}-{t}"
                for r, t in zip(region, rng.choice(80, rows, p=popularity / popularity.sum()), strict=True)
            ],
            "member": rng.random(rows) < 0.2 + region / 10,
            "children": rng.poisson(age / 40),
        }
    )


def p_values(evaluation: Evaluation) -> Iterator[tuple[str, float]]:
    """Yields each test's p-value; an interval that misses what is expected counts as .0499."""
    assert evaluation.membership is not None
    assert evaluation.distances is not None
    yield "membership", evaluation.membership.p_value
    for attack in evaluation.membership.attacks:
        yield f"membership: {attack.name}", attack.p_value
    yield from ((test.name, test.p_value) for test in evaluation.privacy)
    yield "dcr_share", _missed(evaluation.distances.dcr_share_interval, 0.5)


def _missed(interval: Interval, expected: float) -> float:
    return 1.0 if interval.low <= expected <= interval.high else 0.0499


def alarms(draws: int, copied: float) -> dict[str, int]:
    """Counts each test's alarms at `LEVEL` over draws in which that share of synthetic records is copied."""
    raised: Counter[str] = Counter()
    for draw in range(draws):
        training, holdout, synthetic = (
            population(ROWS, np.random.default_rng([draw, part])) for part in range(3)
        )
        copies = int(copied * ROWS)
        synthetic.iloc[:copies] = training.iloc[:copies]
        for name, p_value in p_values(evaluate(training, holdout, synthetic, seed=draw, embed=False)):
            raised[name] += p_value < LEVEL
    return dict(raised)


def timed(
    training: pd.DataFrame, holdout: pd.DataFrame, synthetic: pd.DataFrame, *, embed: bool
) -> dict[str, Any]:
    """Evaluates and renders once."""
    start = time.perf_counter()
    evaluation = evaluate(training, holdout, synthetic, embed=embed)
    evaluated = time.perf_counter()
    html, document = render(evaluation, Heading()), metrics_document(evaluation)
    end = time.perf_counter()
    return {
        "rows": evaluation.rows,
        "columns": len(evaluation.columns),
        "evaluation_seconds": round(evaluated - start, 2),
        "report_seconds": round(end - evaluated, 2),
        "report_bytes": len(html.encode()),
        "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "metrics": {name: document["metrics"][name] for name in ("accuracy", "similarity", "distances")},
    }


def refereed(python: str, parts: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Has the peer score the tables, and scores them with its reference."""
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / f"{part}.parquet" for part in ("training", "holdout", "synthetic")]
        for file, part in zip(files, parts, strict=True):
            part.to_parquet(file)
        command = [python, "-c", PEER, *map(str, files), str(Path(name) / "report.html")]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    ours = evaluate(parts[0], parts[1], parts[2], reference=Reference.ORIGINAL, embed=False)
    accuracy = model_metrics(ours).accuracy
    assert accuracy is not None
    return {"ours": accuracy.model_dump(), "peer": json.loads(done.stdout.strip().splitlines()[-1])}


def halves(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Returns two halves of a table and, in place of synthetic data, a resample of both."""
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    shuffled = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    half = len(frame) // 2
    resampled = shuffled.sample(half, replace=True, random_state=1).reset_index(drop=True)
    return shuffled[:half], shuffled[half : 2 * half].reset_index(drop=True), resampled


def wide(rows: int, columns: int, seed: int) -> pd.DataFrame:
    """Makes a table of numbers and categories that depend on a few common causes."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(0, 1, (rows, 5)).astype(np.float32)
    weights = np.random.default_rng(0).normal(0, 1, (5, columns)).astype(np.float32)
    values = causes @ weights + rng.normal(0, 1, (rows, columns)).astype(np.float32)
    names = np.array([f"category {i}" for i in range(30)])
    data = {
        f"c{i}": names[np.clip(values[:, i] * 5 + 15, 0, 29).astype(int)] if i % 2 else values[:, i]
        for i in range(columns)
    }
    return pd.DataFrame(data)


def main() -> None:
    """Prints the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, nargs="?", help="a CSV or Parquet file to time")
    parser.add_argument(
        "--draws", type=int, default=200, help="draws for calibration, a tenth of them for power"
    )
    parser.add_argument("--peer", help="a Python interpreter with mostlyai-qa, to score the table too")
    parser.add_argument("--wide", action="store_true", help="time 100,000 rows of 100 columns")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": describe("numpy", "scipy", "scikit-learn", "torch")}
    if arguments.table:
        parts = halves(arguments.table)
        result["table"] = arguments.table.name
        result["speed"] = timed(*parts, embed=False)
        if isinstance(find_weights(embedder_path()), Path):
            result["speed_with_texts"] = timed(*parts, embed=True)
        if arguments.peer:
            result["referee"] = refereed(arguments.peer, parts)
    if arguments.wide:
        large = [wide(rows, 100, seed) for seed, rows in enumerate((100_000, 10_000, 100_000))]
        result["wide"] = timed(large[0], large[1], large[2], embed=False)
        del result["wide"]["metrics"]
    if arguments.draws:
        start = time.perf_counter()
        result["calibration"] = {
            "rows": ROWS,
            "level": LEVEL,
            "draws": arguments.draws,
            "false_alarms": alarms(arguments.draws, 0.0),
            "power": {"draws": arguments.draws // 10, "alarms": alarms(arguments.draws // 10, 0.1)},
            "seconds": round(time.perf_counter() - start, 1),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
