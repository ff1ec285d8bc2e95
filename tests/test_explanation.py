"""`depthwise show` and `depthwise explain`: the documents' programs, a reason for every rule."""

import json
import sys

import numpy as np
import pytest

import depthwise as dw
from depthwise import schedule
from depthwise.commands import cli
from depthwise.problem import reference

EXAMPLE = "depthwise c256 hw12 k3 p1"


@pytest.fixture
def run(monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["depthwise", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return command


def test_the_definition_pads_and_then_sums_over_the_taps(run):
    code, program, _ = run("show", EXAMPLE, "--stage", "definition", "--plan", "default")
    assert code == 0
    assert "PaddedX = T.sblock_alloc_buffer((1, 256, 14, 14))" in program
    assert "for n, c, h, w in T.grid(1, 256, 14, 14):" in program
    assert "for n, c, i, j, rkh, rkw in T.grid(1, 256, 12, 12, 3, 3):" in program


def test_the_default_schedule_is_the_five_nested_loops(run):
    code, program, _ = run("show", EXAMPLE, "--plan", "default")
    assert code == 0
    padding, sums = program.split("for c, i, j, rkh, rkw in T.grid(256, 12, 12, 3, 3):")
    assert "for c, h, w in T.grid(256, 14, 14):" in padding
    assert "PaddedX[0, c, i + rkh, j + rkw] * K[c, 0, rkh, rkw]" in sums


def test_the_packed_schedule_packs_caches_vectorizes_unrolls_and_unpacks(run):
    code, program, _ = run("show", EXAMPLE, "--plan", "packed tc16 tw4")
    assert code == 0
    for part in (
        "PackedX",
        "PackedY_local",
        "T.parallel(",
        "T.vectorized(16)",
        "T.unroll(4)",
    ):
        assert part in program


@pytest.mark.parametrize(("stage", "text"), [("llvm", "define "), ("asm", ".text")])
def test_generated_code_is_shown(run, stage, text):
    code, program, _ = run("show", "depthwise c8 hw4 k3", "--stage", stage)
    assert code == 0
    assert text in program


def test_every_schedule_is_taken_possible_or_refused_with_its_reason(run):
    code, text, _ = run("explain", "separable c13 o8 hw7 k3 s2 p1", "--json")
    assert code == 0
    block, *parts = json.loads(text)
    assert block["spec"] == "separable c13 o8 hw7 k3 s2 p1"
    for part, spec in zip(parts, dw.parse(block["spec"]).parts, strict=True):
        assert part["spec"] == str(spec)
        assert [rule["schedule"] for rule in part["schedules"]] == [
            r.name for r in schedule.RULES[dw.ConvSpec]
        ]
        assert all(bool(rule["rejects"]) != bool(rule["plan"]) for rule in part["schedules"])
        first = next(rule for rule in part["schedules"] if rule["plan"])
        assert part["taken"] == first["schedule"]


@pytest.mark.parametrize(
    ("problem", "refused"),
    [
        ("separable c13 o8 hw7 k3 p1 nhwc", {}),
        (
            "separable c999 o8 h9 w600 k3 p1 nhwc",
            {"depthwise+project": "strips of one row take"},
        ),
        (
            "inverted c4 e8 o4 hw7 k3 p1 nhwc se2",
            {"expand+depthwise+project": "the gate", "expand depthwise+project": "the gate"},
        ),
    ],
)
def test_every_way_of_fusing_has_its_cost_or_a_reason_and_the_block_computes(run, problem, refused):
    _, text, _ = run("explain", problem, "--json")
    block, *_ = json.loads(text)
    assert block["taken"] == block["ways"][0]["plan"] == str(dw.compile(problem).plan)
    for way in block["ways"]:
        if way["rejects"]:
            assert refused.pop(way["parts"]) in way["rejects"]
        else:
            assert min(way["flops"], way["cycles"]) > 0
    assert refused == {}
    costs = [way["cycles"] for way in block["ways"] if way["plan"]]
    assert costs == sorted(costs)
    _, table, _ = run("explain", problem)
    assert block["why"].split(",")[0] in table
    spec = dw.parse(problem)
    x, *operands, _ = dw.random_problem(spec)
    got, wanted = dw.compile(spec)(x, *operands), reference.forward(spec, x, *operands)
    np.testing.assert_allclose(got, wanted, *reference.tolerance(spec))


def test_a_pass_of_training_is_explained_kernel_by_kernel(run):
    problem = dw.parse("training depthwise c16 hw8 k3 p1 nhwc")
    _, text, _ = run("explain", str(problem), "--json")
    forward, *gradients = json.loads(text)
    assert forward["spec"] == str(problem.conv)
    for found, kernel in zip(gradients, problem.kernels[1:], strict=True):
        assert (found["spec"], found["taken"]) == (str(kernel), kernel.kind)
        plans = {rule["schedule"]: rule["plan"] for rule in found["schedules"] if rule["plan"]}
        assert plans == {kernel.kind: str(dw.compile(kernel).plan)}
        reasons = {rule["schedule"]: rule["rejects"] for rule in found["schedules"]}
        assert reasons == dw.explain(kernel)


def test_the_table_says_the_same(run):
    code, text, _ = run("explain", "depthwise c16 hw8 k3 p1 nhwc", "--wide")
    assert code == 0
    assert "channels_last   taken" in text
    assert "vectors run over the width here" in text


@pytest.mark.parametrize(
    "arguments",
    [("show", "depthwise c0 hw4 k3"), ("show", EXAMPLE, "--plan", "nosuch"), ("explain", "nosuch"),
     ("show", EXAMPLE, "--target", "z80"), ("show", EXAMPLE, "--plan", "channels_last tc8")],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("depthwise: ")
    assert err.count("\n") == 1
