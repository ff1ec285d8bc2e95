"""The parent's side of a worker: start it, ask it, and say readably how it ended."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from depthwise.errors import PeerError
from depthwise.machine import trust
from depthwise.measure import environments
from depthwise.measure.engine import TARGET_VARIABLE, Clock
from depthwise.measure.memory import Memory
from depthwise.measure.timing import MIN_SECONDS
from depthwise.problem.problem import Problem

TIMEOUT_SECONDS = 600.0
"""A worker that takes longer to answer is ended: large layers take minutes to verify."""
LAST_WORDS = 30
"""Lines of a dead worker's stderr that its error repeats."""
GRACE_SECONDS = 1.0
"""How long a worker that is told to end may take."""

KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
"""glibc keeps freed memory, so that a fresh output does not fault its pages in at each call."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TVM_NUM_THREADS",
    "NPROC",  # XLA
)


@dataclass(frozen=True)
class Hello:
    """Which engine a worker hosts."""

    name: str
    version: str
    variants: tuple[str, ...]
    threads: int
    """The thread count that took effect."""
    special: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False)
    """By kind of problem, what stands in the place of `variants`."""

    def variants_of(self, kind: str) -> Sequence[str]:
        """Return the ways of using the engine for problems of a kind."""
        return self.special.get(kind, self.variants)


@dataclass(frozen=True)
class PreparedInfo:
    """A problem that is ready and checked in a worker."""

    key: int
    """What `Worker.sample` and `Worker.release` take."""
    layout: str
    excluded: str
    max_abs_err: float
    verified: bool
    prepare_seconds: float


@dataclass(frozen=True)
class NetworkInfo(PreparedInfo):
    """A network that is ready and checked in a worker."""

    max_rel_err: float
    """The largest error of a result over the largest result expected of that output."""


@dataclass(frozen=True)
class Rejected:
    """Why the engine cannot compute a problem."""

    reason: str


class WorkerTimeoutError(PeerError):
    """A worker did not answer in time; it is gone."""


class Worker:
    """An engine in a process of its own, in the environment where that engine is installed.

    Use it as a context manager: whatever happens in the body, the process ends.  Between one answer
    and the next request the process is stopped: threads that spin while they wait for work would
    take the cores from the engine that is being timed.

    Args:
        engine: a name of `depthwise peers`, or the path of a module with a class `Engine`.
        threads: how many the engine may use.
        pin: the cores the process stays on; None leaves that to the system.
        cpu: the CPU that engines which generate code do so for; None is this machine.
        timeout: seconds after which a worker that has not answered is ended.
        variables: of the process's environment, beside those that every worker has.

    Raises:
        PeerError: from every method, where the engine is not installed, does not start, raises,
            dies or does not answer in time.  After the last two the process is gone.
    """

    hello: Hello

    def __init__(
        self,
        engine: str,
        threads: int,
        pin: Sequence[int] | None = None,
        *,
        cpu: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.engine = engine
        self.timeout = timeout
        python = environments.interpreter(engine)
        given = {
            **_thread_counts(threads), **KEEP_MEMORY, **environments.variables(engine),
            **(variables or {}),
        }  # fmt: skip
        if cpu is not None:
            given[TARGET_VARIABLE] = cpu
        with ExitStack() as stack:
            self._stderr = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
            package = stack.enter_context(_importable_package(python))
            self._process = subprocess.Popen(
                _command(python, engine, threads, pin),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                text=True,
                env={**os.environ, **given, **package},
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends the worker
            )
            stack.callback(self._end)
            self._answers: queue.Queue[str] = queue.Queue()
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
            answer = self._ask("starting", do="hello")
            self.hello = Hello(**{**answer, "variants": tuple(answer["variants"])})
            self._stack = stack.pop_all()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def pose(self, spec: Problem, seed: int = 0) -> None:
        """Compute what the oracle expects once, before several variants of a problem."""
        self._ask(f"posing: {spec}", do="pose", spec=str(spec), seed=seed)

    def prepare(
        self,
        spec: Problem,
        variant: str,
        clock: Clock,
        seed: int = 0,
        folder: Path | None = None,
    ) -> PreparedInfo | Rejected:
        """Make a problem ready and hold its result against the oracle.

        Args:
            spec: the problem.
            variant: one of `hello.variants`.
            clock: what `sample` will time.
            seed: of the arrays.
            folder: where `posed.write` has put arrays and expected result; None has the worker
                make them.
        """
        doing = f"preparing {variant} for the {clock} clock: {spec}"
        answer = self._ask(
            doing, do="prepare", spec=str(spec), variant=variant, clock=clock, seed=seed,
            folder=None if folder is None else str(folder),
        )  # fmt: skip
        if "rejected" in answer:
            return Rejected(answer["rejected"])
        return PreparedInfo(**answer)

    def network(self, folder: Path, variant: str, tolerance: float) -> NetworkInfo:
        """Make a network ready and hold its results against those expected.

        Args:
            folder: with the files of the network (`network_files`).
            variant: one of those of the engine's `catalogue.Source`.
            tolerance: the largest `max_rel_err` that is right.
        """
        answer = self._ask(
            f"preparing a network {variant}", do="network", folder=str(folder), variant=variant,
            tolerance=tolerance,
        )  # fmt: skip
        return NetworkInfo(**answer)

    def memory(self, key: int) -> Memory:
        """Return what memory one call of a prepared problem takes."""
        return Memory(**self._ask("measuring memory", do="memory", key=key))

    def sample(self, key: int, repeats: int = 1, min_seconds: float = MIN_SECONDS) -> list[float]:
        """Return `repeats` samples of the time of one call of a prepared problem, in microseconds.

        `key` is `PreparedInfo.key`.  Where an engine's time is a difference of two (see
        `engine.Prepared`), a sample can fall below zero on a noisy machine.
        """
        answer = self._ask(
            "sampling", do="sample", key=key, repeats=repeats, min_seconds=min_seconds
        )
        return [float(each) for each in answer["microseconds"]]

    def release(self, key: int) -> None:
        """Let go of a prepared problem and its arrays."""
        self._ask("releasing", do="release", key=key)

    def close(self) -> None:
        """End the process, by force if it is busy."""
        self._stack.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, doing: str, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        with suppress(BrokenPipeError, ValueError):  # the empty answer below says that it ended
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        try:
            line = self._answers.get(timeout=self.timeout)
            self._signal(signal.SIGSTOP)
        except queue.Empty:
            self._end()
            raise WorkerTimeoutError(
                f"{self.engine} did not answer within {self.timeout:g} s while {doing}"
            ) from None
        if not line:
            self._answers.put(line)
            raise PeerError(f"{self.engine} ended while {doing}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.engine} failed while {doing}: {answer['error']}")
        return answer

    def _read(self) -> None:
        """Hand on each answer; an empty one stands for the end."""
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                self._answers.put(line)
        self._answers.put("")

    def _last_words(self) -> str:
        status = self._process.wait()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()[-LAST_WORDS:]
        return "\n  ".join([how, *lines])

    def _end(self) -> None:
        with suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._signal(signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=GRACE_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _command(python: Path, engine: str, threads: int, pin: Sequence[int] | None) -> list[str]:
    command = [str(python), "-m", "depthwise.measure.worker", engine, "--threads", str(threads)]
    return [*command, "--pin", ",".join(map(str, pin))] if pin else command


def _thread_counts(threads: int) -> dict[str, str]:
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


@contextmanager
def _importable_package(python: Path) -> Iterator[dict[str, str]]:
    """Yield the variables with which an interpreter finds this package, and nothing beside it.

    Another environment has its own NumPy, so it may see this package but not its neighbours.
    """
    if python == Path(sys.executable):
        yield {}
        return
    package = Path(__file__).parents[1]
    with trust.temporary_folder() as folder:
        (folder / package.name).symlink_to(package, target_is_directory=True)
        yield {"PYTHONPATH": str(folder)}
