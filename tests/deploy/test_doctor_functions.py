"""What the doctor finds on Lithops configurations, with AWS's control plane on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from account import QUOTA, SECRET, Account
from doctor_findings import found, wrong

from benchmarks.s3_server import BUCKET, OWNER, S3Server
from biglambda.image import aws, name
from biglambda.image.doctor.finding import Finding, examine
from biglambda.image.doctor.functions import concurrency, steps

Configure = Callable[[Any], Path]
IMAGE = f"biglambda:{name.of_installed().tag}"
SIZE = {"runtime_memory": 3538, "runtime_timeout": 600}


def look(workers: int = 4, redis: str | None = None) -> list[Finding]:
    return list(examine(steps(aws.configuration(), workers, redis)))


def check(subject: str, workers: int = 4, redis: str | None = None) -> Finding:
    """What one of the checks finds."""
    its = [step for step in steps(aws.configuration(), workers, redis) if step.subject == subject]
    return found(examine(its), subject)


@contextmanager
def deployed(account: Account, image: str, **options: Any) -> Iterator[str]:
    """The function of an image, as Lithops names it."""
    section = aws.configuration().section
    called = aws.function_name(section, aws.identity(section), image, 3538)
    account.create(called, **options)
    try:
        yield called
    finally:
        account.client("lambda").delete_function(FunctionName=called)


def kept(account: Account) -> list[str]:
    """What is in Lithops' bucket."""
    return [item["Key"] for item in account.client("s3").list_objects_v2(Bucket="jobs").get("Contents", ())]


def test_what_was_deployed_from_these_sources_is_good(account: Account, configure: Configure) -> None:
    configure(account.settings(runtime=IMAGE, **SIZE))
    before = kept(account)
    with deployed(account, IMAGE) as called:
        findings = look()
    assert {one.verdict for one in findings} == {"ok"}
    assert called in found(findings, "Lambda function").found
    assert found(findings, "Lambda concurrency").found.startswith("90 functions")
    assert "2.00 vCPUs" in found(findings, "Lambda memory").found
    assert kept(account) == before


def test_an_outdated_image_is_wrong_and_one_without_our_tag_a_warning(
    account: Account, configure: Configure
) -> None:
    its = name.of_installed()
    for tag, words in (
        (f"0.0.9-py{its.python}-0123456789-{its.recipe}", "it has biglambda 0.0.9 (0123456789), not"),
        (f"{its.version}-py3.9-{its.code}-{its.recipe}", f"it has Python 3.9, not {its.python}"),
        (f"{its.version}-py{its.python}-{its.code}-0123456789", "another Dockerfile"),
    ):
        configure(account.settings(runtime=f"biglambda:{tag}", **SIZE))
        one = check("Lambda image")
        assert (one.verdict, words in one.found) == ("wrong", True), one
        assert "biglambda runtime deploy" in one.advice
    configure(account.settings(runtime="mine:latest", **SIZE))
    assert check("Lambda image").verdict == "warning"
    configure(account.settings(**SIZE))
    assert "no biglambda in it" in check("Lambda image").found


def test_a_function_that_is_not_there_or_has_another_time_limit_is_seen(
    account: Account, configure: Configure
) -> None:
    configure(account.settings(runtime=IMAGE, **SIZE))
    one = check("Lambda function")
    assert (one.verdict, "there is no lithops-worker-" in one.found) == ("wrong", True)
    with deployed(account, IMAGE, Timeout=180):
        one = check("Lambda function")
    assert (one.verdict, "time limit of 180 s" in one.found) == ("warning", True)


def test_memory_time_and_workers_that_do_not_suit_are_seen(account: Account, configure: Configure) -> None:
    configure(account.settings(max_workers=3, worker_processes=2, runtime_timeout=30))
    findings = look(workers=4)
    assert "256 MB" in found(findings, "Lambda memory").found  # Lithops' default
    assert found(findings, "Lambda memory").verdict == "warning"
    assert found(findings, "Lambda time limit").verdict == "warning"
    shared, few = (one for one in findings if one.subject == "Lithops workers")
    assert (shared.verdict, shared.found) == ("warning", "2 workers share a function")
    assert (few.verdict, few.found) == ("wrong", "max_workers is 3")
    configure(account.settings(runtime_memory=128))
    assert found(look(), "Lambda memory").verdict == "wrong"


