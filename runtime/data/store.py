"""Where bytes are. A store finds data sets by name, and reads any range of one."""

from __future__ import annotations

import glob
import os
import stat
from dataclasses import dataclass
from typing import Protocol

from ..errors import DataError


class Store(Protocol):
    """Named sequences of bytes. Picklable: it goes to the workers as part of a source."""

    def expand(self, pattern: str) -> list[str]:
        """The names that ``pattern`` stands for, sorted; at least one."""

    def size(self, name: str) -> int:
        """Bytes of ``name``."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, fewer only at the end. Called from several threads at a time."""


@dataclass(frozen=True)
class LocalFiles:
    """Files of this machine, by absolute path."""

    def expand(self, pattern: str) -> list[str]:
        """The path itself if there is such a file, else the sorted matches of the glob."""
        path = os.path.abspath(os.path.expanduser(pattern))
        if os.path.lexists(path) or not glob.has_magic(path):
            return [path]
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise DataError(f"no file matches {path}")
        return matches

    def size(self, name: str) -> int:
        """Bytes of a file that exists and may be read."""
        try:
            with open(name, "rb", opener=_open_at_once) as file:
                status = os.fstat(file.fileno())
        except OSError as error:
            raise _explain(name, error) from error
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{name} is not a regular file")
        return status.st_size

    def read(self, name: str, offset: int, length: int) -> bytes:
        """A range of bytes. Read, not mapped: a file that shrinks meanwhile is an error, not a SIGBUS."""
        try:
            file = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                parts = []
                while length > 0 and (part := os.pread(file, length, offset)):
                    parts.append(part)
                    offset += len(part)
                    length -= len(part)
            finally:
                os.close(file)
        except OSError as error:
            raise _explain(name, error) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _open_at_once(path: str, flags: int) -> int:
    # Opening a named pipe would wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)


def _explain(path: str, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path} does not exist on this machine")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path} is a directory; give its files, for example {os.path.join(path, '*.csv')}")
    if isinstance(error, PermissionError):
        return DataError(f"{path} may not be read by this user: permission denied")
    return DataError(f"{path} cannot be read: {error.strerror or error}")
