"""Compiled kernels on disk, so that a second process starts fast.

An entry is one file, `kernels/FINGERPRINT/KEY.SUFFIX`: the object as a loader takes it, and below
it a line that describes the entry and ends with the SHA-256 of all before it.  (A loader of ELF
files reads no further than the headers say; in LLVM's text form the line is a comment.)  One file
is put into its place by one rename, so there is never half an entry and nothing to lock.

Beside them lie choices, `KEY.plan`: the line alone, of a plan that took long to choose.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from depthwise.files import ABANDONED_SECONDS
from depthwise.machine.target import Target
from depthwise.problem.problem import Problem
from depthwise.schedule.plan import AnyPlan
from depthwise.store import disk

KERNELS = "kernels"
"""The subfolder of the entries."""
PLANS = "plans"
"""The subfolder of what tuning learnt: JSON files with the keys "spec", "target" and "tuned"."""
LOADED = (".so", ".ll")
"""The forms of code that is loaded into a process, first the one that loads faster."""
SUFFIXES = (*LOADED, ".o", ".c")
"""The forms of code, also of that which is taken along."""
CHOICE = ".plan"
"""The suffix of choices."""
LARGEST_BYTES = 512 * 2**20
"""What all entries may take together; beyond it go those that were not used for longest."""
TIDY_SECONDS = 60.0
"""How often a process that stores kernels looks at the whole folder."""
ROOMS = ("problem", "machine", "schedule", "programs", "kernel")
"""The folders of this package on which machine code depends, beside the compiler's page."""
_SOURCES = (".py", ".c")
_PACKAGE = Path(__file__).parents[1]
_MARK = b"\n; depthwise "
_DIGEST = 2 * hashlib.sha256().digest_size

_FINGERPRINT = re.compile("[0-9a-f]{16}")
_KEY = re.compile("[0-9a-f]{32}")
_TEMPORARY = re.compile(re.escape(disk.TEMPORARY) + r"[0-9a-z_]{8,16}(\.\w+)?")
_SEAL = re.compile(re.escape(_MARK) + rb"\{[^\n]*\} [0-9a-f]{64}\n\Z")
_SEAL_BYTES = 16 * 2**10
"""More than the last line of any entry has."""
_LEARNT = b'{"spec": "'
"""How a file of what tuning learnt begins."""
_tidied: dict[Path, tuple[float, int]] = {}
"""When this process last looked at a whole folder, and how many bytes its entries have since."""


@dataclass(frozen=True)
class Entry:
    """A compiled kernel on disk, checked a moment ago."""

    path: Path
    """The object, for a loader."""
    meta: dict[str, Any]
    """What `store` was given beside it."""

    def object(self) -> bytes:
        """Return the object alone, as it was stored.

        Raises:
            OSError, ValueError: the entry is gone, or not this user's alone any more.
        """
        content = disk.read(self.path)
        return content[: content.rindex(_MARK)]

    def discard(self, reason: str) -> None:
        """Remove the entry, which turned out not to load, and warn."""
        _discard(self.path, reason)


@dataclass(frozen=True)
class Stored:
    """A file of the cache as it lies on disk, unread."""

    path: Path
    size: int
    """Bytes."""
    used: float
    """When it was last stored, or loaded as a kernel, in seconds since the epoch."""

    @property
    def stale(self) -> bool:
        """Whether another version of this package or of TVM made it: it is not used here."""
        return self.path.parent.name != fingerprint()


@dataclass(frozen=True)
class _Contents:
    """What lies in a subfolder, told apart by its names and by what it holds."""

    entries: list[Stored] = field(default_factory=list)
    choices: list[Stored] = field(default_factory=list)
    abandoned: list[Path] = field(default_factory=list)
    """What writers left behind that were killed."""
    foreign: list[Path] = field(default_factory=list)
    """What this package did not write: files, and folders with all that is in them."""


def load(
    spec: Problem, plan: AnyPlan, target: Target, number: int = 0, suffixes: Iterable[str] = LOADED
) -> Entry | None:
    """Return the stored kernel of a problem in one of some forms, or None where there is none.

    `number` tells the programs of one problem from each other.

    An entry that is damaged, of another problem or open to others is removed with a warning.
    """
    place = _place()
    if place is None:
        return None
    identity = _identity(spec, plan, target, number)
    for suffix in suffixes:
        path = _path(place, identity, suffix)
        if head := _read(path, identity):
            return Entry(path, head["meta"])
    return None


def has(spec: Problem, plan: AnyPlan, target: Target, number: int = 0) -> bool:
    """Whether `load` finds an entry, which may still turn out to be damaged."""
    place = _place()
    identity = _identity(spec, plan, target, number)
    return place is not None and any(_path(place, identity, each).exists() for each in LOADED)


def chosen(spec: Problem, target: Target, threads: int) -> str | None:
    """Return the plan that `choose` kept for a problem on so many threads, as text; or None."""
    place = disk.folder(KERNELS, fingerprint())
    if place is None:
        return None
    identity = _identity(spec, None, target, threads)
    head = _read(_path(place, identity, CHOICE), identity)
    return head["problem"]["plan"] if head else None


