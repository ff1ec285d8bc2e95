"""Networks that somebody has as a file: what is asked of them, and which results are right."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from depthwise.bench.comparison import OURS
from depthwise.bench.inference import images
from depthwise.bench.inference.images import Input
from depthwise.bench.inference.problem import Posable
from depthwise.bench.options import Asked
from depthwise.errors import DepthwiseError, ModelError
from depthwise.loading import of_tflite
from depthwise.machine import target
from depthwise.measure import environments, network_files
from depthwise.measure.catalogue import EXACT, LOADED, SOURCES
from depthwise.network import agreement, examples
from depthwise.network.saved.container import HEAD_BYTES, begins_one
from depthwise.network.steps import computed, numbered
from depthwise.problem import reference
from depthwise.problem.arrays import Array
from depthwise.problem.problem import Layer

if TYPE_CHECKING:
    from onnx import ModelProto

    from depthwise.network.network import Network

_EXPORTED, _PICKLED = ".pt2", (".pt", ".pth")
_WORDS = {"float": "float32", "double": "float64"}
"""NumPy's names of element types by ONNX's, where they differ."""
_FORMS = (
    "a network is a file of ONNX, of TFLite, of net.save or of torch.export.save (.pt2), or "
    "module:factory"
)


def read(name: str, asked: Asked) -> Posable:
    """Return the network in a file, with random images.

    Args:
        name: a file of ONNX, of TFLite, of `Network.save` or of `torch.export.save`, or
            module:factory.
        asked: the shapes of some inputs, by name or in their order.

    Raises:
        ModelError: it is no network, or does not take such inputs.
        PeerError: what reads it is not installed.
    """
    path = Path(name)
    if path.suffix in _PICKLED:
        raise ModelError(f"{_FORMS}; got {name}, and to load a pickle runs whatever code it names")
    if path.suffix == _EXPORTED or (":" in name and not path.exists()):
        environments.interpreter("torch")  # raises where it is not installed
        from depthwise.bench.peers import torch_networks

        return torch_networks.Model(name, asked)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise ModelError(f"{_FORMS}; got {name}: {error.strerror}") from None
    if begins_one(head):
        return SavedFile(path, asked)
    return TfliteFile(path, asked) if of_tflite(path) else OnnxFile(path, asked)


class _File(ABC):
    """A file with random images for it, and what it gives for them."""

    link: ClassVar[str]
    """What engines find it as."""

    def __init__(self, path: Path, inputs: Sequence[Input], asked: Asked) -> None:
        self._path, self._declared = path, inputs
        dtypes = {each.name: each.dtype for each in inputs}
        self._inputs = examples.drawn(dtypes, images.shapes(inputs, asked))
        self._expected = self._results(self._inputs)
        agreement.check_results(self._expected)
        self.network = path.name

    @abstractmethod
    def _results(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Return the results that are right, by name.

        Raises:
            ModelError: the network does not take these images.
        """

    @abstractmethod
    def _depth(self) -> int:
        """Return how many layers have weights."""

    @abstractmethod
    def _is_quantized(self) -> bool:
        """Whether it computes with whole numbers that stand for real ones."""

    def __str__(self) -> str:
        shapes = (",".join(map(str, each.shape)) for each in self._inputs.values())
        return " ".join(("network", self.network, *shapes))

    @property
    def batch(self) -> int:
        """Images at once: the first size of the first input."""
        first = next(iter(self._inputs.values()))
        return first.shape[0] if first.ndim else 1

    @property
    def dtype(self) -> str:
        """The element type of the first input."""
        return str(next(iter(self._inputs.values())).dtype)

    def write(self, folder: Path) -> network_files.Posed:
        """Write the files by which engines are given it."""
        network_files.write(folder, self._inputs, self._expected, open_sizes=self._open_sizes())
        self._place(folder / self.link)
        moved = self._results(examples.moved(self._inputs))
        results = [*self._expected.values()], [*moved.values()]
        within = agreement.granted(self._depth(), *results, quantized=self._is_quantized())
        return network_files.Posed(tolerance=within)

    def _place(self, link: Path) -> None:
        """Put the network where engines find it."""
        link.symlink_to(self._path.resolve())

    def _open_sizes(self) -> dict[str, int]:
        """Return the size of each word that stands for one alone."""
        found: dict[str, set[int]] = {}
        for each in self._declared:
            shape = self._inputs[each.name].shape
            for word, size in zip(each.sizes or (), shape, strict=False):
                if isinstance(word, str):
                    found.setdefault(word, set()).add(size)
        return {word: min(sizes) for word, sizes in found.items() if len(sizes) == 1}


