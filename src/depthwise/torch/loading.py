"""A model named on a command line: an exported program, a pickled module, or what makes one."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from depthwise.errors import ModelError

EXPORTED = ".pt2"
PICKLED = (".pt", ".pth")
_FORMS = (
    "a model is a file of torch.export.save (.pt2), a file of torch.save (.pt, with --trust) or "
    "module:factory"
)


def load(name: str, *, trust: bool = False) -> nn.Module:
    """Return a model in eval mode.

    Args:
        name: a file that `torch.export.save` wrote (.pt2); one in which `torch.save` pickled a
            module (.pt, .pth); or module:factory, where the module is looked for in the current
            folder as well and the factory is called without arguments.  A module in its place is
            taken as it is.
        trust: read a pickled module, which runs whatever code the file names.  (Of files from
            strangers no form is safe: `torch.export.load` unpickles what it does not know.)

    Raises:
        ModelError: there is none, or it cannot be loaded.
    """
    path = Path(name)
    if path.suffix == EXPORTED:
        return _exported(_file(path))
    if path.suffix in PICKLED:
        return _pickled(_file(path), trust).eval()
    if ":" in name:
        return _made(name).eval()
    raise ModelError(f"{_FORMS}; got {name!r}")


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ModelError(f"there is no such file: {path}")
    return path


def _exported(path: Path) -> nn.Module:
    """Return the module of an exported program, whose operators are in the mode they were in."""
    if not zipfile.is_zipfile(path):
        raise ModelError(f"a .pt2 file is what torch.export.save writes; got {path}")
    try:
        with _quiet():
            module: nn.Module = torch.export.load(path).module()
    except Exception as error:  # torch raises anything from KeyError to RuntimeError
        raise ModelError(
            f"a .pt2 file is what this version of torch.export.save writes; got {path}: "
            f"{_first_line(error)}"
        ) from error
    for each in module.modules():
        each.training = False  # it has no eval()
    module._forward_pre_hooks.clear()  # which serve torch's own tracers, and compare inputs with
    module._forward_hooks.clear()  # those that it was exported with
    return module


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the tracebacks that torch logs before it raises."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _pickled(path: Path, trust: bool) -> nn.Module:
    if not trust:
        raise ModelError(
            f"{path} is a pickle: loading a module from it runs whatever code it names, which "
            "--trust allows"
        )
    _look_here_first()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about TorchScript, which is refused below
            loaded = torch.load(path, map_location="cpu", weights_only=False)
    except (Exception, SystemExit) as error:  # a pickle's own code raises anything
        raise ModelError(f"{path} cannot be loaded: {said(error)}") from error
    return _checked(loaded, path)


def _made(name: str) -> nn.Module:
    place, _, attribute = name.partition(":")
    _look_here_first()
    try:
        module = importlib.import_module(place)
    except (Exception, SystemExit) as error:  # the user's own code raises anything
        raise ModelError(f"{place} cannot be imported: {said(error)}") from error
    try:
        factory = getattr(module, attribute)
    except AttributeError:
        raise ModelError(f"{place} has no {attribute!r}; got {name!r}") from None
    if isinstance(factory, nn.Module):
        return _checked(factory, name)
    try:
        made = factory()
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name}() raised {said(error)}") from error
    return _checked(made, f"{name}()")


def _look_here_first() -> None:
    """Look for modules in the current folder, as `python` does and a command does not."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)


def _checked(loaded: Any, where: object) -> nn.Module:
    if isinstance(loaded, nn.Module) and not isinstance(loaded, torch.jit.ScriptModule):
        return loaded
    hint = " (weights alone have no layers)" if isinstance(loaded, dict) else ""
    raise ModelError(f"a model is a torch.nn.Module; {where} gave {type(loaded).__name__}{hint}")


def said(error: BaseException) -> str:
    """Return what an error of the user's own code says, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {_first_line(error)} ({frame.filename}:{frame.lineno})"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")