def choose(spec: Problem, plan: AnyPlan, target: Target, threads: int) -> None:
    """Keep the plan that was chosen for a problem on so many threads."""
    place = disk.folder(KERNELS, fingerprint())
    if place is not None:
        identity = _identity(spec, None, target, threads)
        head = _described(spec, plan, target, identity, {"threads": threads})
        disk.write_atomically(_path(place, identity, CHOICE), _sealed(b"", head))


def store(
    spec: Problem,
    plan: AnyPlan,
    target: Target,
    write: Callable[[Path], None],
    meta: dict[str, Any],
    suffix: str,
    number: int = 0,
) -> Entry | None:
    """Keep a compiled kernel for other processes and return it as `load` does.

    None: it could not be kept, which is warned about once.

    Args:
        spec: the problem.
        plan: how it is computed.
        target: the CPU that the code is for.
        write: writes the object to the path that it is given.
        meta: what `load` returns beside the object; plain data for JSON.
        suffix: the form of the object, one of `SUFFIXES`.
        number: which program of the problem it is.
    """
    place = _place()
    if place is None:
        return None
    identity = _identity(spec, plan, target, number)
    head = _described(spec, plan, target, identity, meta)
    try:
        content = _written(write, place, suffix)
    except Exception as error:  # a linker's failure as well as a disk's
        disk.warn_unwritten(place, error)
        return None
    path, sealed = _path(place, identity, suffix), _sealed(content, head)
    if not disk.write_atomically(path, sealed):
        return None
    _tidy_now_and_then(place, len(sealed))
    return Entry(path, meta)


@cache
def fingerprint() -> str:
    """Return a short hash of all that machine code depends on beside the problem.

    These are the versions of TVM, the kind of machine, and the sources of the rooms that have a
    part in it, whole: one file too many costs a compilation, one too few runs stale code.
    """
    parts = [platform.machine().encode(), *_tvm_versions()]
    for source in sources():
        content, name = source.read_bytes(), source.relative_to(_PACKAGE).as_posix()
        parts += [f"{name} {len(content)}".encode(), content]
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


def sources() -> list[Path]:
    """Return the files of this package that the fingerprint covers."""
    files = (path for room in ROOMS for path in (_PACKAGE / room).rglob("*"))
    return sorted([_PACKAGE / "compiler.py", *(file for file in files if file.suffix in _SOURCES)])


def stored() -> list[Stored]:
    """Return every kernel in the folder, the one that was not used for longest first."""
    return _contents(KERNELS).entries


def stored_choices() -> list[Stored]:
    """Return every choice in the folder."""
    return _contents(KERNELS).choices


def stored_plans() -> list[Stored]:
    """Return every file of what tuning learnt, the oldest first."""
    return _contents(PLANS).entries


def foreign() -> list[Path]:
    """Return what lies among kernels and plans that this package did not write; it is left."""
    return sorted([*_contents(KERNELS).foreign, *_contents(PLANS).foreign])


def describe(entry: Stored) -> dict[str, Any] | None:
    """Return {"spec", "plan", "target"} of a file as text; None where it is damaged."""
    try:
        content = disk.read(entry.path)
        if entry.path.suffix in SUFFIXES:
            return dict(_head(content)["problem"])
        learnt = json.loads(content)
        return {"spec": learnt["spec"], "plan": learnt.get("tuned"), "target": learnt["target"]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def tidy() -> int:
    """Remove what writers left behind that were killed, and what exceeds `LARGEST_BYTES`.

    Returns:
        How many bytes the kernels have that are left.
    """
    kernels = _contents(KERNELS)
    for path in (*kernels.abandoned, *_contents(PLANS).abandoned):
        disk.remove(path)
    size = sum(entry.size for entry in kernels.entries)
    for entry in kernels.entries:
        if size <= LARGEST_BYTES:
            break
        disk.remove(entry.path)
        size -= entry.size
    return size


def _tidy_now_and_then(place: Path, size: int) -> None:
    """Tidy after so many bytes were stored, if it is time to, or there may be too many by now."""
    last, held = _tidied.get(place, (-TIDY_SECONDS, 0))
    now, held = time.monotonic(), held + size
    if now - last >= TIDY_SECONDS or held > LARGEST_BYTES:
        last, held = now, tidy()
    _tidied[place] = last, held


def _place() -> Path | None:
    """Return the folder of this fingerprint's entries, None where code cannot be loaded from it."""
    place = disk.folder(KERNELS, fingerprint())
    if place is not None and not disk.may_run_code(place):
        disk.warn_once(
            f"kernels are not kept on disk: the file system is mounted noexec: {place}; "
            f"{disk.ELSEWHERE}"
        )
        return None
    return place


def _contents(subfolder: str) -> _Contents:
    """Look through a subfolder: its folders are one a fingerprint, its entries lie in them."""
    found = _Contents()
    for folder in _listed(disk.folder(subfolder)):
        if _FINGERPRINT.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False):
            for file in _listed(folder):
                with suppress(FileNotFoundError):
                    _sort(Path(file.path), file.stat(follow_symlinks=False), found)
        else:
            found.foreign.append(Path(folder.path))
    found.entries.sort(key=lambda entry: entry.used)
    return found


