"""`simulacra qa` judges files without a platform, in any format, and says what is wrong with them."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from simulacra.cli import main
from simulacra.cli.output import ExitCode
from simulacra.errors import InvalidArgument
from simulacra_qa.files import read_table


def people(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, rows)
    return pd.DataFrame(
        {
            "age": age,
            "group": np.where(age > 60, "old", "young"),
            "income": pd.Series(rng.normal(100, 9, rows)).mask(rng.random(rows) < 0.1),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, rows), "D"),
        }
    )


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    names = []
    for seed, role in enumerate(("training", "holdout", "synthetic")):
        names.append(str(tmp_path / f"{role}.parquet"))
        people(500, seed).to_parquet(names[-1])
    return names


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["qa", *arguments])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_report_metrics_and_summary_agree(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, files: list[str]
) -> None:
    report, metrics = tmp_path / "new" / "report.html", tmp_path / "metrics.json"
    code, out, err = run(
        capsys, *files, "--report", str(report), "--metrics", str(metrics), "--seed", "3", "--json"
    )
    assert (code, err) == (0, "")
    summary, document = json.loads(out), json.loads(metrics.read_text())
    assert summary["metrics"] == document["metrics"]
    assert document["seed"] == 3
    assert document["reference"] == "training"
    assert summary["rows"] == {"training": 500, "holdout": 500, "synthetic": 500}
    assert 0.8 < summary["metrics"]["accuracy"]["overall"] <= 1
    assert summary["metrics"]["distances"]["dcr_share"] == pytest.approx(0.5, abs=0.1)
    assert "<title>synthetic.parquet</title>" in report.read_text()


def test_people_see_accuracy_verdicts_and_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, files: list[str]
) -> None:
    report = tmp_path / "report.html"
    code, out, _ = run(capsys, *files, "--report", str(report))
    assert code == 0
    assert "univariate" in out
    assert "good" in out
    assert str(report) in out


def test_same_seed_gives_the_same_numbers_and_the_reference_changes_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, files: list[str]
) -> None:
    written = []
    for number, reference in enumerate(("training", "training", "training+holdout")):
        path = tmp_path / f"{number}.json"
        assert run(capsys, *files, "--metrics", str(path), "--reference", reference, "--json")[0] == 0
        written.append(path.read_text())
    assert written[0] == written[1]
    first, _, other = (json.loads(text)["metrics"]["accuracy"]["univariate"] for text in written)
    assert first != other


def test_row_labels_that_pandas_wrote_are_no_column(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, files: list[str]
) -> None:
    frame = pd.read_parquet(files[0])
    frame[frame.age > 20].to_parquet(tmp_path / "filtered.parquet")
    code, out, err = run(capsys, str(tmp_path / "filtered.parquet"), *files[1:], "--no-embed", "--json")
    assert code == 0, err
    assert "__index_level_0__" not in out
    frame.set_index("group").to_parquet(tmp_path / "named.parquet")
    assert read_table(tmp_path / "named.parquet").column_names == ["age", "income", "day", "group"]


def test_columns_of_text_files_are_named_as_the_platform_names_them(tmp_path: Path) -> None:
    path = tmp_path / "labelled.csv"
    people(3, 1).rename(columns={"age": " age "}).to_csv(path)
    assert read_table(path).column_names == ["unnamed_1", "age", "group", "income", "day"]


def test_without_holdout_there_are_no_distances(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    code, out, _ = run(capsys, files[0], "-", files[2], "--json")
    assert code == 0
    assert json.loads(out)["metrics"]["distances"] is None


def test_sequences_with_their_context_are_judged(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for seed, role in enumerate(("training", "holdout", "synthetic")):
        subjects = people(150, seed).assign(id=range(150))
        rng = np.random.default_rng(seed)
        owner = np.repeat(np.arange(150), 3)
        rows = pd.DataFrame(
            {"owner": owner, "cost": rng.normal(0, 1, 450), "mode": rng.choice(["a", "b"], 450)}
        )
        for name, frame in (("rows", rows), ("subjects", subjects)):
            frame.to_parquet(tmp_path / f"{role}-{name}.parquet")
    paths = [
        [str(tmp_path / f"{role}-{name}.parquet") for role in ("training", "holdout", "synthetic")]
        for name in ("rows", "subjects")
    ]
    asked = ["--key", "owner", "--context", *paths[1], "--context-key", "id", "--target", "(detect)"]
    code, out, err = run(capsys, *paths[0], *asked, "--no-embed", "--json")
    assert code == 0, err
    metrics = json.loads(out)["metrics"]
    assert metrics["accuracy"]["coherence"] == pytest.approx(metrics["accuracy"]["coherence_max"], abs=0.1)
    assert metrics["utility"]["target"] in ("cost", "mode")
    (relation,) = metrics["relations"]
    assert (relation["child_table"], relation["foreign_key"]) == ("synthetic-rows", "owner")
    assert relation["referential_integrity"] == relation["key_uniqueness"] == 1
    code, _, err = run(capsys, *paths[0], "--context", *paths[1])
    assert code == ExitCode.INVALID_INPUT
    assert "--context-key" in err
    code, _, err = run(capsys, *paths[0], "--key", "nobody")
    assert code == ExitCode.INVALID_INPUT
    assert "nobody" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{0}/none.csv", "{1}", "{2}"], "TRAINING: there is no file"),
        (["{1}", "{0}", "{2}"], "HOLDOUT: "),
        (["{1}", "-", "{0}/note.txt"], "SYNTHETIC: "),
        (["{1}", "-", "{0}/broken.parquet"], "cannot be read"),
        (["{1}", "-", "{0}/empty.csv"], "empty"),
        (["{1}", "-", "{0}/narrow.csv"], 'lacks the column "group"'),
        (["{1}", "-", "{2}", "--context-key", "id"], "--context-key: names a column of --context"),
        (["{1}", "-", "{2}", "--report", "{0}"], "--report: "),
        (["{1}", "-", "{2}", "--report", "{0}/x", "--metrics", "{0}/x"], "--metrics: "),
        (["{1}", "-", "{2}", "--report", "{0}/../{0.name}/synthetic.parquet"], "holds the data to judge"),
        (["{1}", "-", "{2}", "--metrics", "{0}/note.txt/metrics.json"], "--metrics: the folder"),
    ],
)
def test_wrong_input_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, files: list[str], arguments: list[str], words: str
) -> None:
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "broken.parquet").write_text("hello")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "narrow.csv").write_text("age\n1\n")
    code, out, err = run(capsys, *(each.format(tmp_path, files[0], files[2]) for each in arguments))
    assert (code, out) == (ExitCode.INVALID_INPUT, "")
    assert words in err
    assert "Traceback" not in err


def test_wrong_reference_and_missing_files_are_wrong_use(
    capsys: pytest.CaptureFixture[str], files: list[str]
) -> None:
    assert run(capsys, *files, "--reference", "holdout")[0] == ExitCode.USAGE
    assert run(capsys, files[0])[0] == ExitCode.USAGE
    code, _, err = run(capsys, files[0], "-", files[2], "--reference", "training+holdout")
    assert code == ExitCode.INVALID_INPUT
    assert "training+holdout needs a HOLDOUT" in err


def test_every_format_gives_the_same_table(tmp_path: Path) -> None:
    frame = people(50, 1)
    expected = pa.Table.from_pandas(frame).replace_schema_metadata(None)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "b.csv.gz", index=False, sep=";")
    frame.to_csv(tmp_path / "c.tsv", index=False, sep="\t")
    pa.feather.write_feather(expected, tmp_path / "d.feather")
    with gzip.open(tmp_path / "e.jsonl.gz", "wt") as file:
        days = frame.assign(day=frame["day"].dt.strftime("%Y-%m-%d"))
        file.write(days.to_json(orient="records", lines=True))
    for path in sorted(tmp_path.iterdir()):
        table = read_table(path)
        assert table.column_names == expected.column_names, path.name
        assert table["age"].to_pylist() == expected["age"].to_pylist(), path.name
        assert table["group"].to_pylist() == expected["group"].to_pylist(), path.name
        assert table["income"].null_count == expected["income"].null_count > 0, path.name
        assert pa.types.is_temporal(table["day"].type), path.name


def test_a_folder_of_partitions_above_a_file_adds_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "year=2020"
    folder.mkdir()
    people(5, 1).to_parquet(folder / "a.parquet")
    assert "year" not in read_table(folder / "a.parquet").column_names


def test_broken_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(InvalidArgument, match=r'"a.csv" cannot be read'):
        read_table(tmp_path / "a.csv")
    (tmp_path / "b.csv.gz").write_text("a,b\n")
    with pytest.raises(InvalidArgument, match=r'"b.csv.gz" cannot be read'):
        read_table(tmp_path / "b.csv.gz")
