"""Threads that compile while the process forks or ends."""

from __future__ import annotations

import pytest

from alone import run_alone

COMPILING = """
import os, signal, threading, time
import depthwise as dw

def compile_many():
    for channels in range(9, 2000):
        dw.compile(f"depthwise c{channels} hw9 k3 p1 nhwc")

known = dw.compile("depthwise c8 hw8 k3 p1 nhwc")
threading.Thread(target=compile_many, daemon=True).start()
"""
FORK = """
for number in range(4):
    time.sleep(0.1 + 0.03 * number)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        same = dw.compile(known.spec) is known
        x, weight, out = dw.random_problem("depthwise c8 hw7 k3 p1 nhwc")
        dw.depthwise_conv2d(x, weight, padding=1, layout="NHWC")
        os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
os._exit(0)
"""


@pytest.mark.parametrize("cached", [True, False])
def test_children_that_are_forked_meanwhile_load_and_compile(cached, tmp_path):
    done = run_alone(COMPILING + FORK, str(tmp_path / "cache") if cached else "")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cached", [True, False])
def test_a_process_may_end_meanwhile(cached, tmp_path):
    done = run_alone(COMPILING + "time.sleep(0.3)", str(tmp_path / "cache") if cached else "")
    assert (done.returncode, done.stderr) == (0, "")


IMPORTING = """
import os, signal, sys, threading, time
import depthwise as dw

threading.Thread(target=dw.compile, args=("depthwise c9 hw9 k3 p1 nhwc",), daemon=True).start()
while "tvm" not in sys.modules:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    signal.alarm(60)
    dw.compile("depthwise c8 hw7 k3 p1 nhwc")
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
os._exit(0)
"""


def test_a_child_that_is_forked_while_tvm_is_imported_compiles():
    done = run_alone(IMPORTING)
    assert done.returncode == 0, done.stderr
