"""The Lithops configuration, and AWS as seen with it; every question to AWS is bounded in time."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..runtime.data.s3_errors import EXPIRED, INVALID, NO_CREDENTIALS, UNREACHABLE, WORDS
from ..runtime.errors import RunError

BACKEND = "aws_lambda"
CONNECT_SECONDS, READ_SECONDS = 2.0, 2.5
GUIDE = "docs/deploy.md has a complete configuration"


@dataclass(frozen=True, repr=False)
class Configuration:
    """A Lithops configuration; it may hold credentials, which its `repr` does not show.

    Attributes
    ----------
    name : str
        Where it is from.
    stated : mapping
        What it says.
    values : dict
        What Lithops makes of it.
    """

    name: str
    stated: Mapping[str, Any]
    values: dict[str, Any]

    def __repr__(self) -> str:
        return f"Configuration({self.name!r}, {self.backend!r})"

    @property
    def backend(self) -> str:
        """Where functions run."""
        return str(self.values["lithops"]["backend"])

    @property
    def storage(self) -> str:
        """What Lithops keeps jobs and results in."""
        return str(self.values["lithops"]["storage"])

    @property
    def section(self) -> dict[str, Any]:
        """What is said of the backend, with Lithops' defaults."""
        section: dict[str, Any] = self.values[self.backend]
        return section

    def states(self, name: str) -> Any:
        """What the configuration says of the backend itself; None where Lithops has a default."""
        return (self.stated.get(self.backend) or {}).get(name)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""
        hidden = ("secret_access_key", "session_token", "password")
        sections = [section for section in self.values.values() if isinstance(section, Mapping)]
        return tuple(str(section[name]) for section in sections for name in hidden if section.get(name))


def configuration() -> Configuration:
    """The Lithops configuration that an executor would use.

    Raises
    ------
    RunError
        Lithops does not accept it.
    """
    from lithops.config import default_config, get_default_config_filename, load_config

    inline = "LITHOPS_CONFIG" in os.environ
    name = "$LITHOPS_CONFIG" if inline else get_default_config_filename() or "Lithops' default (no file)"
    try:
        stated = load_config(log=False)
        values = default_config()
    except Exception as error:  # Lithops raises nothing more precise
        raise RunError(f"the Lithops configuration {name} is not usable: {_first_line(error)}; {GUIDE}") from error
    return Configuration(name, stated, values)


def client(section: Mapping[str, Any], service: str) -> Any:
    """A client of one of AWS's services, which asks once, and waits no longer than 5 s."""
    import boto3
    from botocore.config import Config

    session = boto3.Session(
        section.get("access_key_id"),
        section.get("secret_access_key"),
        section.get("session_token"),
        region_name=section.get("region"),
    )
    limits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
    return session.client(service, config=Config(**limits, retries={"total_max_attempts": 1}))


def identity(section: Mapping[str, Any]) -> dict[str, str]:
    """``account_id`` and ``user_id``, by which Lithops names functions: of the configuration, or asked for.

    Raises
    ------
    RunError
        AWS cannot be asked, or does not know the credentials.
    """
    if section.get("account_id") and section.get("user_id"):
        return {"account_id": str(section["account_id"]), "user_id": str(section["user_id"])}
    found = ask(section, "sts", "get_caller_identity")
    return {"account_id": found["Account"], "user_id": found["UserId"]}


def function_name(section: Mapping[str, Any], who: Mapping[str, str], image: str, memory_mb: int) -> str:
    """What Lithops calls the function of an image and a memory size."""
    from lithops import __version__
    from lithops.serverless import ServerlessHandler

    # With an identity, it asks AWS nothing.
    settings = {"user_agent": "biglambda", **section, **who}
    handler = ServerlessHandler({"backend": BACKEND, BACKEND: settings}, None)
    return posixpath.basename(handler.get_runtime_key(image, memory_mb, __version__))


def function(section: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The configuration of a function of AWS Lambda; None if there is no such function.

    Raises
    ------
    RunError
        AWS cannot be asked, or refuses.
    """
    try:
        return ask(section, "lambda", "get_function_configuration", FunctionName=name)
    except RunError as error:
        response = getattr(error.__cause__, "response", {})
        if response.get("Error", {}).get("Code") == "ResourceNotFoundException":
            return None
        raise


def ask(section: Mapping[str, Any], service: str, question: str, **arguments: Any) -> dict[str, Any]:
    """The reply of one of AWS's services, or a RunError that says what to do."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        reply: dict[str, Any] = getattr(client(section, service), question)(**arguments)
        return reply
    except (BotoCoreError, ClientError) as error:
        action = "".join(word.capitalize() for word in question.split("_"))
        raise RunError(_explain(error, f"{service}:{action}")) from error


def _explain(error: Exception, action: str) -> str:
    """Why AWS did not answer. Nothing of the request is repeated, as that may hold credentials."""
    kind = type(error).__name__
    code = str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
    if "AccessDenied" in code or "Unauthorized" in code:
        why = f"the credentials in use are not allowed {action}"
    elif code in ("UnrecognizedClientException", "SignatureDoesNotMatch") or WORDS.get(code) == INVALID:
        why = "the credentials are not known to AWS; check access key and secret"
    elif WORDS.get(code) == EXPIRED:
        why = EXPIRED
    elif code:
        why = f"AWS refused with {code}"
    elif kind in NO_CREDENTIALS:
        why = (
            f"no usable credentials were found ({kind}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or log in"
        )
    elif kind in UNREACHABLE or kind in ("ReadTimeoutError", "ConnectionClosedError"):
        why = f"AWS cannot be reached ({kind}); check the region, AWS_ENDPOINT_URL, and that there is a way to it"
    else:
        why = f"{kind} of boto3: check profile, region and AWS_ENDPOINT_URL"
    return f"{action}: {why}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
