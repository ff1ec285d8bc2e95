"""The machine that code is generated for: instruction set, vector registers, caches."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from depthwise.errors import TargetError
from depthwise.machine.devices import DEVICES
from depthwise.problem.dtypes import element
from depthwise.problem.values import meant, shown

Isa = Literal["avx512", "avx2", "sse", "neon", "neon of 32 bits", "rvv", "simd128", "scalar"]
Dots = Literal["quads", "signed quads", "pairs", "words", "none"]
TableBytes = Literal[0, 16, 128]
FloatAbi = Literal["", "hard", "soft"]

_VECTORS: dict[Isa, tuple[int, int]] = {
    "avx512": (64, 32),
    "avx2": (32, 16),
    "sse": (16, 16),
    "neon": (16, 32),
    "neon of 32 bits": (16, 16),
    "rvv": (16, 32),
    "simd128": (16, 16),
    "scalar": (4, 16),
}
"""The bytes of a vector register, and how many registers there are.

RISC-V's are taken for as wide as they are at least, and WebAssembly's for those of the processors
below it.
"""
_KIB = 2**10
_CACHES = {
    **dict.fromkeys(("nehalem", "westmere", "sandybridge", "ivybridge"), (32 * _KIB, 256 * _KIB)),
    **dict.fromkeys(("haswell", "broadwell", "skylake"), (32 * _KIB, 256 * _KIB)),
    **dict.fromkeys(("skylake-avx512", "cascadelake", "znver4"), (32 * _KIB, 1024 * _KIB)),
    "znver5": (48 * _KIB, 1024 * _KIB),
    "sapphirerapids": (48 * _KIB, 2048 * _KIB),
}
"""A core's first and second data cache, by LLVM's name of the CPU, of those that were looked up;
others get the sizes of `Target`.  Source: the makers' optimization manuals."""
_LLVM_VERSION = "22.0"
_CODE_FEATURES = re.compile(
    r"sse|ssse|avx|fma|f16c|bmi|amx|gfni|vaes|vpclmul|popcnt|movbe|asimd|sve"
)


