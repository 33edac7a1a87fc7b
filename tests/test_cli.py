"""The command line as a user meets it."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.s3_server import BUCKET, S3Server
from biglambda import KMeansResult, LogisticRegressionResult, __version__, fit_kmeans, load_labels


def biglambda(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "biglambda", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def table(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2_500, 3)) + 5.0 * generator.integers(0, 2, (2_500, 1))
    late = (x[:, 0] + generator.standard_normal(2_500) > 2.5).astype(int)
    path = tmp_path / "rows.csv"
    lines = ["a,b,c,late"] + [
        ",".join(map(repr, map(float, row))) + f",{y}" for row, y in zip(x, late, strict=True)
    ]
    path.write_text("\n".join(lines))
    return path


def test_kmeans_prints_json_saves_the_model_and_writes_labels(table: Path, tmp_path: Path) -> None:
    done = biglambda(
        "kmeans", table, "-k", 3, "--columns", "a,b,2", "--seed", 1, "--inner-workers", 2, "--json",
        "--save", tmp_path / "model.npz", "--labels", tmp_path / "labels.npy",
    )  # fmt: skip
    printed = json.loads(done.stdout)
    expected = fit_kmeans(table, 3, columns=["a", "b", "c"], seed=1)
    assert printed["inertia"] == expected.inertia
    assert printed["centers"] == expected.centers.tolist()
    assert printed["seconds"]["compute"] > 0
    assert printed["cost"]["gb_seconds"] > 0
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), expected.labels)
    assert KMeansResult.load(tmp_path / "model.npz").inertia == expected.inertia


def test_labels_are_stored_and_models_saved_on_s3(table: Path, tmp_path: Path, s3: S3Server) -> None:
    expected = fit_kmeans(table, 3, seed=1, max_iter=2)
    fit = ("kmeans", table, "-k", 3, "--seed", 1, "--max-iter", 2)
    model = f"s3://{BUCKET}/cli/model"
    printed = json.loads(
        biglambda(*fit, "--json", "--labels", f"s3://{BUCKET}/cli/", "--save", model, "--workers", 2).stdout
    )
    assert printed["saved"] == f"{model}.npz"
    np.testing.assert_array_equal(load_labels(printed["labels"]), expected.labels)
    np.testing.assert_array_equal(KMeansResult.load(model).labels, expected.labels)
    (name,) = re.findall("labels in (.*)", biglambda(*fit, "--labels", tmp_path).stdout)
    np.testing.assert_array_equal(load_labels(name), expected.labels)
    biglambda(*fit, "--labels", f"s3://{BUCKET}/cli/labels.npy")
    body = s3.client.get_object(Bucket=BUCKET, Key="cli/labels.npy")["Body"].read()
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), expected.labels)
    for option, place in (("--save", "s3://absent/x"), ("--labels", "s3://absent/x.npy")):
        assert "there is no such bucket" in biglambda(*fit, option, place, code=1).stderr
    keys = [item["Key"] for item in s3.client.list_objects_v2(Bucket=BUCKET, Prefix="cli")["Contents"]]
    assert not [key for key in keys if key.endswith(".try")]


def test_workers_on_this_machine_give_the_same_json(table: Path) -> None:
    outs = [
        json.loads(biglambda("kmeans", table, "-k", 3, "--seed", 1, "--json", "--workers", workers).stdout)
        for workers in (1, 2)
    ]
    assert outs[0]["centers"] == outs[1]["centers"]
    assert outs[1]["seconds"]["launch"] > 0


def test_kmeans_starts_from_a_file_of_centres(table: Path, tmp_path: Path) -> None:
    centers = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "centers.npy", centers)
    done = biglambda("kmeans", table, "-k", 3, "--init", tmp_path / "centers.npy", "--json")
    assert json.loads(done.stdout)["centers"] == fit_kmeans(table, 3, init=centers).centers.tolist()


@pytest.mark.parametrize("inner", ["threads", "processes", "serial"])
def test_logreg_prints_a_summary_for_people(table: Path, inner: str, tmp_path: Path) -> None:
    done = biglambda("logreg", table, "--target", "late", "--inner", inner, "--save", tmp_path / "m")
    assert "LogisticRegressionResult(3 features" in done.stdout
    assert "GB-s" in done.stdout
    assert done.stderr == ""
    assert LogisticRegressionResult.load(tmp_path / "m.npz").n_iter > 0


def test_errors_are_one_line_without_a_traceback(table: Path) -> None:
    done = biglambda("kmeans", "nowhere.csv", "-k", 2, code=1)
    assert done.stderr.startswith("biglambda: ")
    assert "nowhere.csv" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "zzz" in biglambda("kmeans", table, "-k", 2, "--columns", "zzz", code=1).stderr
    for option, words in {"--save": "/nowhere does not exist", "--labels": "no such directory"}.items():
        done = biglambda("kmeans", table, "-k", 2, option, "/nowhere/there", code=1)
        assert words in done.stderr
    done = biglambda("kmeans", table, "-k", 2, "--labels", "/nowhere/there.npy", code=1)
    assert "/nowhere does not exist" in done.stderr
    biglambda("kmeans", table, code=2)
    biglambda(code=2)


@pytest.mark.parametrize("command", [(), ("kmeans",), ("logreg",), ("make-data",), ("demo",)])
def test_help_names_defaults_and_units(command: tuple[str, ...]) -> None:
    text = biglambda(*command, "--help").stdout
    assert "usage: biglambda" in text
    if command in (("kmeans",), ("logreg",), ("make-data",)):
        assert "seconds" in text
        assert "default" in text


def test_version() -> None:
    assert biglambda("--version").stdout.strip() == f"biglambda {__version__}"


def test_what_happens_is_logged_and_kept(table: Path, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    done = biglambda("kmeans", table, "-k", 3, "--seed", 1, "-v", "--history", history)
    assert "biglambda INFO RunStarted(" in done.stderr
    assert "IterationDone" not in done.stderr
    assert [json.loads(line)["event"] for line in history.read_text().splitlines()][-1] == "RunEnded"
    assert "biglambda DEBUG IterationDone(" in biglambda("kmeans", table, "-k", 3, "--seed", 1, "-vv").stderr


@pytest.mark.parametrize(("kind", "found"), [("blobs", "KMeansResult(3"), ("logistic", "LogisticRegression")])
def test_make_data_says_how_fast_it_was_and_what_to_run_next(kind: str, found: str, tmp_path: Path) -> None:
    place = tmp_path / "made of words"
    options = ["--rows", 3_000, "--features", 2, "--out", place, "--part-rows", 1_024, "--format", "csv"]
    options += ["--clusters", 3] if kind == "blobs" else []
    done = biglambda("make-data", kind, *options, "-vv")
    assert "3,000 rows x 2 features, float64" in done.stdout
    assert "rows/s" in done.stdout
    assert f"the truth: {place}/truth.npz" in done.stdout
    assert "biglambda DEBUG PartsWritten(parts=3, of=3, " in done.stderr
    (command,) = (line.removeprefix("next: biglambda ") for line in done.stdout.splitlines() if "next: " in line)
    assert found in biglambda(*shlex.split(command)).stdout

    assert "--overwrite" in biglambda("make-data", kind, *options, code=1).stderr
    again = json.loads(biglambda("make-data", kind, *options, "--overwrite", "--json").stdout)
    assert again["command"] == f"biglambda {command}"
    assert again["bytes"] == sum(path.stat().st_size for path in place.glob("part-*"))
    refused = biglambda("make-data", kind, *options, "--rows", 0, code=1)
    assert "n_rows=0: allowed are whole numbers" in refused.stderr
