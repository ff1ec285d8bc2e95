"""Saved networks that were damaged: refused before they are unpickled, and never another result."""

import io
import random
import zipfile

import pytest
import torch
from torch import nn

import depthwise.torch as dwt
from depthwise.errors import ModelError
from depthwise.torch.loading import load

X = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 8, 1),
    ).eval()


class Branching(nn.Module):
    """A model that cannot be traced as a whole."""

    def __init__(self):
        super().__init__()
        self.layers = model()

    def forward(self, x):
        return self.layers(x) if x.sum() > 1e9 else self.layers(x) + 1


def written(network):
    content = io.BytesIO()
    torch.save(network, content)
    return content.getvalue()


@pytest.fixture(scope="module")
def network():
    return dwt.optimize(model(), X)


def flipped(content, place, bit):
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def test_a_flipped_bit_is_an_error_or_changes_nothing(network, tmp_path):
    content, expected, file = written(network), network(X), tmp_path / "network.pt"
    rng, refused = random.Random(0), 0
    for _ in range(200):
        file.write_bytes(flipped(content, rng.randrange(len(content)), rng.randrange(8)))
        try:
            result = load(str(file), trust=True)(X)
        except ModelError:
            refused += 1
        else:
            assert torch.equal(result, expected)
    assert refused > 100


class UnpickledError(Exception):
    """Raised by what a pickle calls."""


@pytest.mark.parametrize("make", [model, Branching])
def test_nothing_of_a_damaged_network_is_unpickled(monkeypatch, make):
    content = written(dwt.optimize(make().eval(), X))

    def restored(module, state):
        raise UnpickledError

    monkeypatch.setattr(nn.Module, "__setstate__", restored)
    with pytest.raises(UnpickledError):
        torch.load(io.BytesIO(content), weights_only=False)
    largest = max(zipfile.ZipFile(io.BytesIO(content)).infolist(), key=lambda each: each.file_size)
    for number in range(20):
        place = largest.header_offset + 200 + number * (largest.file_size - 200) // 20
        damaged = io.BytesIO(flipped(content, place, number % 8))
        with pytest.raises(ModelError, match="read as it was written"):
            torch.load(damaged, weights_only=False)
