"""Addresses, refusals, and a Redis that does not answer."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import redis
from channel_workers import Child, expected_state, run_worker, until

from biglambda.runtime.channel.address import redact
from biglambda.runtime.channel.connect import connect
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.link import Link, check_server
from biglambda.runtime.channel.reason import Reason
from biglambda.runtime.channel.redis import RedisChannel
from biglambda.runtime.channel.server import EmbeddedServer, start_server
from biglambda.runtime.errors import DataError, RunError
from biglambda.runtime.trace import Trace


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:s3cret@example.org:7000/2", "redis://example.org:7000/2"),
        ("rediss://:s3cret@example.org", "rediss://example.org:6379"),
        ("redis://[::1]:7000", "redis://[::1]:7000"),
        ("unix://me:s3cret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("redis://:s3cret@example.org:port", "<an address that cannot be read>"),
        ("s3cret", "<an address that cannot be read>"),
    ],
)
def test_a_shown_address_has_no_credentials(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    "url", ["redis://me:s3cret@h:7000/2", "rediss://:s3cret@h", "unix://me:s3cret@/run/r.sock"]
)
def test_texts_lose_their_credentials(url: str) -> None:
    link = Link(connect(url))
    assert link.address == redact(url)
    assert repr(link) == f"Link({redact(url)!r})"
    text = link.scrub(f"cannot use {url}: s3cret; redis://you:other@elsewhere")
    assert text == f"cannot use {redact(url).removesuffix(':6379')}: ***; redis://elsewhere"


@pytest.mark.parametrize("url", ["redis://:s3cret@h:port", "redis://:s3cret@h?db=s3cret", "http://me:s3cret@h"])
def test_the_refusal_of_an_address_has_no_credentials(url: str) -> None:
    with pytest.raises(ValueError, match="no address of a Redis server") as caught:
        connect(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "example.org:6379",
        "redis://",
        "unix://",
        "redis://h:0",
        "redis://h:99999",
        "redis://h/x",
        "redis://h?socket_timeout=1000",
        "redis://h?db=x",
        "",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="no address of a Redis server"):
        connect(url)


def test_no_repr_shows_the_password(server: EmbeddedServer) -> None:
    password = urlsplit(server.url).password
    assert password
    control = RunControl(server.url, "r", 1)
    channel = RedisChannel(server.url, "r", 0, 1, trace=Trace())
    for thing in (server, control, channel):
        assert password not in repr(thing)


def test_an_abort_reason_does_not_carry_the_password(
    server: EmbeddedServer, run: str, control: Callable[..., RunControl]
) -> None:
    password = urlsplit(server.url).password
    run_control = control(1)
    run_control.create({})
    run_control.abort(OSError(f"cannot connect to {server.url} with {password}"))
    why = run_control.status().why
    assert why is not None
    assert str(why).startswith("OSError: cannot connect to unix:///")
    assert str(password) not in str(why)


@pytest.mark.parametrize("error", [DataError("ä" * 10_000), RunError(""), ZeroDivisionError("\ud800")])
def test_a_reason_survives_its_journey(error: Exception) -> None:
    reason = Reason.unpack(Reason.of(error, 3).pack())
    assert (reason.error, reason.worker) == (type(error).__name__, 3)
    assert str(reason.exception())


@pytest.mark.parametrize("data", [b"", b"\xc1", b"text", b"\x80", b"\xff\xfe", b"\x81\xa5error\x01"])
def test_a_reason_that_cannot_be_read_is_still_one(data: bytes) -> None:
    assert str(Reason.unpack(data).exception())


@pytest.fixture
def closed_port() -> Iterator[str]:
    with socket.socket() as taken:  # bound but not listening: refuses, and nobody else can have it
        taken.bind(("127.0.0.1", 0))
        yield f"redis://:s3cret@127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def silent_port() -> Iterator[str]:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        yield f"redis://:s3cret@127.0.0.1:{silent.getsockname()[1]}"


@pytest.mark.parametrize("port", ["closed_port", "silent_port"])
def test_a_server_that_does_not_answer_is_given_up_within_10_seconds(
    request: pytest.FixtureRequest, port: str
) -> None:
    url = request.getfixturevalue(port)
    start = time.monotonic()
    with pytest.raises(RunError, match=r"127\.0\.0\.1:\d+ cannot be reached.*Check that") as caught:
        check_server(connect(url))
    assert 3 < time.monotonic() - start < 10
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_password_is_said_at_once(server: EmbeddedServer) -> None:
    password = urlsplit(server.url).password
    url = server.url.replace(f":{password}@", ":wr0ng@")
    start = time.monotonic()
    for address in (url, server.url.replace(f":{password}@", "")):
        with pytest.raises(RunError, match=r"refused this user.*password") as caught:
            check_server(address)
        assert "wr0ng" not in str(caught.value)
    assert time.monotonic() - start < 2


def test_a_server_that_could_evict_a_run_is_refused(server: EmbeddedServer, client: redis.Redis) -> None:
    check_server(client)
    client.config_set("maxmemory-policy", "volatile-lru")
    try:
        check_server(client)
        client.config_set("maxmemory", "100mb")
        with pytest.raises(RunError, match=r"volatile-lru.*CONFIG SET maxmemory-policy noeviction"):
            check_server(client)
        client.config_set("maxmemory-policy", "noeviction")
        check_server(client)
    finally:
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")


def test_an_old_server_is_refused(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "info", lambda: {"redis_version": "5.0.14"})
    with pytest.raises(RunError, match=r"version 5\.0\.14; biglambda needs at least 6\.2"):
        check_server(client)


def test_a_user_of_few_rights_can_run(server: EmbeddedServer, client: redis.Redis, run: str) -> None:
    scripts = ["+@scripting", "+@read", "+@write", "+@stream", "-@dangerous"]
    client.execute_command("ACL", "SETUSER", "few", "on", ">pass", "resetkeys", "~biglambda:*", "-@all", *scripts)
    try:
        url = f"unix://few:pass@{urlsplit(server.url).path}"
        check_server(url)
        control = RunControl(url, run, 1)
        control.create({"x": np.zeros(70)})
        assert run_worker(url, run, 0, 1, 2)[1].tobytes() == expected_state(1, 2).tobytes()
        assert control.wait(1)
        assert control.status().state == "done"
        with pytest.raises(RunError, match="refused this user"):
            Link(url).call(lambda few: few.get("other"))
    finally:
        client.execute_command("ACL", "DELUSER", "few")


@pytest.mark.parametrize("climb", [False, True])
def test_the_rights_that_the_documentation_names_are_enough(
    server: EmbeddedServer, client: redis.Redis, run: str, climb: bool
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    (line,) = [line.split() for line in text.splitlines() if line.strip().startswith("user biglambda ")]
    rights = [">pass" if word == ">PASSWORD" else word for word in line[2:]]
    client.execute_command("ACL", "SETUSER", "least", *rights)
    try:
        url = f"unix://least:pass@{urlsplit(server.url).path}"
        check_server(url)
        control = RunControl(url, run, 1)
        control.create({"x": np.zeros(70)})
        assert run_worker(url, run, 0, 1, 2, climb=climb)[1].tobytes() == expected_state(1, 2).tobytes()
        assert control.wait(1)
        assert control.status().state == "done"
        assert control.targets() == {}
        control.abort(RunError("too late"))
        for forbidden in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("GET", "other")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                connect(url).execute_command(*forbidden)
    finally:
        client.execute_command("ACL", "DELUSER", "least")


def test_a_server_that_goes_away_ends_the_waiting_workers(child: Callable[..., Child]) -> None:
    with start_server() as own:
        control = RunControl(own.url, "r", 2)
        control.create({"x": np.zeros(70)})
        waiting = child(run_worker, own.url, "r", 0, 2, 1)
        until(lambda: control.status().waiting_for == (1,))
    start = time.monotonic()
    with pytest.raises(RunError, match=r"unix:///.*cannot be reached"):
        waiting.result(15)
    assert time.monotonic() - start < 15
    control.abort(RunError("nobody hears this, and it does not raise"))


def test_a_server_that_lost_its_data_ends_the_run(
    server: EmbeddedServer, client: redis.Redis, run: str, control: Callable[..., RunControl], child: Callable
) -> None:
    run_control = control(2)
    run_control.create({"x": np.zeros(70)})
    waiting = child(run_worker, server.url, run, 0, 2, 1, block=0.1)
    until(lambda: run_control.status().waiting_for == (1,))
    client.flushall()
    with pytest.raises(RunError, match="lost its data"):
        waiting.result(5)
    assert run_control.status().state == "gone"


def test_tls_is_verified_unless_the_address_says_otherwise(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-days", "2", "-addext", "subjectAltName=DNS:localhost"]
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    try:
        subprocess.run([*make, *subject], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("localhost", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    raw, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(raw, server_side=True) as secure:
                        while secure.recv(4096):
                            secure.sendall(b"$19\r\nredis_version:9.0.0\r\n")
                except OSError:
                    pass

        threading.Thread(target=answer, daemon=True).start()
        address = f"rediss://localhost:{listener.getsockname()[1]}"
        with pytest.raises(RunError, match=r"(?i)certificate.*verif"):
            Link(address, patience=3.5).call(lambda client: client.info())
        check_server(f"{address}?ssl_ca_certs={certificate}")
        check_server(f"{address}?ssl_cert_reqs=none")
        listener.shutdown(socket.SHUT_RDWR)
