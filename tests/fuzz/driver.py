"""Tries of a part, made in workers that may crash or hang."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fuzz.parts import FAULTS, OF_OTHERS, PARTS, Outcome

TESTS = Path(__file__).parents[1]
LAST_WORDS = 2000
"""Characters of a worker's stderr that a fault repeats."""
LEAVING_SECONDS = 120.0
"""How long a worker may take to end, which may have to finish what it compiles."""


class Worker:
    """A process that tries one part, with temporary files of its own in `folder`."""

    def __init__(self, part: str, seed: int, folder: Path, cache: Path) -> None:
        self.part, self.folder = part, folder
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        paths = filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.worker", part, str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, cwd=folder,
            start_new_session=True,
            env=os.environ | {
                "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(folder),
                "DEPTHWISE_CACHE": str(cache),
            },
        )  # fmt: skip
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self._process.wait()
            raise RuntimeError(f"{part} does not begin: {self._last_words()}")

    def attempt(self, index: int) -> Outcome:
        """Make a try; its outcome, where the process dies or does not answer, is that."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(f"{index}\n".encode())
            process.stdin.flush()
        if not select.select([process.stdout], [], [], PARTS[self.part].patience)[0]:
            process.send_signal(signal.SIGABRT)  # faulthandler says where it is
            process.wait()
            return Outcome("hung", self._last_words())
        if answer := process.stdout.readline():
            return Outcome(*json.loads(answer))
        process.wait()
        return Outcome("crashed", self._last_words())

    def close(self) -> Iterator[Outcome]:
        """End the process; yield what is wrong with how it ends, and what it leaves behind."""
        process = self._process
        assert process.stdin is not None
        if process.returncode is None:
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                if process.wait(timeout=LEAVING_SECONDS):
                    yield Outcome("crashed", f"at its end: {self._last_words()}", 0)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)
                process.wait()
                yield Outcome("hung", f"at its end: {self._last_words()}", 0)
            left = sorted({path.name for path in self.folder.iterdir()} - OF_OTHERS)
            if left:
                yield Outcome("left behind", f"temporary files {left}", 0)
        for other in _of_session(process.pid):
            yield Outcome("left behind", f"process {other}", 0)

    def release(self) -> None:
        """Close what the process was spoken to through, which ends it if it goes on."""
        for file in (self._process.stdin, self._process.stdout, self._stderr):
            with suppress(BrokenPipeError):
                file.close()

    def _last_words(self) -> str:
        self._stderr.seek(0)
        said = self._stderr.read()
        return f"exit status {self._process.returncode}: {said[-LAST_WORDS:]}"


def _of_session(leader: int) -> Iterator[str]:
    """End the processes of a session; yield what each ran."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, fields = status.read_text().rpartition(")")
            if int(fields.split()[3]) == leader and fields.split()[0] != "Z":
                os.kill(int(status.parent.name), signal.SIGKILL)
                yield name


class Tally:
    """How often each outcome came about."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.seconds = 0.0

    @property
    def calls(self) -> int:
        return sum(self.counts.values())

    def add(self, outcome: Outcome) -> None:
        self.counts[outcome.kind] += outcome.calls or outcome.kind in FAULTS


def run(
    part: str,
    seed: int,
    calls: int,
    seconds: float,
    *,
    first: int = 0,
    cache: Path | None = None,
    report: Callable[[int, Outcome], None] = lambda *_: None,
    step: Callable[[str, int], None] = lambda *_: None,
) -> Tally:
    """Try a part until so many calls are made, or so many seconds are over.

    Args:
        part: its name.
        seed: with which tries are drawn.
        calls: how many to make.
        seconds: how long to go on.
        first: the number of the first try.
        cache: the cache folder; None is an empty one.
        report: called with the number of a try, and its outcome where that is a fault.
        step: called with the name of the part and the number of calls so far.
    """
    tally, begun, index = Tally(), time.monotonic(), first

    def note(number: int, outcome: Outcome) -> None:
        tally.add(outcome)
        if outcome.kind in FAULTS:
            tally.faults.append(f"{part} {number}: {outcome.kind}: {outcome.said}")
            report(number, outcome)

    while tally.calls < calls and time.monotonic() - begun < seconds:
        with _worker(part, seed, cache) as worker:
            while tally.calls < calls and time.monotonic() - begun < seconds:
                outcome = worker.attempt(index)
                note(index, outcome)
                step(part, tally.calls)
                index += 1
                if outcome.kind in ("crashed", "hung"):
                    break
            for outcome in worker.close():
                note(index - 1, outcome)
    tally.seconds = time.monotonic() - begun
    return tally


@contextmanager
def _worker(part: str, seed: int, cache: Path | None) -> Iterator[Worker]:
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "tmp").mkdir(mode=0o700)
        worker = Worker(part, seed, folder / "tmp", cache or folder / "cache")
        try:
            yield worker
        finally:
            worker.release()
