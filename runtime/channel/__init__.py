"""How partials meet: in this process, or through Redis.

`redis` (workers and client of a run) and `server` (an embedded server) are imported only when they are needed.
"""

from .base import Channel, FencedError, LostError, OutOfTime
from .local import LocalChannel

__all__ = ["Channel", "FencedError", "LocalChannel", "LostError", "OutOfTime"]
