"""Kernels for another architecture, run here by QEMU on arrays that a program of C reads."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from depthwise.machine.target import Target
from depthwise.problem.arrays import Array
from depthwise.problem.spec import ConvSpec
from depthwise.programs.build import SYMBOL, Built
from depthwise.programs.writers import programs
from depthwise.schedule import default_plan, rule_of

COMPILERS = {"aarch64": "aarch64-linux-gnu-gcc"}

MAIN = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void {symbol}({parameters}, int32_t first, int32_t last);

static void *memory(size_t bytes) {{
  void *found = aligned_alloc(64, (bytes + 64) / 64 * 64);
  return found ? found : (exit(2), found);
}}

int main(int count, char **files) {{
  static const size_t sizes[] = {{{sizes}}};
  void *a[{count}];
  FILE *file = fopen(files[1], "rb");
  for (int i = 0; i < {count}; i++) {{
    a[i] = memory(sizes[i]);
    if (i < {given} && fread(a[i], 1, sizes[i], file) != sizes[i]) return 3;
  }}
  for (int32_t task = 0; task < {tasks}; task += {step})
    {symbol}({arguments}, task, task + {step} < {tasks} ? task + {step} : {tasks});
  file = fopen(files[2], "wb");
  return fwrite(a[{result}], 1, sizes[{result}], file) != sizes[{result}];
}}
"""


@cache
def emulator(architecture: str) -> str:
    """Return the program that runs code of an architecture; skip where there is none."""
    found = shutil.which(f"qemu-{architecture}")
    if found is None or shutil.which(COMPILERS[architecture]) is None:
        pytest.skip(f"needs qemu-user and {COMPILERS[architecture]}")
    return found


def result(
    spec: ConvSpec, arrays: list[Array], target: Target, folder: Path, step: int = 2
) -> Array:
    """Return what a kernel for a target computes of arrays, `step` tasks in a call."""
    emulator(target.architecture)
    plan = default_plan(spec, target)
    (program,) = programs(spec, plan, target)
    pack = rule_of(plan, spec, target).form(spec, plan, target).pack(spec)
    x, weight, *others = arrays
    given = [np.ascontiguousarray(each) for each in (x, pack(weight), *others)]
    output = np.zeros(spec.output_shape, spec.dtype_of("y"))
    _run(program.built, given, output, target, folder, step)
    return output


def _run(
    built: Built, given: list[Array], output: Array, target: Target, folder: Path, step: int
) -> None:
    sizes = [each.nbytes for each in (*given, output)]
    sizes += [built.scratch_bytes] if built.scratch_bytes else []
    text = MAIN.format(
        symbol=SYMBOL, parameters=", ".join(["void *"] * len(sizes)),
        sizes=", ".join(map(str, sizes)), count=len(sizes), given=len(given), result=len(given),
        tasks=built.tasks, step=step, arguments=", ".join(f"a[{i}]" for i in range(len(sizes))),
    )  # fmt: skip
    (folder / "main.c").write_text(text)
    (folder / "kernel.o").write_bytes(built.object)
    (folder / "given").write_bytes(b"".join(each.tobytes() for each in given))
    compiler = COMPILERS[target.architecture]
    files = [str(folder / name) for name in ("main.c", "kernel.o")]
    program = str(folder / "program")
    subprocess.run([compiler, "-O1", "-static", *files, "-o", program, "-lm"], check=True)
    command = [emulator(target.architecture), "-cpu", "max", program]
    subprocess.run([*command, str(folder / "given"), str(folder / "result")], check=True)
    output[...] = np.fromfile(folder / "result", output.dtype).reshape(output.shape)
