"""Disks that fill up, files that may not grow, linkers that fail, cache folders of others.

A fork of a process that has the package loaded is given a drawn selection of these.  It computes
the right result all the same, plans and results are whole or refused, what others keep there stays,
and nothing half-written does.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

import torch

import depthwise as dw
import depthwise.torch as dwt
from depthwise import files
from depthwise.commands import cli
from depthwise.errors import CacheWarning, DepthwiseError
from depthwise.kernel import code
from depthwise.machine.target import host
from depthwise.programs import writers  # noqa: F401 (loaded before the first fork)
from depthwise.store import cache, database, disk
from depthwise.torch.command_line import save
from fuzz import children, lines
from fuzz.forks import computes
from fuzz.parts import Outcome

_NEW_MOUNTS, _PRIVATE, _NO_EXEC = 0x20000, 0x44000, 8
OPTIONS = (None, None, "size=1m", "size=64k", "nr_inodes=40,size=4m", "noexec")
"""Of a disk mounted for the try."""
ROOMS = (0, 0, 1000, 4096, 8192, 20_000, 2**20)
"""How much of it is left, in bytes."""
SIZES = (None, None, None, 0, 100, 4096, 10_000)
"""How large a file may become, in bytes."""
LINKERS = (None, None, "exit 1", "exit 0", "echo nonsense > $3", "exec sleep 60", "kill -9 $$")
LINKER_SECONDS = 0.5
CHILD_SECONDS = 90.0
FOREIGN = {
    "notes.txt": "ours", "kernels/0123456789abcdef/notes.so": "no code",
    f"kernels/0123456789abcdef/{32 * 'a'}.so": "nor this", "plans/q3/roadmap.json": "{}",
    f"plans/0123456789abcdef/{32 * 'b'}.json": '{"name": 1}', "kernels/.writing-up": "a draft",
}  # fmt: skip


@contextmanager
def attempts() -> Iterator[Callable[[Random], Outcome]]:
    mounts = _mount_apart() == 0
    network = dwt.optimize(torch.nn.Conv2d(4, 4, 3, groups=4).eval(), torch.zeros(1, 4, 5, 5))
    with tempfile.TemporaryDirectory(prefix="disks-") as name:
        yield lambda rng: attempt(rng, Path(name), mounts, network)


def attempt(rng: Random, place: Path, mounts: bool, network: torch.nn.Module) -> Outcome:
    options = rng.choice(OPTIONS)
    if options and not mounts:
        return Outcome("skipped", "only root mounts disks")
    room, size, linker = rng.choice(ROOMS), rng.choice(SIZES), rng.choice(LINKERS)
    on_disk = [name for name in ("cache", "tmp", "results") if rng.random() < 0.6]
    spec = f"depthwise c{rng.randint(8, 400)} hw6 k3 p1 nhwc"
    given = f"{options} {room} {on_disk}, files of {size}, linker {linker!r}: {spec}"
    here = place / "here"
    here.mkdir()
    reading, writing = os.pipe()
    try:
        body = partial(suffer, here, options, room, size, linker, on_disk, spec, network, writing)
        child = children.forked(body)
        os.close(writing)
        status = children.ended(child, CHILD_SECONDS)
        if status is None:
            children.kill(child)
        with os.fdopen(reading, errors="replace") as words:
            said = words.read()
    finally:
        shutil.rmtree(here, ignore_errors=True)
    if status is None:
        return Outcome("hung", given)
    if status < 0:
        return Outcome("crashed", f"signal {-status}: {given}")
    return (
        Outcome("wrong", f"exit status {status}: {given}: {said}") if status else Outcome("right")
    )


def suffer(here, options, room, size, linker, on_disk, spec, network, said) -> int:
    """Do everything that writes, in a forked child; 0 where all went as it should."""
    os.dup2(said, 2)
    small = here / "small"
    small.mkdir()
    if options:
        _mount_apart()
        flags, sizes = (_NO_EXEC, "size=4m") if options == "noexec" else (0, options)
        assert _mount(b"tmpfs", bytes(small), b"tmpfs", flags, f"mode=700,{sizes}".encode()) == 0
    folders = {
        name: (small if name in on_disk else here) / name for name in ("cache", "tmp", "results")
    }
    for folder in folders.values():
        folder.mkdir(mode=0o700)
    foreign = {folders["cache"] / name: text for name, text in FOREIGN.items()}
    kept = {path: text for path, text in foreign.items() if _put(path, text)}
    if linker:
        program = here / "ld"
        program.write_text(f"#!/bin/sh\n{linker}\n")
        program.chmod(0o700)
        code.linker = lambda: str(program)
        code._PATIENCE_SECONDS = LINKER_SECONDS
    os.environ |= {disk.VARIABLE: str(folders["cache"]), "TMPDIR": str(folders["tmp"])}
    tempfile.tempdir = str(folders["tmp"])
    if options:
        _fill(small / "fill", room)
    if size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert computes(None, spec)
        _learn(spec)
        _results(folders["results"], network)
        cache.tidy()
        with suppress(SystemExit):
            lines.sys.argv = ["depthwise", "cache", "clear", "--plans"]
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            cli.main()
    assert {warning.category for warning in caught} <= {CacheWarning}, [*map(str, caught)]
    for path, text in kept.items():
        assert path.read_text() == text, path
    left = [path for path in here.rglob("*") if path.name.startswith((disk.TEMPORARY, ".depth"))]
    assert {*left} <= {*foreign}, left
    assert not [*folders["tmp"].iterdir()]
    return 0


def _learn(spec: str) -> None:
    """What was learnt about plans is there afterwards, or a warning was given."""
    problem, plan = dw.parse(spec), dw.Plan("general")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        disk._said.clear()
        database.remember(problem, host(), plan)
        database.add_trial(problem, host(), 1, plan, database.Trial((1.0,)))
        found = database.trials(problem, host(), 1)
    assert (plan in found) != bool(caught), (found, [*map(str, caught)])


def _results(folder: Path, network: torch.nn.Module) -> None:
    """A file of results is written whole, or refused and what was there is left."""
    file = folder / "bench.json"
    old = "old" if _put(file, "old") else None
    before = file.read_text() if file.exists() else None
    for text in ("new", "new" * 10_000):
        try:
            files.put(file, text)
        except DepthwiseError:
            assert (file.read_text() if file.exists() else None) == before
        else:
            before = file.read_text()
            assert before == text
    assert old is None or file.exists()
    try:
        save(network, folder / "fast.pt")
    except DepthwiseError:
        assert not (folder / "fast.pt").exists()
    else:
        torch.load(folder / "fast.pt", weights_only=False)


def _put(path: Path, text: str) -> bool:
    """Write a file of somebody else's, where that is possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(text)
    except OSError:
        return False
    return True


def _fill(path: Path, room: int) -> None:
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(file.tell() - room, 0))


def _mount_apart() -> int:
    """Give this process mounts of its own; 0 where it may."""
    libc = ctypes.CDLL(None)
    return libc.unshare(_NEW_MOUNTS) or libc.mount(b"none", b"/", None, _PRIVATE, None)


def _mount(*arguments) -> int:
    return ctypes.CDLL(None).mount(*arguments)
