"""The folder that outlives a process: where it is, when it is trusted, how it is written to.

Code is loaded from it, so whoever can write to it can run code as its user.  It is therefore made
for its owner alone, and looked at again at every use.  Whatever is wrong with it costs one warning,
never the result: work goes on without it.
"""

from __future__ import annotations

import os
import stat
import sys
import warnings
from pathlib import Path

from depthwise.errors import CacheWarning
from depthwise.machine import trust

VARIABLE = "DEPTHWISE_CACHE"
"""The environment variable that names the folder; empty, nothing is kept on disk."""
ELSEWHERE = f"{VARIABLE} names another folder (empty: none)"
"""What to do about a folder that cannot be used."""
TEMPORARY = ".writing-"
"""How the name of a file begins that is not yet in its place."""
LOCK = ".lock"
"""The file in a folder that is locked while one of its files is changed."""
_said: set[str] = set()


def root() -> Path | None:
    """Return where the folder is or would be: DEPTHWISE_CACHE, or the user's cache folder.

    None: DEPTHWISE_CACHE is empty.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is None:
        from platformdirs import user_cache_dir

        chosen = user_cache_dir("depthwise")
    return Path(os.path.realpath(os.path.expanduser(chosen))) if chosen else None


def folder(*parts: str) -> Path | None:
    """Return the folder, or one inside it, made where it is missing.

    None: nothing is to be kept on disk, or the folder cannot be made, or it is not to be trusted;
    the latter two are warned about once.
    """
    place = root()
    if place is None:
        return None
    if reason := trust.obstacle(place, *parts):
        warn_once(f"nothing is kept on disk, nor loaded: {reason}; {ELSEWHERE}")
        return None
    return place.joinpath(*parts)


def may_run_code(place: Path) -> bool:
    """Whether the file system allows code to be loaded from a folder."""
    return not os.statvfs(place).f_flag & os.ST_NOEXEC


def read(path: Path) -> bytes:
    """Return the content of a file that this user alone can have written.

    Raises:
        ValueError: it is not a file, or not this user's alone.
        OSError: it cannot be read.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a file")
        if reason := trust.distrust(status):
            raise ValueError(f"it {reason}")
        return file.read()


def write_atomically(path: Path, data: bytes) -> bool:
    """Put a file into its place whole, readable by its owner alone; False where that failed.

    Another process sees the old content or the new one, also if this one is killed.  A failure (a
    full disk, a folder that cannot be written to) is warned about once.
    """
    beside = temporary(path)
    try:
        with os.fdopen(_create(beside), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        warn_unwritten(path.parent, error)
        return False
    finally:
        remove(beside)
    return True


def temporary(path: Path) -> Path:
    """Return a name beside `path`, of the same suffix, that no other process writes to."""
    return path.with_name(f"{TEMPORARY}{os.urandom(8).hex()}{path.suffix}")


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there and can be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        import shutil

        shutil.rmtree(path, ignore_errors=True)


def warn_unwritten(place: Path, error: Exception) -> None:
    """Warn, once, that a folder does not take what is written to it."""
    warn_once(f"not everything is kept on disk: {trust.why(error)}: {place}")


def warn_once(message: str) -> None:
    """Warn of something that this process has not been warned of."""
    if message not in _said:
        _said.add(message)
        warnings.warn(message, CacheWarning, stacklevel=_level_of_caller())


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _level_of_caller() -> int:
    """Return how far up the stack of `warn_once` the code is that called this package."""
    package = os.path.dirname(os.path.dirname(__file__))
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    return level
