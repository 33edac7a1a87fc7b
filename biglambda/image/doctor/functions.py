"""The functions of the Lithops configuration."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial

from ...runtime.channel.address import parse
from ...runtime.data.s3 import SCHEME, S3Objects
from ...runtime.data.store import try_out
from ...runtime.errors import RunError
from ...runtime.resources import LAMBDA_MB_PER_VCPU
from .. import aws, name
from ..deploy import LEAST_MB, describe
from .finding import Finding, Step
from .redis import is_here, is_private
from .s3 import impatient

SHORT_SECONDS = 60
DEPLOY = "Run `biglambda runtime deploy`"


def steps(settings: aws.Configuration, workers: int, redis: str | None) -> list[Step]:
    """What to look at in a Lithops configuration, for so many workers and a Redis."""
    found = [Step("Lithops configuration", partial(_configuration, settings, workers))]
    if settings.storage == "aws_s3":
        found.append(Step("Lithops storage", partial(_storage, settings)))
    if settings.backend != aws.BACKEND:
        return found
    return [
        *found,
        Step("Lambda image", partial(_image, settings)),
        Step("Lambda function", partial(_function, settings)),
        Step("Lambda concurrency", partial(_concurrency, settings, workers)),
        Step("Lambda network", partial(_network, settings, redis)),
    ]


def _configuration(settings: aws.Configuration, workers: int) -> Iterator[Finding]:
    found = f"{settings.name}: functions on {settings.backend}, storage on {settings.storage}"
    yield Finding("ok", "Lithops configuration", found)
    section, general = settings.section, settings.values["lithops"]
    # A localhost executor runs so many at a time; elsewhere so many share one function.
    processes = section.get("worker_processes") or 1
    if settings.backend == "localhost":
        if processes < workers:
            advice = f"Set it to {workers} in the section localhost: all workers of a run must run together"
            yield Finding("wrong", "Lithops workers", f"worker_processes is {processes}", advice)
        return
    together = max(processes, general.get("chunksize") or 1)
    if together > 1:
        advice = "Set worker_processes and chunksize to 1: each worker is to have the vCPUs of its function"
        yield Finding("warning", "Lithops workers", f"{together} workers share a function", advice)
    most = section.get("max_workers")
    if most and most < workers:
        advice = f"Raise it to {workers}: all workers of a run must run together"
        yield Finding("wrong", "Lithops workers", f"max_workers is {most}", advice)


def _storage(settings: aws.Configuration) -> Iterator[Finding]:
    bucket = (settings.values.get("aws_s3") or {}).get("storage_bucket")
    if not bucket:
        advice = "Name one as storage_bucket in the section aws_s3, so that its policy and life cycle can be yours"
        yield Finding("warning", "Lithops storage", "no bucket is named: Lithops makes one", advice)
        return
    store = impatient(S3Objects.configured(settings.values))
    try_out(store, f"{SCHEME}{bucket}/biglambda-doctor-{secrets.token_hex(8)}.try")
    yield Finding("ok", "Lithops storage", f"objects in {SCHEME}{bucket} can be written and deleted")


def _image(settings: aws.Configuration) -> Iterator[Finding]:
    stated = settings.states("runtime")
    if not stated:
        yield Finding("wrong", "Lambda image", "Lithops' own runtime has no biglambda in it", f"{DEPLOY} for one")
        return
    its, here = name.parse(str(stated)), name.of_installed()
    if its is None:
        advice = f"{DEPLOY} for one that tells, or see to it that versions and Python are those of this client"
        yield Finding("warning", "Lambda image", f"{stated} does not tell what it was built from", advice)
    elif differences := its.differences(here):
        advice = f"{DEPLOY}, and set runtime to the image that it names"
        yield Finding("wrong", "Lambda image", f"{stated} is outdated: it has {', '.join(differences)}", advice)
    else:
        yield Finding("ok", "Lambda image", f"{stated} is of this biglambda and Python")


def _function(settings: aws.Configuration) -> Iterator[Finding]:
    section, stated = settings.section, settings.states("runtime")
    memory, seconds = section["runtime_memory"], section["runtime_timeout"]
    yield _memory(memory)
    if seconds < SHORT_SECONDS:
        advice = "Set runtime_timeout to 900: functions end when a run ends, and one that is cut off starts again"
        yield Finding("warning", "Lambda time limit", f"{seconds} s", advice)
    if not stated:
        return
    called = aws.function_name(section, aws.identity(section), stated, memory)
    there = aws.function(section, called)
    where = f"{called} in {section['region']}"
    if there is None:
        found = f"there is no {where}, which {stated} with {memory:,} MB would be"
        yield Finding("wrong", "Lambda function", found, f"{DEPLOY}, or correct runtime and runtime_memory")
    elif there.get("State", "Active") not in ("Active", "Inactive"):
        advice = "Wait, or delete it by `lithops runtime delete`, and deploy again"
        reason = there.get("StateReason")
        found = f"{where} is {there['State']}{f' ({reason})' if reason else ''}"
        yield Finding("wrong", "Lambda function", found, advice)
    elif there["Timeout"] != seconds:
        advice = "The function counts: set runtime_timeout to the same, or delete it and deploy again"
        found = f"{where} has a time limit of {there['Timeout']} s, and the configuration says {seconds} s"
        yield Finding("warning", "Lambda function", found, advice)
    else:
        yield Finding("ok", "Lambda function", f"{where}, with a time limit of {seconds} s")


def _memory(memory_mb: int) -> Finding:
    if memory_mb < LEAST_MB:
        advice = f"Set runtime_memory to {LEAST_MB} or more, {LAMBDA_MB_PER_VCPU:,} for each vCPU"
        return Finding("wrong", "Lambda memory", f"{memory_mb} MB, and a worker without rows needs more", advice)
    if memory_mb < LAMBDA_MB_PER_VCPU:
        advice = (
            f"Set runtime_memory to {LAMBDA_MB_PER_VCPU:,} for each vCPU; the price of a computation is the same"
        )
        return Finding("warning", "Lambda memory", describe(memory_mb), advice)
    return Finding("ok", "Lambda memory", describe(memory_mb))


def _concurrency(settings: aws.Configuration, workers: int) -> Iterator[Finding]:
    try:
        limits = aws.ask(settings.section, "lambda", "get_account_settings")["AccountLimit"]
    except RunError as error:
        advice = f"Service Quotas tells, too: AWS Lambda, concurrent executions, {workers:,} at least"
        yield Finding("warning", "Lambda concurrency", str(error), advice)
        return
    yield concurrency(limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"], workers)


def concurrency(quota: int, unreserved: int, workers: int) -> Finding:
    """Whether so many functions may run at a time."""
    found = f"{unreserved:,} functions may run at a time, of {quota:,} of the account"
    if unreserved < workers:
        advice = (
            f"Ask for {workers + quota - unreserved:,} or more in Service Quotas (AWS Lambda, concurrent "
            "executions), or take fewer workers in larger functions"
        )
        return Finding("wrong", "Lambda concurrency", found, advice)
    return Finding("ok", "Lambda concurrency", found)


def _network(settings: aws.Configuration, redis: str | None) -> Iterator[Finding]:
    subnets = settings.section["vpc"]["subnets"]
    if subnets:
        yield Finding("ok", "Lambda network", f"functions are in {', '.join(subnets)}")
    elif redis is not None and not is_here(address := parse(redis)) and is_private(address):
        advice = "Name subnets and security_groups of its VPC in the section vpc, and deploy again"
        found = f"functions are in no VPC, and {address} is in a private network"
        yield Finding("wrong", "Lambda network", found, advice)
