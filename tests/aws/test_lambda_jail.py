"""A function is where it would be on AWS Lambda: what is missing there is missing here, errors are AWS's own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_account import Account
from botocore.exceptions import ClientError
from lambda_jail import GID, UID
from lambda_root import machine_root

Invoke = Callable[..., Any]
PROBE = machine_root("lambda_probe.lambda_handler")


@pytest.fixture(scope="module")
def probe(account: Account) -> Iterator[tuple[str, Invoke]]:
    """A function of 512 MB and 3 seconds: its name, and what invokes it."""
    with account.function(PROBE, memory_mb=512, timeout=3) as name:
        yield name, invoker(account, name)


@pytest.fixture(scope="module")
def facts(probe: tuple[str, Invoke]) -> dict[str, Any]:
    return probe[1]("facts")


def invoker(account: Account, name: str) -> Invoke:
    """Invokes the function: what it returns, or the error as AWS reports it."""

    def invoke(do: str, *arguments: Any) -> Any:
        event = json.dumps({"do": do, "with": arguments})
        answer = account.functions.invoke(FunctionName=name, Payload=event)
        body = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            assert answer["FunctionError"] == "Unhandled"
            return body["errorType"], body["errorMessage"]
        return body

    return invoke


def test_a_function_is_not_root_and_cannot_become_it(facts: dict[str, Any]) -> None:
    assert facts["uid"] == UID != 0 != GID
    assert facts["capabilities"] == 0
    assert not facts["becomes_root"]


def test_only_tmp_is_writable_and_has_512_mb(facts: dict[str, Any]) -> None:
    assert facts["writable"] == ["/tmp"]
    assert facts["tmp_mb"] == 512


def test_a_function_sees_no_processes_but_its_own_and_no_host_name(facts: dict[str, Any]) -> None:
    assert facts["processes"] <= 4
    assert facts["host"] == "lambda"


def test_nothing_of_the_clients_environment_gets_in(facts: dict[str, Any]) -> None:
    allowed = {"LANG", "LC_CTYPE", "PWD", "OLDPWD", "PATH", "PYTHONPATH", "TZ", "_X_AMZN_TRACE_ID", "SHLVL", "_"}
    assert {name for name in facts["environment"] if not name.startswith("AWS_")} <= allowed


def test_pools_and_locks_fail_without_dev_shm_but_processes_and_pipes_work(facts: dict[str, Any]) -> None:
    assert not facts["shm"]
    assert not facts["pool"]
    assert not facts["lock"]
    assert facts["process_and_pipe"] == 42


def test_usable_cpus_are_what_the_memory_size_has(facts: dict[str, Any]) -> None:
    assert facts["cpus"] == 1


def test_an_instance_is_used_again(probe: tuple[str, Invoke]) -> None:
    assert probe[1]("echo", 1)["boot"] == probe[1]("echo", 2)["boot"]


def test_an_error_of_the_handler_is_reported(probe: tuple[str, Invoke]) -> None:
    assert probe[1]("fail") == ("ValueError", "these rows make no sense")


def test_memory_above_the_limit_kills(probe: tuple[str, Invoke]) -> None:
    assert probe[1]("allocate", 200) == 200 << 20
    kind, message = probe[1]("allocate", 600)
    assert (kind, message.partition("Error: ")[2]) in [
        ("Runtime.OutOfMemory", "Runtime exited with error: signal: killed"),
        ("MemoryError", ""),  # without control groups
    ]
    assert probe[1]("echo", 1)["value"] == 1


def test_a_function_that_takes_too_long_is_killed_with_all_that_it_started(probe: tuple[str, Invoke]) -> None:
    before = running_jails()
    start = time.monotonic()
    kind, message = probe[1]("wait_with_a_child")
    assert kind == "Sandbox.Timedout"
    assert "Task timed out after 3.00 seconds" in message
    assert 3 <= time.monotonic() - start < 10
    assert len(running_jails() - before) == 0


def test_a_response_above_6_mb_is_refused(probe: tuple[str, Invoke]) -> None:
    assert len(probe[1]("respond", 5)) == 5 << 20
    kind, message = probe[1]("respond", 7)
    assert kind == "Function.ResponseSizeTooLarge"
    assert "6291456 bytes" in message


def test_a_runtime_that_dies_is_reported_and_replaced(probe: tuple[str, Invoke]) -> None:
    kind, message = probe[1]("die")
    assert kind in ("Runtime.ExitError", "Runtime.OutOfMemory")
    assert "signal: killed" in message
    assert probe[1]("echo", 1)["value"] == 1


def test_a_missing_function_and_large_requests_are_refused(account: Account, probe: tuple[str, Invoke]) -> None:
    for name, size, later, code, status in [
        ("nobody", 10, False, "ResourceNotFoundException", 404),
        ("nobody", 10, True, "ResourceNotFoundException", 404),
        (probe[0], 7 << 20, False, "RequestTooLargeException", 413),
        (probe[0], 2 << 20, True, "RequestTooLargeException", 413),
    ]:
        with pytest.raises(ClientError) as caught:
            account.functions.invoke(
                FunctionName=name,
                InvocationType="Event" if later else "RequestResponse",
                Payload=json.dumps("x" * size),
            )
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_a_handler_that_cannot_be_imported_is_reported_with_its_reason(account: Account) -> None:
    with account.function(machine_root("no_such_module.handler")) as name:
        kind, message = invoker(account, name)("echo", 1)
    assert kind == "Runtime.ImportModuleError"
    assert "no_such_module" in message


def test_a_root_that_cannot_be_started_is_reported_with_what_it_printed(account: Account) -> None:
    root = replace(PROBE, entrypoint=("/bin/sh", "-c", "echo no kernels here; exit 3"), cmd=())
    with account.function(root) as name:
        kind, message = invoker(account, name)("echo", 1)
    assert kind == "Runtime.ExitError"
    assert "exit status 3" in message
    assert "no kernels here" in message


def test_functions_are_listed_changed_and_deleted(account: Account) -> None:
    with account.function(PROBE, timeout=30) as name:
        invoke = invoker(account, name)
        first = invoke("echo", 1)["boot"]
        listed = account.functions.list_functions()["Functions"]
        assert name in [function["FunctionName"] for function in listed]
        account.functions.update_function_configuration(FunctionName=name, Timeout=1)
        assert invoke("echo", 1)["boot"] != first
        assert invoke("wait")[0] == "Sandbox.Timedout"
    with pytest.raises(ClientError, match="Function not found"):
        invoke("echo", 1)


def running_jails() -> set[str]:
    """Processes of this machine in which the probe's module runs."""
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and b"lambda_probe" in (folder / "cmdline").read_bytes():
                found.add(folder.name)
        except OSError:
            continue  # it has just ended
    return found
