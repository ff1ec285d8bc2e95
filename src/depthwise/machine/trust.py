"""Who could change what lies in a folder: code is loaded from nowhere that others can write to."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from depthwise.errors import DepthwiseError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_PREFIX = "depthwise-"
"""How the name of a temporary folder begins."""
IN_USE = ".in-use"
"""The file in one that is locked as long as the process goes on that made it."""
_LOCKED_SECONDS = 60.0
"""The age at which it has been locked, if that was ever to be."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a temporary folder for code, which others can neither write to nor replace.

    Raises:
        DepthwiseError: the folder of temporary files is one in which they could.
        OSError: there is none.
    """
    with swept_folder() as folder:
        if reason := obstacle(folder):
            raise DepthwiseError(
                "temporary files of code lie where others cannot replace them (TMPDIR says where); "
                f"got {reason}"
            )
        yield folder


@contextmanager
def swept_folder() -> Iterator[Path]:
    """Yield a temporary folder; those that processes left behind which were killed are removed.

    Raises:
        OSError: there is none.
    """
    import shutil
    import tempfile

    above = os.path.realpath(tempfile.gettempdir())
    with suppress(OSError), os.scandir(above) as entries:
        for entry in filter(_is_abandoned, entries):
            shutil.rmtree(entry, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, dir=above, ignore_cleanup_errors=True) as name,
        _locked(Path(name, IN_USE)),
    ):
        yield Path(name)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Keep a new file locked; there is none where files cannot be locked."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        except OSError:
            file.unlink()
        yield
    finally:
        os.close(descriptor)


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    """Whether this is a temporary folder of this user's whose process has ended."""
    if not entry.name.startswith(_PREFIX):
        return False
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        if entry.stat(follow_symlinks=False).st_uid != os.geteuid():
            return False
        descriptor = os.open(os.path.join(entry, IN_USE), flags)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        old = status.st_mtime < time.time() - _LOCKED_SECONDS
        if not (stat.S_ISREG(status.st_mode) and old):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def obstacle(place: Path, *parts: str) -> str | None:
    """Return why `place` or its subfolder, made where missing, cannot be used, or None.

    Others must not be able to change what lies there.  The folders themselves belong to this user,
    who alone may write to them.  Those above belong to this user or to root, and nobody else may
    write to them, except where a sticky bit keeps others from replacing what is there, or where the
    group is this user's own.
    """
    above = [*reversed(place.parents)]
    own = [place.joinpath(*parts[:count]) for count in range(len(parts) + 1)]
    try:
        for path in above + own:
            status = _made(path).lstat()
            if not stat.S_ISDIR(status.st_mode):
                return f"{path} is not a folder"
            if reason := distrust(status) if path in own else _distrust_above(status):
                return f"{path} {reason}"
    except OSError as error:
        return f"{why(error)}: {place}"
    return None


def distrust(status: os.stat_result) -> str | None:
    """Return why a file or folder of this status is not this user's alone; None where it is."""
    if status.st_uid != os.geteuid():
        return f"belongs to another user ({status.st_uid}, this is {os.geteuid()})"
    if status.st_mode & _OTHERS_WRITE:
        return f"may be written to by others (mode {_mode(status)}; chmod go-w mends that)"
    return None


def why(error: Exception) -> str:
    """Return an error in one line."""
    words = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return " ".join(words.split())


def _made(path: Path) -> Path:
    """Return a path, with a folder there for this user alone if there was nothing."""
    if not os.path.lexists(path):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    return path


def _distrust_above(status: os.stat_result) -> str | None:
    """Return why others could replace what lies in a folder of this status; None: they cannot."""
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to another user ({status.st_uid})"
    if not status.st_mode & _OTHERS_WRITE or status.st_mode & stat.S_ISVTX:
        return None
    if not status.st_mode & stat.S_IWOTH and _own_group(status.st_gid):
        return None
    return f"may be written to by others (mode {_mode(status)})"


def _own_group(gid: int) -> bool:
    """Whether a group is this user's private one, as Debian and Fedora give to each user."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o}"
