"""`depthwise doctor`: look at everything that kernels depend on, and say what is wrong with it."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from rich.filesize import decimal

from depthwise import console
from depthwise.bench.peers import roster
from depthwise.commands.diagnosis import BesideTorch, Disk, Facts, Finding, Team, findings
from depthwise.console import Form
from depthwise.errors import PeerError
from depthwise.kernel import code
from depthwise.machine import team, toolchains, trust
from depthwise.measure import environments, state
from depthwise.measure.process import PreparedInfo, Worker
from depthwise.problem.parse import parse
from depthwise.store import cache, disk

HEADERS = ("what", "found")
TRIAL = "depthwise c32 hw16 k3 p1 nhwc"
"""A small problem of an everyday kind."""
PATIENCE_SECONDS = 120.0
_SETTINGS = ("DEPTHWISE_", "OMP_", "GOMP_", "KMP_", "MKL_NUM_THREADS")
_GROUPS = Path("/sys/fs/cgroup")
_LOOK_BESIDE_TORCH = r"""
import json, re
import torch
from depthwise.machine import team
torch.ones(2**20).add_(1)
with open("/proc/self/maps") as maps:
    files = {line.split()[-1] for line in maps if re.search(r"/lib(gomp|iomp5|omp)[-.]", line)}
print(json.dumps([team.size(), team.native().runtime(), sorted(files)]))
"""


def doctor(form: Form) -> int:
    """Print what there is and what is wrong.

    Returns:
        0, or 1 where something is wrong.
    """
    with console.err.status("looking"):
        facts = examine()
    found = list(findings(facts))
    rows = list(_rows(facts))

    def table() -> None:
        console.print_table(HEADERS, rows, left=2)
        _print_findings(found)

    console.publish(
        form,
        value={**asdict(facts), "findings": [asdict(finding) for finding in found]},
        records=[
            *(dict(zip(HEADERS, row, strict=True)) for row in rows),
            *({"what": "wrong", "found": f"{each.problem}; {each.remedy}"} for each in found),
        ],
        table=table,
    )
    return 1 if found else 0


def examine() -> Facts:
    """Look at everything; takes seconds, because a kernel and PyTorch are tried."""
    own_team = _team()
    return Facts(
        machine=state.describe(),
        quota=_quota(),
        settings={name: os.environ[name] for name in sorted(os.environ) if _matters(name)},
        team=own_team,
        beside_torch=_beside_torch(),
        linker=code.linker(),
        cache=_cache(),
        peers={name: environments.installed_version(name) or "" for name in roster.installed()},
        trial=_trial(own_team.size),
        devices=toolchains.lacking(),
    )


def _matters(variable: str) -> bool:
    return variable.startswith(_SETTINGS)


def _team() -> Team:
    missing = None
    try:
        importlib.import_module("depthwise.machine._team")
    except ImportError as error:
        missing = str(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Team(team.size(), team.native().runtime(), missing)


def _beside_torch() -> BesideTorch | None:
    if find_spec("torch") is None:
        return None
    command = [sys.executable, "-W", "ignore", "-c", _LOOK_BESIDE_TORCH]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"it ended with {error.returncode}"]
        return BesideTorch(lines[-1])
    except subprocess.TimeoutExpired as error:
        return BesideTorch(str(error))
    threads, runtime, files = json.loads(done.stdout)
    return BesideTorch(None, threads, runtime, tuple(files))


def _cache() -> Disk:
    place = disk.root()
    if place is None:
        return Disk(None)
    if obstacle := trust.obstacle(place, cache.KERNELS):
        return Disk(str(place), obstacle)
    entries = cache.stored()
    return Disk(
        folder=str(place),
        writable=os.access(place / cache.KERNELS, os.W_OK | os.X_OK),
        runs_code=disk.may_run_code(place),
        free_bytes=shutil.disk_usage(place).free,
        kernels=len(entries),
        kernel_bytes=sum(entry.size for entry in entries),
    )


def _trial(threads: int) -> str | None:
    """Compute a small problem in a process of its own, which may crash."""
    try:
        with Worker("depthwise", threads, timeout=PATIENCE_SECONDS) as worker:
            done = worker.prepare(parse(TRIAL), "nhwc", "call")
    except PeerError as error:
        return str(error)
    if isinstance(done, PreparedInfo) and done.verified:
        return None
    return f"{TRIAL}: {done}"


def _quota(groups: Path = _GROUPS, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return how many cores' time the control groups of this process grant; None: no bound."""
    with suppress(OSError):
        return min(_grants(groups, own.read_text().splitlines()), default=None)
    return None


def _grants(groups: Path, lines: list[str]) -> Iterator[float]:
    """Yield the bound of each control group that has one; the tightest counts.

    (A container sees its own group as the root, whatever path it is told.)
    """
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / "cpu" if controllers else groups
        inner = root / path.lstrip("/")
        for group in (inner, *(above for above in inner.parents if above.is_relative_to(root))):
            with suppress(OSError, ValueError):
                yield _granted(group, second_version=not controllers)


def _granted(group: Path, second_version: bool) -> float:
    """Return one group's bound.

    Raises:
        OSError, ValueError: it has none.
    """
    if second_version:
        quota, period = (group / "cpu.max").read_text().split()
    else:
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    if int(quota) <= 0:
        raise ValueError(f"a quota of {quota} is no bound")
    return int(quota) / int(period)


def _rows(facts: Facts) -> Iterator[tuple[str, str]]:
    about = state.words(facts.machine)
    for name in ("CPU", "code for", "caches"):
        yield name, about[name]
    quota = "" if facts.quota is None else f", quota {facts.quota:g}"
    yield "cores", about["cores"] + quota
    yield "threads", _threads(facts.team.size, facts.team.runtime)
    if facts.beside_torch is not None and facts.beside_torch.error is None:
        beside = _threads(facts.beside_torch.threads, facts.beside_torch.runtime)
        yield "threads beside PyTorch", beside
    yield "settings", " ".join(f"{k}={v}" for k, v in facts.settings.items()) or "none"
    for name in ("system", "packages"):
        yield name, about[name]
    yield "linker", facts.linker or "none"
    yield "cache", _cache_text(facts.cache)
    yield "peers", ", ".join(f"{name} {version}" for name, version in facts.peers.items())
    ready = [name for name, missing in facts.devices.items() if not missing]
    yield "devices, emulated", ", ".join(ready) or "none"
    for missing in filter(None, facts.devices.values()):
        yield "a device", missing
    yield "a small kernel", "does not work" if facts.trial else f"is right: {TRIAL}"


def _threads(size: int, runtime: str | None) -> str:
    return f"{size} on {runtime or 'no OpenMP runtime'}"


def _cache_text(found: Disk) -> str:
    if found.folder is None:
        return f"{disk.VARIABLE} is empty: nothing is kept on disk"
    if found.obstacle is not None:
        return f"{found.folder}, not used"
    kept = f"{found.kernels} kernels, {decimal(found.kernel_bytes)}"
    return f"{found.folder}: {kept}, {decimal(found.free_bytes)} free"


def _print_findings(found: list[Finding]) -> None:
    console.say()
    if not found:
        console.say("Nothing is wrong.")
    for finding in found:
        console.say(f"Wrong: {finding.problem}")
        console.say(f"   do: {finding.remedy}")
