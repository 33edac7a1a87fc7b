"""An AWS account on this machine: functions in jails, moto for what surrounds them, SeaweedFS for S3."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3
import docker_command
import lithops
import pytest
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from lambda_api import LambdaApi
from lambda_images import BUILD_SECONDS, ImageStore
from lambda_root import Root

from benchmarks.s3_server import OWNER, S3Server
from biglambda.runtime.private import PrivateDirectory

# Looked for, not imported: in this process moto would listen to every request of boto3.
if missing := [name for name in ("awslambdaric", "flask", "moto", "trustme") if find_spec(name) is None]:
    pytest.skip(f"not installed: {', '.join(missing)}; pip install '.[aws-tests]'", allow_module_level=True)

REGION = "us-east-1"
BUCKET = "lithops"
CA = "ca.pem"
OCI = "application/vnd.oci.image"
START_SECONDS = 30.0


class Account:
    """Creates functions, by Lithops or directly.

    Attributes
    ----------
    api : LambdaApi
    functions : client of boto3
        For AWS Lambda.
    images : ImageStore
        What `build` has made.
    environment : dict
        Variables with which boto3 and Lithops find this account.
    """

    def __init__(self, api: LambdaApi, moto: str, s3: S3Server, folder: Path, images: ImageStore) -> None:
        self.api, self.images, self._folder, self._ca = api, images, folder, str(folder / CA)
        self._where_s3_is = {"AWS_ENDPOINT_URL_S3": s3.endpoint}
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{moto}",
            "AWS_ENDPOINT_URL_LAMBDA": f"http://{api.address}",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": OWNER["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": OWNER["secret_access_key"],
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **self._where_s3_is,
        }
        s3.client.create_bucket(Bucket=BUCKET)
        trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}
        role = self.client("iam", moto).create_role(
            RoleName="functions", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", **trust})
        )
        self._role = role["Role"]["Arn"]
        self._ecr = self.client("ecr", moto)
        self.functions = self.client("lambda", api.address)
        self._roots: dict[str, Root] = {}

    def client(self, service: str, address: str) -> Any:
        """A client of boto3, without repetitions."""
        return boto3.client(
            service, endpoint_url=f"http://{address}", region_name=REGION,
            aws_access_key_id=OWNER["access_key_id"], aws_secret_access_key=OWNER["secret_access_key"],
            config=Config(connect_timeout=5, read_timeout=120, retries={"total_max_attempts": 1}),
        )  # fmt: skip

    def publish(self, repository: str, root: Root, tag: str = "latest") -> str:
        """Have ECR say that there is an image, and return its URI."""
        manifest = json.dumps({
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": {"mediaType": f"{OCI}.config.v1+json", "size": 0, "digest": secrets.token_hex()},
            "layers": [],
        })  # fmt: skip
        digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
        made = self._ecr.create_repository(repositoryName=repository)
        self._ecr.put_image(repositoryName=repository, imageManifest=manifest, imageTag=tag, imageDigest=digest)
        self._roots[digest] = root
        return f"{made['repository']['repositoryUri']}@{digest}"

    def root_of(self, image: str) -> Root:
        """The root of an image that was published or pushed, by its URI."""
        digest = image.partition("@")[2]
        if digest not in self._roots:
            self._roots[digest] = self.images.root(digest)
        return self._roots[digest]

    def uri_of(self, name: str) -> str:
        """The URI of an image that `build` has made, as ECR has it."""
        all_made = self._ecr.describe_repositories()["repositories"]
        (made,) = (one for one in all_made if one["repositoryName"].endswith(f"/{name}"))
        (image,) = self._ecr.describe_images(repositoryName=made["repositoryName"])["imageDetails"]
        return f"{made['repositoryUri']}@{image['imageDigest']}"

    @contextmanager
    def function(self, root: Root, memory_mb: int = 1024, timeout: int = 30) -> Iterator[str]:
        """A function of its own, without Lithops: its name."""
        name = f"test-{secrets.token_hex(4)}"
        self.functions.create_function(
            FunctionName=name, Role=self._role, PackageType="Image", Code={"ImageUri": self.publish(name, root)},
            MemorySize=memory_mb, Timeout=timeout, Environment={"Variables": self._where_s3_is},
        )  # fmt: skip
        try:
            yield name
        finally:
            self.functions.delete_function(FunctionName=name)

    @contextmanager
    def executor(self, runs: Root | str, **aws_lambda: Any) -> Iterator[lithops.FunctionExecutor]:
        """Lithops' ``aws_lambda`` backend; its function is deleted in the end.

        Parameters
        ----------
        runs : Root or str
            What functions run; or the name of an image that `build` has made.
        **aws_lambda
            More of that section of its configuration: ``runtime_memory``, MB, and ``runtime_timeout``, seconds.
        """
        name = runs if isinstance(runs, str) else f"runtime-{secrets.token_hex(4)}"
        with self._in_environment():
            executor = lithops.FunctionExecutor(config=self._config(runtime=name, **aws_lambda), log_level=None)
        with executor:
            backend = executor.compute_handler.backend
            if isinstance(runs, Root):
                self.publish(backend._format_repo_name(name), runs)
            # For events Lithops ignores the endpoint of the environment, and trusts public authorities only.
            backend.host, backend.session = self.api.tls_address, URLLib3Session(verify=self._ca)
            try:
                yield executor
            finally:
                function = self.function_of(executor)
                if function in self.api.functions:
                    self.functions.delete_function(FunctionName=function)

    def build(self, name: str, dockerfile: Path, context: Path, *arguments: str) -> None:
        """Build an image and push it, by ``lithops runtime build``.

        Parameters
        ----------
        name : str
            Of the runtime.
        dockerfile : Path
            Its ``BASE_IMAGE`` will be Debian with a Python like this one's.
        context : Path
            The folder with what is copied into the image. Lithops puts its handler there.
        *arguments
            More for ``docker build``.
        """
        base = self.images.make_base()
        self.lithops(
            "runtime", "build", name, "--backend", "aws_lambda", "--file", str(dockerfile), "--debug",
            "--build-arg", f"BASE_IMAGE={base}", *arguments, cwd=context,
        )  # fmt: skip

    def lithops(self, *arguments: str, cwd: Path) -> str:
        """What the command ``lithops`` prints with this account's configuration, a home of its own, and docker."""
        home = self._folder / "home"
        home.mkdir(exist_ok=True)
        config = home / "lithops.yaml"
        config.write_text(json.dumps(self._config()))  # JSON is YAML
        docker_command.install(home)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **self.environment,
            "PATH": f"{home}:{os.environ['PATH']}",
            "HOME": str(home),
            docker_command.STORE: str(self.images.folder),
        }
        done = subprocess.run(
            [sys.executable, "-m", "lithops.scripts.cli", *arguments, "--config", str(config)],
            cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=BUILD_SECONDS,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"lithops {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
        return done.stdout

    def _config(self, **aws_lambda: Any) -> dict[str, Any]:
        variables = [{"name": key, "value": value} for key, value in self._where_s3_is.items()]
        return {
            "lithops": {
                "backend": "aws_lambda",
                "storage": "aws_s3",
                "monitoring_interval": 0.1,
                "data_cleaner": False,
            },
            "aws": {"region": REGION, **OWNER},
            "aws_lambda": {"execution_role": self._role, "env_vars": variables, **aws_lambda},
            "aws_s3": {"storage_bucket": BUCKET},
        }  # fmt: skip

    @staticmethod
    def function_of(executor: lithops.FunctionExecutor) -> str:
        """The name of the function that Lithops deploys for an executor's first job."""
        config = executor.config["aws_lambda"]
        backend = executor.compute_handler.backend
        return str(backend._format_function_name(config["runtime"], config["runtime_memory"]))

    @contextmanager
    def _in_environment(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield


@contextmanager
def open_account(s3: S3Server, images: Path) -> Iterator[Account]:
    """An account with nothing in it, and images in a folder; all of its processes end with it."""
    with ExitStack() as stack:
        private = stack.enter_context(PrivateDirectory())
        moto = _start_moto(private)
        import trustme  # after the look for it

        authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        authority.cert_pem.write_to_path(str(private.directory / CA))
        role = {
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": OWNER["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": OWNER["secret_access_key"],
        }
        api = LambdaApi(moto, lambda image: account.root_of(image), role, tls)
        stack.callback(api.stop)
        account = Account(api, moto, s3, private.directory, ImageStore(images))
        yield account


def _start_moto(private: PrivateDirectory) -> str:
    """A moto server's host and port, once it answers."""
    beside = Path(sysconfig.get_path("scripts")) / "moto_server"
    binary = str(beside) if beside.exists() else shutil.which("moto_server")
    assert binary, "no moto server here: pip install 'moto[awslambda]' flask flask-cors"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    private.guard(binary, "-H", "127.0.0.1", "-p", str(port))
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return f"127.0.0.1:{port}"
        except OSError as error:
            if private.has_ended(0.05) or time.monotonic() > deadline:
                raise RuntimeError(f"moto does not start: {error}") from error
