"""A private directory that goes with the process that made it, also when that is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from .errors import RunError

UNFINISHED = ".part"
"""Suffix of a file that does not have its own name yet."""

_STOP_SECONDS = 5.0
_LATE_SECONDS = "25"  # after which the workers of a client that was killed have given up

# Arguments: the directory to remove, seconds after which to look again, and a command to run meanwhile, if any.
#
# Standard input is a pipe that the client holds. `PrivateDirectory.stop` writes a line before it closes it;
# without one, the client was killed. Either way the watcher ends the command, which has nothing to save. Workers
# of a killed client may still write to the directory until they notice, so it is removed once more after they
# have. If the command ends by itself, so does the guardian: a server that cannot start is noticed at once.
_GUARDIAN = r"""
exec 3<&0 </dev/null
directory=$1 late=$2
shift 2
orphan=1
if [ $# = 0 ]; then
    while read -r _ <&3; do orphan=0; done
else
    "$@" 3<&- &
    command=$!
    {
        while read -r _ <&3; do orphan=0; done
        trap '' TERM
        kill -9 "$command"
        exit $orphan
    } 2>/dev/null &
    watcher=$!
    wait "$command"
    kill "$watcher" 2>/dev/null
    wait "$watcher"
    orphan=$?
fi
rm -rf -- "$directory"
if [ "$orphan" = 1 ]; then
    sleep "$late"
    rm -rf -- "$directory"
fi
"""

_directories: weakref.WeakSet[PrivateDirectory] = weakref.WeakSet()


class PrivateDirectory:
    """A directory of mode 0700 for what belongs to a run. Use it in a ``with`` statement, or call `stop`.

    Parameters
    ----------
    parent : Path, optional
        Where to make it; by default where temporary files go.

    Attributes
    ----------
    directory : Path
        Removed by `stop`, or by a guardian process as soon as this process exits or is killed.

    Raises
    ------
    RunError
        If it cannot be made.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._guardian: subprocess.Popen[bytes] | None = None
        self._pipe, self._owner = -1, os.getpid()
        try:
            parent = Path(tempfile.gettempdir()) if parent is None else parent
            self.directory = Path(tempfile.mkdtemp(prefix="biglambda-", dir=parent)).resolve()
        except OSError as error:
            raise no_directory(parent, error) from error
        _directories.add(self)

    def guard(self, *command: str) -> Self:
        """Start the guardian, and with it a command that lives as long."""
        theirs, ours = os.pipe()  # neither is inherited by programs that this process starts
        try:
            self._guardian = subprocess.Popen(
                ["/bin/sh", "-c", _GUARDIAN, "biglambda-guardian", str(self.directory), _LATE_SECONDS, *command],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is for the client, which may still need it
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._pipe = ours
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the command and remove the directory. In a forked child this does nothing."""
        if os.getpid() != self._owner:
            return
        if self._guardian is not None and self._pipe >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._pipe, b"stop\n")
            self.let_go()
            try:
                self._guardian.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._guardian.kill()
                self._guardian.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def has_ended(self, seconds: float = 0.0) -> bool:
        """Whether the guardian ends within so many seconds: its command did, or somebody killed it."""
        if self._guardian is None:
            return False
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guardian.wait(seconds)
            return True
        return False

    def let_go(self) -> None:
        """Close this process' end of the pipe."""
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            with contextlib.suppress(OSError):
                os.close(pipe)


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Create a file that nobody else can open, not even for a moment."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)


@contextlib.contextmanager
def replaced(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of ``path`` once it is whole; if an error comes first, it goes."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=UNFINISHED)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def usual_mode() -> int:
    """The mode of files that are not private, as the umask has it."""
    mask = os.umask(0o077)  # there is no other way to read it
    os.umask(mask)
    return 0o666 & ~mask


def _after_fork_in_child() -> None:
    # A child that outlives the client must not keep its directory and server alive.
    for directory in list(_directories):
        directory.let_go()


os.register_at_fork(after_in_child=_after_fork_in_child)


def no_directory(parent: Path | None, error: OSError) -> RunError:
    """What to raise where no private directory can be made."""
    where = "the folder for temporary files" if parent is None else parent
    return RunError(
        f"cannot make a private directory in {where}: {error.strerror or error}. Free space or permissions there, "
        "or set TMPDIR to another place"
    )
