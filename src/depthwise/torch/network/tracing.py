"""From a model to a graph of torch's operators, its weights beside it."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._C import DispatchKey
from torch._ops import OpOverload
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from depthwise.errors import ModelError
from depthwise.torch.network.operators import is_in_place


@dataclass
class Trace:
    """What a model computes, as a graph.

    Attributes:
        graph: calls of `torch.ops` on user inputs and constants.
        inputs: the placeholders of the user's tensors, in the order of the flattened arguments.
        constants: the tensor of each placeholder that is a parameter or buffer.
        program: what torch exported.
        guards: what the model asked of sizes, as Python that is true of the example; `L` is a
            dictionary of its arguments.
        how: "torch.export" or "torch.fx".
        batches: the inputs whose batch is open, by position, with its size as guards have it.
    """

    graph: fx.Graph
    inputs: list[fx.Node]
    constants: dict[fx.Node, Tensor]
    program: ExportedProgram
    guards: tuple[str, ...]
    how: str
    batches: dict[int, str] = field(default_factory=dict)

    @torch.no_grad()
    def computed(self, inputs: Sequence[Any]) -> list[Any]:
        """Return what the graph computes, operator by operator."""
        given = iter(inputs)
        placeholders = self.graph.find_nodes(op="placeholder")
        values = [
            self.constants[node] if node in self.constants else next(given) for node in placeholders
        ]
        return list(fx.Interpreter(self.program.graph_module).run(*values))


def trace(model: nn.Module, args: tuple[Any, ...], *, any_batch: bool) -> Trace:
    """Return the graph of a model.

    `torch.export` reads the model; where that fails, what `torch.fx` makes of it.

    Args:
        model: in evaluation mode.
        args: what it is called with.
        any_batch: whether the batch may be any that the model takes, or is the example's.
            (Heights and widths are the example's: leaving them open takes torch.export three times
            as long.)

    Raises:
        ModelError: neither can, or what they read cannot be computed step by step.
    """
    failures = []
    for how, prepare in _WAYS.items():
        try:
            with _quiet():
                found = _read(_exported(prepare(model), args, any_batch), how)
        except ModelError:
            raise
        except Exception as error:  # whatever the model's own code raises when it is traced
            failures.append(f"{how}: {type(error).__name__}: {_first_line(error)}")
        else:
            found.batches = _open_batches(model, args, found.inputs)
            return found
    raise ModelError(f"a model is traced by torch.export or torch.fx; got {'; '.join(failures)}")


_WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "torch.export": lambda model: model,
    "torch.fx": fx.symbolic_trace,
}


def _exported(model: nn.Module, args: tuple[Any, ...], any_batch: bool) -> ExportedProgram:
    if not any_batch:
        return torch.export.export(model, _apart(torch.clone, args), strict=False)
    given = inspect.signature(model.forward).bind(*args).arguments
    batch = next((arg.shape[0] for arg in pytree.tree_leaves(args) if _is_image(arg)), None)
    shapes = pytree.tree_map(lambda arg: _any_batch(arg, batch), dict(given))
    doubled = _apart(lambda arg: _doubled(arg, batch), args)
    return torch.export.export(model, doubled, dynamic_shapes=shapes, strict=False)


def _apart(copy: Callable[[Tensor], Tensor], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments of which no two are one tensor, which torch takes for one input."""
    found: tuple[Any, ...] = pytree.tree_map_only(Tensor, copy, args)
    return found


def _doubled(arg: Tensor, batch: int | None) -> Tensor:
    """Return a batch of two: torch takes a size of one for a constant."""
    one = batch == 1 and _has_batch(arg, batch)
    return torch.cat([arg, arg]) if one else arg.clone()


def _any_batch(arg: Any, batch: int | None) -> Any:
    return {0: Dim.AUTO} if _has_batch(arg, batch) else None


def _has_batch(arg: Any, batch: int | None) -> bool:
    """Whether an argument is of as many samples as there are images."""
    return isinstance(arg, Tensor) and arg.dim() > 1 and arg.shape[0] == batch


