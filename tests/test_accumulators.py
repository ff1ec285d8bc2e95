"""Sums that are kept in another element type than that of the data."""

from __future__ import annotations

import numpy as np
import pytest

import depthwise as dw
from depthwise import compiler, schedule
from depthwise.errors import PlanError
from depthwise.machine.target import host
from depthwise.problem import dtypes, reference
from depthwise.problem import spec as spec_page
from depthwise.problem.dtypes import ElementType
from depthwise.problem.spec import ConvSpec


class _AsFloat32(ElementType):
    numpy = "float32"


@pytest.fixture
def wide(monkeypatch):
    """An element type that is float32 in memory and summed in float64."""
    entry = _AsFloat32(name="wide", tvm="float32", torch="float32", accumulator="float64")
    monkeypatch.setitem(dtypes.ELEMENT_TYPES, "wide", entry)
    monkeypatch.setitem(spec_page._WORDS, "dtype", (*dtypes.DTYPES, "wide"))
    return entry.name


TAKERS = ("channels_last", "multiples", "channels_first", "packed", "general", "default")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_sums_are_kept_in_the_accumulator_of_the_element_type(wide, layout, multiplier):
    spec = ConvSpec.depthwise(
        5, 6, 3, multiplier=multiplier, layout=layout, dtype=wide, bias=True, activation="relu"
    )
    x, weight, bias, _ = dw.random_problem(spec)
    x[..., :3], weight[...] = 1e8, np.sign(weight)  # what float32 sums, it loses
    exact = reference.forward(spec, x, weight, bias).astype(np.float32)
    reasons = schedule.explain(spec, host(), 1)
    for name in TAKERS:
        if reasons[name] is None:
            got = compiler.compile(spec, name)(x, weight, bias)
            np.testing.assert_array_equal(got, exact, err_msg=name)


def test_rules_whose_sums_are_elements_refuse_wider_ones(wide):
    spec = ConvSpec.pointwise(4, 8, 6, layout="NHWC", dtype=wide)
    reasons = schedule.explain(spec, host(), 1)
    assert reasons["pointwise"] == "sums of wide are kept in float64"
    assert schedule.default_plan(spec, host()).schedule == "general"
    block = dw.BlockSpec.separable(4, 8, 6, 3, dtype=wide)
    with pytest.raises(PlanError, match=r"some schedule takes; .*sums of wide are kept in float64"):
        schedule.default_plan(block, host())
