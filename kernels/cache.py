"""Where compiled kernels are kept on disk.

Numba's own cache looks only at the file of the function itself, wants a writable folder even to read, and ties
an entry to the absolute path of the source.  Here an entry is one file whose name is a digest of all that
determines its machine code, so a stale entry is never found, processes may race, and a read-only folder baked
into an image serves as it is, wherever it is mounted.
"""

import contextlib
import hashlib
import os
import pickle
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import numba
from numba.core import caching, compiler, config, serialize

COMPILE_VARIABLE, NEVER = "BIGLAMBDA_COMPILE", "never"
"""The environment variable, and its value, with which a kernel that is not in the cache is an error."""

HERE = Path(__file__).resolve().parent
SOURCE_STAMP = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(HERE.glob("*.py")))).hexdigest()


class NotBakedError(RuntimeError):
    """A kernel would have to be compiled, where that is not allowed."""


def folders() -> list[Path]:
    """Folders to look in, best first; a new entry goes to the first that can be written.

    Returns
    -------
    list of Path
        `NUMBA_CACHE_DIR` if it is set, else `__pycache__` beside this file and the user's cache folder; at the
        end, always, a private folder under the folder for temporary files.
    """
    if config.CACHE_DIR:
        first = [Path(config.CACHE_DIR) / "biglambda"]
    else:
        user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        first = [HERE / "__pycache__", Path(user) / "biglambda"]
    with contextlib.suppress(FileNotFoundError):  # there is no folder for temporary files
        first.append(Path(tempfile.gettempdir()) / f"biglambda-{os.getuid()}")
    return first


def _is_trusted(folder: Path) -> bool:
    """Entries are unpickled: refuse a folder that another user owns or may write to."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    ours = status.st_uid in (0, os.getuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and ours


class KernelCache(caching._Cache):
    """The disk cache of one kernel for one dtype, in the form that a Numba dispatcher expects."""

    def __init__(self, name: str, source: str) -> None:
        self._name = name
        self._source = Path(source).resolve()
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """The folder that is looked in first."""
        return str(folders()[0])

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        """Nothing to do: an entry that no longer fits is never found."""

    def _file(self, sig: Any, codegen: Any) -> str:
        versions = (numba.__version__, sys.version_info[:2], getattr(sys, "abiflags", ""))
        own = b"" if self._source.parent == HERE else self._source.read_bytes()
        key = repr((SOURCE_STAMP, own, versions, str(sig), codegen.magic_tuple()))
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.kernel"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        if self._enabled:
            file = self._file(sig, target_context.codegen())
            for folder in filter(_is_trusted, folders()):
                with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
                    payload = pickle.loads((folder / file).read_bytes())
                    return compiler.CompileResult._rebuild(target_context, *payload)
        if os.environ.get(COMPILE_VARIABLE) == NEVER:
            raise NotBakedError(
                f"refusing to compile the kernel {self._name} for {config.CPU_NAME or 'this CPU'}: "
                f"{COMPILE_VARIABLE}={NEVER}, and {', '.join(map(str, folders()))} have no code of it that fits. "
                "Build the image again: biglambda runtime bake compiles what this version needs"
            )
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if not self._enabled:
            return
        payload = serialize.dumps(data._reduce())
        for folder in folders():
            with contextlib.suppress(OSError):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if _is_trusted(folder):
                    _write(folder / self._file(sig, data.codegen), payload)
                    return


def _write(path: Path, payload: bytes) -> None:
    """Write so that readers see the whole entry or none."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
