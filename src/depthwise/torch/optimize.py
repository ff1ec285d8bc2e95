"""From a trained network to one that runs on our kernels: the page to read first.

model -> trace -> graph -> program (`network.optimize`) -> network -> verified, timed
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace as changed
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from depthwise.errors import DepthwiseError, ModelError
from depthwise.network.optimize import optimized
from depthwise.network.prepare import prepare
from depthwise.torch.network import parts, timing
from depthwise.torch.network.agreement import Agreement
from depthwise.torch.network.checks import check
from depthwise.torch.network.engine import TorchEngine
from depthwise.torch.network.folding import fold_constants
from depthwise.torch.network.network import Network
from depthwise.torch.network.optimized import ByParts, Optimized, Signature
from depthwise.torch.network.profile import measure
from depthwise.torch.network.reading import graph_of
from depthwise.torch.network.tracing import Trace, trace
from depthwise.torch.optimize_report import Report
from depthwise.tuning.tuner import tune_all

Step = Callable[[str], None]
"""Told what is about to be done."""


def optimize(
    model: nn.Module,
    example_input: Any,
    *,
    tune: bool = False,
    step: Step = lambda _: None,
) -> Optimized | ByParts:
    """Return a network that computes what a trained model does, sooner.

    Batch norms are folded into the convolutions before them; convolutions with what surrounds them
    become one kernel where one computes them; images are channels-last from one end to the other.
    What no kernel computes is left to torch, and `report` says why.  The model given is untouched.

    Args:
        model: in evaluation mode, on the CPU, float32 or float64.
        example_input: what `model` is called with: a tensor, or a tuple of arguments.  Another
            batch of (N, C, H, W) works afterwards where the model takes it, its kernels compiled at
            first use; another height or width needs a network of its own.
        tune: search for the fastest plan of each kernel (`depthwise.tune`), which is remembered.
        step: called before each piece of work with words that name it.

    Returns:
        A module in evaluation mode that is called as the model, with a `report`.

    Raises:
        ModelError: the model is in training mode, has hooks, is elsewhere or of another type; no
            part of it can be traced; or the results differ by more than rounding explains.
    """
    started = time.perf_counter()
    args = example_input if isinstance(example_input, tuple) else (example_input,)
    check(model, args)
    model, args = _own(model, args)
    agreement = Agreement(model, args)
    failures = []
    for any_batch in (True, False):
        try:
            step("trace")
            traced = trace(model, args, any_batch=any_batch)
            traced.guards += agreement.small_batches(traced)
            fast, apart = _network(model, traced, args)
            _prepare(fast, tune, step)
            step("verify")
            quantized = fast.network.program.is_quantized
            differences = agreement.differences(fast, quantized=quantized)
        except DepthwiseError as error:
            failures.append(error)
        else:
            break
    else:
        return _by_parts(model, args, failures, agreement, tune=tune, step=step, started=started)
    step("time")
    rows, after = timing.rows(fast, pytree.tree_leaves(args))
    fast.report = Report(
        rows=rows,
        total_before_us=timing.call(model, args),
        total_after_us=after,
        **differences,
        traced=traced.how,
        untouched=(*(("any other batch", str(each)) for each in failures), *apart),
        conditions=timing.conditions(args),
        prepare_seconds=time.perf_counter() - started,
    )
    return fast


def _own(model: nn.Module, args: tuple[Any, ...]) -> tuple[nn.Module, tuple[Any, ...]]:
    """Return copies, for a model may change its buffers and its inputs when it is called.

    The parameters, which are large, are the model's own; so is a model that cannot be copied.
    """
    with torch.no_grad():
        own_args: tuple[Any, ...] = pytree.tree_map_only(Tensor, torch.clone, args)
    try:
        return copy.deepcopy(model, {id(each): each for each in model.parameters()}), own_args
    except Exception:  # whatever the parts of a model raise that cannot be copied
        return model, own_args


def _network(
    model: nn.Module, traced: Trace, args: tuple[Any, ...]
) -> tuple[Optimized, tuple[tuple[str, str], ...]]:
    """Return the network, not yet compiled, and what in it stands apart, with the reason."""
    measure(traced, pytree.tree_leaves(args))
    fold_constants(traced)
    graph, results = graph_of(traced)
    program = optimized(graph, TorchEngine())
    apart = tuple((step.name, step.remark) for step in program.steps if step.remark)
    return Optimized(Network(program, results), Signature.of(model, traced, args)), apart


def _prepare(fast: Optimized, tune: bool, step: Step) -> None:
    """Compile every kernel, with the fastest plan where that is to be searched for."""
    specs = list(dict.fromkeys(stage.spec for stage in fast.network.kernels()))
    if tune:
        searched = [spec for spec in specs if spec.parts]
        tune_all(searched, lambda words: step(f"tune {words}"))
    prepare(specs, step)


def _by_parts(
    model: nn.Module,
    args: tuple[Any, ...],
    failures: Sequence[DepthwiseError],
    agreement: Agreement,
    **how: Any,
) -> ByParts:
    """Return a copy of the model with those of its modules optimized that can be.

    Raises:
        ModelError: none can.
    """
    started = how.pop("started")
    copy, reports, untouched = parts.replaced(model, args, lambda *given: optimize(*given, **how))
    if not reports:
        raise ModelError(f"a model, or a module in it, is optimized; got {failures[0]}")
    rows = tuple(
        changed(row, name=".".join(filter(None, (name, row.name))))
        for name, report in reports.items()
        for row in report.rows
    )
    report = Report(
        rows=rows,
        total_before_us=timing.call(model, args),
        total_after_us=timing.call(copy, args),
        **agreement.differences(copy),
        traced="module by module",
        untouched=(("the model as a whole", str(failures[0])), *untouched),
        conditions=timing.conditions(args),
        prepare_seconds=time.perf_counter() - started,
    )
    return ByParts(copy, report)
