"""Causal convolutions in the engines of the bench: results and states, call after call."""

import numpy as np
import pytest
import torch

import depthwise as dw
from depthwise.bench.peers import onnxruntime, ours
from depthwise.bench.peers import torch as torch_engine
from depthwise.measure import posed, streams
from depthwise.measure.engine import Prepared
from depthwise.measure.process import Worker
from depthwise.measure.worker import compare
from depthwise.problem import reference
from test_peers import DEFAULT_SET, check

CAUSAL = (
    "causal c16 l33 k4 bias silu",
    "causal c16 l33 k4 bias silu state3",
    "causal n3 c16 l1 k4 bias silu state3",
    "causal n3 c16 l1 k3 nlc state5",
    "causal n2 c16 l9 k4 nlc silu state3",
    "causal n2 c7 l30 k5 d2 nlc gelu",
    "causal n2 c7 l2 k5 d2 state8 relu6",
    "causal c9 l12 k4 float64 bias state3",
    "causal n2 c16 l9 k4 bfloat16 bias silu",
    "causal n3 c16 l1 k4 float16 silu state3",
)


@pytest.fixture(scope="module", params=DEFAULT_SET)
def engine(request):
    with Worker(request.param, threads=1) as worker:
        yield worker


@pytest.mark.parametrize("problem", CAUSAL)
def test_an_engine_computes_sequences_and_their_states_or_says_why_not(engine, problem):
    reasons = check(engine, problem)
    if engine.engine == "tvm":
        assert reasons == {"no adapter for causal"}
    elif engine.engine == "onnxruntime" and "float" in problem:
        assert reasons == {f"no {dw.parse(problem).dtype}"}
    else:
        assert None in reasons
        others = {
            "depthwise": {"the arrays are NCL", "the arrays are NLC"},
            "torch": {"no float64", "no bfloat16", "no float16"},
            "onnxruntime": {"the operator's state is d * (k - 1) = 2 long, not 5"},
        }
        assert reasons <= {None, *others[engine.engine]}


@pytest.fixture
def as_it_was():
    """Give torch back what its engine, which has a process of its own elsewhere, sets in it."""
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    yield
    torch.set_num_threads(threads)
    torch.set_grad_enabled(grad)


@pytest.mark.usefixtures("as_it_was")
def test_a_call_goes_on_from_the_state_that_the_one_before_left():
    spec = dw.parse("causal n2 c8 l2 k4 bias state3")
    for adapter in (ours, onnxruntime, torch_engine):
        engine = adapter.Engine(1)
        for variant in engine.special["causal"]:
            arrays = posed.arrays(spec)
            before = [array.copy() for array in arrays[:-1]]
            prepared = engine.prepare(spec, variant, "call", arrays)
            first = prepared.output()
            np.testing.assert_allclose(first, streams.expected(spec, before), 1e-5, 1e-5)
            for _ in range(3):
                prepared.run()
            np.testing.assert_array_equal(prepared.output(), first)
            for given, kept in zip(arrays, before, strict=False):
                np.testing.assert_array_equal(given, kept)


def test_a_state_that_is_not_updated_is_wrong():
    spec = dw.parse("causal n2 c8 l5 k4 state3")
    *given, y = posed.arrays(spec)
    expected = streams.expected(spec, given)
    result = reference.forward(spec, *given)
    left = expected[result.size :].reshape(given[-1].shape)
    for state, right in ((left, True), (given[-1], False)):
        prepared = Prepared(lambda: None, lambda: result, "NCL", "nothing")
        shown = streams.shown(prepared, lambda: None, lambda state=state: state)
        assert compare(spec, shown.output().astype(y.dtype), expected)[1] == right
