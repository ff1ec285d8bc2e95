"""Problems printed as C99, compiled here and held against the oracle."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
from depthwise import schedule
from depthwise.errors import TargetError
from depthwise.machine.target import named
from depthwise.problem import reference
from depthwise.programs.c99 import HELPERS, c_source
from depthwise.programs.c99_texts import integer, real
from depthwise.programs.writers import programs
from depthwise.schedule.steps import OUTPUT
from printed import PLAIN, STRICT, Printed, compiled, computed, file_of, run_all
from strategies import chained_specs, specs
from test_families import LINES
from test_quantized import arrays_of, products
from test_quantized_depthwise import quantized

QUANTIZED = (
    "depthwise c9 hw7 k3 p1 nhwc int8 bias",
    "depthwise c6 h5 w9 k3x5 s2x1 p1 nhwc uint8 table",
    "depthwise1d c5 l9 k3 nlc int8 bias",
    "pointwise c9 o7 hw5 nhwc int8 bias residual",
    "pointwise n2 c3 o5 hw4 nhwc uint8 real",
    "conv c3 o6 hw7 k3 s2 p1 nhwc int8 bias",
    "conv c4 o6 hw5 k3 d2 p2 nhwc uint8",
)
REAL = (
    "depthwise c6 hw12 k3 p1 nhwc bias relu6",
    "pointwise c9 o7 hw5 nhwc bias gelu",
    "conv c3 o8 hw9 k3 s2 p1 nhwc bias relu",
    "separable c6 o8 hw9 k3 p1 nhwc bias",
    "inverted c4 e8 o4 hw9 k3 p1 nhwc bias relu residual",
    "depthwise c4 hw9 k3 p1 float64 silu",
    "depthwise c7 h12 w8 k3 p1,4,3,4 d3 nhwc float64 replicate leaky_relu then prelu.pixel",
    "elementwise c4 hw9 nhwc exp sqrt sigmoid gelu",
)


def kernels(lines):
    """Return the problems of lines that kernels compute."""
    return [kernel for line in lines for kernel in dw.parse(line).kernels]


FIXED = kernels((*LINES, *QUANTIZED, *REAL))


def check(spec, got, arrays):
    """Fail where a result is not the oracle's."""
    expected = reference.forward(spec, *arrays)
    rtol, atol = (0, 0) if got.dtype.kind in "iu" else reference.tolerance(spec)
    np.testing.assert_allclose(got, expected.astype(got.dtype), rtol, atol, err_msg=str(spec))


def check_c(spec, arrays, **how):
    """Fail where what C computes is not the oracle's."""
    with tempfile.TemporaryDirectory() as folder:
        given = [array.copy() for array in arrays]  # of which a state is written to
        check(spec, computed(spec, given, Path(folder), **how), arrays)


def of_wide_types(spec):
    """Whether arrays lie in memory as they are computed: C is not written for others."""
    return not spec.element.storage


@settings(max_examples=30)
@given((specs() | chained_specs()).filter(of_wide_types), st.integers(1, 4))
def test_every_problem_computes_in_c_what_the_oracle_does(spec, runs):
    for kernel in spec.kernels:
        *arrays, _ = dw.random_problem(kernel)
        check_c(kernel, arrays, runs=runs)


@settings(max_examples=12)
@given(specs().filter(of_wide_types), st.randoms(use_true_random=False))
def test_every_plan_does(spec, random):
    for kernel in spec.kernels:
        ranking = schedule.ranking(kernel, PLAIN, 1)
        rule = random.choice([rule for rule, reason in ranking.items() if reason is None])
        *arrays, _ = dw.random_problem(kernel)
        check_c(kernel, arrays, plan=random.choice(list(rule.plans(kernel, PLAIN))))


@settings(max_examples=20)
@given(products() | quantized(), st.integers(0, 99), st.booleans(), st.integers(1, 4))
def test_whole_numbers_are_the_oracles_however_much_compilers_contract(spec, seed, extreme, runs):
    flags = "-O3", "-march=native"
    check_c(spec, arrays_of(spec, seed, extreme), runs=runs, flags=flags)


