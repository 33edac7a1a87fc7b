"""AWS's control plane on this machine, and what stands in for docker."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import lithops
import yaml
from moto.awslambda import urls
from moto.server import ThreadedMotoServer

from biglambda.image.name import this_python

REGION = "eu-west-1"
SECRET = "secret-of-the-account-1618"
QUOTA = {"ConcurrentExecutions": 100, "UnreservedConcurrentExecutions": 90}

DOCKER = f"""#!{sys.executable}
import json, os, sys
MANIFEST = '{{"mediaType": "application/vnd.oci.image.manifest.v1+json"}}'
with open(os.environ["DOCKER_LOG"], "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == os.environ.get("DOCKER_FAILS"):
    sys.exit(3)
if sys.argv[1] == "push":
    import boto3
    repository, _, tag = sys.argv[2].partition("/")[2].rpartition(":")
    registry = boto3.client("ecr", region_name="{REGION}")
    registry.put_image(repositoryName=repository, imageTag=tag, imageManifest=MANIFEST)
"""


@dataclass(frozen=True)
class Account:
    """An account of AWS, as its owner sees it."""

    endpoint: str
    role: str

    def client(self, service: str) -> Any:
        """A client of boto3 for one of its services."""
        return _client(self.endpoint, service)

    def settings(self, **section: Any) -> dict[str, Any]:
        """A Lithops configuration; arguments are of its section aws_lambda."""
        return {
            "lithops": {"backend": "aws_lambda", "storage": "aws_s3"},
            "aws": {"region": REGION, "access_key_id": "KEY", "secret_access_key": SECRET},
            "aws_s3": {"storage_bucket": "jobs"},
            "aws_lambda": {"execution_role": self.role, **section},
        }

    def create(self, name: str, **options: Any) -> None:
        """Make a function, as Lithops does."""
        self.client("lambda").create_function(
            FunctionName=name,
            Role=self.role,
            Code={"ImageUri": "registry/image@sha256:0"},
            PackageType="Image",
            **{"Timeout": 600, "MemorySize": 3538, **options},
        )


@cache  # to make one takes long
def _client(endpoint: str, service: str) -> Any:
    return boto3.client(service, region_name=REGION, endpoint_url=endpoint)


@contextmanager
def start_account() -> Iterator[Account]:
    """moto, with a bucket and a role. It has no quotas, so that a page of them is added."""
    quota = json.dumps({"AccountLimit": QUOTA})
    urls.url_paths["{0}/2016-08-19/account-settings/?$"] = lambda *_: (200, {}, quota)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        with _environment(endpoint):
            # Invocations of a function give what is asked for here, and need no docker.
            meta = json.dumps({"lithops_version": lithops.__version__, "python_version": this_python()})
            _post(f"{endpoint}/moto-api/config", {"lambda": {"use_docker": False}})
            _post(f"{endpoint}/moto-api/static/lambda-simple/response", {"results": [meta] * 20, "region": REGION})
            policy = json.dumps({"Statement": []})
            iam = boto3.client("iam", region_name=REGION)
            role = iam.create_role(RoleName="runs", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
            where = {"LocationConstraint": REGION}
            boto3.client("s3", region_name=REGION).create_bucket(Bucket="jobs", CreateBucketConfiguration=where)
        yield Account(endpoint, role)
    finally:
        server.stop()


def variables(endpoint: str) -> dict[str, str]:
    """An environment in which boto3 asks this endpoint, and nobody else."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "KEY",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextmanager
def _environment(endpoint: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables(endpoint))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _post(url: str, body: Any) -> None:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=10):
        pass


def write(path: Path, settings: Any) -> Path:
    """Keep a Lithops configuration in a file."""
    path.write_text(yaml.safe_dump(settings))
    return path
