"""The files that a command writes: refused beforehand where they cannot be, or put there whole.

A regular file is written beside its place and renamed, so that what was there stays until all of it
is written.  What a process was writing that was killed is removed when it is old.  A device, a
pipe, and what standard output and standard error go to are streams: they are written to as they
are.  Links are followed.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from depthwise.errors import DepthwiseError

TEMPORARY = ".depthwise-"
"""How the name of a file begins that is not yet in its place."""
ABANDONED_SECONDS = 3600.0
"""The age at which what was being written has lost its writer."""
_PROBE_BYTES = 4096
"""How much a disk takes that is not full."""
_TEMPORARY = re.compile(re.escape(TEMPORARY) + "[0-9a-f]{16}")


def check_writable(file: Path) -> None:
    """Refuse a file that could not be written later; make its folder.

    Raises:
        DepthwiseError: it is a folder, or there is no folder for it and none can be made, or it is
            not ours to write, or its disk takes no more.
    """
    try:
        if file.is_dir() or file.is_socket() or (file.exists() and not _may_write(file)):
            raise _unwritable(file)
        if not is_stream(file):
            _try_beside(_followed(file))
    except OSError as error:
        raise _unwritable(file, error) from error


def is_stream(file: Path) -> bool:
    """Whether a file is written to as it is, so that it cannot be written anew."""
    try:
        return not stat.S_ISREG(file.stat().st_mode) or _standard(file) is not None
    except OSError:
        return False


@contextmanager
def written(file: Path) -> Iterator[IO[bytes]]:
    """Yield what takes the content of a file, which is put into place whole at the end.

    Raises:
        DepthwiseError: the file cannot be written; what was there is left.
    """
    try:
        with _stream(file) if is_stream(file) else _replacement(_followed(file)) as content:
            yield content
    except OSError as error:
        raise _unwritable(file, error) from error


def put(file: Path, text: str) -> None:
    """Write a file whole, as `written` does.

    Raises:
        DepthwiseError: the file cannot be written.
    """
    with written(file) as content:
        content.write(text.encode())


@contextmanager
def _replacement(target: Path) -> Iterator[IO[bytes]]:
    content, beside = _beside(target)
    try:
        with content:
            yield content
        if target.exists():
            beside.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _try_beside(target: Path) -> None:
    """Do what will be done to write a file, and undo it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        target.lstat()  # which a name that is too long fails
    content, beside = _beside(target)
    try:
        with content:
            content.write(bytes(_PROBE_BYTES))
    finally:
        beside.unlink()


def _beside(target: Path) -> tuple[IO[bytes], Path]:
    """Return a new file in the same folder, under a name that nobody has."""
    _sweep(target.parent)
    beside = target.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")
    return beside.open("xb"), beside


def _sweep(folder: Path) -> None:
    """Remove what processes were writing here that were killed."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in filter(_is_abandoned, entries):
            os.unlink(entry)


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    return bool(
        _TEMPORARY.fullmatch(entry.name)
        and entry.is_file(follow_symlinks=False)
        and entry.stat(follow_symlinks=False).st_mtime < time.time() - ABANDONED_SECONDS
    )


def _stream(file: Path) -> IO[bytes]:
    """Open what is written to as it is; where that is open already, at the place it has got to."""
    standard = _standard(file)
    if standard is None:
        return file.open("wb")
    for said in filter(None, (sys.stdout, sys.stderr)):
        said.flush()
    return os.fdopen(os.dup(standard), "wb")


def _standard(file: Path) -> int | None:
    """Return the descriptor of standard output or error that goes to a file; None: neither."""
    for descriptor in (1, 2):
        try:
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        except OSError:  # it is closed
            continue
    return None


def _may_write(file: Path) -> bool:
    return os.access(file, os.W_OK, effective_ids=True)


def _followed(file: Path) -> Path:
    return Path(os.path.realpath(file))


def _unwritable(file: Path, error: OSError | None = None) -> DepthwiseError:
    why = f": {error.strerror or error}" if error else ""
    return DepthwiseError(f"results go to a file that can be written; got {file}{why}")
