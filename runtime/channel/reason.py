"""Why a run was aborted, as it travels from whoever ended it to everybody else."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from ..errors import DataError, RunError
from .base import LostError

_MAX_TEXT = 4000


@dataclass(frozen=True)
class Reason:
    """Why a run was aborted.

    Attributes
    ----------
    error : str
        Name of the exception's class.
    message : str
    worker : int or None
        Who met it; None for the client.
    """

    error: str
    message: str
    worker: int | None = None

    @classmethod
    def of(cls, error: BaseException, worker: int | None = None) -> Reason:
        """The reason that an exception is."""
        name = type(error).__name__
        for known in (DataError, RunError, LostError):
            if isinstance(error, known):
                name = known.__name__
        text = "stopped by the user" if isinstance(error, KeyboardInterrupt) else str(error)
        return cls(name, text[:_MAX_TEXT], worker)

    def pack(self) -> bytes:
        """As bytes; see `unpack`."""
        fields = {"error": self.error, "message": self.message, "worker": self.worker}
        return msgpack.packb(fields, unicode_errors="replace")

    @classmethod
    def unpack(cls, data: bytes) -> Reason:
        """From bytes. A reason that cannot be read is still one, so this never fails."""
        try:
            fields = msgpack.unpackb(data, unicode_errors="replace")
            worker = fields.get("worker")
            return cls(str(fields["error"]), str(fields["message"]), worker if isinstance(worker, int) else None)
        except Exception:
            return cls("RunError", data[:_MAX_TEXT].decode(errors="replace") or "no reason was given")

    def exception(self) -> DataError | RunError:
        """What to raise: DataError or LostError if it was one, RunError for everything else."""
        if self.error == "DataError":
            error = DataError(self.message)
            if self.worker is not None:
                error.add_note(f"worker {self.worker} reported this")
            return error
        return LostError(str(self)) if self.error == "LostError" else RunError(str(self))

    def __str__(self) -> str:
        what = self.message
        if self.error not in ("DataError", "RunError", "LostError", "KeyboardInterrupt"):
            what = f"{self.error}: {what}" if what else self.error
        return what if self.worker is None else f"worker {self.worker}: {what}"
