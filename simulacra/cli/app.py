"""The commands: what they take. What they do is in the modules that they load when they run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from simulacra.cli.controls import Config, SeedRows, controls
from simulacra.cli.options import Address, ApiKey, DataDir, Json, client
from simulacra.cli.output import EXIT_CODES_HELP, ExitCode, handles_errors, note, print_json
from simulacra.cli.resources import add_resource_commands

__all__ = ["app"]

app = typer.Typer(
    help="Privacy-safe synthetic data of your own databases and files.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MaxTrainingMinutes = Annotated[
    float | None, typer.Option(min=0.01, help="At most so many minutes of training for each model.")
]
Seed = Annotated[int | None, typer.Option(help="The same seed, data and version give the same rows.")]


class Reference(StrEnum):
    """What synthetic data are compared with."""

    TRAINING = "training"
    ORIGINAL = "training+holdout"


def _given(path: Path) -> Path | None:
    return None if str(path) == "-" else path


def _version(wanted: bool) -> None:
    if wanted:
        import simulacra

        typer.echo(simulacra.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="The version.", show_default=False),
    ] = False,
) -> None:
    """Privacy-safe synthetic data of your own databases and files."""


@app.command(epilog=EXIT_CODES_HELP)
@handles_errors
def up(
    data_dir: DataDir = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The gateway's port; 0 is any free one.")
    ] = 8400,
    as_json: Json = False,
) -> None:
    """Runs the whole platform in one process, until Ctrl-C."""
    from simulacra.cli.up import run

    run(data_dir, host=host, port=port, as_json=as_json)


@app.command(epilog=EXIT_CODES_HELP)
@handles_errors
def demo(
    output: Annotated[Path, typer.Option(help="The folder for rows and report.")] = Path("demo-output"),
    rows: Annotated[int, typer.Option(min=500, help="How many real flights to learn from.")] = 20_000,
    seed: Seed = 1,
    max_training_minutes: MaxTrainingMinutes = 2.0,
    as_json: Json = False,
) -> None:
    """Trains on real flights, shows the accuracy, writes synthetic rows and the report."""
    from simulacra.cli.demo import run

    run(output, rows=rows, seed=seed, max_training_minutes=max_training_minutes, as_json=as_json)


@app.command(epilog=EXIT_CODES_HELP)
@handles_errors
def synthesize(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE", help="CSV or Parquet files: one table each.")
    ],
    output: Annotated[Path, typer.Option(help="The folder that gets TABLE.parquet for each table.")],
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows of each table. By default as many as it has.")
    ] = None,
    seed: Seed = None,
    max_training_minutes: MaxTrainingMinutes = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Where to write the quality report; of several tables, FILE-TABLE.html each."),
    ] = None,
    metrics: Annotated[Path | None, typer.Option(help="Where to write each table's metrics as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Makes synthetic data of files: trains, generates and writes, without a running platform."""
    from simulacra.cli.synthesize import Task, run

    run(
        Task(
            sources=tuple(sources),
            output=output,
            rows=rows,
            seed=seed,
            max_training_minutes=max_training_minutes,
            report=report,
            metrics=metrics,
        ),
        as_json=as_json,
    )


