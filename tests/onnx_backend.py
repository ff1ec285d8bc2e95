"""onnx's own test runner on this package: who computes each of its cases, and who fails.

`python tests/onnx_backend.py` writes the counts into docs/onnx.md.
"""

# ruff: noqa: ARG002, ARG003 (the signatures are those of the runner)

import io
import unittest
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import ModelProto, numpy_helper
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test import BackendTest
from onnx.backend.test.loader import load_model_tests

from depthwise.loading import load
from depthwise.network.steps import Call
from depthwise.onnx.operators import READERS

PAGE = Path(__file__).parents[1] / "docs" / "onnx.md"
BEGIN, END = "<!-- counts -->", "<!-- end of counts -->"
WEIGHTED = "Node, of our operators, inputs but the first as constants"
KINDS = ("Node", "Simple", "PyTorchConverted", "PyTorchOperator")


class Depthwise(Backend):
    """What the runner calls; it keeps the last model and network."""

    model = network = None

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        Depthwise.model, Depthwise.network = model, None
        Depthwise.network = load(model)
        return Called(Depthwise.network)

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"


class Called(BackendRep):
    def __init__(self, network):
        self._network = network

    def run(self, inputs, **kwargs):
        results = self._network(*inputs)
        return results if isinstance(results, tuple) else (results,)


class Weighted(Depthwise):
    """The same with all inputs but the first as constants, which most cases have as inputs."""

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        Depthwise.model, Depthwise.network = model, None
        return Constant(model)


class Constant(BackendRep):
    def __init__(self, model):
        self._model = model

    def run(self, inputs, **kwargs):
        first, *rest = inputs
        model = ModelProto()
        model.CopyFrom(self._model)
        names = [port.name for port in model.graph.input][1:]
        del model.graph.input[1:]
        arrays = [np.asarray(array) for array in rest]
        made = [numpy_helper.from_array(*each) for each in zip(arrays, names, strict=True)]
        model.graph.initializer.extend(made)
        model.ir_version = max(model.ir_version, 4)
        return Depthwise.prepare(model).run([first])


class Runtime(Depthwise):
    """ONNX Runtime alone."""

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return Fed(session)


class Fed(BackendRep):
    def __init__(self, session):
        self._session = session

    def run(self, inputs, **kwargs):
        names = [each.name for each in self._session.get_inputs()]
        arrays = [np.asarray(x) if isinstance(x, np.generic) else x for x in inputs]
        return self._session.run(None, dict(zip(names, arrays, strict=False)))


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        name: of the case.
        kind: which of the runner's kinds it is.
        operators: of its model.
        failure: the last line of what went wrong; None where it passed.
        ours: whether kernels and views compute all of it.
    """

    name: str
    kind: str
    operators: tuple[str, ...]
    failure: str | None
    ours: bool

    @property
    def operator(self) -> str | None:
        """The operator that is tested; None of a model, and of a function written out."""
        alone = self.kind.startswith("Node") and "_expanded" not in self.name
        return self.operators[0] if alone and self.operators else None


@contextmanager
def _quietly() -> Iterator[None]:
    """Ignore what onnx warns of and prints while it makes cases, or runs one."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@cache
def _cases(backend):
    with _quietly():
        return BackendTest(backend, __name__).test_cases


def names(kind: str) -> list[str]:
    """Return the names of the cases of a kind, but those that need locales of the machine."""
    found = unittest.TestLoader().getTestCaseNames(_cases(Depthwise)[f"OnnxBackend{kind}ModelTest"])
    return [name for name in found if name.endswith("_cpu") and "strnorm" not in name]


def fails(backend: type[Backend], kind: str, name: str) -> str | None:
    """Return the last line of what goes wrong with a case; None where it passes."""
    result = unittest.TestResult()
    with _quietly():
        _cases(backend)[f"OnnxBackend{kind}ModelTest"](name).run(result)
    wrong = [*result.failures, *result.errors]
    assert result.testsRun == 1
    assert not result.skipped
    return wrong[0][1].strip().splitlines()[-1] if wrong else None


def outcome(kind: str, name: str, backend: type[Backend] = Depthwise) -> Outcome:
    """Run a case through this package."""
    Depthwise.model = Depthwise.network = None
    failure = fails(backend, kind, name)
    operators = tuple(node.op_type for node in Depthwise.model.graph.node)
    steps = Depthwise.network.program.steps if Depthwise.network is not None else None
    ours = steps is not None and not any(isinstance(step.work, Call) for step in steps)
    return Outcome(name, kind, operators, failure, ours)


def outcomes() -> Iterator[Outcome]:
    """Run all cases."""
    for kind in KINDS:
        for name in names(kind):
            yield outcome(kind, name)
    for name in claimed():
        yield replace(outcome("Node", name, Weighted), kind=WEIGHTED)


def counted(found: list[Outcome]) -> str:
    """Return the counts as they stand in docs/onnx.md."""
    lines = ["| cases | passed | by kernels and views alone | with ONNX Runtime | failed |",
             "|---|---:|---:|---:|---:|"]  # fmt: skip
    for kind in (*KINDS, WEIGHTED):
        of_kind = [each for each in found if each.kind == kind]
        passed = [each for each in of_kind if each.failure is None]
        ours = sum(each.ours for each in passed)
        counts = len(passed), ours, len(passed) - ours, len(of_kind) - len(passed)
        lines.append(f"| {kind} | {' | '.join(map(str, counts))} |")
    passed = [each for each in found if each.operator and each.failure is None]
    ours = Counter(each.operator for each in passed if each.ours)
    left = Counter(each.operator for each in passed if not each.ours)
    failed = Counter(each.operator for each in found if each.operator and each.failure)
    listed = {
        "Operators of which kernels and views compute cases; how many, and how many are left to "
        "ONNX Runtime": {name: f"{ours[name]} + {left[name]}" for name in ours},
        "Operators that are left to ONNX Runtime": {n: left[n] for n in left if n not in ours},
        "Operators of which cases fail, as they do in ONNX Runtime": failed,
    }
    for title, counts_of in listed.items():
        names_of = (f"{name} {counts_of[name]}" for name in sorted(counts_of))
        lines += ["", f"{title}: {', '.join(names_of)}."]
    return "\n".join(lines)


def claimed() -> list[str]:
    """Return the names of the node cases of operators that kernels or views may compute."""
    with _quietly():
        nodes = {case.name: case.model.graph.node for case in load_model_tests(kind="node")}
    named = {name: {node.op_type for node in each} for name, each in nodes.items()}
    return sorted(f"{name}_cpu" for name, found in named.items() if found <= set(READERS))


def on_page() -> str:
    """Return the counts that stand in docs/onnx.md."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0].strip()


def _write() -> None:
    before, rest = PAGE.read_text().split(BEGIN)
    text = counted(list(outcomes()))
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    _write()
