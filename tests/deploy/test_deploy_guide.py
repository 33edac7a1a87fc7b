"""What docs/deploy.md has to paste: a configuration, policies, a user of Redis, and prices."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from biglambda.image import aws
from biglambda.runtime.resources import LAMBDA_MB_PER_VCPU, USD_PER_GB_SECOND, Cost, lambda_memory

DOCS = Path(__file__).parent.parent.parent / "docs"
GUIDE = (DOCS / "deploy.md").read_text()
VALUES = {"AWS_REGION": "eu-west-1", "ACCOUNT": "123456789012", "BUCKET": "jobs", "GROUP": "sg-1"}


def test_the_configuration_is_complete_for_lithops(configure: Callable[[Any], Path]) -> None:
    (text,) = re.findall(r"cat > ~/\.lithops/config <<END\n(.*?)END\n", GUIDE, re.DOTALL)
    configure(yaml.safe_load(Template(re.sub(r"\$\(.*?\)", "subnet-1", text)).substitute(VALUES)))
    settings = aws.configuration()
    assert (settings.backend, settings.storage) == ("aws_lambda", "aws_s3")
    assert settings.section["region"] == "eu-west-1"
    assert settings.section["vpc"] == {"subnets": ["subnet-1"], "security_groups": ["sg-1"]}


@pytest.mark.parametrize("name", ["trust", "functions", "client"])
def test_a_policy_is_json_that_allows_single_actions(name: str) -> None:
    (text,) = re.findall(rf"cat > {name}\.json <<'?END'?\n(.*?)END\n", GUIDE, re.DOTALL)
    for statement in json.loads(Template(text).substitute(VALUES))["Statement"]:
        actions = statement["Action"]
        assert all(
            re.fullmatch(r"[a-z0-9]+:[A-Za-z]+", one)
            for one in ([actions] if isinstance(actions, str) else actions)
        )


def test_the_user_of_redis_has_the_rights_in_the_security_guide() -> None:
    (own,) = re.findall(r'--access-string "on ~biglambda:\* (-@all [^"]*)"', GUIDE)
    (documented,) = re.findall(r"user biglambda on >PASSWORD .* (-@all .*)", (DOCS / "security.md").read_text())
    assert own == documented


def test_sizes_and_prices_are_those_of_the_library() -> None:
    rows = re.findall(r"^\| (\d) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|$", GUIDE, re.MULTILINE)
    assert len(rows) == 4
    for workers, memory, vcpus, price in rows:
        megabytes = lambda_memory(int(workers))
        usd = 10 * megabytes / 1024 * 3600 * USD_PER_GB_SECOND
        assert (memory, vcpus, price) == (f"{megabytes:,}", f"{megabytes / LAMBDA_MB_PER_VCPU:.2f}", f"{usd:.2f}")
    example = Cost(3000.0, 3538)
    assert f"{example.gb_seconds:,.0f} GB-s" in GUIDE
    assert f"**US$ {example.usd:.2f}**" in GUIDE
