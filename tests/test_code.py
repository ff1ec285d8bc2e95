"""Machine code on its way into the process: linked, or loaded by LLVM where nothing links."""

from __future__ import annotations

import stat
import subprocess
import tempfile
import warnings
from dataclasses import replace

import numpy as np
import pytest
from tvm import s_tir

import depthwise as dw
from depthwise import compiler, schedule
from depthwise.errors import CacheWarning, InternalError, TargetError
from depthwise.kernel import code
from depthwise.machine import trust
from depthwise.machine.target import host
from depthwise.programs import build
from exact import exact_problem

PROBLEMS = [
    "depthwise c9 hw9 k3 p1 nhwc bias silu",
    "depthwise c20 hw9 k3 p1 gelu float64",
    "pointwise c9 o5 h2 w3 bias residual",
]


def load_anew(spec: dw.ConvSpec) -> code.Code:
    plan = compiler.plan_of(spec, host())
    return code.loaded(compiler._programs(spec, plan, host())[0].built)


@pytest.mark.parametrize("linker", ["found", "none"])
@pytest.mark.parametrize("text", PROBLEMS)
def test_code_computes_with_and_without_a_linker(text, linker, monkeypatch):
    if linker == "none":
        monkeypatch.setattr(code, "linker", lambda: None)
    spec = dw.parse(text)
    x, *operands, out = dw.random_problem(spec)
    kernel = dw.compile(spec)
    load_anew(spec).run(2, x, *kernel.pack(operands), out)
    np.testing.assert_array_equal(out, kernel(x, *operands))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no space left >&2; exit 1", "no space left"),
        ("exit 0", "No such file"),
        ("echo nonsense > $3", "file too short|invalid ELF header"),
        ("exec sleep 60", "timed out"),
    ],
)
def test_without_a_linker_that_works_code_is_loaded_nevertheless(
    script, message, tmp_path, monkeypatch
):
    broken = tmp_path / "ld"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(code, "linker", lambda: str(broken))
    monkeypatch.setattr(code, "_PATIENCE_SECONDS", 1.0)
    spec = dw.parse(PROBLEMS[0])
    x, *operands, out = dw.random_problem(spec)
    with pytest.warns(CacheWarning, match=message):
        loaded = load_anew(spec)
    kernel = dw.compile(spec)
    loaded.run(1, x, *kernel.pack(operands), out)
    np.testing.assert_array_equal(out, kernel(x, *operands))


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o755])
@pytest.mark.parametrize("linker", ["found", "none"])
def test_temporary_files_that_others_could_replace_are_not_loaded(
    tmp_path, monkeypatch, mode, linker
):
    """Whoever can rename what lies in a folder can put code of their own there."""
    refused = mode in (0o777, 0o770)
    monkeypatch.setattr(trust, "_own_group", lambda _: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if linker == "none":
        monkeypatch.setattr(code, "linker", lambda: None)
    tmp_path.chmod(mode)
    written = []
    write = code.write
    monkeypatch.setattr(code, "write", lambda *to: written.append(to) or write(*to))
    spec = dw.parse(PROBLEMS[0])
    x, *operands, out = dw.random_problem(spec)
    kernel = dw.compile(spec)
    written.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load_anew(spec)
    loaded.run(1, x, *kernel.pack(operands), out)
    np.testing.assert_array_equal(out, kernel(x, *operands))
    assert [f"{mode:04o}" in str(warning.message) for warning in caught] == [True] * refused
    assert len(written) == (not refused)
    assert list(tmp_path.iterdir()) == []


def test_linkers_are_looked_for_on_the_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code.linker.__wrapped__() is None


def test_buffers_beyond_the_stack_come_from_the_heap():
    spec = dw.parse("depthwise c64 hw40 k3 p1 relu")
    x, operands, expected = exact_problem(spec)
    kernel = dw.compile(spec, "default")
    assert "malloc" in kernel.show("llvm")
    np.testing.assert_array_equal(kernel(x, *operands, threads=2), expected)


def test_code_needs_nothing_but_the_c_library(tmp_path):
    built = dw.compile(PROBLEMS[0]).programs()[0].built
    (tmp_path / "kernel.o").write_bytes(built.object)
    listed = subprocess.run(
        ["nm", "--undefined-only", tmp_path / "kernel.o"], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert names <= {"expf", "memset", "memcpy", "malloc", "free"}


def test_parallel_loops_run_in_step_or_not_at_all():
    (plain,) = compiler._programs(*_plain("depthwise c2 hw4 k3 p1"))
    two = s_tir.Schedule(plain.definitions["kernel"])
    for name, loop in (("PaddedX", 2), ("Y", 2)):
        two.parallel(two.get_loops(two.get_sblock(name))[loop])
    with pytest.raises(InternalError, match=r"the same extent; got \[4, 6\]"):
        build.build({build.SYMBOL: two.mod["main"]}, host())


def test_code_for_another_cpu_is_shown_but_not_run():
    spec = dw.parse("depthwise c64 hw8 k3 p1 nhwc")
    other = replace(host(), missing=("teleportation",))
    kernel = compiler._compiled(spec, schedule.default_plan(spec, other), other)
    assert "kernel:" in kernel.show("asm")
    x, weight, _ = dw.random_problem(spec)
    with pytest.raises(TargetError, match="needs teleportation, which this machine lacks"):
        kernel(x, weight)


def _plain(text: str):
    spec = dw.parse(text)
    return spec, dw.Plan("default"), host()
