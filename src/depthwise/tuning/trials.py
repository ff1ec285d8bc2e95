"""Plans tried in a process of their own, which may hang while it compiles one, or crash."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType

from depthwise.errors import DepthwiseError, PeerError
from depthwise.machine import trust
from depthwise.measure.process import TIMEOUT_SECONDS, PreparedInfo, Worker, WorkerTimeoutError
from depthwise.measure.timing import MIN_SECONDS
from depthwise.problem.problem import Problem
from depthwise.schedule.plan import AnyPlan
from depthwise.store import disk
from depthwise.tuning.search import TrialError

ENGINE = "depthwise.tuning.engine"


class Laboratory:
    """Builds, verifies and times the plans of one problem after the other.

    Use it as a context manager.  The process starts with the first problem, and anew after a plan
    that took it down; it ends with this one.  What it builds is kept in a temporary folder until
    then, so that another process need not build it again.

    Args:
        threads: of every kernel.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._worker: Worker | None = None
        self._spec: Problem | None = None
        self._ready: dict[AnyPlan, int] = {}
        self._stack = ExitStack()
        self._folder: str | None = None
        self.start_seconds = 0.0
        """What starting processes and posing problems has taken so far."""

    def pose(self, spec: Problem) -> None:
        """Take up a problem: make its arrays and what the oracle expects."""
        worker = self._alive()
        for key in self._ready.values():
            worker.release(key)
        self._ready.clear()
        with self._starting():
            worker.pose(spec)
        self._spec = spec

    def prepare(self, plan: AnyPlan, seconds: float = TIMEOUT_SECONDS) -> None:
        """Build a plan of the problem, and hold its result against the oracle.

        Raises:
            TrialError: it takes longer than `seconds`, kills the process, raises or is wrong.
        """
        assert self._spec is not None, "a problem is posed before its plans are tried"
        worker = self._alive()
        worker.timeout = seconds
        try:
            answer = worker.prepare(self._spec, str(plan), "kernel")
        except WorkerTimeoutError:
            self.close()
            detail = f"not built and verified within {seconds:g} s"
            raise TrialError("slow", detail) from None
        except PeerError as error:
            raise self._failed(error) from None
        finally:
            worker.timeout = TIMEOUT_SECONDS
        assert isinstance(answer, PreparedInfo), "the engine takes every problem"
        if not answer.verified:
            worker.release(answer.key)
            raise TrialError("wrong", f"off by {answer.max_abs_err:g} from the oracle")
        self._ready[plan] = answer.key

    def sample(self, plan: AnyPlan, repeats: int, min_seconds: float = MIN_SECONDS) -> list[float]:
        """Return so many samples of the time of one call, in microseconds.

        A plan that is not prepared is prepared first.  Each sample lasts at least `min_seconds`.

        Raises:
            TrialError: as `prepare`.
        """
        self._alive()
        if plan not in self._ready:
            self.prepare(plan)
        try:
            return self._alive().sample(self._ready[plan], repeats, min_seconds)
        except PeerError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
            self._ready.clear()

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._stack.close()

    def _alive(self) -> Worker:
        """Return the process, started anew with the problem where the last one is gone."""
        if self._worker is None:
            with self._starting():
                variables = {disk.VARIABLE: self._kept()}
                self._worker = Worker(ENGINE, self._threads, variables=variables)
                if self._spec is not None:
                    self._worker.pose(self._spec)
        return self._worker

    def _kept(self) -> str:
        """Return the folder for what is built; "" where none is safe from others."""
        if self._folder is None:
            try:
                self._folder = str(self._stack.enter_context(trust.temporary_folder()))
            except (DepthwiseError, OSError):
                self._folder = ""
        return self._folder

    @contextmanager
    def _starting(self) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.start_seconds += time.monotonic() - begin

    def _failed(self, error: PeerError) -> TrialError:
        assert self._worker is not None
        detail = str(error).splitlines()[0]
        if self._worker.alive:
            return TrialError("failed", detail)
        self.close()
        return TrialError("crashed", detail)
