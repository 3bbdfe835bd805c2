"""A flat table from file to synthetic rows: `python -m benchmarks.flat TABLE [--peer PYTHON] [--seeds 0 1]`.

The table's rows are split in halves once. `simulacra synthesize` runs on one half for each seed and makes as
many rows; accuracy is measured against both halves together, and so is that of the other half. With `--peer`,
an interpreter that has mostlyai-engine trains it with its defaults on the same half, in the same run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.machine import describe
from simulacra_qa import Reference, evaluate

PEER = """
import json, sys, time
import pandas as pd
from mostlyai import engine

training, workspace, target = sys.argv[1:4]
table, seconds = pd.read_parquet(training), {}
steps = {
    "split": {"tgt_data": table, "model_type": "TABULAR"},
    "analyze": {}, "encode": {}, "train": {}, "generate": {"sample_size": len(table)},
}
for name, options in steps.items():
    start = time.perf_counter()
    getattr(engine, name)(workspace_dir=workspace, **options)
    seconds[name] = round(time.perf_counter() - start, 2)
pd.read_parquet(f"{workspace}/SyntheticData").to_parquet(target)
print(json.dumps(seconds))
"""


def halves(path: Path, folder: Path) -> tuple[Path, Path]:
    """Writes two random halves of a table (the split's seed is 0) and returns their files."""
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    shuffled = frame.sample(frac=1, random_state=0)
    half = len(frame) // 2
    files = folder / "training.parquet", folder / "holdout.parquet"
    for file, part in zip(files, (shuffled[:half], shuffled[half : 2 * half]), strict=True):
        part.reset_index(drop=True).to_parquet(file)
    return files


def accuracies(training: Path, holdout: Path, synthetic: Path) -> dict[str, float]:
    """Returns the mean accuracies of each kind against both halves, and their unweighted mean."""
    frames = [pd.read_parquet(path) for path in (training, holdout, synthetic)]
    marginals = evaluate(frames[0], frames[1], frames[2], reference=Reference.ORIGINAL).marginals
    kinds = {name: getattr(marginals, name) for name in ("univariate", "bivariate", "trivariate")}
    found = {name: statistics.fmean(score.accuracy for score in scores) for name, scores in kinds.items()}
    return {"overall": round(statistics.fmean(found.values()), 4)} | {
        k: round(v, 4) for k, v in found.items()
    }


def ours(training: Path, holdout: Path, folder: Path, seed: int) -> dict[str, Any]:
    """Runs `simulacra synthesize`, report and metrics included."""
    output = folder / f"ours-{seed}"
    rows = len(pd.read_parquet(training))
    command = [
        sys.executable,
        "-m",
        "simulacra.cli",
        "synthesize",
        str(training),
        "--output",
        str(output),
        "--json",
    ]
    options = ["--rows", str(rows), "--seed", str(seed), "--report", str(output / "report.html")]
    start = time.perf_counter()
    done = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    steps = {step["step"]: step for step in json.loads(done.stdout)["steps"]}
    training_seconds = steps["TRAIN_MODEL"]["end"] - steps["ANALYZE_TRAINING_DATA"]["start"]
    return {
        "seed": seed,
        "analyze_to_train_seconds": round(training_seconds, 2),
        "command_seconds": round(seconds, 2),
        **accuracies(training, holdout, output / "training.parquet"),
    }


def peer(python: str, training: Path, holdout: Path, folder: Path) -> dict[str, Any]:
    """Trains and samples the incumbent in its own interpreter."""
    synthetic = folder / "peer.parquet"
    command = [python, "-c", PEER, str(training), str(folder / "peer"), str(synthetic)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = json.loads(done.stdout.strip().splitlines()[-1])
    training_seconds = sum(seconds[step] for step in ("analyze", "encode", "train"))
    return {
        "analyze_to_train_seconds": round(training_seconds, 2),
        "seconds": seconds,
        **accuracies(training, holdout, synthetic),
    }


def main() -> None:
    """Prints the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="a CSV or Parquet file")
    parser.add_argument("--peer", help="a Python interpreter with mostlyai-engine")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        training, holdout = halves(arguments.table, folder)
        runs = [ours(training, holdout, folder, seed) for seed in arguments.seeds]
        result: dict[str, Any] = {
            "machine": describe("torch", "numpy", "pyarrow"),
            "table": arguments.table.name,
            "holdout": accuracies(training, holdout, holdout),
            "ours": runs,
            "ours_median_overall": statistics.median(run["overall"] for run in runs),
        }
        if arguments.peer:
            result["peer"] = peer(arguments.peer, training, holdout, folder)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
