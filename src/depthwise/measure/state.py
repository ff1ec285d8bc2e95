"""What a measurement was made on: processor, system, versions, and how busy it was."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

from depthwise.machine import target

CPU = Path("/sys/devices/system/cpu")
STAT = Path("/proc/stat")
VECTOR_FEATURES = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8",
    "asimd", "asimdhp", "asimddp", "sve", "sve2", "bf16", "i8mm",
)  # fmt: skip
PACKAGES = ("depthwise", "apache-tvm", "apache-tvm-ffi", "numpy", "torch", "onnxruntime")
BUSY = 0.25
"""A load average of more than this for each core disturbs the clock."""
_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""What /proc/stat counts, in this order."""
_TICKS_LOST = 4
"""By how many ticks of the system's clock the time that others ran may be miscounted."""


def describe() -> dict[str, Any]:
    """Return everything about this machine that a time depends on, as plain data for JSON."""
    info = _cpuinfo()
    flags = set(info.get("flags", info.get("Features", "")).split())
    host = target.host()
    return {
        "cpu": info.get("model name", platform.processor() or "unknown"),
        "architecture": platform.machine(),
        "isa": host.isa,
        "features": [name for name in VECTOR_FEATURES if name in flags],
        "target": host.cpu,
        "cores": os.cpu_count(),
        "usable_cores": sorted(os.sched_getaffinity(0)),
        "caches": target.caches(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "governor": _read(CPU / "cpu0/cpufreq/scaling_governor"),
        "boost": _read(CPU / "cpufreq/boost"),
        "hypervisor": "hypervisor" in flags,
        "system": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "packages": _packages(),
        "load_before": os.getloadavg()[0],
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def warnings(machine: dict[str, Any]) -> list[str]:
    """Return what about this machine makes its times less certain, a sentence each."""
    found = []
    if machine["load_before"] > BUSY * machine["cores"]:
        found.append(
            f"the machine was busy before the start: load average {machine['load_before']:.1f} "
            f"on {machine['cores']} cores"
        )
    if machine["governor"] not in (None, "performance"):
        found.append(f"the frequency governor is {machine['governor']}, not performance")
    return found


def words(machine: dict[str, Any]) -> dict[str, str]:
    """Return what `describe` tells in words, each fact by its name."""
    caches, packages = machine["caches"], machine["packages"]
    return {
        "CPU": f"{machine['cpu']}, {machine['architecture']}",
        "code for": f"{machine['target']} ({machine['isa']}), "
        f"features {' '.join(machine['features'])}",
        "caches": ", ".join(f"{name} {size >> 10} KiB" for name, size in caches.items()),
        "cores": f"{len(machine['usable_cores'])} of {machine['cores']}",
        "memory": f"{machine['memory_bytes'] / 2**30:.1f} GiB",
        "frequency governor": machine["governor"] or "not told",
        "boost": {"1": "on", "0": "off"}.get(machine["boost"], "not told"),
        "hypervisor": "yes" if machine["hypervisor"] else "none seen",
        "load before the start": f"{machine['load_before']:.2f}",
        "system": f"{machine['system']}, {machine['libc']}, Python {machine['python']}",
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "date": machine["date"],
    }


@dataclass
class Others:
    """What else than this process ran on the machine meanwhile."""

    cores: float = 0.0
    """How many cores it took on average; 0 where the system does not tell."""

    @property
    def disturb(self) -> bool:
        """Whether they were too busy for a clock (`BUSY`)."""
        return self.cores > BUSY * (os.cpu_count() or 1)


@contextmanager
def others() -> Iterator[Others]:
    """Watch what else runs while a block does; its result holds at the end of the block."""
    found, begun, before = Others(), perf_counter(), _seconds_of_others()
    yield found
    lost = _TICKS_LOST / os.sysconf("SC_CLK_TCK")
    ran = _seconds_of_others() - before - lost
    found.cores = max(0.0, ran / (perf_counter() - begun))


def _seconds_of_others() -> float:
    """Return how long all cores together have run since the system began, but for this process.

    Guests of a virtual machine's host (steal) are others too.
    """
    words = (_read(STAT) or "").partition("\n")[0].split()[1:9]
    ticks = dict(zip(_STATES, map(int, words), strict=False))
    ran = sum(count for name, count in ticks.items() if name not in ("idle", "iowait"))
    return ran / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _cpuinfo() -> dict[str, str]:
    """Return the first processor's entries of /proc/cpuinfo."""
    text = _read(Path("/proc/cpuinfo")) or ""
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _packages() -> dict[str, str]:
    """Return the versions of the installed packages that take part in a measurement."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
