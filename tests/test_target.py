"""The machine, other machines by name, and code that does not run here."""

import os

import numpy as np
import pytest

import depthwise as dw
from depthwise.errors import TargetError
from depthwise.machine import target

SPEC = "depthwise c19 h9 w16 k3 p1 nhwc bias relu"
X86 = os.uname().machine == "x86_64"
OLDER = [cpu for cpu in ("x86-64", "x86-64-v3") if X86 and not target.named(cpu).missing]


def test_this_machine_lacks_nothing():
    here = target.host()
    assert here.missing == ()
    assert here.lanes("float32") == 2 * here.lanes("float64") == here.vector_bytes // 4
    assert target.named(None) is target.named(here.cpu) is here


def test_an_unknown_cpu_is_refused_with_the_known_ones():
    with pytest.raises(TargetError, match=r"target is one of .*got 'z80'"):
        target.named("z80")


@pytest.mark.parametrize("odd", [1, ("znver3",), [], np.array([1, 1]), 10**6000], ids=type)
def test_what_is_no_name_of_a_cpu_is_refused(odd):
    for call in (dw.explain, lambda spec, cpu: dw.compile(spec, target=cpu)):
        with pytest.raises(TargetError, match="target is the name of a CPU; got"):
            call(SPEC, odd)


@pytest.mark.skipif(not X86, reason="names of x86-64")
@pytest.mark.parametrize(
    ("cpu", "isa", "lanes"),
    [("x86-64", "sse", 4), ("nehalem", "sse", 4), ("haswell", "avx2", 8), ("x86-64-v3", "avx2", 8),
     ("skylake-avx512", "avx512", 16), ("x86-64-v4", "avx512", 16), ("znver4", "avx512", 16)],
)  # fmt: skip
def test_a_name_says_how_wide_vectors_are(cpu, isa, lanes):
    named = target.named(cpu)
    assert (named.cpu, named.isa, named.lanes("float32")) == (cpu, isa, lanes)


@pytest.mark.skipif(not X86, reason="names of x86-64")
@pytest.mark.parametrize(
    "text", [SPEC, "depthwise c19 h9 w16 k3 p1", "depthwise c8 hw7 k5 p2 float64"]
)
@pytest.mark.parametrize("cpu", OLDER)
def test_code_for_an_older_cpu_is_right_here(cpu, text):
    kernel = dw.compile(text, target=cpu)
    x, *operands, _ = dw.random_problem(text)
    expected = dw.compile(text, plan="default")(x, *operands)
    assert np.allclose(kernel(x, *operands), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not X86, reason="names of x86-64")
def test_code_for_another_cpu_can_be_read():
    assert "%zmm" in dw.compile(SPEC, target="skylake-avx512").show("asm")
    assert "%ymm" in dw.compile(SPEC, target="x86-64-v3").show("asm")
    assert "%ymm" not in dw.compile(SPEC, target="x86-64").show("asm")


def test_code_that_needs_more_than_this_machine_has_is_not_run(monkeypatch):
    lacking = target.Target(target.host().cpu, target.host().isa, ("avx1024",))
    monkeypatch.setattr("depthwise.compiler.named", lambda _: lacking)
    kernel = dw.compile(SPEC)
    *arrays, out = dw.random_problem(SPEC)
    with pytest.raises(TargetError, match="avx1024, which this machine lacks: depthwise c19"):
        kernel(*arrays, out=out)
    assert np.isnan(out).all()
