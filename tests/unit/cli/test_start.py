"""The command is quick to start and wrong use is answered, not raised."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from simulacra.cli import main
from simulacra.cli.output import ExitCode, exit_code_of, plain
from simulacra.errors import (
    DeadlineExceeded,
    InvalidArgument,
    JobFailed,
    LimitExceeded,
    ResourceNotFound,
    ServiceUnavailable,
    SimulacraError,
    Unauthenticated,
    WrongState,
)

HEAVY = ("grpc", "pandas", "pyarrow", "torch", "numpy", "sqlalchemy", "google.protobuf", "simulacra.domain")


@pytest.mark.parametrize(
    "code",
    [
        "import simulacra; simulacra.__version__",
        "import simulacra.client",
        "from simulacra.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from simulacra.cli import main\ntry: main(['synthesize', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported_for_help(code: str) -> None:
    check = (
        f"{code}\nimport sys, json\nsys.stderr.write(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr) == []


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


@pytest.mark.parametrize("group", ["generators", "datasets", "connectors", "jobs"])
def test_each_kind_of_resource_has_its_commands(capsys: pytest.CaptureFixture[str], group: str) -> None:
    code, out, _ = run(capsys, group, "--help")
    assert code == 0
    assert all(command in out for command in ("list", "get", "delete", "cancel" if group == "jobs" else ""))
    assert "130 interrupted" in " ".join(out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["synthesize"],
        ["synthesize", "a.csv"],
        ["generators", "get"],
        ["probe", "g", "--size", "0"],
        ["generate", "g", "--overwrite"],
        ["generate", "g", "--append"],
    ],
)
def test_wrong_use_is_code_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == ExitCode.USAGE
    assert out == ""
    assert "Traceback" not in err
    code, out, err = run(capsys, *arguments, "--json")
    assert code == ExitCode.USAGE
    assert json.loads(out)["error"]["reason"] == "WRONG_USE"
    assert err == ""


def test_a_missing_file_is_invalid_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "synthesize", str(tmp_path / "none.csv"), "--output", str(tmp_path))
    assert code == ExitCode.INVALID_INPUT
    assert out == ""
    assert "none.csv" in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{}/a/t.csv", "{}/b/t.csv", "--output", "{}/o"], 'would both be the table "t"'),
        (["{}/a", "--output", "{}/o"], "SOURCE: "),
        (["{}/a/none.csv", "--output", "{}/o"], "SOURCE: there is no file"),
        (["{}/a/t.csv", "--output", "{}/o", "--report", "{}/x", "--metrics", "{}/o/../x"], "--metrics"),
        (["{}/a/t.csv", "--output", "{}/a/t.csv"], "--output"),
        (["{}/a/t.csv", "--output", "{}/o", "--report", "{}/b"], "--report"),
        (["{}/a/t.csv", "--output", "/proc/none/o"], "/proc/none"),
    ],
)
def test_wrong_places_are_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text("x\n1\n")
    code, out, err = run(capsys, "synthesize", *(argument.format(tmp_path) for argument in arguments))
    assert (code, out) == (ExitCode.INVALID_INPUT, "")
    assert words in err


@pytest.mark.parametrize("command", ["generate", "probe"])
@pytest.mark.parametrize(
    ("text", "words"), [("{", "is not JSON"), ("[1]", "no JSON object but a list"), (None, "cannot be read")]
)
def test_a_configuration_is_a_json_object(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, text: str | None, words: str
) -> None:
    file = tmp_path / "config.json"
    if text is not None:
        file.write_text(text)
    code, out, err = run(capsys, command, "g", "--config", str(file))
    assert (code, out) == (ExitCode.INVALID_INPUT, "")
    assert "--config" in err
    assert words in " ".join(err.split())


@pytest.mark.parametrize("command", ["generate", "probe"])
def test_rows_to_complete_are_in_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        code, out, err = run(capsys, command, "g", "--seed-rows", str(path))
        assert (code, out) == (ExitCode.INVALID_INPUT, "")
        assert f'--seed-rows: there is no file "{path}"' in " ".join(err.split())


def test_errors_are_json_on_standard_output_when_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "people.xyz"
    path.write_text("")
    code, out, err = run(capsys, "synthesize", str(path), "--output", str(tmp_path), "--json")
    error = json.loads(out)["error"]
    assert code == ExitCode.INVALID_INPUT
    assert error["reason"] == "INVALID_ARGUMENT"
    assert error["violations"][0]["field"] == "SOURCE"
    assert err == ""


def test_a_platform_that_is_not_there_is_unavailable(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "generators", "list", "--address", "127.0.0.1:1", "--api-key", "k")
    assert code == ExitCode.UNAVAILABLE
    assert "Error" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobFailed("x"), ExitCode.FAILED),
        (SimulacraError("x"), ExitCode.FAILED),
        (ResourceNotFound("x"), ExitCode.NOT_FOUND),
        (InvalidArgument("x"), ExitCode.INVALID_INPUT),
        (ServiceUnavailable("x"), ExitCode.UNAVAILABLE),
        (DeadlineExceeded("x"), ExitCode.UNAVAILABLE),
        (Unauthenticated("x"), ExitCode.PERMISSION),
        (WrongState("x"), ExitCode.WRONG_STATE),
        (LimitExceeded("x"), ExitCode.LIMIT),
    ],
)
def test_each_error_has_its_exit_code(error: SimulacraError, code: ExitCode) -> None:
    assert exit_code_of(error) == code


def test_json_has_null_for_what_is_not_a_number() -> None:
    assert plain({"a": float("nan"), "b": [float("inf"), 1.5], "c": Path("x")}) == {
        "a": None,
        "b": [None, 1.5],
        "c": "x",
    }
