"""Random weights with which a network computes something that depends on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)

IMAGES = 4
"""How many random images the statistics of batch norms are taken from."""


def randomized(network: Network, input_shape: Sequence[int], seed: int = 0) -> Network:
    """Give a network random weights and batch norms random statistics, and put it in eval mode.

    The statistics of a batch norm are those of random images, moved at random, so that signals
    neither vanish nor grow with depth and no batch norm is the identity.  Convolutions and linear
    layers halve the deviation of what they read, which keeps the gates of squeeze-and-excite where
    they are steep.  Weights of normalizations are about 1, biases about 0, other scales below 1.

    Args:
        network: changed in place; its batch norms keep running statistics.
        input_shape: of the inputs it will be called with; their batch makes no difference.
        seed: of everything that is drawn; torch's own generator is left as it was.

    Returns:
        the network.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in network.modules():
            _draw(module)
        norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0  # the statistics become those of the next input
        network.train()(torch.randn(IMAGES, *input_shape[1:]))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            _move(norm)
    return network.eval()


def _draw(module: nn.Module) -> None:
    """Draw the parameters of one module, not those of the modules inside it."""
    for name, parameter in module.named_parameters(recurse=False):
        if isinstance(module, nn.Conv2d | nn.Linear) and name == "weight":
            nn.init.kaiming_normal_(parameter, nonlinearity="linear").mul_(0.5)
        elif name == "bias":
            parameter.normal_(0, 0.2)
        elif name == "weight":
            parameter.uniform_(0.7, 1.3)
        else:
            parameter.uniform_(0.1, 0.6)


def _move(norm: nn.modules.batchnorm._BatchNorm) -> None:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    mean += 0.2 * variance.sqrt() * torch.randn_like(mean)
    variance *= torch.empty_like(variance).uniform_(0.7, 1.4)
