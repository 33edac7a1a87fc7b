"""Where bytes are. A store finds files by name, and reads any range of one as long as it is what it was."""

from __future__ import annotations

import glob
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol

from ..errors import DataError
from ..private import UNFINISHED, replaced, usual_mode

Bytes = bytes | bytearray | memoryview


class MissingError(DataError):
    """There is no file of this name, or no longer."""


class Store(Protocol):
    """Named sequences of bytes. Small and picklable: it goes to the workers as part of a source.

    All methods raise DataError, and it says what to do.
    """

    @property
    def is_shared(self) -> bool:
        """Whether functions on other machines see the same files."""

    @property
    def library_bytes(self) -> int:
        """Bytes of memory of their own that the libraries have which it needs to read."""

    def expand(self, pattern: str) -> list[File]:
        """The files that ``pattern`` stands for, sorted by name; MissingError if there is none."""

    def find(self, name: str) -> File:
        """The file of exactly this name; MissingError if there is none."""

    def read_into(self, file: File, offset: int, out: memoryview) -> None:
        """Fill ``out`` with the bytes from ``offset`` of a file that is unchanged. Called from several threads."""

    def write(self, name: str, *pieces: Bytes, private: bool = True) -> None:
        """Write a file whole, one piece after the other: at no time does anybody see a part of it.

        On this machine its owner alone can read it if it is ``private``, else those whom the umask allows.
        """

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""

    def make_folder(self, name: str) -> None:
        """Make a folder, which must not be there yet."""

    def delete_folder(self, name: str) -> None:
        """Delete a folder, if it is there, with all that is in it."""

    def sweep(self, name: str) -> None:
        """Delete from a folder what writers that were killed have left there of files that never came to be."""


@dataclass(frozen=True)
class File:
    """A file or object as it was when it was found.

    Attributes
    ----------
    store : Store
        Where it is.
    name : str
        An absolute path, or ``s3://bucket/key``.
    size : int
        Bytes.
    tag : str
        Another one as soon as the file is written again. Whoever reads compares it, so that what workers read at
        different times is one version.
    """

    store: Store
    name: str
    size: int
    tag: str

    def read(self, offset: int = 0, length: int | None = None) -> bytearray:
        """``length`` bytes from ``offset``, fewer only at the end."""
        left = max(self.size - offset, 0)
        data = bytearray(left if length is None else min(length, left))
        if data:
            self.store.read_into(self, offset, memoryview(data))
        return data


def try_out(store: Store, name: str) -> None:
    """Write and delete a file, before anything is launched that will write to its place.

    Raises
    ------
    DataError
        That is not possible.
    """
    store.write(name, b"")
    store.delete(name)


def changed(name: str, how: str) -> DataError:
    """What to raise where a file is not the one that was found."""
    return DataError(f"{name} {how} the run was described; files must not change during a run")


@dataclass(frozen=True)
class LocalFiles:
    """Files of this machine, by absolute path."""

    is_shared = False
    library_bytes = 0

    @staticmethod
    def absolute(name: str) -> str:
        """The path that a name stands for, wherever it is used."""
        return os.path.abspath(os.path.expanduser(name))

    def expand(self, pattern: str) -> list[File]:
        """The file itself if there is one, else the sorted matches of the glob."""
        path = self.absolute(pattern)
        if os.path.lexists(path) or not glob.has_magic(path):
            return [self.find(path)]
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise MissingError(f"no file matches {path}")
        return [self.find(match) for match in matches]

    def find(self, name: str) -> File:
        """A file that exists and may be read."""
        path = self.absolute(name)
        with _opened(path) as file:
            return self._seen(path, file)

    @contextmanager
    def open(self, file: File) -> Iterator[FileIO]:
        """A file that is unchanged, open for reading."""
        with _opened(file.name) as opened:
            now = self._seen(file.name, opened)
            if now.size != file.size:
                raise changed(file.name, f"has {now.size:,} bytes, but had {file.size:,} when")
            if now.tag != file.tag:
                raise changed(file.name, "was written since")
            yield opened

    def read_into(self, file: File, offset: int, out: memoryview) -> None:
        """Read a range of bytes. Not mapped: a file that shrinks meanwhile is an error, not a SIGBUS."""
        with self.open(file) as opened:
            done = 0
            while done < len(out) and (count := os.preadv(opened.fileno(), [out[done:]], offset + done)):
                done += count
        if done < len(out):
            raise changed(file.name, f"ends after {offset + done:,} bytes, but had {file.size:,} when")

    def write(self, name: str, *pieces: Bytes, private: bool = True) -> None:
        """Write a file; it is on the disk when this returns."""
        try:
            with replaced(Path(name), 0o600 if private else usual_mode()) as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(f"{name} cannot be written: {error.strerror or error}") from error

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        try:
            Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{name} cannot be deleted: {error.strerror or error}") from error

    def make_folder(self, name: str) -> None:
        """Make a folder; the one that it is in must be there."""
        try:
            os.mkdir(name)
        except OSError as error:
            raise DataError(f"the folder {name} cannot be made: {error.strerror or error}") from error

    def delete_folder(self, name: str) -> None:
        """Delete a folder, if it is there, with all that is in it."""
        try:
            shutil.rmtree(name)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DataError(f"the folder {name} cannot be deleted: {error.strerror or error}") from error

    def sweep(self, name: str) -> None:
        """Delete temporary files from a folder."""
        for path in Path(name).glob(f"*{UNFINISHED}"):
            self.delete(str(path))

    def _seen(self, name: str, file: FileIO) -> File:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{name} is not a regular file")
        return File(self, name, status.st_size, f"{status.st_ino}-{status.st_mtime_ns}")


@contextmanager
def _opened(path: str) -> Iterator[FileIO]:
    try:
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            yield file
    except OSError as error:
        raise _explain(path, error) from error


def _open_at_once(path: str, flags: int) -> int:
    # Opening a named pipe would wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)


def _explain(path: str, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return MissingError(f"{path} does not exist on this machine")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path} is a directory; give its files, for example {os.path.join(path, '*.csv')}")
    if isinstance(error, PermissionError):
        return DataError(f"{path} may not be read by this user: permission denied")
    return DataError(f"{path} cannot be read: {error.strerror or error}")