def _sort(path: Path, status: os.stat_result, found: _Contents) -> None:
    if _TEMPORARY.fullmatch(path.name):
        if status.st_mtime < time.time() - ABANDONED_SECONDS:
            found.abandoned.append(path)
    elif stat.S_ISREG(status.st_mode) and _OURS[path.parents[1].name](path):
        kind = found.choices if path.suffix == CHOICE else found.entries
        kind.append(Stored(path, status.st_size, status.st_mtime))
    elif path.name != disk.LOCK:
        found.foreign.append(path)


def _is_kernel(path: Path) -> bool:
    """Whether a file has the name of an entry or a choice and ends as one, damaged or not."""
    if path.suffix in (*SUFFIXES, CHOICE) and _KEY.fullmatch(path.stem):
        with suppress(OSError), path.open("rb") as file:
            file.seek(-min(_SEAL_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
            return _SEAL.search(file.read()) is not None
    return False


def _is_learnt(path: Path) -> bool:
    """Whether a file has the name of what tuning learnt and begins as that, damaged or not."""
    if path.suffix == ".json" and _KEY.fullmatch(path.stem):
        with suppress(OSError), path.open("rb") as file:
            return file.read(len(_LEARNT)) == _LEARNT
    return False


_OURS = {KERNELS: _is_kernel, PLANS: _is_learnt}


def _listed(folder: str | os.PathLike[str] | None) -> Iterator[os.DirEntry[str]]:
    """Yield what is in a folder; nothing where there is none that can be looked at."""
    with suppress(OSError):
        if folder is not None:
            with os.scandir(folder) as entries:
                yield from entries


def _tvm_versions() -> list[bytes]:
    """Return the names, which state the versions, of the folders of TVM's installed metadata.

    (Where there are none, `importlib.metadata` looks further; its import takes 20 ms.)
    """
    package = find_spec("tvm")
    if package is None or package.origin is None:
        return []
    installed = Path(package.origin).parents[1].glob("apache_tvm*-info")
    if names := sorted(path.name.encode() for path in installed):
        return names
    from importlib.metadata import distributions

    found = (d for name in ("apache-tvm", "apache-tvm-ffi") for d in distributions(name=name))
    return [distribution.version.encode() for distribution in found]


def _identity(spec: Problem, plan: AnyPlan | None, target: Target, number: int) -> str:
    parts = [fingerprint(), repr(spec), repr(plan), repr(target), str(number)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _described(
    spec: Problem, plan: AnyPlan, target: Target, identity: str, meta: dict[str, Any]
) -> dict[str, Any]:
    """Return what the last line of an entry says."""
    problem = {"spec": str(spec), "plan": str(plan), "target": str(target)}
    return {"identity": identity, "problem": problem, "made": time.time(), "meta": meta}


def _path(place: Path, identity: str, suffix: str) -> Path:
    return place / f"{identity[:32]}{suffix}"


def _written(write: Callable[[Path], None], place: Path, suffix: str) -> bytes:
    """Return what `write` writes, which nobody else can have touched."""
    import tempfile

    with tempfile.TemporaryDirectory(
        prefix=disk.TEMPORARY, dir=place, ignore_cleanup_errors=True
    ) as own:
        path = Path(own) / f"object{suffix}"
        write(path)
        return path.read_bytes()


def _sealed(content: bytes, head: dict[str, Any]) -> bytes:
    content += _MARK + json.dumps(head).encode() + b" "
    return content + hashlib.sha256(content).hexdigest().encode() + b"\n"


def _read(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the description of the entry of an identity, None where there is none.

    One that is damaged, of something else or open to others is removed with a warning.
    """
    try:
        head = _head(disk.read(path))
        if head["identity"] != identity:
            raise ValueError(f"it is of another problem, {head['problem']}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _discard(path, str(error))
        return None
    with suppress(OSError):
        os.utime(path)
    return head


def _head(sealed: bytes) -> dict[str, Any]:
    """Return the description at the end of an entry.

    Raises:
        ValueError: the entry is not what was stored.
    """
    content, digest = sealed[: -_DIGEST - 1], sealed[-_DIGEST - 1 :]
    if hashlib.sha256(content).hexdigest().encode() + b"\n" != digest:
        raise ValueError("its checksum is not that of its content")
    head = json.loads(content[content.rindex(_MARK) + len(_MARK) :])
    if not isinstance(head, dict) or not {"identity", "problem", "meta"} <= head.keys():
        raise ValueError("its description is not one of this version")
    return head


def _discard(path: Path, reason: str) -> None:
    disk.remove(path)
    disk.warn_once(f"a stored kernel is compiled anew: {reason}: {path}")
