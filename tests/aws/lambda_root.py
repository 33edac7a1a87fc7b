"""What a function is made of: a file system, and what is started in it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Root:
    """A container image, unpacked; or something that can be used like one.

    Attributes
    ----------
    rootfs : Path
        The folder that becomes ``/``, read-only.
    entrypoint, cmd : tuple of str
        As in an image; ``cmd`` names the handler.
    env : dict
    cwd : str
    binds : tuple of Path
        Folders of this machine that are there too, read-only and at the same place, even if they lie in ``/tmp``.
    over : tuple of (Path, str)
        Files of this machine, and the places that they take, in ``/proc`` or ``/tmp`` for example.
    """

    rootfs: Path
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    binds: tuple[Path, ...] = ()
    over: tuple[tuple[Path, str], ...] = ()


def machine_root(handler: str = "lambda_worker.lambda_handler") -> Root:
    """What needs no image: this machine and this virtual environment, as they are.

    Parameters
    ----------
    handler : str
        Module and name of a handler; modules of this folder can be imported.
    """
    return Root(
        rootfs=Path("/"),
        entrypoint=(sys.executable, "-m", "awslambdaric"),
        cmd=(handler,),
        env={"PYTHONPATH": str(HERE), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        binds=(HERE.parent.parent, Path(sys.prefix), Path(sys.base_prefix)),
    )
