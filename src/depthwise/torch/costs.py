"""What a whole torch model costs, layer by layer; `depthwise.problem.costs` has the conventions."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves, tree_map_only

from depthwise.errors import DTypeError, ModelError
from depthwise.torch.counter import Counter
from depthwise.torch.mac_rules import Macs
from depthwise.torch.model_cost import LayerCost, ModelCost

_NEEDS_VALUES = (
    fake_tensor.DataDependentOutputException,
    fake_tensor.DynamicOutputShapeException,
    fake_tensor.UnsupportedOperatorException,
    fake_tensor.UnsupportedFakeTensorException,
)
_OPAQUE = (torch.jit.ScriptModule, nn.parallel.DistributedDataParallel)


def cost(model: nn.Module, example: Any, *, backward: bool = False) -> ModelCost:
    """Return the cost of a model, layer by layer.

    A deep copy of the model runs on tensors that have shapes and no memory, so that the model stays
    as it is and nothing is computed.  Its mode, train or eval, is the copy's.  The conventions are
    those of `depthwise.problem.costs`: convolutions and matrix products have MACs; biases,
    activations, normalisation and pooling have none.  Attention counts as its two products.

    Args:
        model: any module.
        example: its input, or a tuple of its inputs.  An input's own gradient is counted where it
            requires one.
        backward: also count the backward pass, from all outputs.  Gradients that autograd does not
            compute are not counted; what it computes again (`torch.utils.checkpoint`) is.

    Raises:
        DTypeError: the model is not a module, or the example has no tensor.
        ModelError: the model has lazy parameters, is TorchScript or wrapped for parallel processes,
            cannot be copied, needs the values of tensors, or has nothing to differentiate.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    _check(model, inputs)
    with fake_tensor.FakeTensorMode(allow_non_fake_inputs=True) as fake, _plain_operators():
        twin = _twin(model, fake)
        inputs = tree_map_only(Tensor, lambda x: _without_values(x, fake), inputs)
        with Counter(twin, inputs) as counter:
            try:
                outputs = twin(*inputs)
                if backward:
                    _backward(outputs, counter)
            except _NEEDS_VALUES as error:
                raise ModelError(
                    "a model is counted without the values of its tensors; "
                    f"{type(model).__name__} needs them, or an operator has no fake: {error}"
                ) from error
    layers = tuple(_layers(model, counter.macs))
    return ModelCost(layers=layers, uncounted=dict(counter.uncounted), backward=backward)


def _check(model: nn.Module, inputs: tuple[Any, ...]) -> None:
    if not isinstance(model, nn.Module):
        raise DTypeError(f"a model is a torch.nn.Module; got {type(model).__name__}")
    if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(inputs)):
        kinds = ", ".join(type(value).__name__ for value in inputs)
        raise DTypeError(f"an example is a tensor or a tuple that has one; got ({kinds})")
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise ModelError(
            f"parameters have shapes, which lazy ones get when the model is called; got {lazy}"
        )
    for name, module in model.named_modules():
        if isinstance(module, _OPAQUE):
            raise ModelError(
                "a model is counted as Python modules, not as TorchScript, and without wrappers of "
                f"parallel processes; got {type(module).__name__} ({name or 'the model'})"
            )


@contextmanager
def _plain_operators() -> Iterator[None]:
    """Record gradients, and keep fused operators apart so that their products are seen."""
    mha, c = torch.backends.mha, torch._C
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.callback(mha.set_fastpath_enabled, mha.get_fastpath_enabled())
        # Not through torch.backends, whose flags torch's own test tools freeze.
        stack.callback(c._set_mkldnn_enabled, c._get_mkldnn_enabled())
        mha.set_fastpath_enabled(False)
        c._set_mkldnn_enabled(False)  # its LSTM is one operator
        yield


def _twin(model: nn.Module, fake: fake_tensor.FakeTensorMode) -> nn.Module:
    with fake_tensor.FakeCopyMode(fake):
        try:
            return copy.deepcopy(model)
        except Exception as error:
            raise ModelError(
                f"a model is counted on a deep copy; {type(model).__name__} has none: {error}"
            ) from error


def _without_values(x: Tensor, fake: fake_tensor.FakeTensorMode) -> Tensor:
    shaped = fake.from_tensor(x.detach()).clone()  # a copy is no inference tensor, whatever x is
    return shaped.requires_grad_(x.requires_grad)


def _backward(outputs: Any, counter: Counter) -> None:
    roots = [y for y in tree_leaves(outputs) if isinstance(y, Tensor) and y.requires_grad]
    if not roots:
        raise ModelError(
            "a backward pass begins at outputs that require a gradient; none of the model's does"
        )
    gradients = [torch.ones_like(root) for root in roots]
    counter.begin_backward(gradients)
    torch.autograd.backward(roots, gradients)


def _layers(model: nn.Module, counts: dict[str, Macs]) -> Iterator[LayerCost]:
    seen: set[nn.Parameter] = set()
    for name, module in model.named_modules():
        own = set(module.parameters(recurse=False)) - seen
        seen |= own
        macs = counts.get(name, Macs())
        if own or macs != Macs():
            yield LayerCost(
                name=name,
                kind=type(module).__name__,
                params=sum(parameter.numel() for parameter in own),
                macs=macs.forward,
                recomputed_macs=macs.recomputed,
                input_gradient_macs=macs.input_gradient,
                weight_gradient_macs=macs.weight_gradient,
            )
