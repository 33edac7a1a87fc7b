"""What the kernels of this process are compiled for, and whom they agree with to the last bit."""

from dataclasses import dataclass
from functools import cache

from numba.core.registry import cpu_target

from .simd import FUSED, REGISTER_BYTES


@dataclass(frozen=True)
class Target:
    """What kernels are compiled for.

    Attributes
    ----------
    name : str
        The CPU as the code generator knows it: ``NUMBA_CPU_NAME`` if that is set, as "x86-64-v3" or "neoverse-n1",
        else this machine's; where it has no name, the architecture.
    architecture : str
        "x86_64" or "aarch64".
    register_bytes : int
        Bytes in a vector register: 16, 32 or 64.
    fma : bool
        Whether x * y + z is one instruction, which rounds once.
    """

    name: str
    architecture: str
    register_bytes: int
    fma: bool

    @property
    def family(self) -> str:
        """Either "fma", and kernels give the same bits on all targets of this family, or "no fma"."""
        return "fma" if self.fma else "no fma"

    def __str__(self) -> str:
        return f"{self.name} ({self.register_bytes}-byte registers, {self.family})"


@cache
def target() -> Target:
    """What the kernels of this process are compiled for.

    Returns
    -------
    Target
        From what the code generator emits, so that a CPU's missing or disabled features show.
    """
    triple, name, _ = cpu_target.target_context.codegen().magic_tuple()
    architecture = triple.partition("-")[0]
    return Target(architecture if name in ("", "generic") else name, architecture, REGISTER_BYTES, FUSED)
