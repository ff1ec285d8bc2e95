"""A model that cannot be traced as a whole: the modules in it that can be, replaced in a copy."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from depthwise.errors import DepthwiseError, ModelError

Calls = dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]]


def replaced(
    model: nn.Module, args: tuple[Any, ...], optimize: Callable[..., Any]
) -> tuple[nn.Module, dict[str, Any], tuple[tuple[str, str], ...]]:
    """Return a copy of a model with modules of it optimized, their reports, and what was not.

    A module is replaced where it is called once, with tensors; where it cannot be traced, the
    modules in it are looked at in its place.
    """
    made = copy.deepcopy(model)
    calls = _recorded(made, args)
    reports: dict[str, Any] = {}
    untouched: list[tuple[str, str]] = []
    waiting = [(made, name, child) for name, child in made.named_children()]
    while waiting:
        parent, name, child = waiting.pop(0)
        if not any(isinstance(each, nn.Conv2d) for each in child.modules()):
            continue
        try:
            found = optimize(child, _example(calls[name]))
        except DepthwiseError as error:
            inner = [(child, f"{name}.{inner}", each) for inner, each in child.named_children()]
            untouched += [] if inner else [(name, str(error))]
            waiting = inner + waiting
        else:
            setattr(parent, name.rpartition(".")[2], found)
            reports[name] = found.report
    return made, reports, tuple(untouched)


def _recorded(model: nn.Module, args: tuple[Any, ...]) -> Calls:
    """Run a model and return what each of its modules was called with."""
    calls: Calls = defaultdict(list)
    handles = [
        module.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: calls[name].append((args, kwargs)), with_kwargs=True
        )
        for name, module in model.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)  # which takes no hooks
    ]
    try:
        with torch.no_grad():
            model(*args)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _example(calls: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> tuple[Any, ...]:
    """Return what a module is called with.

    Raises:
        ModelError: it is not called once, with tensors by position.
    """
    if len(calls) != 1:
        raise ModelError(f"a module is replaced where it is called once; got {len(calls)} calls")
    args, kwargs = calls[0]
    if kwargs or not all(isinstance(each, Tensor) for each in pytree.tree_leaves(args)):
        raise ModelError("a module is replaced where it takes tensors, none by name; got others")
    return args
