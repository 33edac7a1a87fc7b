"""Compiles every kernel for aarch64 and prints what came out, as JSON; run with `FOR_128_BITS` in the environment.

Numba compiles for the CPU that it runs on.  With x86-64-v2 the kernels have the shape that NEON needs, registers
of 128 bits, and before it is optimised their code is no CPU's in particular: LLVM then makes aarch64's of it.
"""

import json
import re

from llvmlite import binding
from numba import njit

from biglambda.kernels import KERNELS
from biglambda.kernels.registry import OPTIONS

FOR_128_BITS = {"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": "", "NUMBA_OPT": "0"}
TRIPLE, CPU = "aarch64-unknown-linux-gnu", "neoverse-n1"


def assembly(code: str) -> str:
    """What LLVM makes of a module on aarch64, by the passes that Numba uses."""
    machine = binding.Target.from_triple(TRIPLE).create_target_machine(cpu=CPU, opt=3, codemodel="small")
    module = binding.parse_assembly(code)
    module.triple, module.data_layout = TRIPLE, str(machine.target_data)
    builder = binding.create_pass_builder(machine, binding.PipelineTuningOptions(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    return machine.emit_assembly(module)


def body(code: str, name: str) -> str:
    """The instructions of one function; around it are the wrappers that Python calls."""
    label = re.escape(name)
    found = re.search(rf'^"?{label}"?:\n(.*?)^\.Lfunc_end', code, re.MULTILINE | re.DOTALL)
    assert found, f"no function {name}"
    return found[1]


def report() -> dict[str, dict]:
    """For each kernel and dtype: vector fmuladds before, vector fmlas after, and all functions that are called."""
    made = {}
    for kernel in KERNELS.values():
        for dtype, signature in kernel.signatures.items():
            dispatcher = njit(**OPTIONS)(kernel.function)  # apart from the cache, which keeps no LLVM code
            dispatcher.compile(signature)
            (compiled,) = dispatcher.overloads.values()
            code = compiled.library.get_llvm_str()
            text = body(assembly(code), compiled.fndesc.mangled_name)
            made[f"{kernel.name}[{dtype}]"] = {
                "asked": len(re.findall(r"call .*@llvm\.fmuladd\.v", code)),
                "fused": len(re.findall(r"\bfmla\s+v\d+\.(?:4s|2d)", text)),
                "calls": sorted(set(re.findall(r"^\s+(?:bl|blr|b)\s+([A-Za-z_]\S*|x\d+)$", text, re.MULTILINE))),
            }
    return made


if __name__ == "__main__":
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    print(json.dumps(report()))
