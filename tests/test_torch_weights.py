"""Weights that change between calls: a result never comes from those of before."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from depthwise.torch import (
    DepthwiseConv1d,
    DepthwiseConv2d,
    InvertedResidual,
    PointwiseConv2d,
    SeparableConv2d,
)

MODULES = {
    "depthwise": lambda: DepthwiseConv2d(160, 160, 3, padding=1),  # large enough to be kept packed
    "multiplier": lambda: DepthwiseConv2d(160, 320, 3, padding=1),
    "1-D": lambda: DepthwiseConv1d(160, 160, 9, padding="causal"),
    "pointwise": lambda: PointwiseConv2d(160, 40),
    "separable": lambda: SeparableConv2d(160, 40, 3),
    "inverted": lambda: InvertedResidual(32, 32),
}
modules = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)


def step_of_an_optimizer(module) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def load_state_dict(module) -> None:
    module.load_state_dict({name: value + 1 for name, value in module.state_dict().items()})


def load_state_dict_by_assignment(module) -> None:
    state = {name: value + 1 for name, value in module.state_dict().items()}
    module.load_state_dict(state, assign=True)


def write_to_data(module) -> None:
    for parameter in module.parameters():
        parameter.data += 1


def replace_data(module) -> None:
    for parameter in module.parameters():
        parameter.data = parameter.data + 1


def edit_in_place(module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)


def edit_one_element_through_numpy(module) -> None:
    for parameter in module.parameters():
        parameter.detach().numpy().flat[-1] += 1


def edit_and_edit_back(module) -> None:
    edit_in_place(module)
    module(example(module))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.sub_(1)


CHANGES = (
    step_of_an_optimizer, load_state_dict, load_state_dict_by_assignment, write_to_data,
    replace_data, edit_in_place, edit_one_element_through_numpy, edit_and_edit_back,
)  # fmt: skip


def example(module):
    if isinstance(module, DepthwiseConv1d):
        return torch.linspace(-1, 1, 160 * 12).reshape(1, 160, 12)
    channels = 32 if isinstance(module, InvertedResidual) else 160
    image = torch.linspace(-1, 1, channels * 25).reshape(1, channels, 5, 5)
    return image.contiguous(memory_format=torch.channels_last)


def expected_of(module):
    """Compute with copies of the parameters, at addresses that no call has seen."""
    state = {name: value.detach().double() for name, value in module.named_parameters()}
    x = example(module).double()
    return torch.func.functional_call(module, state, (x,)).float()


def assert_right(module) -> None:
    """Assert that a module's results, with and without gradients, are its parameters'."""
    with torch.no_grad():
        expected = expected_of(module)
        torch.testing.assert_close(module(example(module)), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(module(example(module)), expected, rtol=1e-4, atol=1e-4)


@modules
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_weight_shows(make, change) -> None:
    torch.manual_seed(0)
    module = make()
    for _ in range(3):  # weights are kept packed from the second call on
        assert_right(module)
    change(module)
    for _ in range(3):
        assert_right(module)


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


@pytest.mark.parametrize("make", [MODULES["depthwise"], MODULES["pointwise"]])
def test_a_parametrized_weight_shows(make) -> None:
    module = make()
    x = example(module)
    with torch.no_grad():
        before = module(x) - module.bias[:, None, None]
        parametrize.register_parametrization(module, "weight", Doubled())
        torch.testing.assert_close(module(x) - module.bias[:, None, None], 2 * before)
        module.parametrizations.weight.original.mul_(3)
        torch.testing.assert_close(module(x) - module.bias[:, None, None], 6 * before)
        parametrize.remove_parametrizations(module, "weight")
        torch.testing.assert_close(module(x) - module.bias[:, None, None], 6 * before)


def test_a_parametrized_part_of_a_block_shows() -> None:
    module = SeparableConv2d(160, 40, 3, bias=False)
    x = example(module)
    with torch.no_grad():
        before = module(x)
        parametrize.register_parametrization(module.pointwise, "weight", Doubled())
        torch.testing.assert_close(module(x), 2 * before)
        module.pointwise.parametrizations.weight.original.mul_(3)
        torch.testing.assert_close(module(x), 6 * before)


def test_training_follows_torch_step_by_step() -> None:
    torch.manual_seed(0)
    ours = SeparableConv2d(32, 32, 3, padding=1, dtype=torch.float64)
    theirs = nn.Sequential(
        nn.Conv2d(32, 32, 3, padding=1, groups=32, dtype=torch.float64),
        nn.Conv2d(32, 32, 1, dtype=torch.float64),
    )
    with torch.no_grad():
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(one)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (ours, theirs)]
    for _ in range(5):
        x = torch.randn(2, 32, 6, 6, dtype=torch.float64)
        losses = []
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            losses.append((module(x) - x).square().mean())
            losses[-1].backward()
            optimizer.step()
        torch.testing.assert_close(*losses)
    torch.testing.assert_close([*ours.parameters()], [*theirs.parameters()])
