"""`biglambda runtime deploy`, by the real Lithops, with AWS's control plane on this machine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from account import Account

from biglambda.cli import main
from biglambda.image import name
from biglambda.image.deploy import Request, make_plan, memory_of
from biglambda.runtime.errors import RunError
from biglambda.runtime.resources import USD_PER_GB_SECOND

ROOT = Path(__file__).parent.parent.parent
PYTHON = name.this_python()

Configure = Callable[[Any], Path]


@pytest.fixture
def request_(account: Account, configure: Configure, docker: Path) -> Request:
    """What can be done."""
    configure(account.settings())
    return Request(ROOT, inner_workers=2, timeout=600)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the image is built from, for Lithops to leave its files in."""
    root = tmp_path / "clone"
    for folder in (*name.PACKAGES.values(), "docker"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", ".dockerignore"):
        shutil.copy(ROOT / file, root)
    return root


def calls(log: Path) -> list[list[str]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def functions(account: Account) -> list[str]:
    return [one["FunctionName"] for one in account.client("lambda").list_functions()["Functions"]]


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(
    request_: Request, clone: Path, docker: Path, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    before = functions(account)
    options = ["--inner-workers", "2", "--timeout", "600", "--workers", "10", "--repository", str(clone)]
    assert main(["runtime", "deploy", *options, "--dry-run"]) == 0
    said = capsys.readouterr().out
    image = f"biglambda:{name.of_repository(clone).tag}"
    assert f"{image}, from python:{PYTHON}-slim" in said
    assert "3,538 MB: the time of 2.00 vCPUs, on 3 that the function sees" in said
    assert f"US$ {10 * 3538 / 1024 * 3600 * USD_PER_GB_SECOND:.2f} for an hour of 10 functions" in said
    assert f"runtime build -b aws_lambda -f docker/Dockerfile {image} --build-arg BASE_IMAGE=python" in said
    assert f"runtime deploy -b aws_lambda --memory 3538 --timeout 600 {image}" in said
    assert f"runtime: {image}\n    runtime_memory: 3538\n    runtime_timeout: 600" in said
    assert not calls(docker)
    assert functions(account) == before
    assert not (clone / "lithops_lambda.zip").exists()


def test_lithops_builds_the_image_and_makes_the_function_that_was_announced(
    request_: Request, clone: Path, docker: Path, account: Account, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(replace(request_, root=clone))
    assert not plan.exists
    assert main(["runtime", "deploy", "--inner-workers", "2", "--timeout", "600", "--repository", str(clone)]) == 0
    build, *_, push = (call for call in calls(docker) if call[0] in ("build", "push"))
    assert build[-2:] == ["--build-arg", f"BASE_IMAGE=python:{PYTHON}-slim"]
    assert "docker/Dockerfile" in build
    assert push[1].endswith(plan.image)
    made = account.client("lambda").get_function_configuration(FunctionName=plan.function)
    assert (made["MemorySize"], made["Timeout"], made["Role"]) == (3538, 600, account.role)
    assert make_plan(replace(request_, root=clone)).exists

    with pytest.raises(
        ValueError, match=r"time limit 600, not 300.*lithops runtime delete -b aws_lambda --memory"
    ):
        make_plan(replace(request_, timeout=300))
    account.client("lambda").delete_function(FunctionName=plan.function)


def test_a_build_that_fails_ends_the_deployment(
    request_: Request,
    clone: Path,
    account: Account,
    docker: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DOCKER_FAILS", "build")
    before = functions(account)
    assert main(["runtime", "deploy", "--memory", "1769", "--repository", str(clone)]) == 1
    assert "failed with code 1; what it printed says why" in capfd.readouterr().err
    assert "push" not in [call[0] for call in calls(docker)]
    assert functions(account) == before


@pytest.mark.parametrize(
    ("request_of", "stated", "expected"),
    [({"inner_workers": 1}, None, 1769), ({"inner_workers": 6}, None, 10_240), ({"memory_mb": 512}, 3008, 512),
     ({}, 3008, 3008)],
)  # fmt: skip
def test_memory_follows_from_inner_workers_or_the_configuration(
    request_of: dict[str, int], stated: int | None, expected: int
) -> None:
    assert memory_of(Request(ROOT, **request_of), stated) == expected


@pytest.mark.parametrize(
    ("request_of", "stated", "words"),
    [
        ({"inner_workers": 7}, None, r"--inner-workers 7: allowed are 1 to 6.*5\.79 vCPUs"),
        ({"inner_workers": 0}, None, "allowed are 1 to 6"),
        ({"memory_mb": 10_241}, None, r"--memory 10241: allowed are \d+ MB.*to 10,240 MB"),
        ({}, 128, "runtime_memory of the Lithops configuration: 128: allowed are"),
        ({}, None, "Give --inner-workers"),
    ],
)
def test_memory_that_no_function_has_is_refused(
    request_of: dict[str, int], stated: int | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        memory_of(Request(ROOT, **request_of), stated)


def test_six_inner_workers_are_told_that_there_are_fewer_vcpus(request_: Request) -> None:
    assert "10,240 MB: the time of 5.79 vCPUs, on 6" in str(make_plan(replace(request_, inner_workers=6)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"root": Path("/")}, "/ is not biglambda's repository: it has no docker/Dockerfile"),
        ({"base_image": "python:3.9-slim"}, rf"has Python 3\.9, and this client {PYTHON}.*allowed is"),
        ({"image": "Big:latest"}, "--name Big:latest: allowed are lower-case letters"),
        ({"workers": 0}, "--workers 0: allowed are 1 to 10,000"),
        ({"timeout": 901}, "--timeout 901: allowed are 1 to 900 seconds"),
    ],
)
def test_what_cannot_be_deployed_is_refused_before_anything_starts(
    request_: Request, docker: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make_plan(replace(request_, **change))
    assert not calls(docker)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"execution_role": "admin"}, r"execution_role .* is 'admin': allowed is the ARN of a role"),
        ({"architecture": "arm64"}, "for x86_64 only"),
        ({"runtime_memory": 100_000}, "runtime_memory of the Lithops configuration: 100000: allowed"),
    ],
)
def test_a_configuration_that_does_not_suit_is_refused(
    request_: Request, account: Account, configure: Configure, section: dict[str, Any], words: str
) -> None:
    configure(account.settings(**section))
    with pytest.raises(ValueError, match=words):
        make_plan(replace(request_, inner_workers=None))


def test_another_backend_and_a_configuration_without_a_role_or_region_are_refused(
    request_: Request, account: Account, configure: Configure
) -> None:
    configure({"lithops": {"backend": "localhost"}})
    with pytest.raises(ValueError, match=r"has the backend 'localhost': allowed here is 'aws_lambda'"):
        make_plan(request_)
    for missing, section in (("execution_role", "aws_lambda"), ("region", "aws")):
        settings = account.settings(runtime_memory=1769)
        del settings[section][missing]
        configure(settings)
        with pytest.raises(RunError, match=rf"is not usable: .*{missing}.*docs/deploy.md"):
            make_plan(request_)


def test_without_docker_or_podman_nothing_starts(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RunError, match="neither docker nor podman is on PATH"):
        make_plan(request_)


def test_the_tag_follows_from_every_source_file_and_from_the_recipe(clone: Path) -> None:
    here = name.of_installed()
    assert name.of_repository(clone) == here
    assert name.parse(f"any/name:{here.tag}") == here
    assert name.parse("biglambda:latest") is None

    with (clone / "docker" / "entry.sh").open("a") as file:
        file.write("# changed\n")
    changed = name.of_repository(clone)
    assert (changed.code, changed.recipe == here.recipe) == (here.code, False)
    assert "Dockerfile" in changed.differences(here)[0]
    with (clone / "runtime" / "channel" / "lua" / "push.lua").open("a") as file:
        file.write("-- changed\n")
    assert name.of_repository(clone).code != here.code
    # A copy that was installed has no recipe, and need not.
    assert not replace(here, recipe=None).differences(here)


def test_sources_that_are_not_those_of_the_client_are_refused(request_: Request, tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "Dockerfile").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with pytest.raises(ValueError, match=rf"is not the one in {tmp_path}.*run `pip install"):
        make_plan(replace(request_, root=tmp_path))


def test_the_commands_that_are_shown_are_those_that_run(request_: Request) -> None:
    plan = make_plan(request_)
    shown = [line.strip() for line in str(plan).splitlines()[-2:]]
    assert shown == [shlex.join(plan.build), shlex.join(plan.deploy)]
    assert os.access(plan.build[0], os.X_OK)
