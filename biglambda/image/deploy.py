"""Builds the runtime image and deploys it as a function of AWS Lambda, by the commands that Lithops has for it."""

from __future__ import annotations

import math
import re
import shlex
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.engine.memory_plan import BASE_BYTES, CODE_BYTES, RESERVE
from ..runtime.engine.options import MAX_WORKERS
from ..runtime.errors import RunError
from ..runtime.resources import (
    LAMBDA_LARGEST_MB,
    LAMBDA_MB_PER_VCPU,
    MB,
    USD_PER_GB_SECOND,
    lambda_cpus,
    lambda_memory,
)
from . import aws, name

LEAST_MB = math.ceil((BASE_BYTES + CODE_BYTES) / (1 - RESERVE) / MB)
"""Of memory; a worker without rows needs it."""

LONGEST_SECONDS = 900
LARGEST_INNER_WORKERS = 6
BUILD_SECONDS, DEPLOY_SECONDS = 3600.0, 1200.0
"""That the commands of Lithops may take. A function in a VPC takes minutes."""

_NAME = re.compile(r"[a-z0-9]+([._/-][a-z0-9]+)*")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+")


@dataclass(frozen=True)
class Request:
    """What is to be deployed.

    Attributes
    ----------
    root : Path
        The repository.
    inner_workers, memory_mb, timeout : int or None
        Without the first two, the memory is what the Lithops configuration says; without a time limit, what it
        says, else the longest that there is.
    image : str
        Name of the image, without a tag.
    base_image : str or None
        By default the official one of this Python's minor version.
    workers : int
        Functions whose price is told.
    """

    root: Path
    inner_workers: int | None = None
    memory_mb: int | None = None
    timeout: int | None = None
    image: str = "biglambda"
    base_image: str | None = None
    workers: int = 1


@dataclass(frozen=True)
class Plan:
    """What is going to be done.

    Attributes
    ----------
    root : Path
        Where the commands run.
    image, base_image : str
    function, region : str
    exists : bool
        Whether the function is there already. Lithops leaves it as it is then.
    memory_mb, timeout : int
        Of the function, MB and seconds.
    workers : int
        Functions whose price is told.
    build, deploy : tuple of str
        The commands.
    """

    root: Path
    image: str
    base_image: str
    function: str
    region: str
    exists: bool
    memory_mb: int
    timeout: int
    workers: int
    build: tuple[str, ...]
    deploy: tuple[str, ...]

    @property
    def usd_per_hour(self) -> float:
        """Price of an hour of all functions, US$."""
        return self.workers * self.memory_mb / 1024 * 3600 * USD_PER_GB_SECOND

    @property
    def settings(self) -> str:
        """What the Lithops configuration has to say, so that this function is used."""
        return (
            f"{aws.BACKEND}:\n    runtime: {self.image}\n    runtime_memory: {self.memory_mb}\n"
            f"    runtime_timeout: {self.timeout}"
        )

    def __str__(self) -> str:
        functions = "1 function" if self.workers == 1 else f"{self.workers:,} functions"
        return "\n".join(
            (
                f"image       {self.image}, from {self.base_image}",
                f"function    {self.function} in {self.region}{', which is there already' if self.exists else ''}",
                f"memory      {describe(self.memory_mb)}",
                f"time limit  {self.timeout} s",
                f"price       US$ {self.usd_per_hour:.2f} for an hour of {functions}",
                f"commands    cd {shlex.quote(str(self.root))}",
                f"            {shlex.join(self.build)}",
                f"            {shlex.join(self.deploy)}",
            )
        )


def describe(memory_mb: int) -> str:
    """The memory of a function, and the vCPUs that come with it."""
    share = memory_mb / LAMBDA_MB_PER_VCPU
    return f"{memory_mb:,} MB: the time of {share:.2f} vCPUs, on {lambda_cpus(memory_mb)} that the function sees"


def memory_of(request: Request, stated: Any = None) -> int:
    """MB of memory of the function that is asked for; ``stated`` is what the Lithops configuration says.

    Raises
    ------
    ValueError
        AWS Lambda has none such, or nobody says how large it is to be.
    """
    if request.inner_workers is not None:
        if not 1 <= request.inner_workers <= LARGEST_INNER_WORKERS:
            raise ValueError(
                f"--inner-workers {request.inner_workers}: allowed are 1 to {LARGEST_INNER_WORKERS}, as the "
                f"largest function has {LAMBDA_LARGEST_MB / LAMBDA_MB_PER_VCPU:.2f} vCPUs; take "
                "more functions (workers=)"
            )
        return lambda_memory(request.inner_workers)
    memory, where = (
        (request.memory_mb, "--memory")
        if request.memory_mb is not None
        else (stated, "runtime_memory of the Lithops configuration:")
    )
    if memory is None:
        raise ValueError(
            f"how large is the function to be? Give --inner-workers, 1 to {LARGEST_INNER_WORKERS}, or --memory "
            f"MB; a vCPU comes with each {LAMBDA_MB_PER_VCPU:,} MB"
        )
    if not isinstance(memory, int) or not LEAST_MB <= memory <= LAMBDA_LARGEST_MB:
        raise ValueError(
            f"{where} {memory}: allowed are {LEAST_MB} MB, which a worker needs without rows, to "
            f"{LAMBDA_LARGEST_MB:,} MB"
        )
    return memory


