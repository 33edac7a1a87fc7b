"""URLs of Redis: what they say, and how to show them without their secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

_TLS_OPTIONS = frozenset(
    ["ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"]
)
_ALLOWED = {
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": ("true", "false", "yes", "no", "on", "off", "1", "0"),
}
_SENTINEL_OPTIONS = frozenset(["sentinel_username", "sentinel_password"])
_PORTS = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379, "rediss+sentinel": 26379}

_URL = re.compile(r"([a-z+]+)://(?:([^/?#]*)@)?([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?")
_SERVER = re.compile(r"(?:\[([^\s\[\]@]+)\]|([^\s\[\]:@]+))(?::([0-9]*))?")
_SERVICE = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, repr=False)
class Address:
    """What the URL of a Redis says. Its `str` and `repr` have no user, password or option; `url` has them.

    Attributes
    ----------
    scheme : {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"}
    servers : tuple of (str, int)
        Host and port of a server, of several nodes of a cluster, or of the sentinels; none for a socket.
    path : str
        Of the socket.
    service : str
        What the sentinels call the primary and its replicas.
    database : int
    username, password : str
        For the server; empty if there is none.
    sentinel_username, sentinel_password : str
        For the sentinels.
    options : tuple of (str, str)
        Of TLS, by redis-py's names.
    """

    scheme: str
    servers: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    database: int = 0
    username: str = ""
    password: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def is_secure(self) -> bool:
        """Whether connections use TLS."""
        return self.scheme.startswith("rediss")

    @property
    def host(self) -> str:
        """The first server's host; of a socket, this machine."""
        return self.servers[0][0] if self.servers else "localhost"

    def at(self, host: str, port: int) -> Address:
        """A server that is reached with the same credentials and options."""
        scheme = "rediss" if self.is_secure else "redis"
        return replace(
            self,
            scheme=scheme,
            servers=((host, port),),
            path="",
            service="",
            sentinel_username="",
            sentinel_password="",
        )

    def one_by_one(self) -> tuple[Address, ...]:
        """The servers that the URL names: what to talk to, or the sentinels to ask."""
        if self.scheme == "unix":
            return (self,)
        each = tuple(self.at(*server) for server in self.servers)
        if self.service:
            user, password = self.sentinel_username, self.sentinel_password
            return tuple(replace(one, database=0, username=user, password=password) for one in each)
        return each

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        service = f"/{self.service}" if self.service else ""
        database = f"/{self.database}" if self.database else ""
        return f"{self.scheme}://{self._hosts()}{service}{database}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    @property
    def url(self) -> str:
        """The URL with all that it takes to connect: not for messages."""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        login = quote(self.username, safe="") + password
        pairs = [*self.options, *((name, getattr(self, name)) for name in sorted(_SENTINEL_OPTIONS))]
        where = quote(self.path) if self.scheme == "unix" else self._hosts()
        if self.service:
            where += f"/{self.service}"
        if self.scheme == "unix":
            pairs.append(("db", str(self.database) if self.database else ""))
        elif self.database:
            where += f"/{self.database}"
        query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in pairs if value)
        return f"{self.scheme}://{f'{login}@' if login else ''}{where}{f'?{query}' if query else ''}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The passwords."""
        return tuple(secret for secret in (self.password, self.sentinel_password) if secret)

    def _hosts(self) -> str:
        return ",".join(f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.servers)


