"""Kernels that outlive their process: computed with again, by processes without the compiler."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import depthwise as dw
from depthwise import compiler
from depthwise.errors import CacheWarning
from depthwise.kernel import code
from depthwise.machine.target import named
from depthwise.store import cache, disk

SPEC = "depthwise c20 h9 w11 k3 p1 nhwc bias relu"
X, WEIGHT, BIAS, _ = dw.random_problem(SPEC)
COMPUTE = f"""
import hashlib, sys
import depthwise as dw
x, weight, bias, _ = dw.random_problem({SPEC!r})
y = dw.compile({SPEC!r})(x, weight, bias)
print(hashlib.sha256(y.tobytes()).hexdigest(), "tvm" in sys.modules or "tvm_ffi" in sys.modules)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A cache folder of the test's own, and nothing compiled in memory."""
    monkeypatch.setattr(disk, "_said", set())
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache"
    forget()


def forget():
    """Forget what this process has compiled."""
    compiler._compiled.cache_clear()


def compute():
    """Return the digest of the kernel's result on `X`."""
    y = dw.compile(SPEC)(X, WEIGHT, BIAS)
    return hashlib.sha256(y.tobytes()).hexdigest()


def start():
    return subprocess.Popen(
        [sys.executable, "-c", COMPUTE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    """Return what a process computed and whether it imported the compiler."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    digest, compiled = out.split()
    return digest, compiled == "True"


def test_the_second_process_computes_the_same_without_the_compiler():
    first = finish(start())
    second = finish(start())
    assert [compiled for _, compiled in (first, second)] == [True, False]
    assert first[0] == second[0] == compute()


def test_processes_that_compile_at_once_all_compute_the_same():
    processes = [start() for _ in range(2)]
    digests = {finish(process)[0] for process in processes}
    assert digests == {compute()}
    assert len(cache.stored()) == 1


def test_the_plan_of_a_block_is_chosen_once(monkeypatch):
    block = dw.parse("separable c8 o8 hw8 k3 p1 nhwc")
    target = named(None)
    chosen = compiler.plan_of(block, target, 1)
    compiler._usual_plan.cache_clear()
    monkeypatch.setattr(compiler.schedule, "default_plan", None)
    assert compiler.plan_of(block, target, 1) == chosen


def test_without_a_linker_the_kernel_is_kept_as_llvm_ir(monkeypatch):
    expected = compute()
    for entry in cache.stored():
        disk.remove(entry.path)
    monkeypatch.setattr(code, "linker", lambda: None)
    for _ in ("compiled", "loaded"):
        forget()
        assert compute() == expected
    assert [entry.path.suffix for entry in cache.stored()] == [".ll"]


def test_a_damaged_kernel_is_compiled_anew():
    expected = compute()
    (entry,) = cache.stored()
    cut = entry.path.read_bytes()[:2000]
    entry.path.unlink()  # this process has the old file in memory
    entry.path.write_bytes(cut)
    forget()
    with pytest.warns(CacheWarning, match="compiled anew"):
        assert compute() == expected
    assert finish(start()) == (expected, False)


@pytest.mark.parametrize("when", ["loaded", "stored"])
def test_a_kernel_that_does_not_load_is_compiled_anew(monkeypatch, when):
    """As where a hardened system refuses to run code from the folder."""
    expected = compute()
    if when == "stored":
        for entry in cache.stored():
            disk.remove(entry.path)
    forget()
    load = code.load

    def refuse_the_cache(path, tasks, scratch_bytes):
        if path.is_relative_to(os.environ[disk.VARIABLE]):
            raise OSError("failed to map segment from shared object")
        return load(path, tasks, scratch_bytes)

    monkeypatch.setattr(code, "load", refuse_the_cache)
    with pytest.warns(CacheWarning, match="failed to map segment"):
        assert compute() == expected


def test_without_a_cache_folder_kernels_work(monkeypatch, place):
    monkeypatch.setenv(disk.VARIABLE, "")
    without = compute()
    assert not place.exists()
    forget()
    monkeypatch.setenv(disk.VARIABLE, str(place))
    assert compute() == without


def test_in_a_folder_that_others_can_write_to_kernels_work_but_are_not_kept(place):
    place.mkdir()
    place.chmod(0o777)
    with pytest.warns(CacheWarning, match="0777"):
        digest = compute()
    assert list(place.iterdir()) == []
    place.chmod(0o700)
    forget()
    assert compute() == digest


def test_the_result_is_that_of_the_oracle():
    """(The other tests compare digests, which two wrong results could share.)"""
    from depthwise.problem import reference

    spec = dw.parse(SPEC)
    rtol, atol = reference.tolerance(spec, spec.dtype)
    expected = reference.forward(spec, X, WEIGHT, BIAS)
    for _ in ("compiled", "loaded"):
        forget()
        np.testing.assert_allclose(dw.compile(spec)(X, WEIGHT, BIAS), expected, rtol, atol)
