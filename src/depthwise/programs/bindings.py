"""TVM's Python imported without torch, which it imports where it is installed and we do not need.

That takes two seconds and 260 MB.  Where torch is in the process already, TVM finds it as ever.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any

_TORCH = "torch"


class _NoTorch(MetaPathFinder):
    """Finds no torch for the thread that made it; other threads may import it meanwhile."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        """Raise, or leave the module to other finders."""
        del path, target
        if name == _TORCH and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"no {name} while TVM is imported", name=name)


@contextmanager
def without_torch() -> Iterator[None]:
    """Let this thread import no torch, unless it is there already."""
    finder = _NoTorch()
    if _TORCH not in sys.modules:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


with without_torch():
    import tvm  # noqa: F401