@app.command(epilog=EXIT_CODES_HELP)
@handles_errors
def qa(
    training: Annotated[Path, typer.Argument(help="What the generator learnt from: CSV, Parquet, ...")],
    holdout: Annotated[Path, typer.Argument(help="Rows of the same source that it never saw; - if none.")],
    synthetic: Annotated[Path, typer.Argument(help="The synthetic rows to judge.")],
    report: Annotated[Path | None, typer.Option(help="Where to write the report, one HTML file.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="Where to write all numbers as JSON.")] = None,
    reference: Annotated[
        Reference, typer.Option(help="What accuracy is measured against.", case_sensitive=False)
    ] = Reference.TRAINING,
    key: Annotated[
        str | None, typer.Option(help="The column that says whose a row is, if several are of one subject.")
    ] = None,
    context: Annotated[
        tuple[Path, Path, Path] | None,
        typer.Option(
            metavar="TRAINING HOLDOUT SYNTHETIC",
            help="Files that describe the subjects; --key refers to them.",
        ),
    ] = None,
    context_key: Annotated[
        str | None, typer.Option(help="The column of --context that --key refers to.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="The column that models are to predict, learning from synthetic or training rows; "
            "(detect) finds one."
        ),
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed/--no-embed", help="Also compare records as texts, which takes longer.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and data give the same numbers.")] = 0,
    title: Annotated[
        str, typer.Option(help="The report's title. By default the synthetic file's name.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Judges any synthetic table: accuracy, realism, privacy. Needs no platform."""
    from simulacra.cli.qa import Task, run

    run(
        Task(
            training=training,
            holdout=_given(holdout),
            synthetic=synthetic,
            report=report,
            metrics=metrics,
            reference=reference.value,
            key=key,
            context=(context[0], _given(context[1]), context[2]) if context else None,
            context_key=context_key,
            target=target,
            embed=embed,
            seed=seed,
            title=title,
        ),
        as_json=as_json,
    )


@app.command(epilog=EXIT_CODES_HELP)
@handles_errors
def watch(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Jobs or resources. By default all unended jobs.")
    ] = None,
    address: Address = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Shows jobs while they run, until the named ones have ended; with --json one line for each change."""
    from simulacra.cli.watch import run

    with client(address, api_key, data_dir) as simulacra:
        succeeded = run(simulacra, tuple(ids or ()), as_json=as_json)
    if not succeeded:
        raise typer.Exit(ExitCode.FAILED)


@app.command(epilog=EXIT_CODES_HELP)
@handles_errors
def probe(
    generator: Annotated[str, typer.Argument(help="The generator's id.")],
    size: Annotated[
        int | None,
        typer.Option("--rows", "--size", min=1, help="Rows of each table. By default 10, or the rows given."),
    ] = None,
    seed: Seed = None,
    seed_rows: SeedRows = None,
    config: Config = None,
    address: Address = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Shows a few synthetic rows of a trained generator."""
    from simulacra.cli.frames import records_of, show_frame

    if size is None and seed_rows is None and config is None:
        size = 10
    wanted = controls(config, seed_rows, seed)
    with client(address, api_key, data_dir) as simulacra:
        frames = simulacra.probe(generator, size=size, return_type="dict", **wanted)
    assert isinstance(frames, dict)
    if as_json:
        print_json({name: records_of(frame) for name, frame in frames.items()})
        return
    for name, frame in frames.items():
        note(name, style="bold")
        show_frame(frame, rows=len(frame))


@app.command(epilog=EXIT_CODES_HELP)
@handles_errors
def generate(
    generator: Annotated[str, typer.Argument(help="The trained generator's id.")],
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows of each subject table. By default as many as its source.")
    ] = None,
    seed: Seed = None,
    seed_rows: SeedRows = None,
    config: Config = None,
    name: Annotated[str | None, typer.Option(help="The synthetic dataset's name.")] = None,
    deliver_to: Annotated[
        str | None, typer.Option(metavar="CONNECTOR", help="The id of a DESTINATION connector to write to.")
    ] = None,
    location: Annotated[
        str | None, typer.Option(help="The schema, database or folder there; needed with --deliver-to.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace tables that are there.")] = False,
    append: Annotated[bool, typer.Option("--append", help="Add rows to tables that are there.")] = False,
    address: Address = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Generates a synthetic dataset of a trained generator, and delivers it if asked to."""
    from simulacra.cli.output import show

    delivery = None
    if (deliver_to is None) != (location is None):
        raise typer.BadParameter("--deliver-to and --location go together")
    if deliver_to is None and (overwrite or append):
        option = "--overwrite" if overwrite else "--append"
        raise typer.BadParameter(f"{option} is about tables at a destination; give it with --deliver-to")
    if deliver_to is not None:
        delivery = {
            "destination_connector_id": deliver_to,
            "location": location,
            "overwrite_tables": overwrite,
            "append_to_tables": append,
        }
    wanted = controls(config, seed_rows, seed)
    with client(address, api_key, data_dir) as simulacra:
        dataset = simulacra.generate(
            generator, size=rows, name=name, delivery=delivery, progress_bar=not as_json, **wanted
        )
        dataset.refresh()
    show(dataset, as_json=as_json)


add_resource_commands(app)
