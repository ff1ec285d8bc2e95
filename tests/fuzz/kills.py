"""kill -9 at random moments while something is written.

What was put into place is whole: kernels load and compute, plans are read, results are the old ones
or the new.  What the killed process was writing is swept when it is old.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import torch

import depthwise as dw
import depthwise.torch as dwt
from depthwise import files
from depthwise.commands import optimize  # noqa: F401 (loaded before the first fork)
from depthwise.errors import CacheWarning
from depthwise.machine import trust
from depthwise.machine.target import host
from depthwise.measure import process  # noqa: F401
from depthwise.store import cache, database, disk
from depthwise.torch.command_line import save
from depthwise.tuning import trials  # noqa: F401
from fuzz import children
from fuzz.forks import computes
from fuzz.parts import Outcome

LONGEST = {"compile": 0.3, "learn": 0.05, "put": 0.02, "keep": 0.1, "tune": 8.0}
"""Seconds until the kill at most."""
WEIGHTS = (5, 5, 5, 5, 1)
ORPHANS_SECONDS = 60.0
"""How long processes that a killed one had started may go on."""
CHILD_SECONDS = 60.0
OLD_SECONDS = 2 * cache.ABANDONED_SECONDS
FOUND = "found.txt"
RESULTS = ("bench.json", "fast.pt")
TEMPORARY = "temporary"
LENGTHS = 20_000
PLANS = ("channels_last tc8 tw4", "general", "default")
LEARNT = "depthwise c8 hw8 k3 p1 nhwc"


@contextmanager
def attempts() -> Iterator[Callable[[Random], Outcome]]:
    children.adopt_orphans()
    network = dwt.optimize(torch.nn.Conv2d(4, 4, 3, groups=4).eval(), torch.zeros(1, 4, 5, 5))
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        os.environ[disk.VARIABLE] = str(folder / "cache")
        (folder / "results").mkdir()
        yield lambda rng: attempt(rng, folder, network)


def attempt(rng: Random, folder: Path, network: torch.nn.Module) -> Outcome:
    (action,) = rng.choices([*LONGEST], WEIGHTS)
    seed, moment = rng.randrange(10**6), rng.uniform(0, LONGEST[action])
    results, temporary = folder / "results", folder / TEMPORARY
    temporary.mkdir(exist_ok=True)

    def body() -> int:
        os.environ["TMPDIR"] = str(temporary)
        tempfile.tempdir = str(temporary)
        globals()[action](seed, results, network)
        return 0

    child = children.forked(body)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    status = children.ended(child, CHILD_SECONDS)
    said = f"{action} killed after {moment:.3f} s"
    if status != -signal.SIGKILL:
        return Outcome("wrong", f"{said}: it had ended with {status}")
    if orphans := children.left_behind(ORPHANS_SECONDS):
        return Outcome("left behind", f"{said}: {orphans}")
    checker = children.forked(lambda: check(folder, results, network))
    if children.ended(checker, CHILD_SECONDS):
        return Outcome("wrong", f"{said}: {(folder / FOUND).read_text()}")
    left = [path.name for place in (results, temporary) for path in place.iterdir()]
    left = [name for name in left if name not in RESULTS]
    for path in temporary.iterdir():
        disk.remove(path)
    return Outcome("left behind", f"{said}: {left}") if left else Outcome("right")


def check(folder: Path, results: Path, network: torch.nn.Module) -> int:
    """Look at everything that processes which were killed have written."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", CacheWarning)
            look(folder, results, network)
    except Exception:
        (folder / FOUND).write_text(traceback.format_exc())
        return 1
    return 0


def look(folder: Path, results: Path, network: torch.nn.Module) -> None:
    entries = [*cache.stored(), *cache.stored_plans()]
    assert None not in map(cache.describe, entries)
    assert not cache.foreign()
    if kernels := cache.stored():
        described = cache.describe(kernels[-1])
        assert described is not None
        assert computes(None, described["spec"])
    spec = dw.parse(LEARNT)
    database.tuned_plan(spec, host())
    for threads in range(1, 9):
        database.trials(spec, host(), threads)
    if (results / "bench.json").exists():
        numbers = json.loads((results / "bench.json").read_text())
        assert numbers == [numbers[0]] * (1 + numbers[0] % LENGTHS)
    if (results / "fast.pt").exists():
        torch.load(results / "fast.pt", weights_only=False)
    for path in folder.rglob("*"):
        if path.name.startswith((disk.TEMPORARY, files.TEMPORARY, trust.IN_USE)):
            old = time.time() - OLD_SECONDS
            os.utime(path, (old, old))
    cache.tidy()
    tempfile.tempdir = str(folder / TEMPORARY)
    with trust.swept_folder():
        pass
    for name in RESULTS:
        files.check_writable(results / name)
    left = [path.name for path in folder.rglob(f"{disk.TEMPORARY}*")]
    assert not left, left


def compile(seed: int, results: Path, network: torch.nn.Module) -> None:  # noqa: A001
    for count in itertools.count(seed):
        dw.compile(f"depthwise c{count % 4000 + 9} hw9 k3 p1 nhwc")


def learn(seed: int, results: Path, network: torch.nn.Module) -> None:
    spec = dw.parse(LEARNT)
    for count in itertools.count(seed):
        plan = dw.Plan.parse(PLANS[count % len(PLANS)])
        database.add_trial(spec, host(), 1 + count % 8, plan, database.Trial((1.0 + count,)))
        database.remember(spec, host(), plan)


def put(seed: int, results: Path, network: torch.nn.Module) -> None:
    for count in itertools.count(seed):
        files.put(results / "bench.json", json.dumps([count] * (1 + count % LENGTHS)))


def keep(seed: int, results: Path, network: torch.nn.Module) -> None:
    while True:
        save(network, results / "fast.pt")


def tune(seed: int, results: Path, network: torch.nn.Module) -> None:
    while True:
        dw.tune(f"depthwise c{8 * (1 + seed % 8)} hw8 k3 p1 nhwc", threads=1, seconds=10)
