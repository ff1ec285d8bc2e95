"""The instruction sets that tests generate code for, and which of them run on this machine."""

import platform

from depthwise.errors import TargetError
from depthwise.machine import target

X86 = platform.machine() == "x86_64"


def _known(names):
    for name in names:
        try:
            yield target.named(name)
        except TargetError:
            continue


_NAMES = ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"] if X86 else ["generic", "neoverse-n1"]
CPUS = list(_known(_NAMES)) or [target.host()]
RUNNABLE = [cpu.cpu for cpu in CPUS if not cpu.missing]


def vectors_of_others(assembly, cpu):
    """Return the registers that code for this CPU uses and that it may lack."""
    used = {register for register in ("%ymm", "%zmm") if register in assembly}
    return used - {"avx2": {"%ymm"}, "avx512": {"%ymm", "%zmm"}}.get(cpu.isa, set())
