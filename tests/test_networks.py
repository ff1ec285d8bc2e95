"""The networks of the bench: their layers are those of the workloads, and none of them is idle."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from depthwise.bench import networks
from depthwise.bench.layers import workload
from depthwise.bench.networks.weights import randomized
from transformer_models import MODELS, transformer_model

SIZES = dict.fromkeys(
    ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny"), 224
) | {"xception": 299}
PARAMETERS = {
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "efficientnet_b0": 5_288_548,
    "convnext_tiny": 28_589_128,
    "xception": 22_855_952,
}
"""As in the implementations that people use, torchvision's and timm's."""
ACTIVATIONS = {nn.ReLU: "relu", nn.ReLU6: "relu6", nn.Hardswish: "hardswish", nn.SiLU: "silu"}


def network(name: str) -> nn.Module:
    return getattr(import_module(f"depthwise.bench.networks.{name}"), name)()


def steps(model: nn.Module, size: int) -> list[tuple[nn.Module, torch.Size]]:
    """Return the modules without children in the order in which they run, and their inputs."""
    found: list[tuple[nn.Module, torch.Size]] = []
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda own, x, _: found.append((own, x[0].shape)))
    model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return found


def is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels


def is_pointwise(module: nn.Module, shape: torch.Size) -> bool:
    """Whether this is one over pixels, not one over the means of channels."""
    if isinstance(module, nn.Linear):
        return len(shape) == 4
    one = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
    return one and module.groups == 1 and shape[2] > 1


def layers(model: nn.Module, size: int) -> Iterator[dict[str, Any]]:
    """Yield each depthwise convolution in the words of a layer file."""
    run = steps(model, size)
    before = None
    for place, (module, shape) in enumerate(run):
        if is_pointwise(module, shape) and isinstance(module, nn.Conv2d):
            before = module.in_channels
        if not is_depthwise(module):
            continue
        after = next(k for k in range(place, len(run)) if is_pointwise(*run[k]))
        pointwise = run[after][0]
        between = [ACTIVATIONS.get(type(each)) for each, _ in run[place:after]]
        yield {
            "c": shape[1], "h": shape[2], "w": shape[3], "k": module.kernel_size,
            "stride": module.stride, "pad": module.padding, "dilation": module.dilation,
            "multiplier": module.out_channels // module.in_channels,
            "bias": module.bias is not None, "prev_pointwise_in": before,
            "pointwise_out": getattr(pointwise, "out_channels", None) or pointwise.out_features,
            "activation": next(filter(None, between), None),
        }  # fmt: skip


def expected(name: str) -> Iterator[dict[str, Any]]:
    for layer in workload(name):
        pairs = {key: (getattr(layer, key),) * 2 for key in ("k", "stride", "pad", "dilation")}
        alike = ("c", "h", "w", "multiplier", "bias", "pointwise_out", "prev_pointwise_in")
        yield {key: getattr(layer, key) for key in (*alike, "activation")} | pairs


@pytest.mark.parametrize("name", SIZES)
def test_the_layers_are_those_of_the_workload(name: str) -> None:
    with torch.device("meta"):
        model = network(name)
    assert list(layers(model, SIZES[name])) == list(expected(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", SIZES)
def test_every_weight_has_a_part_in_the_result(name: str) -> None:
    shape = (2, 3, 64, 64)
    model = randomized(network(name), shape)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    logits = model(x)
    logits.square().sum().backward()
    for owner, parameter in model.named_parameters():
        assert parameter.grad.any(), owner
    for owner, statistic in model.named_buffers():
        assert statistic.numel() == 1 or statistic.unique().numel() > 1, owner
    assert 0.1 < logits.std() < 10
    assert (logits[0] - logits[1]).std() > 0.01 * logits.std()


def test_the_examples_are_the_same_files() -> None:
    root = Path(__file__).parents[1]
    assert (root / "examples" / "networks").resolve() == Path(networks.__file__).parent


def test_weights_are_of_the_seed_alone() -> None:
    models = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)) for _ in range(3)]
    state = torch.random.get_rng_state()
    first, same, other = map(randomized, models, [(1, 3, 8, 8)] * 3, (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not first.training
    assert first[1].momentum == nn.BatchNorm2d(4).momentum
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
        if tensor.is_floating_point():
            assert not torch.equal(tensor, other.state_dict()[name])


@pytest.mark.parametrize("name", MODELS)
def test_models_of_another_package_compute_something(name: str) -> None:
    model = transformer_model(name)
    assert not model.training
    with torch.inference_mode():
        logits = model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))).logits
    assert logits.shape == (2, 1000)
    assert 0.01 < logits.std() < 10
    assert (logits[0] - logits[1]).std() > 0.01 * logits.std()