@dataclass(frozen=True)
class Target:
    """A CPU as far as plans and code depend on it."""

    cpu: str
    """The name by which LLVM knows it, e.g. "znver3" or "skylake-avx512"."""
    isa: Isa
    """The widest vectors that plans may use."""
    missing: tuple[str, ...] = ()
    """Features that its code may use and this machine lacks; empty where the code runs here."""
    first_cache_bytes: int = 32 * _KIB
    """A core's first data cache."""
    private_cache_bytes: int = 512 * _KIB
    """A core's own second cache."""
    shared_cache_bytes: int = 2**23
    """About a core's share of the last cache; a virtual machine does not say how many share it."""
    line_bytes: int = 64
    """What a cache fetches at once."""
    work_bytes: int | None = None
    """What a kernel may work in beside its arrays, where memory is short; None: as is fastest."""
    triple: str = f"{platform.machine()}-linux-gnu"
    """The architecture and the system as LLVM names them; empty where there is no machine code."""
    features: tuple[str, ...] = ()
    """Features with their signs that code may use, or not, beyond those of the CPU."""
    float_abi: FloatAbi = ""
    """Whether functions take floats in registers of floats; empty where there is no choice."""
    dots: Dots = "none"
    """What is multiplied and added to an int32 in one instruction: four bytes, without a sign by
    such with one (VNNI, i8mm) or both with one (NEON's dot product), two 16-bit numbers after
    pairs of bytes (`vpmaddwd`), two 16-bit numbers alone (SMLAD), or nothing that is used here."""
    table_bytes: TableBytes = 0
    """The entries of a table of bytes that one instruction looks up in: 128 (VBMI's `vpermi2b`), 16
    (`vpshufb`), or none where vectors have nothing that is faster than loads."""
    device: str = ""
    """Its name in `machine.devices`; empty for a CPU of this machine's family."""

    @property
    def name(self) -> str:
        """The name by which it was asked for."""
        return self.device or self.cpu

    @property
    def architecture(self) -> str:
        """The architecture as the triple begins with it."""
        return self.triple.partition("-")[0]

    @property
    def is_foreign(self) -> bool:
        """Whether its code cannot even be loaded here."""
        return self.architecture != platform.machine()

    @property
    def vector_bytes(self) -> int:
        """Width of one vector register."""
        return _VECTORS[self.isa][0]

    @property
    def vector_registers(self) -> int:
        """Number of vector registers."""
        return _VECTORS[self.isa][1]

    def lanes(self, dtype: str) -> int:
        """Return how many elements of the type of that name are computed in one vector register."""
        return max(self.vector_bytes // element(dtype).computed.bytes, 1)

    @property
    def converts_float16(self) -> bool:
        """Whether vectors of float16 become such of float32, and back, in one instruction."""
        return self.isa in ("avx512", "avx2", "neon")

    def __str__(self) -> str:
        return f"{self.name} ({self.isa})"


@cache
def host() -> Target:
    """Return this machine, recognised by its CPU features.

    (By features, because the model that a virtual machine reports is often another one.)
    """
    import archspec.cpu  # not there in a peer's environment

    machine = archspec.cpu.host()
    sizes = caches()
    return Target(
        _llvm_name(machine), _isa(machine), dots=_dots(machine), table_bytes=_table_bytes(machine),
        first_cache_bytes=sizes.get("L1", Target.first_cache_bytes),
        private_cache_bytes=sizes.get("L2", Target.private_cache_bytes),
    )  # fmt: skip


def named(cpu: str | None) -> Target:
    """Return the CPU that LLVM calls `cpu` (the `-mcpu` of a compiler); None is this machine.

    These are CPUs of this machine's family, and the devices of `machine.devices`.

    Raises:
        TargetError: none has that name.
    """
    if cpu is not None and not isinstance(cpu, str):
        raise TargetError(f"target is the name of a CPU; got {shown(cpu)}")
    return _known(cpu)


@cache
def _known(cpu: str | None) -> Target:
    import archspec.cpu

    if cpu is None or cpu == host().cpu:
        return host()
    here = archspec.cpu.host()
    family = [m for m in archspec.cpu.TARGETS.values() if m.family == here.family]
    known = {_llvm_name(machine): machine for machine in reversed(family)}
    if cpu not in known:
        if cpu in DEVICES:
            return Target(**DEVICES[cpu])
        names = sorted({*known, *DEVICES})
        got = f"{shown(cpu)}{meant(cpu, names)}"
        raise TargetError(f"target is one of {', '.join(names)}; got {got}")
    lacking = {f for f in known[cpu].features - here.features if _CODE_FEATURES.match(f)}
    usual = Target.first_cache_bytes, Target.private_cache_bytes
    machine = known[cpu]
    sizes = _CACHES.get(cpu, usual)
    return Target(
        cpu, _isa(machine), tuple(sorted(lacking)), *sizes, dots=_dots(machine),
        table_bytes=_table_bytes(machine),
    )  # fmt: skip


def caches() -> dict[str, int]:
    """Return the data caches of this machine's first core in bytes: {"L1": 32768, "L2": 524288}."""
    sizes = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (
            (index / name).read_text().strip() for name in ("type", "level", "size")
        )
        if kind != "Instruction":
            sizes[f"L{level}"] = int(size.rstrip("KM")) * {"K": 2**10, "M": 2**20}[size[-1]]
    return sizes


def _llvm_name(machine: Any) -> str:
    """Return the name that LLVM has for a machine, or for the nearest one that it is built on."""
    import archspec.cpu

    for candidate in (machine, *machine.ancestors):
        try:
            flags = candidate.optimization_flags("clang", _LLVM_VERSION)
        except archspec.cpu.UnsupportedMicroarchitecture:
            continue
        if name := re.search(r"-m(?:arch|cpu)=([\w-]+)(?=\s|$)", flags):
            return name[1]
    return "generic"


def _dots(machine: Any) -> Dots:
    isa = _isa(machine)
    if isa == "neon":
        return "quads" if "i8mm" in machine else "signed quads" if "asimddp" in machine else "none"
    if (isa == "avx512" and "avx512_vnni" in machine) or "avx_vnni" in machine:
        return "quads"
    if isa == "avx2" or (isa == "avx512" and "avx512bw" in machine):
        return "pairs"
    return "none"


def _table_bytes(machine: Any) -> TableBytes:
    isa = _isa(machine)
    if isa == "avx512" and "avx512vbmi" in machine:
        return 128
    return 16 if isa == "avx2" or (isa == "avx512" and "avx512bw" in machine) else 0


def _isa(machine: Any) -> Isa:
    if platform.machine() in ("aarch64", "arm64"):
        return "neon"
    if "avx512f" in machine:
        return "avx512"
    return "avx2" if {"avx2", "fma"} <= set(machine.features) else "sse"