def test_a_quota_that_is_too_low_says_how_much_to_ask_for(account: Account, configure: Configure) -> None:
    configure(account.settings(runtime=IMAGE, **SIZE))
    one = check("Lambda concurrency", workers=95)
    assert one.verdict == "wrong"
    assert "Ask for 105 or more" in one.advice
    assert concurrency(*QUOTA.values(), 90).verdict == "ok"


def test_a_private_redis_needs_functions_in_its_network(account: Account, configure: Configure) -> None:
    configure(account.settings(runtime=IMAGE, **SIZE))
    assert "in no VPC" in check("Lambda network", redis="rediss://10.0.0.7").found
    configure(account.settings(runtime=IMAGE, vpc={"subnets": ["subnet-1"], "security_groups": ["sg-1"]}, **SIZE))
    assert check("Lambda network", redis="rediss://10.0.0.7").verdict == "ok"


def test_a_bucket_that_is_missing_and_aws_that_is_not_there_are_seen(
    account: Account, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = account.settings(runtime=IMAGE, **SIZE)
    configure({**settings, "aws_s3": {"storage_bucket": "absent"}})
    assert "no such bucket" in check("Lithops storage").found
    configure({**settings, "aws_s3": {}})
    assert check("Lithops storage").verdict == "warning"
    configure(settings)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    findings = look()
    assert "AWS cannot be reached" in found(findings, "Lambda function").found
    assert found(findings, "Lambda concurrency").verdict == "warning"


def run_doctor(*options: str, code: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "biglambda", "runtime", "doctor", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_the_command_looks_at_everything_and_ends_with_1(account: Account, configure: Configure) -> None:
    settings = account.settings(runtime=IMAGE, **SIZE)
    configure({**settings, "redis": {"host": "127.0.0.1", "port": 1, "password": SECRET}})
    # No name that is given is a secret; if it were one, it would not be repeated either.
    places = ("--data", "s3://jobs/", "--data", "rows.csv", "--data", f"s3://{SECRET}/x")
    printed = run_doctor("--lithops", *places, "--workers", "4", code=1)
    findings = [Finding(**one) for one in printed["findings"]]
    assert printed["wrong"] == len(wrong(findings)) == 4
    assert "of this machine, and functions run elsewhere" in found(findings, "Redis address").found
    assert "rows.csv" in found(findings, "S3").found
    assert "there is no lithops-worker-" in found(findings, "Lambda function").found
    assert found(findings, "CPU target").found


def test_a_configuration_that_lithops_refuses_is_a_finding(configure: Configure) -> None:
    path = configure({"lithops": {"backend": "aws_lambda"}, "aws_lambda": {"runtime": IMAGE}})
    one = found([Finding(**one) for one in run_doctor("--lithops", code=1)["findings"]], "Lithops configuration")
    assert str(path) in one.found
    assert "execution_role" in one.found


def test_a_function_looks_around_where_it_runs(
    configure: Configure, redis_url: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure({"lithops": {"backend": "localhost"}, "localhost": {"version": 1, "runtime": sys.executable}})
    s3.put("probe/rows.csv", b"1\n")
    options = ["--invoke", "--redis", redis_url, "--data", f"s3://{BUCKET}/probe/"]
    findings = [Finding(**one) for one in run_doctor(*options, code=0)["findings"]]
    for subject in ("machine", "CPU target", "sources", "Redis", "Redis latency", "S3 reading", "S3 writing"):
        assert found(findings, f"function: {subject}").verdict == "ok"
    assert OWNER["secret_access_key"] not in str(findings)


def test_no_function_is_launched_into_what_is_wrong(configure: Configure, tmp_path: Path) -> None:
    configure({"lithops": {"backend": "localhost"}, "localhost": {"runtime": sys.executable}})
    printed = run_doctor("--invoke", "--redis", f"unix://{tmp_path}/absent.sock", code=1)
    assert found([Finding(**one) for one in printed["findings"]], "function").found == "none was launched"
    assert os.listdir(tmp_path) == ["lithops.yaml"]
