"""The programs that compile C for a device, and the emulators that run what they make, here."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import dataclass

from depthwise.errors import TargetError
from depthwise.machine.target import Target, named

Command = tuple[str, ...]


@dataclass(frozen=True)
class Toolchain:
    """How C becomes a program for a device, and how that is run."""

    compiler: Command
    """The compiler with its flags for the device."""
    archiver: Command
    """What makes static libraries."""
    emulator: Command = ()
    """What runs a program here, whose file comes next; empty where the program runs by itself."""


_WASI = """
import sys, wasmtime
configuration = wasmtime.WasiConfig()
configuration.argv = sys.argv[1:]
configuration.inherit_stdout()
configuration.inherit_stderr()
configuration.preopen_dir(".", ".")
engine = wasmtime.Engine()
linker, store = wasmtime.Linker(engine), wasmtime.Store(engine)
linker.define_wasi()
store.set_wasi(configuration)
module = wasmtime.Module.from_file(engine, sys.argv[1])
start = linker.instantiate(store, module).exports(store)["_start"]
try:
    start(store)
except wasmtime.ExitTrap as ending:
    sys.exit(ending.code)
"""


def _gnu(prefix: str, emulator: Command, *flags: str) -> Toolchain:
    return Toolchain((f"{prefix}-gcc", *flags), (f"{prefix}-ar",), emulator)


def _linux(prefix: str, emulator: str, cpu: str, *flags: str) -> Toolchain:
    return _gnu(prefix, (emulator, "-cpu", cpu), *flags)


def _bare(board: str, *flags: str, limits: Command = ()) -> Toolchain:
    emulator = ("qemu-system-arm", "-M", board, *limits, *_SEMIHOSTING, "-kernel")
    return _gnu("arm-none-eabi", emulator, "-mthumb", *flags)


_SEMIHOSTING = ("-nographic", "-monitor", "none", "-serial", "none", "-semihosting")
_MORE_MEMORY = (
    "-global", "nrf51-soc.sram-size=0x1000000", "-global", "nrf51-soc.flash-size=0x1000000"
)  # fmt: skip
"""The board has 16 KiB, in which few networks are computed."""
_ARM, _ARM_32, _RISC_V = "aarch64-linux-gnu", "arm-linux-gnueabihf", "riscv64-linux-gnu"
_ZIG = (sys.executable, "-m", "ziglang")

_TOOLCHAINS: dict[str, Toolchain] = {
    "aarch64": _linux(_ARM, "qemu-aarch64", "cortex-a53", "-march=armv8-a"),
    "cortex-a53": _linux(_ARM, "qemu-aarch64", "cortex-a53", "-mcpu=cortex-a53"),
    "cortex-a72": _linux(_ARM, "qemu-aarch64", "cortex-a72", "-mcpu=cortex-a72"),
    "cortex-a76": _linux(_ARM, "qemu-aarch64", "cortex-a76", "-mcpu=cortex-a76"),
    "armv7": _linux(_ARM_32, "qemu-arm", "cortex-a7", "-mcpu=cortex-a7", "-mfpu=neon-vfpv4"),
    "riscv64": _linux(_RISC_V, "qemu-riscv64", "rv64", "-march=rv64gc"),
    # GCC of Debian 12 knows no vectors, which the kernels have all the same.
    "riscv64-v": _linux(_RISC_V, "qemu-riscv64", "rv64,v=true,vlen=128", "-march=rv64gc"),
    "cortex-m0plus": _bare(
        "microbit", "-mcpu=cortex-m0plus", "-mfloat-abi=soft", limits=_MORE_MEMORY
    ),
    "cortex-m4f": _bare(
        "mps2-an386", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"
    ),
    "cortex-m7": _bare("mps2-an500", "-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
    "cortex-m55": _bare("mps3-an547", "-mcpu=cortex-m55", "-mfloat-abi=hard"),
    "wasm32": Toolchain(
        (*_ZIG, "cc", "-target", "wasm32-wasi", "-msimd128"), (*_ZIG, "ar"),
        (sys.executable, "-c", _WASI),
    ),
    "c": Toolchain(("cc",), ("ar",)),
}  # fmt: skip
"""By the name of the device, of all but those of this machine's own family."""

_PACKAGES = {
    "aarch64-linux-gnu": "Debian's gcc-aarch64-linux-gnu and libc6-dev-arm64-cross",
    "arm-linux-gnueabihf": "Debian's gcc-arm-linux-gnueabihf and libc6-dev-armhf-cross",
    "riscv64-linux-gnu": "Debian's gcc-riscv64-linux-gnu and libc6-dev-riscv64-cross",
    "arm-none-eabi": "Debian's gcc-arm-none-eabi and libnewlib-arm-none-eabi",
    "qemu-system": "Debian's qemu-system-arm",
    "qemu": "Debian's qemu-user",
    "cc": "Debian's gcc",
    "ar": "Debian's binutils",
}
"""What a program comes with, by how its name begins."""


def found(target: Target, *, running: bool = False) -> Toolchain:
    """Return the programs that compile for a target.

    Args:
        target: what to compile for.
        running: whether programs are to be run here, too.

    Raises:
        TargetError: one is not there; it says which, and what it comes with.
    """
    toolchain = _of(target)
    commands = [toolchain.compiler, toolchain.archiver]
    if running:
        commands.append(toolchain.emulator)
    for command in filter(None, commands):
        _check(command, target)
    return toolchain


def lacking() -> dict[str, str]:
    """Return by the names of devices what is not there to compile and to run programs; or ""."""
    missing = {}
    for name in _TOOLCHAINS:
        try:
            found(named(name), running=True)
        except TargetError as error:
            missing[name] = str(error)
        else:
            missing[name] = ""
    return missing


def _of(target: Target) -> Toolchain:
    if known := _TOOLCHAINS.get(target.device):
        return known
    if target.is_foreign:
        raise TargetError(f"no compiler of C is known here for {target.name}")
    flag = "-march" if platform.machine() == "x86_64" else "-mcpu"
    return Toolchain(("cc", f"{flag}={target.cpu}"), ("ar",))


def _check(command: Command, target: Target) -> None:
    program = command[0]
    if program == sys.executable:
        _check_module(command[2] if command[1] == "-m" else "wasmtime", target)
    elif shutil.which(program) is None:
        package = next(text for start, text in _PACKAGES.items() if program.startswith(start))
        raise TargetError(f"{target.name} needs {program}, which is not there: {package}")


def _check_module(name: str, target: Target) -> None:
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise TargetError(f"{target.name} needs {name}, which is not there: pip install {name}")
