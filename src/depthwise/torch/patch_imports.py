"""Modules of transformers' models seen as they are loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def is_model(name: str) -> bool:
    """Whether a module has the code of one of transformers' models."""
    parts = name.split(".")
    return parts[:2] == ["transformers", "models"] and parts[-1].startswith("modeling_")


def watch(seen: Callable[[ModuleType], None]) -> None:
    """Have each module of a model seen as soon as it is loaded, until `unwatch`."""
    if _finder not in sys.meta_path:
        _finder.seen = seen
        sys.meta_path.insert(0, _finder)


def unwatch() -> None:
    """Undo `watch`."""
    sys.meta_path.remove(_finder)


class _Finder(MetaPathFinder):
    """Finds what Python does, and says when a model is loaded."""

    seen: Callable[[ModuleType], None]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not is_model(fullname):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Seen(spec.loader, self.seen)
        return spec


class _Seen(Loader):
    """Loads a module as another loader does, and leaves no trace in it."""

    def __init__(self, loader: Any, seen: Callable[[ModuleType], None]) -> None:
        self._loader, self._seen = loader, seen

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._seen(module)


_finder = _Finder()
