"""What was learnt about plans, on disk: every plan that was tried, and the one that won.

One file for each problem and CPU, `plans/FINGERPRINT/KEY.json`:

    {"spec": "depthwise c144 hw56 k3 p1 nhwc", "target": "znver3 (avx2)",
     "tuned": "channels_last tc8 tw4",
     "trials": {"1": {"channels_last tc8 tw4": {"us": [117.2, 117.6]},
                      "packed tc32": {"failure": "slow", "detail": "..."}}}}

with a table of trials for each number of threads.  The fingerprint is that of `cache`, because
times say nothing about other code.  A file is changed under a lock and replaced whole, so that
several processes may learn at once and nothing is lost or half-written.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from depthwise.errors import PlanError
from depthwise.machine.target import Target
from depthwise.problem.problem import Problem
from depthwise.schedule import is_legal
from depthwise.schedule.plan import AnyPlan, parse_plan
from depthwise.store import disk
from depthwise.store.cache import PLANS, fingerprint

VARIABLE = "DEPTHWISE_TUNED"
"""The environment variable that, where it is 0, leaves every problem to the heuristic."""
PATIENCE_SECONDS = 10.0
"""How long it is waited for, which others hold for milliseconds."""

Failure = Literal["slow", "crashed", "wrong", "failed"]
"""It took too long to build and verify; its process died; it computed something else; it raised."""

_Content: TypeAlias = dict[str, Any]
_DAMAGED = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, PlanError
)  # fmt: skip
"""What the content of a file raises that is none of ours."""


@dataclass(frozen=True)
class Trial:
    """What came of trying one plan: samples of its time, or why there are none."""

    samples: tuple[float, ...] = ()
    """The time of one call in microseconds."""
    failure: Failure | None = None
    detail: str = ""
    """The failure in words."""

    @property
    def us(self) -> float:
        """The least of the samples, for noise only adds to them; infinite where the plan failed."""
        return min(self.samples, default=math.inf)

    def as_dict(self) -> dict[str, Any]:
        """Return the trial as the file holds it."""
        if self.failure is None:
            return {"us": [round(sample, 3) for sample in self.samples]}
        return {"failure": self.failure, "detail": self.detail}

    @classmethod
    def of(cls, found: dict[str, Any]) -> Trial:
        """Read a trial from `as_dict`'s form.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is not in that form.
        """
        failure = found.get("failure")
        if failure in get_args(Failure):
            return cls(failure=failure, detail=str(found["detail"]))
        samples = found["us"]
        if failure is not None or not isinstance(samples, list) or not min(samples) > 0:
            raise ValueError("a trial has times or a failure")
        return cls(tuple(map(float, samples)))


def trials(spec: Problem, target: Target, threads: int) -> dict[AnyPlan, Trial]:
    """Return every plan of a problem that was tried on so many threads."""
    path = _path(spec, target)
    content = {} if path is None else _read(path)
    return _parsed(content.get("trials", {}).get(str(threads), {}))


def add_trial(spec: Problem, target: Target, threads: int, plan: AnyPlan, trial: Trial) -> None:
    """Keep what came of trying a plan."""

    def add(content: _Content) -> None:
        on_threads = content.setdefault("trials", {}).setdefault(str(threads), {})
        on_threads[str(plan)] = trial.as_dict()

    _change(spec, target, add)


def remember(spec: Problem, target: Target, plan: AnyPlan) -> None:
    """Let a plan be the one that a problem is compiled with, in other processes too."""

    def set_plan(content: _Content) -> None:
        content["tuned"] = str(plan)

    _change(spec, target, set_plan)
    tuned_plan.cache_clear()


@cache
def tuned_plan(spec: Problem, target: Target) -> AnyPlan | None:
    """Return the plan that is remembered for a problem, None where there is none.

    The disk is looked at once a process.  A plan that is not legal is none.
    """
    path = None if os.environ.get(VARIABLE) == "0" else _path(spec, target)
    found = None if path is None else _read(path).get("tuned")
    if found is None:
        return None
    plan = parse_plan(found)
    return plan if is_legal(plan, spec, target) else None


def _parsed(found: dict[str, Any]) -> dict[AnyPlan, Trial]:
    return {parse_plan(plan): Trial.of(trial) for plan, trial in found.items()}


def _path(spec: Problem, target: Target) -> Path | None:
    """Return the file of a problem, None where nothing is kept on disk."""
    place = disk.folder(PLANS, fingerprint())
    if place is None:
        return None
    key = hashlib.sha256(f"{spec}\n{target!r}".encode()).hexdigest()[:32]
    return place / f"{key}.json"


def _read(path: Path) -> _Content:
    """Return what a file holds; nothing, after a warning, where it is damaged."""
    try:
        content = json.loads(disk.read(path))
        if (tuned := content.get("tuned")) is not None:
            parse_plan(tuned)
        for found in content.get("trials", {}).values():
            _parsed(found)
    except FileNotFoundError:
        return {}
    except _DAMAGED as error:
        disk.warn_once(f"what was learnt about plans is not read: {error!r}: {path}")
        return {}
    return content  # type: ignore[no-any-return]


def _change(spec: Problem, target: Target, change: Callable[[_Content], None]) -> None:
    """Read a file, change its content and replace it, while nobody else does."""
    path = _path(spec, target)
    if path is None:
        return
    with _locked(path.with_name(disk.LOCK)) as locked:
        if locked:
            content = {"spec": str(spec), "target": str(target), **_read(path)}
            change(content)
            disk.write_atomically(path, json.dumps(content).encode())


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock; yields False, after a warning, where that is not to be had."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=PATIENCE_SECONDS)
    except (OSError, Timeout) as error:
        disk.warn_unwritten(path.parent, error)
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