@pytest.fixture(scope="module")
def fixed():
    return [Printed(spec, name=f"kernel{i}") for i, spec in enumerate(FIXED)]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compilers_have_nothing_to_say(fixed, compiler, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    (tmp_path / "all.c").write_text(file_of(*fixed))
    command = [compiler, *STRICT, "-O2", "-c", "all.c"]
    subprocess.run(command, cwd=tmp_path, check=True)


def test_sanitizers_have_nothing_to_say(fixed, tmp_path):
    given = [dw.random_problem(spec)[:-1] for spec in FIXED]
    flags = "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"
    results = run_all(fixed, given, tmp_path, *flags)
    for spec, arrays, got in zip(FIXED, given, results, strict=True):
        check(spec, got, arrays)


def test_whole_numbers_need_no_mathematics(fixed):
    for each in fixed:
        if each.spec.element.is_integer:
            assert not any(source.headers for source in each.sources), each.spec


def test_memory_is_written_to_where_types_say_so(fixed):
    for each in fixed:
        for source, step in zip(each.sources, each.steps, strict=True):
            names = [*step.arguments, *["scratch"] * bool(source.scratch_bytes)]
            kinds = zip(names, source.arguments, strict=True)
            written = {name for name, kind in kinds if "const" not in kind}
            assert written <= {*step.buffers, OUTPUT, "scratch", "state"}, each.spec


def test_instructions_of_a_processor_are_no_c():
    target = named("cortex-a76")
    spec = dw.parse(QUANTIZED[0])
    (program,) = programs(spec, schedule.default_plan(spec, target, 1), target)
    with pytest.raises(TargetError, match=r"without instructions of a CPU; got cortex-a76 \(neon"):
        c_source(program, "kernel")


_DRIVER = """
#include <math.h>
#include <stdint.h>
#include <string.h>
{helpers}
void fma_of(const float *a, const float *b, const float *c, float *own, float *true, int32_t n) {{
  for (int32_t i = 0; i < n; ++i) own[i] = dw_fma(a[i], b[i], c[i]);
  for (int32_t i = 0; i < n; ++i) true[i] = fmaf(a[i], b[i], c[i]);
}}
void round_of(const float *x, int32_t *own, int32_t *true, int32_t n) {{
  for (int32_t i = 0; i < n; ++i) own[i] = dw_round(x[i]);
  for (int32_t i = 0; i < n; ++i) true[i] = (int32_t)lrintf(x[i]);
}}
"""


@pytest.fixture(scope="module")
def helpers(tmp_path_factory):
    text = _DRIVER.format(helpers="\n".join(HELPERS[name] for name in ("dw_fma", "dw_round")))
    return ctypes.CDLL(str(compiled(text, tmp_path_factory.mktemp("helpers"), "-O2")))


def _call(function, *arrays):
    function(
        *(ctypes.c_void_p(each.ctypes.data) for each in arrays), ctypes.c_int32(arrays[0].size)
    )


def _hard_sums(n):
    """Return numbers whose products, and sums of these and others, lie near ties or cancel."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, (3, n), np.uint32)
    nearly = 1 + rng.choice([0, 1, -1, 2**10, -(2**10)], n) * 2.0**-24
    with np.errstate(invalid="ignore", over="ignore"):
        a, b, c = (each.view(np.float32).astype(np.float64) for each in bits)
        a[: n // 2], b[: n // 2] = rng.integers(-(2**12), 2**12, (2, n // 2))
        c[::3] = (-a * b * nearly)[::3]
        c[1::3] = (a * b * rng.choice([2.0**k for k in (-25, -24, -23, 23, 24, 25)], n))[1::3]
        return [each.astype(np.float32) for each in (a, b, c)]


def test_a_product_and_a_sum_are_rounded_once(helpers):
    given = _hard_sums(600_000)
    own, true = (np.empty_like(given[0]) for _ in range(2))
    _call(helpers.fma_of, *given, own, true)
    np.testing.assert_array_equal(own, true)


def test_ties_are_rounded_to_the_even_number(helpers):
    halves = np.arange(-(2**15), 2**15, dtype=np.float32) / 2
    x = np.concatenate([halves, np.nextafter(halves, 99), np.nextafter(halves, -99)])
    x = np.concatenate([x, np.array([2**22, -(2**22), 0.0, -0.0, 1e-40], np.float32)])
    own, true = np.empty(x.size, np.int32), np.empty(x.size, np.int32)
    _call(helpers.round_of, x, own, true)
    np.testing.assert_array_equal(own, true)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_decimals_are_read_as_the_number_that_they_are_of(value):
    text = real(value, "float32").text
    assert np.float32(text.removesuffix("f")) == np.float32(value)
    assert text.endswith("f")
    assert {".", "e"} & set(text)


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (5, "int32", "5"),
        (-5, "int8", "-5"),
        (-(2**31), "int32", "-2147483647 - 1"),
        (2**31, "int64", "INT64_C(2147483648)"),
        (-(2**40), "int64", "-INT64_C(1099511627776)"),
        (-(2**63), "int64", "-INT64_C(9223372036854775807) - 1"),
        (2**32 - 1, "uint32", "4294967295u"),
        (2**64 - 1, "uint64", "UINT64_C(18446744073709551615)"),
    ],
)
def test_whole_numbers_fit_their_types(value, dtype, text):
    assert integer(value, dtype).text == text
