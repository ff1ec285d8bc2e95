"""The models of transformers, their causal convolutions computed by this package's kernels.

These models call functions of their own module for it: `causal_conv1d_fn` for whole sequences and
`causal_conv1d_update` for a step.  What has these names, with arguments that are known, is
replaced, in modules that are loaded and in those that will be.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

from depthwise.errors import ModelError
from depthwise.torch import patch_imports
from depthwise.torch.patch_functions import replacements

_PACKAGE = "transformers"
_KNOWN = "transformers.models.mamba.modeling_mamba"
"""A module that tells whether models of this version are known."""


class _Replaced(NamedTuple):
    """The functions of a module: those that it had, those that it has now."""

    theirs: dict[str, Any]
    ours: dict[str, Any]


_replaced: dict[ModuleType, _Replaced] = {}
_patches: dict[ModuleType, int] = {}
"""How many patches that hold each module are not undone."""
_everywhere: list[Patch] = []
"""The patches of all models, which also hold what is loaded later."""


class Patch:
    """What `patch_causal_conv1d` returns: undone by `undo()`, or at the end of a `with` block."""

    def __init__(self, modules: tuple[ModuleType, ...]) -> None:
        self._everywhere = not modules
        self._modules: list[ModuleType] = []
        chosen = modules or _loaded()
        found = {module: replacements(module, named=bool(modules)) for module in chosen}
        self._active = True
        for module, ours in found.items():
            self.hold(module, ours)
        if self._everywhere:
            _everywhere.append(self)
            patch_imports.watch(_hold_loaded)

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the modules whose functions are replaced, sorted."""
        return tuple(sorted(module.__name__ for module in self._modules))

    def hold(self, module: ModuleType, ours: dict[str, Callable[..., Any]]) -> None:
        """Have a module call our functions, as long as this is not undone."""
        if not ours:
            return
        self._modules.append(module)
        _patches[module] = _patches.get(module, 0) + 1
        if module not in _replaced:
            _replaced[module] = _Replaced({name: vars(module)[name] for name in ours}, ours)
            vars(module).update(ours)

    def undo(self) -> None:
        """Give every module its own functions back, unless another patch still holds it.

        A function that somebody else has replaced meanwhile stays.
        """
        if not self._active:
            return
        self._active = False
        if self._everywhere:
            _everywhere.remove(self)
            if not _everywhere:
                patch_imports.unwatch()
        for module in self._modules:
            _patches[module] -= 1
            if _patches[module] == 0:
                del _patches[module]
                _give_back(module)
        self._modules.clear()

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()


def patch_causal_conv1d(*modules: ModuleType) -> Patch:
    """Have the models of transformers compute their causal convolutions by our kernels, on CPUs.

    That are Mamba, Mamba-2, FalconMamba, LFM2, Qwen3-Next, Zamba, Bamba, Jamba and all others whose
    modules have functions `causal_conv1d_fn` and `causal_conv1d_update` with the arguments of
    theirs: models that exist, and those that will be loaded.  On other devices these functions are
    called as before.  All else that a model computes, as its scan, is as it was.

    Called, it holds for good, or until `.undo()` of what it returns; `with patch_causal_conv1d():`
    holds within the block.  Patches may be nested and undone in any order; in the end each module
    has the very functions that it had.

    Args:
        *modules: modules whose functions to replace; none means those of transformers.

    Raises:
        ModelError: transformers cannot be imported, or a module has functions of these names with
            other arguments, or a convolution within its own code, as older versions have; then
            nothing has been replaced.  (A model that is loaded later and is not known stays as it
            is, with a RuntimeWarning.)
    """
    if not modules:
        replacements(_imported(_KNOWN), named=True)
    return Patch(modules)


def _loaded() -> tuple[ModuleType, ...]:
    return tuple(
        module
        for name, module in [*sys.modules.items()]
        if patch_imports.is_model(name) and isinstance(module, ModuleType)
    )


def _hold_loaded(module: ModuleType) -> None:
    """Patch a module that has just been loaded; one that is not known stays as it is."""
    try:
        ours = replacements(module, named=False)
    except ModelError as error:
        warnings.warn(f"not patched: {error}", RuntimeWarning, stacklevel=2)
        return
    for patch in _everywhere:
        patch.hold(module, ours)


def _give_back(module: ModuleType) -> None:
    replaced = _replaced.pop(module)
    for name, function in replaced.theirs.items():
        if vars(module).get(name) is replaced.ours[name]:
            setattr(module, name, function)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(
            f"models to patch are those of {_PACKAGE} 5.20 or later, or of modules that are given; "
            f"got {error}"
        ) from None
