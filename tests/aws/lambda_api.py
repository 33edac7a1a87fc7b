"""AWS Lambda's API: invocations are carried out here, everything else is moto's."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from lambda_function import Function
from lambda_http import Handler, Server
from lambda_instance import LARGEST, Spec
from lambda_jail import TMP_MB
from lambda_root import Root

FUNCTIONS = "/2015-03-31/functions"
LARGEST_EVENT = 1 << 20
"""Bytes of an asynchronous request."""

MOTO_SECONDS = 30.0


class LambdaApi:
    """Serves until `stop`.

    Parameters
    ----------
    moto : str
        Host and port of a moto server, which keeps what functions were created with.
    root_of : callable
        The root of an image, by its URI.
    role : dict
        What functions find in their environment beside their own variables: region, and credentials.
    tls : ssl.SSLContext
        Of the address for asynchronous invocations.

    Attributes
    ----------
    address, tls_address : str
        Host and port.
    functions : dict
        By name.
    """

    def __init__(
        self, moto: str, root_of: Callable[[str], Root], role: dict[str, str], tls: ssl.SSLContext
    ) -> None:
        self.moto, self._root_of, self._role = moto, root_of, role
        self.functions: dict[str, Function] = {}
        self._servers = [Server(Front, self), Server(Front, self, tls)]
        self.address, self.tls_address = (server.address for server in self._servers)
        self._events: set[threading.Thread] = set()

    def stop(self) -> None:
        """Take no more requests, and end all functions."""
        for server in self._servers:
            server.stop()
        for function in self.functions.values():
            function.stop()
        for event in list(self._events):
            event.join()

    def invoke_later(self, function: Function, payload: bytes) -> None:
        """Handle an event whose result nobody waits for. One that fails AWS repeats minutes later, we do not."""

        def invoke() -> None:
            function.invoke(payload)
            self._events.discard(thread)

        thread = threading.Thread(target=invoke, daemon=True)
        self._events.add(thread)
        thread.start()

    def keep(self, config: dict[str, Any], image: str) -> None:
        """Take over what moto says of a function that was created or changed."""
        name = config["FunctionName"]
        spec = Spec(
            name=name,
            arn=config["FunctionArn"],
            memory_mb=int(config.get("MemorySize", 128)),
            timeout=float(config.get("Timeout", 3)),
            tmp_mb=int((config.get("EphemeralStorage") or {}).get("Size", TMP_MB)),
            env={**((config.get("Environment") or {}).get("Variables") or {}), **self._role},
            root=self._root_of(image) if image else self.functions[name].spec.root,
        )
        if name in self.functions:
            self.functions[name].update(spec)
        else:
            self.functions[name] = Function(spec)

    def drop(self, name: str) -> None:
        """End a function that was deleted."""
        function = self.functions.pop(name, None)
        if function is not None:
            function.stop()


class Front(Handler):
    """One connection of a client."""

    def any(self) -> None:
        """Invoke, or ask moto and take over what it did."""
        api: LambdaApi = self.server.owner
        path, body = unquote(urlsplit(self.path).path), self.body()
        words = path.removeprefix(FUNCTIONS).strip("/").split("/")
        name = words[0].rpartition(":function:")[2]
        if path.startswith(FUNCTIONS) and words[1:] == ["invocations"]:
            return self._invoke(api, name, body)
        status, headers, said = self._ask_moto(api.moto, body)
        if path.startswith(FUNCTIONS) and 200 <= status < 300:
            if self.command == "DELETE" and len(words) == 1:
                api.drop(name)
            elif self.command == "POST" and not name:
                api.keep(json.loads(said), json.loads(body)["Code"]["ImageUri"])
            elif self.command == "PUT" and words[1:] in (["configuration"], ["code"]):
                api.keep(json.loads(said), json.loads(body).get("ImageUri", ""))
        self.reply(status, said, **headers)

    do_GET = do_POST = do_PUT = do_DELETE = any

    def _invoke(self, api: LambdaApi, name: str, body: bytes) -> None:
        function, request_id = api.functions.get(name), str(uuid.uuid4())
        later = self.headers.get("X-Amz-Invocation-Type") == "Event"
        largest = LARGEST_EVENT if later else LARGEST
        if function is None:
            return self._refuse(404, "ResourceNotFoundException", f"Function not found: {name}")
        if len(body) > largest:
            said = f"Request must be smaller than {largest} bytes for the InvokeFunction operation"
            return self._refuse(413, "RequestTooLargeException", said)
        if later:
            api.invoke_later(function, body)
            return self.reply(202, x_amzn_RequestId=request_id)
        reply = function.invoke(body or b"{}")
        outcome = {"X_Amz_Function_Error": "Unhandled"} if reply.is_error else {}
        self.reply(200, reply.body, x_amzn_RequestId=request_id, **outcome)

    def _refuse(self, status: int, kind: str, message: str) -> None:
        self.reply(status, {"Message": message, "Type": "User"}, x_amzn_ErrorType=kind)

    def _ask_moto(self, moto: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(moto, timeout=MOTO_SECONDS)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        kept = {
            name: value
            for name, value in answer.getheaders()
            if name.lower().startswith(("x-amz", "content-type"))
        }
        return answer.status, {"Content-Type": "application/json"} | kept, said