def parse(url: str) -> Address:
    """What a URL says.

    Parameters
    ----------
    url : str
        One of::

            redis://[user:password@]host[:6379][,host[:6379]...][/database]
            redis+sentinel://[user:password@]host[:26379][,host[:26379]...]/service[/database]
            unix://[user:password@]/path/to/socket[?db=database]

        With ``rediss`` for ``redis`` all connections use TLS, and the options ``ssl_ca_certs``, ``ssl_ca_path``,
        ``ssl_cert_reqs``, ``ssl_check_hostname``, ``ssl_certfile`` and ``ssl_keyfile`` are allowed. Sentinels that
        have a user or password of their own get it by ``sentinel_username`` and ``sentinel_password``.

    Raises
    ------
    ValueError
        It is none of these. The message quotes nothing of it.
    """
    match = _URL.fullmatch(url.strip())
    if match is None or match[1] not in (*_PORTS, "unix"):
        raise _refusal("it does not begin with one of these, or has a '#'")
    scheme, login, hosts, path = match[1], match[2] or "", match[3], match[4] or ""
    user, _, password = login.partition(":")
    options = _options(match[5] or "")
    database = options.pop("db", "")
    if scheme == "unix":
        if hosts or not path.strip("/"):
            raise _refusal("it names no socket, or has something before the socket's path")
        where: dict[str, str] = {"path": unquote(path)}
    else:
        parts = [part for part in path.split("/") if part]
        service = parts.pop(0) if scheme.endswith("+sentinel") and parts else ""
        where = {"service": service}
        if scheme.endswith("+sentinel") and not _SERVICE.fullmatch(service):
            raise _refusal("it names no service of its sentinels")
        if len(parts) > 1 or (parts and database):
            raise _refusal("more than the number of a database follows")
        database = parts[0] if parts else database
    if database and not re.fullmatch("[0-9]{1,9}", database):
        raise _refusal("the number of the database is not a whole number")
    login_of_sentinels = {name: options.pop(name) for name in _SENTINEL_OPTIONS & options.keys()}
    if login_of_sentinels and not where.get("service"):
        raise _refusal("it has an option of sentinels, and no sentinels")
    if options and not scheme.startswith("rediss"):
        raise _refusal("it has options of TLS, without TLS")
    return Address(
        scheme=scheme,
        servers=_servers(hosts, _PORTS[scheme]) if scheme != "unix" else (),
        database=int(database or 0),
        username=unquote(user),
        password=unquote(password),
        options=tuple(sorted(options.items())),
        **where,
        **login_of_sentinels,
    )


def redact(url: str) -> str:
    """A Redis URL without user, password and options, for messages and logs."""
    try:
        return str(parse(url))
    except ValueError:
        return "<an address that cannot be read>"


def scrub(text: str, secrets: Iterable[str]) -> str:
    """``text`` without credentials: those in any Redis URL, and ``secrets`` wherever they occur."""
    text = re.sub(r"\b((?:rediss?(?:\+sentinel)?|unix)://)\S*@", r"\1", text)
    text = re.sub(r"\b(sentinel_(?:username|password)=)[^\s&]+", r"\1***", text)
    every = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote(secret, safe="/"))}
    for form in sorted(every, key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def _servers(hosts: str, default: int) -> tuple[tuple[str, int], ...]:
    servers = []
    for one in hosts.split(","):
        match = _SERVER.fullmatch(one)
        if match is None:
            raise _refusal("it names no host, or what follows a host is not the number of a port")
        port = int(match[3] or default) if len(match[3] or "") < 6 else 0
        if not 0 < port < 65536:
            raise _refusal("a port is not from 1 to 65535")
        servers.append((match[1] or match[2], port))
    return tuple(servers)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name not in _TLS_OPTIONS | _SENTINEL_OPTIONS | {"db"}:
            names = ", ".join(sorted(_TLS_OPTIONS | _SENTINEL_OPTIONS | {"db"}))
            raise _refusal(f"it has options other than {names}")
        options[name] = unquote(value)
        if not value or options[name].lower() not in _ALLOWED.get(name, (options[name].lower(),)):
            raise _refusal(f"its option {name} has a value that is not allowed")
    return options


def _refusal(reason: str) -> ValueError:
    return ValueError(
        f"this is no address of a Redis server: {reason}. Use redis://[user:password@]host:port/database, "
        "redis+sentinel://[user:password@]host:port,host:port/service, both with rediss for TLS, or "
        "unix:///path/to/socket; of a user or password, percent-encode all but letters and digits"
    )
