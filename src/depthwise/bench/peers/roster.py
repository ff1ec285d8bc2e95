"""The engines on this machine: which are installed, and which were seen to compute rightly here."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from depthwise.errors import PeerError
from depthwise.files import check_writable, put
from depthwise.measure import environments
from depthwise.measure.catalogue import SOURCES
from depthwise.measure.engine import Clock
from depthwise.measure.process import Rejected, Worker
from depthwise.problem.parse import parse

PROBLEMS = (
    "depthwise c16 hw64 k3 p1",
    "depthwise c64 hw64 k3 p1",
    "depthwise c256 hw12 k3 p1",
    "depthwise c16 hw15 k3 s2 same nhwc",
    "depthwise c16 hw15 k3 p2 d2",
    "depthwise c16 h13 w11 k5 p2 bias relu6",
    "depthwise c8 hw14 k3 p1 m2 nhwc",
    "separable c16 o32 hw14 k3 p1 bias relu6/none",
    "inverted c8 e24 o8 hw14 k3 p1 bias relu6 residual",
    "training depthwise n2 c16 hw14 k3 p1 bias",
    "causal c16 l33 k4 bias silu state3",
)
"""What an engine is held against the oracle on: small, and one of each kind of difficulty."""


@dataclass(frozen=True)
class Verdict:
    """How an engine did on `PROBLEMS`."""

    engine: str
    version: str
    """The version as its package states it (`environments.installed_version`)."""
    host: str
    right: int
    """Problems, variants and clocks that gave the oracle's result."""
    wrong: tuple[str, ...]
    """What did not, in words; empty where the engine is verified."""
    left_out: tuple[str, ...] = ()
    """The problems that no variant takes, in words, and why the first one does not."""

    @property
    def verified(self) -> bool:
        """Whether something was computed, and nothing wrongly."""
        return self.right > 0 and not self.wrong


@dataclass(frozen=True)
class Standing:
    """One line of `depthwise peers`."""

    name: str
    version: str | None
    """None: not installed."""
    verified: bool
    remark: str
    """Why it is not verified; empty where it is."""
    command: str
    """What to run next: the command that installs it, or that verifies it."""


def standings() -> Iterator[Standing]:
    """Yield every engine, as it is installed and as it was last verified."""
    for name in SOURCES:
        version = environments.installed_version(name)
        if version is None:
            command = environments.install_command(name)
            yield Standing(name, None, False, "not installed", command)
            continue
        verdict = _recorded(name)
        command = f"depthwise peers verify {name}"
        if verdict is None or (verdict.version, verdict.host) != (version, platform.node()):
            yield Standing(name, version, False, "not verified yet", command)
        elif not verdict.verified:
            yield Standing(
                name, version, False, (*verdict.wrong, "nothing was computed")[0], command
            )
        else:
            yield Standing(name, version, True, "", command)


def installed() -> list[str]:
    """Return the engines that are installed."""
    return [name for name in SOURCES if environments.installed_version(name) is not None]


def verify(name: str, step: Callable[[str], None]) -> Verdict:
    """Hold an engine against the oracle, and remember how it did.

    Args:
        name: the engine.
        step: called at the beginning of each problem with its text form.

    Raises:
        PeerError: there is no such engine, or it is not installed.
    """
    version = environments.installed_version(name)
    environments.interpreter(name)
    right = 0
    wrong: list[str] = []
    left_out: dict[str, list[str]] = {}
    try:
        with Worker(name, threads=1) as worker:
            for problem in PROBLEMS:
                step(f"{name}: {problem}")
                for clock in get_args(Clock):
                    results = list(_outcomes(worker, problem, clock))
                    found = [each for each in results if not isinstance(each, Rejected)]
                    right += found.count(None)
                    wrong += filter(None, found)
                    if not found and isinstance(results[0], Rejected):
                        left_out.setdefault(results[0].reason, []).append(f"{problem} ({clock})")
    except PeerError as error:
        wrong.append(str(error))
    sentences = tuple(f"{', '.join(each)}: {reason}" for reason, each in left_out.items())
    verdict = Verdict(name, str(version), platform.node(), right, tuple(wrong), sentences)
    _record(verdict)
    return verdict


def _outcomes(worker: Worker, problem: str, clock: Clock) -> Iterator[str | Rejected | None]:
    """Yield for each variant None for a right result, a sentence for a wrong one, or why not."""
    spec = parse(problem)
    for variant in worker.hello.variants_of(spec.kind):
        prepared = worker.prepare(spec, variant, clock)
        if isinstance(prepared, Rejected):
            yield prepared
            continue
        worker.release(prepared.key)
        wrong = f"off by {prepared.max_abs_err:.1e}: {problem} ({variant}, {clock} clock)"
        yield None if prepared.verified else wrong


def _record_file(name: str) -> Path:
    return environments.root() / "verified" / f"{name}.json"


def _record(verdict: Verdict) -> None:
    file = _record_file(verdict.engine)
    check_writable(file)
    put(file, json.dumps(asdict(verdict)))


def _recorded(name: str) -> Verdict | None:
    """Return the last verdict, or None where there is none that can be read."""
    try:
        fields = json.loads(_record_file(name).read_text())
        return Verdict(**{**fields, "wrong": tuple(fields["wrong"]), "left_out": ()})
    except (OSError, ValueError, TypeError, KeyError):
        return None
