"""The command line on a running platform, and on files alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import psycopg
import pytest

from simulacra.cli import main
from simulacra.cli.output import ExitCode
from simulacra.client import Simulacra
from simulacra.client._embedded import EmbeddedStack
from simulacra.errors import JobFailed
from tests.integration.client.people import people
from tests.postgres import PostgresServer

UNKNOWN = "00000000-0000-0000-0000-000000000000"


class Cli:
    """Runs commands against the platform and keeps what they say."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        try:
            main(arguments)
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return code

    def json(self, *arguments: str) -> Any:
        assert self(*arguments, "--json") == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, embedded: EmbeddedStack) -> Cli:
    """The command line, pointed at the platform by the environment."""
    monkeypatch.setenv("SIMULACRA_ADDRESS", embedded.endpoint.address)
    monkeypatch.setenv("SIMULACRA_API_KEY", embedded.endpoint.api_key or "")
    return Cli(capsys)


@pytest.fixture(scope="session")
def generator_id(embedded: EmbeddedStack) -> str:
    """A trained generator."""
    with Simulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        quick = {"max_epochs": 2}
        data = {"people": people(300)}
        return client.train(data=data, name="cli", model_configuration=quick, progress_bar=False).id


def test_resources_are_listed_and_shown(cli: Cli, generator_id: str) -> None:
    assert generator_id in {item["id"] for item in cli.json("generators", "list")}
    assert cli.json("generators", "get", generator_id)["training_status"] == "DONE"
    assert cli("generators", "list") == 0
    assert "cli" in cli.out
    assert cli.json("jobs", "list", "--status", "DONE")
    job_id = cli.json("jobs", "list", "--status", "DONE")[0]["progress"]["id"]
    assert cli("jobs", "get", job_id) == 0
    assert "Finalize" in cli.out
    assert "ProgressStatus" not in cli.out
    assert cli.json("connectors", "list") is not None
    assert cli.json("datasets", "list") is not None


def test_types_of_connectors_are_described(cli: Cli) -> None:
    assert len(cli.json("connectors", "types")) == 13
    assert cli("connectors", "types") == 0
    assert "AZURE_STORAGE" in cli.out
    assert cli("connectors", "types", "hive") == 0
    assert "kerberosKeytab" in cli.out
    assert "config.kerberosEnabled = true" in cli.out
    hive = cli.json("connectors", "types", "HIVE")
    assert [login["display_name"] for login in hive["logins"]] == ["password", "Kerberos"]
    assert cli("connectors", "types", "postgre") == ExitCode.USAGE


def test_a_probe_shows_rows(cli: Cli, generator_id: str) -> None:
    rows = cli.json("probe", generator_id, "--rows", "4", "--seed", "1")
    assert len(rows["people"]) == 4
    assert rows == cli.json("probe", generator_id, "--rows", "4", "--seed", "1")
    assert cli("probe", generator_id) == 0
    assert "income" in cli.out


