"""Small quantized networks are those that they are made of, but for the rounding."""

import pytest

from onnx_models import by_runtime
from quantized_networks import FORMS, NETWORKS, images, quantized

every_network = pytest.mark.parametrize("name", NETWORKS)
every_form = pytest.mark.parametrize("form", FORMS)


@every_network
@every_form
@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_quantized_networks_are_near_those_of_float32(name, form, activations, per_channel):
    (given,) = images()
    (result,) = by_runtime(quantized(name, form, activations, per_channel=per_channel), [given])
    (exact,) = by_runtime(NETWORKS[name](), [given])
    assert abs(result - exact).max() < 0.1 * abs(exact).max()
    assert (result != exact).any()