class OnnxFile(_File):
    """A file of ONNX, held against what ONNX Runtime gives without any optimisation."""

    link = network_files.ONNX

    def __init__(self, path: Path, asked: Asked) -> None:
        environments.interpreter("onnxruntime")  # raises where it is not installed
        import onnxruntime

        from depthwise.onnx.files import in_a_line

        self._model = self._read(path)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        self._in_a_line = in_a_line
        try:
            self._session: Any = onnxruntime.InferenceSession(self._given(path), options)
        except Exception as error:  # in several classes
            raise ModelError(f"ONNX Runtime reads {path}; got {in_a_line(error)}") from None
        ports = [Input(each.name, each.shape, _dtype(each)) for each in self._session.get_inputs()]
        super().__init__(path, ports, asked)

    def _read(self, path: Path) -> ModelProto:
        from depthwise.onnx.files import model_of

        return model_of(path)

    def _given(self, path: Path) -> Path | bytes:
        """Return what ONNX Runtime reads."""
        return path

    def variants(self, engine: str) -> tuple[str, ...]:
        """Return the ways in which an engine runs it: those that read it."""
        if engine == OURS:
            return (LOADED,)
        if not SOURCES[engine].reads_onnx:
            return ()
        saturates = self._is_quantized() and target.named(None).dots != "quads"
        exact = (EXACT,) if saturates and SOURCES[engine].has_exact else ()
        return SOURCES[engine].networks + exact

    def _results(self, given: Mapping[str, Array]) -> dict[str, Array]:
        names = [each.name for each in self._session.get_outputs()]
        try:
            results = self._session.run(None, dict(given))
        except Exception as error:  # in several classes
            raise ModelError(
                f"{self._path.name} is measured with images that ONNX Runtime takes; got "
                f"{images.listed(given)}: {self._in_a_line(error)}"
            ) from None
        return dict(zip(names, results, strict=True))

    def _depth(self) -> int:
        graph = self._model.graph
        weights = {each.name for each in graph.initializer if len(each.dims) > 1}
        return sum(not weights.isdisjoint(node.input) for node in graph.node)

    def _is_quantized(self) -> bool:
        from depthwise.onnx.files import is_quantized

        return is_quantized(self._model)


class TfliteFile(OnnxFile):
    """A file of TFLite, which all engines are given as the model of ONNX that we read it as."""

    def _read(self, path: Path) -> ModelProto:
        from depthwise.tflite.network import as_onnx

        return as_onnx(path)

    def _given(self, _: Path) -> bytes:
        return bytes(self._model.SerializeToString())

    def _place(self, link: Path) -> None:
        link.write_bytes(self._given(self._path))


class SavedFile(_File):
    """What `Network.save` wrote, held against the oracle's results for its steps, in float64."""

    link = network_files.SAVED

    def __init__(self, path: Path, asked: Asked) -> None:
        from depthwise.loading import load

        self._network: Network = load(path)
        ports = [Input(each.name, each.sizes, each.dtype) for each in self._network.inputs]
        super().__init__(path, ports, asked)

    def variants(self, engine: str) -> tuple[str, ...]:
        """Return the ways in which an engine runs it: ours alone."""
        return (LOADED,) if engine == OURS else ()

    def _results(self, given: Mapping[str, Array]) -> dict[str, Array]:
        program = self._network.program
        values: dict[int, Any] = {
            **dict(enumerate(given.values())), **numbered(len(given), program.constants)
        }  # fmt: skip
        try:
            for step in program.steps:
                results = computed(step, [values[n] for n in step.inputs], _by_oracle)
                values |= zip(step.outputs, results, strict=True)
        except DepthwiseError as error:
            raise ModelError(
                f"{self._path.name} is measured with images that it takes; got "
                f"{images.listed(given)}: {error}"
            ) from None
        names = [port.name for port in program.outputs]
        return {name: values[number] for name, number in zip(names, program.results, strict=True)}

    def _depth(self) -> int:
        stages = self._network.program.stages()
        return sum(len(stage.spec.parts) for stage in stages)

    def _is_quantized(self) -> bool:
        return self._network.program.is_quantized


def _by_oracle(problem: Layer, arrays: Sequence[Array]) -> Array:
    """Return what a kernel has to give, rounded to its element type."""
    return reference.forward(problem, *arrays).astype(problem.dtype_of("y"))


def _dtype(port: Any) -> str | None:
    """Return the element type of an input of ONNX Runtime's; None where it is no plain array."""
    word = port.type.removeprefix("tensor(").removesuffix(")")
    return _WORDS.get(word, word) if port.type.startswith("tensor(") else None
