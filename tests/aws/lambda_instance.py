"""One execution environment of a function: a jail, and the Runtime API that AWS's client in it talks to."""

from __future__ import annotations

import json
import queue
import secrets
import subprocess
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lambda_http import Handler, Server
from lambda_jail import jail
from lambda_limits import make_limits
from lambda_root import Root

LARGEST = 6 << 20
"""Bytes of a request or a response."""

INIT_SECONDS = 60.0
"""AWS allows 10 before it starts over; here several start on a few cores."""

LAST_LINES = 200

# bubblewrap's jail ends when the thread that started it does, so one thread that stays starts all of them.
_starter = ThreadPoolExecutor(1, thread_name_prefix="lambda-starter")


@dataclass(frozen=True)
class Spec:
    """What a function was created with: names and units are AWS's own."""

    name: str
    arn: str
    memory_mb: int
    timeout: float
    tmp_mb: int
    env: dict[str, str]
    root: Root


@dataclass(frozen=True)
class Reply:
    """What an invocation returned, as JSON; or an error, which AWS reports as JSON too."""

    body: bytes
    is_error: bool = False


@dataclass
class Invocation:
    """One event on its way."""

    payload: bytes
    deadline: float
    request_id: str = field(
        default_factory=lambda: f"{secrets.token_hex(4)}-0000-4000-8000-{secrets.token_hex(6)}"
    )
    reply: Future[Reply] = field(default_factory=Future)


class Instance:
    """Starts a function and waits for its first request.

    Attributes
    ----------
    log : deque of str
        The last lines that it printed.
    init_seconds : float
        From its start to its first request.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.log: deque[str] = deque(maxlen=LAST_LINES)
        self.init_seconds = 0.0
        self._is_spent = False
        self._lost: Reply | None = None
        self._ready: Future[None] = Future()
        self._invocations: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._at_work: dict[str, Invocation] = {}
        self._started = time.monotonic()
        self._limits = make_limits(spec.memory_mb)
        self._server = Server(RuntimeApi, self)
        self._process = _starter.submit(self._start).result()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def wait_until_ready(self) -> Reply | None:
        """Wait for the first request; an error if there will be none."""
        try:
            self._ready.result(INIT_SECONDS)
            return None
        except TookTooLong:
            return failure("Sandbox.Timedout", f"INIT took longer than {INIT_SECONDS:.0f} s")
        except InitFailed as error:
            return Reply(error.body, is_error=True)

    def run(self, invocation: Invocation) -> Reply:
        """Have it handle one event, in the time that it has."""
        self._at_work[invocation.request_id] = invocation
        if self._lost is not None:  # it died when nobody looked
            self.finish(invocation.request_id, self._lost)
        self._invocations.put(invocation)
        try:
            return invocation.reply.result(self.spec.timeout)
        except TookTooLong:
            self.stop()
            said = (
                f"RequestId: {invocation.request_id} Error: Task timed out after {self.spec.timeout:.2f} seconds"
            )
            return failure("Sandbox.Timedout", said)

    @property
    def has_ended(self) -> bool:
        """Whether it can take no more events."""
        return self._is_spent or self._process.poll() is not None

    def stop(self) -> None:
        """Kill all of its processes, and wait until nothing of it is left."""
        self._process.kill()
        self._watcher.join()

    def next(self) -> Invocation | None:
        """The event that is due, as soon as there is one; None once it has ended."""
        if not self._ready.done():
            self.init_seconds = time.monotonic() - self._started
            self._limits.limit_cpu()
            self._ready.set_result(None)
        return self._invocations.get()

    def finish(self, request_id: str, reply: Reply) -> bool:
        """Take the reply to an event; False if there is no such event."""
        invocation = self._at_work.pop(request_id, None)
        if invocation is None:
            return False
        with suppress(Exception):  # its time may be up
            invocation.reply.set_result(reply)
        return True

    def refuse(self, request_id: str, said: str) -> None:
        """Take the news that a response was too large; AWS's client gives up then, and exits."""
        self._is_spent = True
        self.finish(request_id, failure("Function.ResponseSizeTooLarge", said))

    def fail_to_start(self, body: bytes) -> None:
        """Take the error that was met before the first request."""
        if not self._ready.done():
            self._ready.set_exception(InitFailed(body))

    def _start(self) -> subprocess.Popen[str]:
        spec = self.spec
        env = spec.root.env | spec.env | {
            "AWS_LAMBDA_RUNTIME_API": self._server.address,
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": "AWS_Lambda_Image",
            "TZ": ":UTC",
        }  # fmt: skip
        return subprocess.Popen(
            self._limits.command(jail(spec.root, spec.tmp_mb)),
            env=env, cwd="/", text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _watch(self) -> None:
        """Follow it to its end, which is there when nobody can write to its log any more."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log.append(line.rstrip())
        status = self._process.wait()
        how = "signal: killed" if status in (-9, 137) else f"exit status {status}"
        kind = "Runtime.OutOfMemory" if self._limits.out_of_memory() else "Runtime.ExitError"
        last = " / ".join(list(self.log)[-3:])
        self.fail_to_start(
            failure(kind, f"Error: Runtime exited with error: {how}, before INIT was over: {last}").body
        )
        self._lost = failure(kind, f"Error: Runtime exited with error: {how}")
        for request_id in list(self._at_work):
            self.finish(request_id, self._lost)
        self._invocations.put(None)
        self._limits.remove()
        self._server.stop()


class InitFailed(Exception):
    """What a function said when it could not start."""

    def __init__(self, body: bytes) -> None:
        self.body = body


class RuntimeApi(Handler):
    """https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, for one instance."""

    def do_GET(self) -> None:
        """``/2018-06-01/runtime/invocation/next``"""
        instance: Instance = self.server.owner
        invocation = instance.next()
        if invocation is None:
            self.close_connection = True
            return
        self.reply(
            200,
            invocation.payload,
            Lambda_Runtime_Aws_Request_Id=invocation.request_id,
            Lambda_Runtime_Deadline_Ms=str(int(invocation.deadline * 1000)),
            Lambda_Runtime_Invoked_Function_Arn=instance.spec.arn,
        )

    def do_POST(self) -> None:
        """``/2018-06-01/runtime/invocation/ID/response`` and ``error``, and ``/2018-06-01/runtime/init/error``"""
        instance: Instance = self.server.owner
        body = self.body()
        *_, request_id, what = self.path.split("/")
        if request_id == "init":
            instance.fail_to_start(body)
            return self.reply(202)
        if what == "response" and len(body) > LARGEST:
            said = f"Response payload size exceeded maximum allowed payload size ({LARGEST} bytes)."
            instance.refuse(request_id, said)
            return self.reply(413, error("RequestEntityTooLarge", said))
        if instance.finish(request_id, Reply(body, is_error=what == "error")):
            return self.reply(202)
        self.reply(400, error("InvalidRequestID", f"there is no invocation {request_id}"))


def error(kind: str, message: str) -> dict[str, Any]:
    """An error as AWS writes it."""
    return {"errorType": kind, "errorMessage": message}


def failure(kind: str, message: str) -> Reply:
    """An error that AWS found, not the function."""
    return Reply(json.dumps(error(kind, message)).encode(), is_error=True)
