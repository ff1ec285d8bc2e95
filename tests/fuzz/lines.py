"""Command lines drawn from the real commands, run where these are loaded, or in a fork of that.

A line ends with 0, 1, 2 or 130 and without a traceback, in time, or soon after an interrupt.  It
leaves behind the files that it was asked for, and no process.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import IO

import depthwise.bench
import depthwise.commands
from depthwise.commands import cli
from fuzz import children
from fuzz.arguments import INPUTS, line
from fuzz.parts import OF_OTHERS, Outcome

MEMORY_BYTES = 6 * 2**30
INTERRUPT_SECONDS = 10.0
"""When a line that measures is interrupted."""
LEAVING_SECONDS = 60.0
"""How long it may take to end then."""
ORPHANS_SECONDS = 30.0
"""How long processes that it started may go on."""
MEASURES = ("bench", "sweep", "tune", "compare", "optimize", "peers")
MEASURE = {"--roofline", "--plot"}
KEPT = 0.005
"""How many of these lines are run that have nothing odd."""
BY_DEFAULT = {"results", "__pycache__"}
EXPECTED = (0, 1, 2, 130)


@contextmanager
def attempts() -> Iterator[Callable[[Random], Outcome]]:
    apart = children.leave_network()
    os.environ |= {"PIP_NO_INDEX": "1", "NO_PROXY": "", "MPLBACKEND": "agg"}
    children.adopt_orphans()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    for room in (depthwise.commands, depthwise.bench):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    gc.freeze()
    with tempfile.TemporaryDirectory(prefix="lines-") as name:
        yield lambda rng: attempt(rng, Path(name), apart)


def attempt(rng: Random, place: Path, apart: bool) -> Outcome:
    words, command, any_odd = line(rng)
    measures = command in MEASURES or bool({*words} & MEASURE)
    if measures and not any_odd and rng.random() > KEPT:
        return Outcome("skipped", "measures", 0)
    if "install" in words and not apart:
        return Outcome("skipped", "only root can leave the network")
    with _folders(place) as (here, temporary), _memory("out") as out, _memory("err") as err:
        run = partial(_run, words, here, temporary, out, err)
        status, orphans = _watched(run) if measures else (_alone(run), [])
        files = _not_asked_for(here, words) + [
            f"$TMPDIR/{each.name}" for each in temporary.iterdir() if each.name not in OF_OTHERS
        ]
        said = _said(words, status, err)
        fault = _fault(words, status, out, err)
    if fault:
        return Outcome(fault[0], f"{fault[1]}: {said}")
    if orphans or files:
        return Outcome("left behind", f"{orphans or files}: {said}")
    return Outcome("refused" if status == 2 else "right")


def _watched(run: Callable[[], int]) -> tuple[int | None, list[str]]:
    """Run in a fork, which is interrupted after a while; also return what goes on after its end."""
    child = children.forked(run)
    status = children.ended(child, INTERRUPT_SECONDS)
    if status is None:
        os.kill(child, signal.SIGINT)
        status = children.ended(child, LEAVING_SECONDS)
    if status is None:
        children.kill(child)
    return status, children.left_behind(ORPHANS_SECONDS)


def _alone(run: Callable[[], int]) -> int:
    """Run in this process, and restore what that changes of it."""
    descriptors = [os.dup(number) for number in range(3)]
    before = os.getcwd(), dict(os.environ), sys.argv, sys.stdout, sys.stderr, tempfile.tempdir
    try:
        return run()
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        folder, environment, sys.argv, sys.stdout, sys.stderr, tempfile.tempdir = before
        os.chdir(folder)
        os.environ.clear()
        os.environ |= environment
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)


@contextmanager
def _memory(name: str) -> Iterator[IO[bytes]]:
    with os.fdopen(os.memfd_create(name), "r+b") as file:
        yield file


@contextmanager
def _folders(place: Path) -> Iterator[tuple[Path, Path]]:
    here, temporary = place / "here", place / "temporary"
    here.mkdir()
    temporary.mkdir(mode=0o700)
    try:
        for name, text in INPUTS.items():
            (here / name).write_text(text)
        yield here, temporary
    finally:
        shutil.rmtree(here)
        shutil.rmtree(temporary)


def _run(words: list[str], here: Path, temporary: Path, out: IO[bytes], err: IO[bytes]) -> int:
    """Run a command line in this process, as the installed script does."""
    os.chdir(here)
    with open(os.devnull) as nothing:
        for number, file in enumerate((nothing, out, err)):
            os.dup2(file.fileno(), number)
    home = here.parent / "home"
    os.environ |= {
        "TMPDIR": str(temporary), "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"), "DEPTHWISE_PEERS": str(home / "peers"),
    }  # fmt: skip
    tempfile.tempdir = str(temporary)
    sys.stdout = os.fdopen(1, "w", closefd=False, encoding="utf-8", errors="strict")
    sys.stderr = os.fdopen(2, "w", closefd=False, encoding="utf-8", errors="backslashreplace")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["depthwise", *map(_given, words)]
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _fault(
    words: list[str], status: int | None, out: IO[bytes], err: IO[bytes]
) -> tuple[str, str] | None:
    """Return what kind of fault a line that ended is, and what it is."""
    said, printed = _text(err), _text(out)
    if status is None:
        return "hung", "not even an interrupt ends it"
    if status < 0:
        return "crashed", signal.Signals(-status).name
    if status not in EXPECTED:
        return "wrong", f"exit status {status}"
    if "Traceback" in said:
        return "wrong", "a traceback"
    if "\x1b" in printed + said:
        return "wrong", "escape codes"
    if status == 2 and "peers" not in words:
        others = [each for each in said.splitlines() if not each.startswith("depthwise: ")]
        if others or not said:
            return "wrong", f"exit status 2 and {others or 'nothing'} on stderr"
    if status == 0 and "--json" in words and words[0] not in ("bench", "show") and printed:
        try:
            json.loads(printed)
        except ValueError as error:
            return ("wrong", f"no JSON: {error}") if not {"-h", "--help"} & {*words} else None
    return None


def _given(word: str) -> str:
    """Return a word as a process is given it."""
    return os.fsdecode(word.encode("utf-8", "surrogatepass"))


def _not_asked_for(here: Path, words: list[str]) -> list[str]:
    """Return the new files that no word names; they, and what was there, are looked at."""
    asked = BY_DEFAULT | {word.split("/")[0] for word in map(_given, words)}
    asked |= {word.partition("=")[2].split("/")[0] for word in map(_given, words)}
    changed = [
        name for name, text in INPUTS.items()
        if not (here / name).is_file() or (here / name).read_text() != text
    ]  # fmt: skip
    return [each.name for each in here.iterdir() if each.name not in asked | {*INPUTS}] + changed


def _said(words: list[str], status: int | None, err: IO[bytes]) -> str:
    shown = " ".join(f"{ascii(word)[:300]}" for word in words)
    return f"depthwise {shown}: exit status {status}: {_text(err)[-1500:]}"


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
