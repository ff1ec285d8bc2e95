"""The files that a command writes: refused beforehand where they cannot be, or put there whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from depthwise.errors import DepthwiseError


def check_writable(file: Path) -> None:
    """Refuse a file that could not be written later; make its folder.

    Raises:
        DepthwiseError: there is no such folder and none can be made, or it is not ours to write.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error) from error
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise _unwritable(file)


def put(file: Path, text: str) -> None:
    """Put a complete file into place, or leave the one that was there.

    Raises:
        DepthwiseError: the file cannot be written.
    """
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=file.parent, prefix=file.name, delete=False, encoding="utf-8"
        ) as complete:
            temporary = complete.name
            complete.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise _unwritable(error) from error


def _unwritable(what: object) -> DepthwiseError:
    return DepthwiseError(f"results go to a file that can be written; got {what}")