def test_a_watch_ends_with_its_job(cli: Cli, generator_id: str) -> None:
    assert cli("watch", generator_id, "--json") == 0
    last = json.loads(cli.out.splitlines()[-1])
    assert last["progress"]["status"] == "DONE"
    assert cli("watch", f"jobs/{last['progress']['id']}") == 0
    assert "Finalize training DONE" in cli.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("generators", "get", UNKNOWN),
        ("datasets", "delete", UNKNOWN),
        ("jobs", "get", UNKNOWN),
        ("probe", UNKNOWN),
    ],
)
def test_what_is_not_there_is_code_3(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli(*arguments) == ExitCode.NOT_FOUND
    assert UNKNOWN in cli.err
    assert cli(*arguments, "--json") == ExitCode.NOT_FOUND
    assert json.loads(cli.out)["error"]["code"] == "NOT_FOUND"


def test_a_generator_is_deleted(cli: Cli, client: Simulacra) -> None:
    generator = client.train(data=people(50), start=False)
    assert cli.json("generators", "delete", generator.id) == {"id": generator.id, "deleted": True}
    assert cli("generators", "get", generator.id) == ExitCode.NOT_FOUND


def test_a_job_is_deleted_where_it_can_be(cli: Cli, client: Simulacra, generator_id: str) -> None:
    evaluation = client.evaluations.start(people(60), people(60))
    assert cli.json("jobs", "delete", evaluation.id or "")["cancel_requested"] is True
    with pytest.raises(JobFailed):
        client.jobs.wait(evaluation.id or "", progress_bar=False)
    assert cli("jobs", "delete", evaluation.id or "") == 0
    assert "is deleted" in " ".join(cli.err.split())
    assert cli("jobs", "get", evaluation.id or "") == ExitCode.NOT_FOUND
    training = next(job for job in cli.json("jobs", "list") if generator_id in job["resource_uri"])
    assert cli("jobs", "delete", training["progress"]["id"]) == ExitCode.WRONG_STATE
    assert f"generators/{generator_id}" in cli.err
    assert cli("jobs", "delete", UNKNOWN) == ExitCode.NOT_FOUND


def test_an_ended_job_cannot_be_canceled(cli: Cli, generator_id: str) -> None:
    job = next(job for job in cli.json("jobs", "list") if generator_id in job["resource_uri"])
    assert cli("jobs", "cancel", job["progress"]["id"]) == ExitCode.WRONG_STATE


def test_a_wrong_key_is_code_6(cli: Cli) -> None:
    assert cli("generators", "list", "--api-key", "wrong") == ExitCode.PERMISSION


@pytest.mark.usefixtures("capsys")
def test_files_become_synthetic_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source, output = tmp_path / "people.csv", tmp_path / "out"
    people(400).to_csv(source, index=False)
    second = tmp_path / "small.parquet"
    people(300)[["age", "city"]].to_parquet(second)
    cli = Cli(capsys)
    summary = cli.json(
        "synthesize", str(source), str(second), "--output", str(output), "--rows", "120", "--seed", "1",
        "--max-training-minutes", "0.05", "--report", str(tmp_path / "report.html"),
        "--metrics", str(tmp_path / "metrics.json"),
    )  # fmt: skip
    assert len(pd.read_parquet(output / "people.parquet")) == 120
    assert list(pd.read_parquet(output / "small.parquet").columns) == ["age", "city"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics.keys() == {"people", "small"}
    assert metrics == summary["metrics"]
    assert 0.5 < metrics["people"]["accuracy"]["overall"] <= 1
    assert (tmp_path / "report-people.html").exists()
    assert (tmp_path / "report-small.html").exists()


def test_a_damaged_file_is_invalid_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = tmp_path / "damaged.parquet"
    source.write_bytes(b"PAR1 but not really")
    cli = Cli(capsys)
    assert cli("synthesize", str(source), "--output", str(tmp_path / "out")) == ExitCode.INVALID_INPUT
    assert "Traceback" not in cli.err


def test_sigterm_ends_a_command_and_removes_what_it_was_given(tmp_path: Path) -> None:
    source, scratch = tmp_path / "people.csv", tmp_path / "tmp"
    people(400).to_csv(source, index=False)
    scratch.mkdir()
    command = [
        sys.executable,
        "-m",
        "simulacra.cli",
        "synthesize",
        str(source),
        "--output",
        str(tmp_path / "o"),
    ]
    with subprocess.Popen(
        command, env=os.environ | {"TMPDIR": str(scratch)}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "IN_PROGRESS" in line)
        folders = [folder for folder in scratch.iterdir() if "scratch" not in folder.name]
        assert len(folders) == 1, line
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read().endswith("Ended by SIGTERM.\n")
    assert process.returncode == ExitCode.TERMINATED
    assert not folders[0].exists()


def configuration(**controls: object) -> str:
    return json.dumps({"tables": [{"name": "people", "configuration": controls}]})


def test_a_file_says_how_rows_are_sampled(cli: Cli, generator_id: str, tmp_path: Path) -> None:
    file = tmp_path / "controls.json"
    graz = {"column": "city", "probabilities": {"Graz": 1.0}}
    imputed = {"columns": ["children"]}
    file.write_text(configuration(sample_size=30, rebalancing=graz, imputation=imputed))
    rows = cli.json("probe", generator_id, "--config", str(file))["people"]
    assert len(rows) == 30
    assert {row["city"] for row in rows} == {"Graz"}
    assert all(row["children"] is not None for row in rows)
    made = cli.json("generate", generator_id, "--config", str(file), "--rows", "12")
    assert made["tables"][0]["total_rows"] == 12

    file.write_text(configuration(rebalancing={"column": "town", "probabilities": {"Graz": 1.0}}))
    assert cli("probe", generator_id, "--config", str(file)) == ExitCode.INVALID_INPUT
    assert "rebalancing.column" in cli.err
    assert '"town"' in cli.err


def test_rows_are_completed(cli: Cli, generator_id: str, tmp_path: Path) -> None:
    known = pd.DataFrame({"city": ["Graz", "Linz", "Wien"], "age": [20, 40, 60]})
    file = tmp_path / "known.csv"
    known.to_csv(file, index=False)
    first = cli.json("probe", generator_id, "--seed-rows", str(file), "--seed", "3")["people"]
    assert [(row["city"], row["age"]) for row in first] == [("Graz", 20), ("Linz", 40), ("Wien", 60)]
    assert set(first[0]) == set(people(1).columns)
    again = cli.json("probe", generator_id, "--seed-rows", str(file), "--seed", "3")["people"]
    other = cli.json("probe", generator_id, "--seed-rows", str(file), "--seed", "4")["people"]
    assert first == again != other
    file.write_text("city,age\nParis,20\n")
    assert cli("probe", generator_id, "--seed-rows", str(file)) == ExitCode.INVALID_INPUT
    assert "'Paris'" in cli.err


@pytest.mark.postgres
def test_a_dataset_is_generated_and_delivered(
    cli: Cli, client: Simulacra, generator_id: str, postgres_server: PostgresServer
) -> None:
    url = postgres_server.new_database()
    parts = urlsplit(url)
    made = client.connectors.create(
        {
            "type": "POSTGRES",
            "access_type": "DESTINATION",
            "config": {
                "host": parts.hostname,
                "port": parts.port,
                "username": parts.username,
                "database": parts.path.lstrip("/"),
            },
        }
    )
    to = ("--deliver-to", made.id, "--location", "public")
    dataset = cli.json("generate", generator_id, "--rows", "20", "--seed", "1", *to)
    assert dataset["generation_status"] == "DONE"
    [table] = dataset["tables"]
    assert table["delivery"]["location"] == "public.people"
    assert (table["delivery"]["status"], table["delivery"]["rows"]) == ("DONE", 20)
    assert cli("generate", generator_id, *to) != 0
    assert "public.people is there already" in cli.err
    assert cli("generate", generator_id, "--rows", "5", "--append", *to) == 0
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM people").fetchall() == [(25,)]
    assert cli("generate", generator_id, "--deliver-to", made.id) != 0
    assert "go together" in cli.err
