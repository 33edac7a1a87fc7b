"""What the doctor finds on servers that are as they should be, and on those that are not."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from doctor_findings import found, wrong
from own_server import OwnServer
from tls_front import certificate, tls_front

from benchmarks.delay import delayed
from biglambda.image.doctor.finding import Finding, Step, examine
from biglambda.image.doctor.redis import steps
from biglambda.runtime.channel.address import parse
from biglambda.runtime.channel.connect import connect
from biglambda.runtime.channel.server import find_binary

SECURITY = Path(__file__).parent.parent.parent / "docs" / "security.md"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnServer]:
    own = OwnServer(tmp_path, find_binary())
    yield own
    own.stop()


def documented_acl() -> list[str]:
    """The rules of the user in docs/security.md, without name and password."""
    (line,) = (line for line in SECURITY.read_text().splitlines() if "user biglambda on >PASSWORD" in line)
    return line.split(">PASSWORD")[1].split()


def as_user(server: OwnServer, *rules: str) -> str:
    """The address of the server for a new user with these rights."""
    password = secrets.token_hex(8)
    connect(server.url).acl_setuser("visitor", enabled=True, passwords=[f"+{password}"])
    connect(server.url).execute_command("ACL", "SETUSER", "visitor", *rules)
    return f"unix://visitor:{password}@{parse(server.url).path}"


def test_a_good_server_is_good_and_nothing_stays_on_it(server: OwnServer) -> None:
    findings = list(examine(steps(server.url, workers=10)))
    assert {one.verdict for one in findings} == {"ok"}
    assert "2 of them make" in found(findings, "Redis latency").found
    assert "0.0 s from this machine's" in found(findings, "Redis clock").found
    assert connect(server.url).dbsize() == 0


def test_the_user_in_the_documentation_may_do_all_that_a_run_needs(server: OwnServer) -> None:
    findings = list(examine(steps(as_user(server, *documented_acl()))))
    assert {one.verdict for one in findings} == {"ok"}
    assert "TIME is not allowed" in found(findings, "Redis clock").found
    assert connect(server.url).dbsize() == 0


@pytest.mark.parametrize("command", ["evalsha", "xread", "xadd", "hset", "pexpire", "xrevrange"])
def test_a_command_that_is_missing_in_an_acl_is_named(server: OwnServer, command: str) -> None:
    url = as_user(server, *(rule for rule in documented_acl() if rule != f"+{command}"))
    one = found(examine(steps(url)), "Redis commands")
    assert one.verdict == "wrong"
    assert command in one.found
    assert "an ACL must allow" in one.found


def test_without_info_nothing_is_known_of_the_policy(server: OwnServer) -> None:
    url = as_user(server, *(rule for rule in documented_acl() if rule != "+info"))
    one = found(examine(steps(url)), "Redis server")
    assert one.verdict == "warning"
    assert "+info" in one.advice


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "volatile-ttl"])
def test_a_policy_that_evicts_is_wrong_with_a_limit_and_a_warning_without(server: OwnServer, policy: str) -> None:
    client = connect(server.url)
    client.config_set("maxmemory-policy", policy)
    assert found(examine(steps(server.url)), "Redis policy").verdict == "warning"
    client.config_set("maxmemory", "100mb")
    one = found(examine(steps(server.url)), "Redis server")
    assert (one.verdict, f"maxmemory-policy {policy}" in one.found) == ("wrong", True)
    assert "CONFIG SET maxmemory-policy noeviction" in one.found


def test_little_memory_and_few_connections_are_seen(server: OwnServer) -> None:
    client = connect(server.url)
    client.config_set("maxmemory", "20mb")
    client.config_set("maxclients", 40)
    findings = list(examine(steps(server.url, workers=100)))
    assert found(findings, "Redis memory").verdict == "warning"
    one = found(findings, "Redis connections")
    assert (one.verdict, "fewer workers than 100" in one.advice) == ("wrong", True)


def test_a_wrong_password_is_wrong_and_is_not_repeated(server: OwnServer) -> None:
    url = f"unix://:wrong-password-271@{parse(server.url).path}"
    findings = list(examine(steps(url)))
    assert wrong(findings)
    assert "Check user and password" in findings[0].found
    assert len(findings) == 1  # what follows needs a server
    assert "271" not in str(findings)


@pytest.mark.parametrize(("days", "verdict"), [(100, "ok"), (3, "warning")])
def test_tls_tells_how_long_the_certificate_is_valid(
    server: OwnServer, tmp_path: Path, days: int, verdict: str
) -> None:
    own, key = certificate(tmp_path, days)
    with tls_front(server, own, key) as url:
        findings = list(examine(steps(f"{url}?ssl_ca_certs={own}")))
    one = found(findings, "Redis TLS")
    assert one.verdict == verdict
    assert float(one.found.split(" ")[-2]) == pytest.approx(days, abs=1)
    assert not wrong(findings)


def test_a_certificate_that_is_not_trusted_or_not_verified_is_seen(server: OwnServer, tmp_path: Path) -> None:
    with tls_front(server, *certificate(tmp_path, 100)) as url:
        assert "certificate verify failed" in found(examine(steps(url)), "Redis").found
        one = found(examine(steps(f"{url}?ssl_cert_reqs=none")), "Redis TLS")
    assert (one.verdict, "not verified" in one.found) == ("warning", True)


def test_a_server_that_is_not_there_is_seen_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    start = time.monotonic()
    (one,) = examine(steps(f"redis://127.0.0.1:{port}"))
    assert "cannot be reached" in one.found
    assert time.monotonic() - start < 2.0


def test_a_server_that_stands_still_is_given_up_in_time(server: OwnServer) -> None:
    server.pause()
    start = time.monotonic()
    (one,) = examine(steps(server.url))
    server.go_on()
    assert one.verdict == "wrong"
    assert time.monotonic() - start < 6.0


def test_a_slow_network_is_measured(server: OwnServer) -> None:
    with delayed(server.url, 0.007) as url:
        one = found(examine(steps(url)), "Redis latency")
    assert one.verdict == "warning"
    assert 7.0 <= float(one.found.split(" ms")[0]) < 100.0


def test_an_address_that_functions_elsewhere_cannot_use_is_wrong() -> None:
    for url in ("redis://:p@localhost", "redis://127.0.0.1:7000", "unix:///run/redis.sock"):
        (one,) = examine(steps(url, elsewhere=True))
        assert "of this machine" in one.found
    assert "no address of a Redis server" in found(examine(steps("http://h")), "Redis address").found


def test_a_check_that_hangs_ends_in_time() -> None:
    def hang() -> Iterator[Finding]:
        yield Finding("ok", "before", "seen")
        time.sleep(2.0)

    start = time.monotonic()
    findings = list(examine([Step("slow", hang, is_needed=True, limit=0.2), Step("after", hang)]))
    assert [one.verdict for one in findings] == ["ok", "wrong"]
    assert time.monotonic() - start < 1.0
