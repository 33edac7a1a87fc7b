"""A server that can be restarted, with nothing of what it held."""

from __future__ import annotations

import secrets
import signal
import subprocess
from pathlib import Path

from biglambda.runtime.channel.link import Link


class OwnServer:
    """A server that can be restarted at the same address, with nothing of what it held."""

    def __init__(self, directory: Path, binary: str) -> None:
        password = secrets.token_urlsafe(12)
        path = directory / "redis.sock"
        self.url = f"unix://:{password}@{path}"
        self._config = directory / "server.conf"
        self._config.write_text(
            f'port 0\nunixsocket {path}\nrequirepass {password}\nsave ""\ndir {directory}\nlogfile server.log\n'
        )
        self._binary = binary
        self._start()

    def restart(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Have it stand still: it keeps its connections, and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `pause`."""
        self._process.send_signal(signal.SIGCONT)

    def _start(self) -> None:
        self._process = subprocess.Popen([self._binary, str(self._config)], stdout=subprocess.DEVNULL)
        Link(self.url).call(lambda client: client.ping())
