"""What PyTorch's exporters make of networks that nobody here wrote: the same as ONNX Runtime."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from depthwise.network.network import Network
from exported_networks import SMALL_ONES, WHOLE_ONES, Exported, exported
from onnx_models import assert_close, by_runtime, called, checked

needs_the_newest = pytest.mark.skipif(
    find_spec("onnxscript") is None, reason="torch's newest exporter needs onnxscript"
)
FEW = 2
"""How many kernels a small network has at least."""


def agreeing(network: Exported, *, newest: bool = False) -> Network:
    """Fail where a network's file is computed otherwise, of fixed sizes or of open ones.

    Returns:
        that of open sizes.
    """
    given = [each.numpy() for each in network.inputs(network.sizes[0], 1)]
    checked(exported(network, anyway=False, newest=newest), *given)
    model = exported(network, anyway=True, newest=newest)
    loaded = checked(model, *given)
    for place, size in enumerate(network.sizes):
        given = [each.numpy() for each in network.inputs(size, 1 + place % 2)]
        assert_close(called(loaded, *given), by_runtime(model, given))
    return loaded


@pytest.mark.parametrize("name", SMALL_ONES)
def test_small_networks(name):
    assert len(agreeing(SMALL_ONES[name]).program.stages()) >= FEW


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE_ONES)
def test_networks(name):
    agreeing(WHOLE_ONES[name])


@needs_the_newest
@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL_ONES, "mobilenet_v2", "segformer", "vit", "gpt2"])
def test_networks_of_the_newest_exporter(name):
    agreeing({**WHOLE_ONES, **SMALL_ONES}[name], newest=True)