def _open_batches(
    model: nn.Module, args: tuple[Any, ...], inputs: Sequence[fx.Node]
) -> dict[int, str]:
    given = inspect.signature(model.forward).bind(*args).arguments
    leaves, _ = pytree.tree_flatten_with_path(dict(given))
    return {
        position: f"L{pytree.keystr(path)}.size()[0]"
        for position, ((path, value), node) in enumerate(zip(leaves, inputs, strict=True))
        if isinstance(value, Tensor) and value.dim() and is_open(node.meta["val"].shape[0])
    }


def is_open(size: Any) -> bool:
    """Whether a size was left open in a trace."""
    return not str(size).isdecimal()


def _is_image(arg: Any) -> bool:
    return isinstance(arg, Tensor) and arg.dim() == 4


def _asked(program: ExportedProgram) -> tuple[str, ...]:
    """Return what a model asked of sizes, but that they are not 1, as torch takes for granted.

    (`Agreement.small_batches` finds out whether it may.)
    """
    guards: Sequence[str] = getattr(program, "_guards_code", ())
    return tuple(guard for guard in guards if not guard.endswith("!= 1"))


def _read(program: ExportedProgram, how: str) -> Trace:
    guards = _asked(program)
    if any(_changes_what_others_see(node) for node in program.graph.nodes):
        program = program.run_decompositions({})  # without in-place operators
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        changed = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
        raise ModelError(f"a model changes neither its buffers nor its inputs; got {changed}")
    inputs, constants = [], {}
    placeholders = program.graph.find_nodes(op="placeholder")
    for node, spec in zip(placeholders, signature.input_specs, strict=True):
        if spec.kind is InputKind.USER_INPUT:
            inputs.append(node)
        else:
            constants[node] = _constant(program, spec.target)
    return Trace(program.graph, inputs, constants, program, guards, how)


def _constant(program: ExportedProgram, name: str | None) -> Tensor:
    tensors = {**program.state_dict, **program.constants}
    tensor = tensors.get(name)
    if not isinstance(tensor, Tensor):
        raise ModelError(f"a model's constants are tensors; got {name}: {type(tensor).__name__}")
    return tensor.detach()


def _changes_what_others_see(node: fx.Node) -> bool:
    """Whether an in-place operator is more than another way to write the one that is not.

    (It is not where its operand is the new result of an operator, and is used nowhere else.)
    """
    if not is_in_place(node):
        return False
    changed = node.args[0]
    assert isinstance(changed, fx.Node)
    return len(changed.users) > 1 or changed.op != "call_function" or may_view(changed.target)


def is_view(target: Any) -> bool:
    """Whether an operator returns its operand's memory as a rule, and changes nothing in it."""
    if not isinstance(target, OpOverload) or target._schema.is_mutable:
        return False
    return any(result.alias_info is not None for result in target._schema.returns)


def may_view(target: Any) -> bool:
    """Whether what an operator returns may share memory with what it takes."""
    if not isinstance(target, OpOverload):
        return True
    if any(result.alias_info is not None for result in target._schema.returns):
        return True
    if target._schema.name.startswith(("aten::_unsafe", "aten::unsafe")):
        return True
    composed = target.has_kernel_for_dispatch_key(DispatchKey.CompositeImplicitAutograd)
    return composed and target._schema.name not in _COMPOSED_ANEW


_COMPOSED_ANEW = {
    f"aten::{name}"
    for name in ("conv2d", "batch_norm", "linear", "layer_norm", "adaptive_avg_pool2d")
}
"""Operators made of others whose result has memory of its own, whatever it is made of."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what torch says about sizes that it fixes, and about its own future.

    (The graph of what it could not trace it prints to sys.stderr itself.)
    """
    levels = {logger: logger.level for logger in map(logging.getLogger, _LOGGERS)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


_LOGGERS = (
    "torch._export.non_strict_utils",
    "torch._subclasses.fake_tensor",
    "torch.fx.experimental.symbolic_shapes",
)
"""Where torch tells why it cannot trace a model, which we tell in our own words."""


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def module_path(node: fx.Node) -> str:
    """Return the path of the module whose `forward` called an operator, "" for the model itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    return "" if path == _NO_MODULE else path


_NO_MODULE = "_empty_nn_module_stack_from_metadata_hook"
"""What torch calls the module of an operator that it added itself."""
