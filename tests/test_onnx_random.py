"""Random graphs of ONNX: the same as onnx.reference and ONNX Runtime, for other sizes too."""

import pytest
from hypothesis import HealthCheck, given, settings
from onnx.reference import ReferenceEvaluator

from depthwise.loading import load
from onnx_models import assert_close, by_runtime, called, untold
from onnx_random import Drawn, graphs

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
IN_SINGLE, IN_DOUBLE = 1e-4, 1e-7  # attributes are single


@settings(max_examples=3, suppress_health_check=SLOW)
@given(drawn=graphs())
def test_random_graphs(drawn: Drawn):
    check(drawn)


@pytest.mark.slow
@settings(max_examples=50, suppress_health_check=SLOW)
@given(drawn=graphs())
def test_more_random_graphs(drawn: Drawn):
    check(drawn)


def check(drawn: Drawn) -> None:
    network = load(drawn.model)
    assert untold(drawn.model, network) == []
    for x in (*drawn.arrays, drawn.arrays[0]):
        assert_close(called(network, x), by_runtime(drawn.model, [x]), IN_SINGLE)


@settings(max_examples=3, suppress_health_check=SLOW)
@given(drawn=graphs(dtype="float64"))
@pytest.mark.filterwarnings("ignore")
def test_random_graphs_in_double(drawn: Drawn):
    """ONNX Runtime has no such convolutions: what it computes of a graph is checked as well."""
    network = load(drawn.model)
    reference = ReferenceEvaluator(drawn.model)
    for x in drawn.arrays:
        assert_close(called(network, x), reference.run(None, {"x": x}), IN_DOUBLE)
