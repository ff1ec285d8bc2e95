"""The kernels of a network made ready: those that the cache lacks are compiled side by side.

Each process compiles one kernel at a time and stores it, so that Ctrl-C leaves what is done.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from depthwise.compiler import compile as compile_kernel
from depthwise.compiler import is_stored
from depthwise.machine import team
from depthwise.problem.problem import Problem
from depthwise.store import disk

if TYPE_CHECKING:
    import subprocess

Told = Callable[[str], None]
"""Told what is about to be done."""
_COMMAND = [sys.executable, "-m", "depthwise.network.compiling"]
_WORTH_A_PROCESS = 2
"""From so many kernels on, starting processes is sooner than compiling here."""


def prepare(specs: Iterable[Problem], step: Told = lambda _: None) -> None:
    """Compile the kernels of some problems, each once, or find them in the cache.

    Raises:
        SpecError: a problem is none for a kernel.
    """
    problems = list(dict.fromkeys(specs))
    if disk.folder() is not None:
        missing = [spec for spec in problems if not is_stored(spec)]
        if len(missing) >= _WORTH_A_PROCESS and (cores := _cores()) > 1:
            _side_by_side(missing, min(cores, len(missing)), step)
    for spec in problems:
        step(f"compile {spec}")
        compile_kernel(spec)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _side_by_side(specs: Sequence[Problem], processes: int, step: Told) -> None:
    """Have each problem compiled by one of some processes.

    What one of them cannot compile is left to the caller, who meets the error.
    """
    from concurrent.futures import ThreadPoolExecutor

    waiting: SimpleQueue[Problem] = SimpleQueue()
    for spec in specs:
        waiting.put(spec)
    finished: SimpleQueue[Problem | None] = SimpleQueue()
    step(f"compile {len(specs)} kernels in {processes} processes")
    with ThreadPoolExecutor(processes) as pool, _ended() as running:
        for _ in range(processes):
            pool.submit(_feed, waiting, finished, running)
        for number, spec in enumerate(_until_all_end(finished, processes), 1):
            step(f"compiled {number} of {len(specs)}: {spec}")


def _until_all_end(finished: SimpleQueue[Problem | None], count: int) -> Iterator[Problem]:
    """Yield what comes until so many have said that they are done."""
    while count:
        spec = finished.get()
        if spec is None:
            count -= 1
        else:
            yield spec


@contextmanager
def _ended() -> Iterator[list[subprocess.Popen[str]]]:
    """Give a list of processes that are ended in the end."""
    running: list[subprocess.Popen[str]] = []
    try:
        yield running
    finally:
        for process in running:
            process.kill()


def _feed(
    waiting: SimpleQueue[Problem],
    finished: SimpleQueue[Problem | None],
    running: list[subprocess.Popen[str]],
) -> None:
    """Give one process problem after problem."""
    try:
        with _started() as process:
            running.append(process)
            assert process.stdin is not None
            assert process.stdout is not None
            while True:
                spec = waiting.get_nowait()
                process.stdin.write(f"{spec}\n")
                process.stdin.flush()
                if not process.stdout.readline():
                    return  # it died
                finished.put(spec)
    except (Empty, OSError, ValueError):
        return
    finally:
        finished.put(None)


def _started() -> subprocess.Popen[str]:
    import subprocess

    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [*_COMMAND, str(team.size())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
