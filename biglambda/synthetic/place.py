"""The place of a data set: a folder that holds its parts and its truth, and those of no other."""

from __future__ import annotations

import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..runtime.data import File, LocalFiles, MissingError, Store, store_for
from ..runtime.data.pieces import at_once
from ..runtime.errors import DataError, RunError

TRUTH = "truth.npz"
OURS = re.compile(r"part-\d{5,}\.(npy|csv|parquet)")
UNFINISHED = re.compile(OURS.pattern + r"\w+\.part")
"""What a killed process leaves of a part that it was writing to a disk."""

SIGN = re.compile(r"making-[0-9a-f]{16}")


@dataclass(frozen=True)
class Sign:
    """Whether a data set is still wanted: functions have no other word from their client."""

    place: Place
    name: str

    def check(self) -> None:
        """Raise RunError if it is not wanted any more."""
        if not self.place.has(self.name):
            raise RunError("the client has gone, or does not want this data set any more")


@dataclass(frozen=True)
class Place:
    """A folder of this machine or of S3; picklable, for workers write to it.

    Attributes
    ----------
    store : Store
    folder : str
        With a slash at the end.
    """

    store: Store
    folder: str

    @classmethod
    def at(cls, out: str, config: Mapping[str, Any] | None = None) -> Place:
        """The place that a directory or ``s3://bucket/prefix`` is; ``config`` is a Lithops configuration."""
        store = store_for(out, config)
        if isinstance(store, LocalFiles):
            out = os.path.abspath(os.path.expanduser(out))
        return cls(store, out.rstrip("/") + "/")

    def pattern(self, suffix: str) -> str:
        """What all parts match, for a fit."""
        return f"{glob.escape(self.folder)}part-*.{suffix}"

    def parts(self, suffix: str) -> dict[str, int]:
        """Names in the folder, and sizes in bytes, of the parts that are there, whole."""
        return {name: file.size for name, file in self._matches(self.pattern(suffix)).items()}

    def _matches(self, pattern: str) -> dict[str, File]:
        try:
            found = self.store.expand(pattern)
        except MissingError:
            return {}
        return {file.name.removeprefix(self.folder): file for file in found}

    def _all(self) -> dict[str, File]:
        """Everything that a pattern could take for a part, finished or not."""
        return self._matches(f"{glob.escape(self.folder)}part-*")

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        try:
            self.store.find(self.folder + name)
        except MissingError:
            return False
        return True

    def write(self, name: str, data: bytes | bytearray) -> None:
        """Write a file whole, or not at all."""
        self.store.write(self.folder + name, data)

    @contextmanager
    def sign(self) -> Iterator[Sign]:
        """A file that is here as long as somebody wants what functions write."""
        sign = Sign(self, f"making-{secrets.token_hex(8)}")
        self.write(sign.name, b"functions write here as long as this file is here")
        try:
            yield sign
        finally:
            self.store.delete(self.folder + sign.name)

    def prepare(self, size: float, overwrite: bool) -> None:
        """Make sure, before anything is launched, that a data set of about ``size`` bytes can be written here.

        Raises
        ------
        DataError
            There is one already, and it shall not be overwritten; or what is there is not ours; or nothing can be
            written; or there is too little space.
        """
        if isinstance(self.store, LocalFiles):
            try:
                os.makedirs(self.folder, exist_ok=True)
            except OSError as error:
                raise DataError(f"{self.folder} cannot be made: {error.strerror or error}") from error
        found = self._all()
        signs = {
            name: file
            for name, file in self._matches(f"{glob.escape(self.folder)}making-*").items()
            if SIGN.fullmatch(name)
        }
        others = [name for name in found if not (OURS.fullmatch(name) or UNFINISHED.fullmatch(name))]
        if others:
            raise DataError(
                f"{self.folder}{others[0]} would be taken for a part of the data set, but is not one: choose "
                "another place"
            )
        held = [*found, *signs, *([TRUTH] if self.has(TRUTH) else [])]
        if held and not overwrite:
            raise DataError(
                f"{self.folder} holds a data set, or a part of one ({held[0]}): choose another place, or say "
                "--overwrite (overwrite=True), which deletes it"
            )
        if isinstance(self.store, LocalFiles):
            free = shutil.disk_usage(self.folder).free + sum(file.size for file in found.values())
            if size > free:
                raise DataError(
                    f"the data set needs about {size / 1e9:,.2f} GB, but only {free / 1e9:,.2f} GB are free at "
                    f"{self.folder}"
                )
        # The truth goes first and comes last: where it is, the data set is whole.
        self.write(TRUTH, b"")
        self.store.delete(self.folder + TRUTH)
        # Functions of a client that was killed see that their sign has gone, and write no more.
        for old in (signs, found):
            if old:
                at_once(self.store.delete, [file.name for file in old.values()])

    def tidy(self) -> None:
        """Delete what killed workers left."""
        for name, file in self._all().items():
            if UNFINISHED.fullmatch(name):
                self.store.delete(file.name)
