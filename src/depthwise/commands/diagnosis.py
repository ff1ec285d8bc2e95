"""What `depthwise doctor` looks at, and what it makes of that."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

LEAST_FREE_BYTES = 64 * 2**20
"""A disk with less room is as good as full: a few hundred kernels."""
_REINSTALL = "pip install --force-reinstall --no-deps . in a clone of depthwise"


@dataclass(frozen=True)
class Team:
    """The threads that kernels run on."""

    size: int
    runtime: str | None
    """The file of the OpenMP runtime; None where there is none."""
    missing: str | None
    """Why the launcher of kernels does not load; None where it does."""


@dataclass(frozen=True)
class BesideTorch:
    """A process that has PyTorch in it."""

    error: str | None
    """Why it could not be looked at; the rest is empty then."""
    threads: int = 0
    runtime: str | None = None
    """The file of the OpenMP runtime that kernels run on there."""
    runtimes: tuple[str, ...] = ()
    """The files of all OpenMP runtimes in the process."""


@dataclass(frozen=True)
class Disk:
    """The cache folder."""

    folder: str | None
    """The folder; None where DEPTHWISE_CACHE is empty."""
    obstacle: str | None = None
    """Why it cannot be used; the rest says nothing then."""
    writable: bool = False
    runs_code: bool = False
    free_bytes: int = 0
    kernels: int = 0
    kernel_bytes: int = 0


@dataclass(frozen=True)
class Facts:
    """Everything that was looked at."""

    machine: dict[str, Any]
    """What `measure.state.describe` says."""
    quota: float | None
    """How many cores' time the process is granted; None: no bound."""
    settings: dict[str, str]
    """The environment variables that matter."""
    team: Team
    beside_torch: BesideTorch | None
    """How it is in a process with PyTorch; None where that is not installed."""
    linker: str | None
    cache: Disk
    peers: dict[str, str]
    """The versions of the installed engines."""
    trial: str | None
    """What is wrong with a small kernel's result; None where it is right."""
    devices: dict[str, str] = field(default_factory=dict)
    """By their names, what is not there to compile for them and to run that here; or nothing."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, and what mends it."""

    problem: str
    remedy: str


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield what is wrong, the gravest first."""
    if facts.trial is not None:
        yield Finding(f"kernels do not work: {facts.trial}", "please report it with this output")
    yield from _team_findings(facts)
    if facts.beside_torch is not None:
        yield from _torch_findings(facts.beside_torch)
    if facts.linker is None:
        yield Finding(
            "no linker: kernels are kept as LLVM IR, and each process imports the compiler for it",
            "install one, e.g. apt-get install binutils",
        )
    yield from _cache_findings(facts.cache)


def _team_findings(facts: Facts) -> Iterator[Finding]:
    team = facts.team
    if team.missing is not None and "libgomp" in team.missing:
        yield Finding(
            f"no OpenMP runtime: kernels run on one thread ({team.missing})",
            "install it, e.g. apt-get install libgomp1",
        )
    elif team.missing is not None:
        yield Finding(
            f"the launcher does not load: kernels run on one thread ({team.missing})",
            f"install a C compiler with OpenMP, e.g. apt-get install gcc; then {_REINSTALL}",
        )
    elif team.runtime is None:
        yield Finding(
            "the launcher was built without OpenMP: kernels run on one thread",
            f"install OpenMP, e.g. apt-get install libgomp1 gcc; then {_REINSTALL}",
        )
    granted = len(facts.machine["usable_cores"])
    if facts.quota is not None:
        granted = min(granted, math.ceil(facts.quota))
    if team.size > granted:
        yield Finding(
            f"{team.size} threads share the time of {granted} cores and wait for each other",
            f"export OMP_NUM_THREADS={granted}",
        )


def _torch_findings(torch: BesideTorch) -> Iterator[Finding]:
    if torch.error is not None:
        yield Finding(f"PyTorch does not work here: {torch.error}", "install it anew")
        return
    ours = torch.runtime and os.path.realpath(torch.runtime)
    others = [file for file in torch.runtimes if os.path.realpath(file) != ours]
    if ours and others:
        yield Finding(
            f"two teams of threads take the cores from each other: kernels run on {ours}, "
            f"and PyTorch's process also has {', '.join(others)}",
            "install PyTorch from the package index, which brings libgomp",
        )


def _cache_findings(cache: Disk) -> Iterator[Finding]:
    if cache.folder is None:
        return
    elsewhere = "or let DEPTHWISE_CACHE name another folder"
    if cache.obstacle is not None:
        yield Finding(
            f"nothing is kept on disk, so every process compiles: {cache.obstacle}",
            f"mend that, {elsewhere}",
        )
    elif not cache.runs_code:
        yield Finding(
            "kernels are not kept on disk, so every process compiles: the file system is mounted "
            f"noexec: {cache.folder}",
            f"mount it otherwise, {elsewhere}",
        )
    elif not cache.writable:
        yield Finding(
            f"kernels are loaded from disk but not kept: {cache.folder} cannot be written to",
            f"make it writable to you, {elsewhere}",
        )
    elif cache.free_bytes < LEAST_FREE_BYTES:
        yield Finding(
            f"the disk is full: {cache.free_bytes >> 20} MB are free for {cache.folder}",
            f"make room, {elsewhere}",
        )