def make_plan(request: Request) -> Plan:
    """What is going to be done, after everything was checked that can be. Changes nothing.

    Raises
    ------
    ValueError, RunError
        It cannot be done; says what to change.
    """
    if not 1 <= request.workers <= MAX_WORKERS:
        raise ValueError(f"--workers {request.workers}: allowed are 1 to {MAX_WORKERS:,}")
    root = request.root.resolve()
    base_image = request.base_image or f"python:{name.this_python()}-slim"
    _check_sources(request.image, root, base_image)
    lithops = _check_programs()
    settings = aws.configuration()
    _check_settings(settings)
    section = settings.section
    memory = memory_of(request, settings.states("runtime_memory"))
    timeout = request.timeout or settings.states("runtime_timeout") or LONGEST_SECONDS
    if not isinstance(timeout, int) or not 1 <= timeout <= LONGEST_SECONDS:
        raise ValueError(f"--timeout {timeout}: allowed are 1 to {LONGEST_SECONDS} seconds")
    image = f"{request.image}:{name.of_repository(root).tag}"
    function = aws.function_name(section, aws.identity(section), image, memory)
    there = aws.function(section, function)
    if there is not None:
        _check_function(there, section, image, memory, timeout)
    backend = ("-b", aws.BACKEND)
    base = ("--build-arg", f"BASE_IMAGE={base_image}")
    size = ("--memory", str(memory), "--timeout", str(timeout))
    return Plan(
        root=root,
        image=image,
        base_image=base_image,
        function=function,
        region=section["region"],
        exists=there is not None,
        memory_mb=memory,
        timeout=timeout,
        workers=request.workers,
        build=(lithops, "runtime", "build", *backend, "-f", "docker/Dockerfile", image, *base),
        deploy=(lithops, "runtime", "deploy", *backend, *size, image),
    )


def carry_out(plan: Plan) -> None:
    """Build the image, push it, and make the function.

    Raises
    ------
    RunError
        A command failed, or took too long. What it said is on its own output.
    """
    for command, seconds in ((plan.build, BUILD_SECONDS), (plan.deploy, DEPLOY_SECONDS)):
        said = shlex.join(command)
        try:
            code = subprocess.run(command, cwd=plan.root, timeout=seconds).returncode
        except subprocess.TimeoutExpired:
            raise RunError(f"`{said}` did not end in {seconds:.0f} s and was stopped; start it again") from None
        if code:
            raise RunError(f"`{said}` failed with code {code}; what it printed says why")


def _check_sources(image: str, root: Path, base_image: str) -> None:
    if not _NAME.fullmatch(image):
        raise ValueError(
            f"--name {image}: allowed are lower-case letters and digits, with '.', '_', '-' and '/' between them; "
            "the tag is chosen here"
        )
    if not name.is_repository(root):
        raise ValueError(
            f"{root} is not biglambda's repository: it has no docker/Dockerfile, or no pyproject.toml of "
            "biglambda. Run this in a clone, or give --repository DIR"
        )
    here, there = name.of_installed(), name.of_repository(root)
    if here.code != there.code:
        raise ValueError(
            f"the biglambda that runs here ({here.code}) is not the one in {root} ({there.code}), and functions "
            f"must have the same as their client: run `pip install {root}` first"
        )
    stated = re.search(r"python:(\d+\.\d+)", base_image)
    if stated and stated[1] != here.python:
        raise ValueError(
            f"--base-image {base_image} has Python {stated[1]}, and this client {here.python}: Lithops needs the "
            f"same minor version in both; allowed is, for example, python:{here.python}-slim"
        )


def _check_programs() -> str:
    """The command of Lithops that belongs to this Python, where there is one that builds images, too."""
    if not (shutil.which("docker") or shutil.which("podman")):
        raise RunError("neither docker nor podman is on PATH, and one of them has to build the image: install it")
    beside = Path(sysconfig.get_path("scripts")) / "lithops"
    found = str(beside) if beside.exists() else shutil.which("lithops")
    if found is None:
        raise RunError("the command lithops is not there: run `pip install lithops`")
    return found


def _check_settings(settings: aws.Configuration) -> None:
    if settings.backend != aws.BACKEND:
        raise ValueError(
            f"the Lithops configuration {settings.name} has the backend {settings.backend!r}: allowed here is "
            f"{aws.BACKEND!r}; {aws.GUIDE}"
        )
    section = settings.section
    role = section["execution_role"]
    if not _ROLE.fullmatch(str(role)):
        raise ValueError(
            f"execution_role in {settings.name} is {role!r}: allowed is the ARN of a role, as "
            f"arn:aws:iam::123456789012:role/NAME; {aws.GUIDE}"
        )
    if section["architecture"] != "x86_64":
        raise ValueError(
            f"architecture in {settings.name} is {section['architecture']!r}: Lithops builds images "
            "for x86_64 only"
        )


def _check_function(
    there: dict[str, Any], section: dict[str, Any], image: str, memory_mb: int, timeout: int
) -> None:
    """A function that exists is what it was: Lithops changes nothing in it, and says nothing."""
    network = there.get("VpcConfig") or {}
    wanted = {
        "time limit": (there["Timeout"], timeout),
        "role": (there["Role"], section["execution_role"]),
        "subnets": (sorted(network.get("SubnetIds") or ()), sorted(section["vpc"]["subnets"])),
        "security groups": (
            sorted(network.get("SecurityGroupIds") or ()),
            sorted(section["vpc"]["security_groups"]),
        ),
    }
    others = [f"{what} {old}, not {new}" for what, (old, new) in wanted.items() if old != new]
    if others:
        raise ValueError(
            f"the function {there['FunctionName']} is there already, with {'; '.join(others)}, and Lithops would "
            f"leave it so. Run `lithops runtime delete -b {aws.BACKEND} --memory {memory_mb} {image}` first, "
            "while no run uses it"
        )
