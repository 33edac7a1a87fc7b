"""The machine code of a kernel where it is hot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from biglambda.kernels.registry import OPTIONS, Kernel

_LABEL = re.compile(r"^(\.?L[\w$.]+):")
_BRANCH = re.compile(r"^\s+(?:j\w+|b(?:\.\w+)?|cbn?z|tbn?z)\s.*?(\.?L[\w$.]+)\s*$")
_FMA = re.compile(r"^v?f(?:n?madd|n?msub|mla|mls)\w*$")
_VECTOR = re.compile(r"%[xyz]mm\d+|\bv\d+\.(?:4s|2d)|\bq\d+")
_MEMORY = re.compile(r"\(%|\[(?:x|sp)")
_STACK = re.compile(r"\(%rsp\b|\[sp\b")


@dataclass(frozen=True)
class Loop:
    """An innermost loop: the lines from a label to the branch back to it.

    Attributes
    ----------
    lines : tuple of str
    fmas, vectors, loads, stores, spills : int
        Instructions: fused multiply-adds; all on vectors; vectors from and to memory, an operand in memory being a
        load; and how many of these are on the stack.
    """

    lines: tuple[str, ...]
    fmas: int
    vectors: int
    loads: int
    stores: int
    spills: int

    def __str__(self) -> str:
        counts = (
            f"{len(self.lines)} lines: {self.vectors} vector instructions, {self.fmas} of them FMAs; "
            f"{self.loads} loads, {self.stores} stores, {self.spills} of them spills"
        )
        return "\n".join([*self.lines, counts])


def assembly(kernel: Kernel, dtype: Any) -> str:
    """The assembly of a kernel for rows of this dtype, compiled anew: a cached one keeps no text."""
    from numba import njit

    dispatcher = njit(**OPTIONS)(kernel.function)
    dispatcher.compile(kernel.signatures[dtype])
    return "\n".join(dispatcher.inspect_asm().values())


def hot_loop(text: str) -> Loop:
    """The innermost loop with the most FMAs, among equals the most vector instructions.

    Raises
    ------
    ValueError
        If there is no loop.
    """
    lines = text.splitlines()
    labels = {found[1]: i for i, line in enumerate(lines) if (found := _LABEL.match(line))}
    ends: dict[int, int] = {}
    for i, line in enumerate(lines):
        found = _BRANCH.match(line)
        start = labels.get(found[1], i) if found else i
        if start < i:
            ends[start] = i  # the last branch back to it
    starts = sorted(ends)
    innermost = [
        _count(lines[start : ends[start] + 1])
        for start in starts
        if not any(start < other and ends[other] <= ends[start] for other in starts)
    ]
    if not innermost:
        raise ValueError("the assembly has no loop")
    return max(innermost, key=lambda loop: (loop.fmas, loop.vectors))


def _count(lines: list[str]) -> Loop:
    code = [
        line for line in lines if line.startswith((" ", "\t")) and not line.lstrip().startswith((".", "#", "//"))
    ]
    vector = [line.strip() for line in code if _VECTOR.search(line)]
    stores = [line for line in vector if _stores(line)]
    loads = [line for line in vector if _MEMORY.search(line) and line not in stores]
    return Loop(
        tuple(line.expandtabs(8) for line in lines),
        sum(bool(_FMA.match(line.split()[0])) for line in vector),
        len(vector),
        len(loads),
        len(stores),
        sum(bool(_STACK.search(line)) for line in [*loads, *stores]),
    )


def _stores(line: str) -> bool:
    """Whether memory is what is written: the last operand (x86), or the instruction's name (arm64)."""
    return line.rstrip().endswith(")") if "%" in line else line.startswith("st")
