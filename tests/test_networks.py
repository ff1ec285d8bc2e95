"""The networks of the bench: their layers are those of the workloads, and none of them is idle."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from depthwise.bench import networks
from depthwise.bench.inference import problem
from depthwise.bench.layers import workload
from depthwise.bench.networks.weights import randomized
from depthwise.network.merge import merge
from depthwise.network.operators import BatchNorm, Convolution, Linear
from depthwise.network.simplify import simplify
from depthwise.torch.costs import cost
from depthwise.torch.network.profile import measure
from depthwise.torch.network.reading import graph_of
from depthwise.torch.network.tracing import trace
from transformer_models import MODELS, transformer_model

SIZES = dict.fromkeys(
    (
        "mobilenet_v1",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "efficientnet_lite0",
        "convnext_tiny",
    ),
    224,
) | {"xception": 299}
PARAMETERS = {
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "efficientnet_b0": 5_288_548,
    "efficientnet_lite0": 4_652_008,
    "convnext_tiny": 28_589_128,
    "xception": 22_855_952,
}
"""As in the implementations that people use, torchvision's and timm's."""
OTHERS = {
    "mobileone_s0": (224, 5_293_272, 2.08, 0.28),
    "repvgg_a0": (224, 9_108_968, 8.31, 1.36),
    "repvit_m0_9": (224, 5_489_328, 5.07, 0.82),
    "fastvit_t8": (256, 4_026_232, 4.0, 0.69),
    "ghostnet": (224, 5_182_508, 5.18, 0.15),
    "ghostnet_v2": (224, 6_156_908, 6.16, 0.18),
    "mixnet_s": (224, 4_134_606, 4.13, 0.25),
    "shufflenet_v2": (224, 2_278_604, 2.28, 0.146),
    "starnet_s1": (224, 2_869_168, 2.87, 0.42),
    "edgenext_xs": (256, 2_332_644, 2.34, 0.54),
    "hgnetv2_b0": (224, 5_996_550, 6.0, 0.33),
    "inception_next_tiny": (224, 28_055_680, 28.0, 4.2),
}
"""Size of images, parameters, then millions of parameters and 10^9 MACs as others count them.

These are those of results/benchmark-infer-amp-nchw-pt291-cu128-4090.csv in timm's repository, where
branches have been merged, and the papers' of ShuffleNetV2 and InceptionNeXt.
"""
LAYERS = {"mobileone_s0": 44, "repvgg_a0": 23, "repvit_m0_9": 104, "fastvit_t8": 53}
"""Convolutions and linear layers of networks with branches, once these are merged."""
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


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in LAYERS])
def test_parameters_and_macs_are_those_of_the_named_network(name: str) -> None:
    size, parameters, millions, macs = OTHERS[name]
    assert problem.SIZES[name] == size
    with torch.device("meta"):
        model = network(name).eval()
        counted = cost(model, torch.empty(1, 3, size, size))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert abs(parameters / 1e6 - millions) < 0.01 * millions
    assert abs(counted.macs / 1e9 - macs) < 0.08 * macs


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name != "repvgg_a0" else ()) for name in LAYERS],
)
def test_merged_networks_are_as_small_as_the_named_one(name: str) -> None:
    size, parameters, millions, macs = OTHERS[name]
    assert problem.SIZES[name] == size
    model = network(name).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    image = torch.zeros(1, 3, size, size)
    traced = trace(model, (image,), any_batch=False)
    measure(traced, (image,), repeats=1)
    graph, _ = graph_of(traced)
    simplify(graph)
    merge(graph)
    layers = [node for node in graph.nodes if isinstance(node.operator, Convolution | Linear)]
    weights = [node.constant(1) for node in layers]
    norms = [node for node in graph.nodes if isinstance(node.operator, BatchNorm)]
    assert all(norm.inputs[0].maker in layers for norm in norms)
    assert len(layers) == LAYERS[name]
    biases = sum(len(weight) for weight in weights)
    assert abs((sum(weight.size for weight in weights) + biases) / 1e6 - millions) < 0.01 * millions
    pixels = [math.prod(node.output.shape[2:]) for node in layers]
    counted = sum(weight.size * pixel for weight, pixel in zip(weights, pixels, strict=True))
    assert abs(counted / 1e9 - macs) < 0.02 * macs


@pytest.mark.parametrize(
    "name",
    [*SIZES, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)],
)
def test_every_weight_has_a_part_in_the_result(name: str) -> None:
    shape = (2, 3, 64, 64) if name in SIZES else (2, 3, 128, 128)
    model = randomized(network(name), shape)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    logits = model(x)
    logits.square().sum().backward()
    for owner, parameter in model.named_parameters():
        assert parameter.grad.any(), owner
    for owner, statistic in model.named_buffers():
        assert statistic.numel() == 1 or statistic.unique().numel() > 1, owner
    assert 0.1 < logits.std() < (100 if name in LAYERS else 10)
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
