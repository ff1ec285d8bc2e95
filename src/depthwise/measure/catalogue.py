"""The engines by name: where each comes from, and what it needs.

The pins of one environment worked together on Debian 12, Python 3.11, x86-64.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

LOADED = "loaded"
"""Our way with the file of a network, beside those of `Source.networks`."""
EXACT = "exact"
"""Another engine's way with a quantized network in which no sum saturates."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own for one engine, or for engines that share one."""

    name: str
    pins: tuple[str, ...]
    check: str
    """A statement that fails where the installation does not work."""
    oldest_python: tuple[int, int] = (3, 10)
    newest_python: tuple[int, int] = (3, 99)
    """The first and the last Python for which the pins have wheels."""
    libraries: dict[str, str] = field(default_factory=dict)
    """Shared libraries that the wheels expect of the system, each with its Debian package."""
    variables: dict[str, str] = field(default_factory=dict)
    """Environment variables that its workers run with."""


@dataclass(frozen=True)
class Source:
    """Where an engine comes from."""

    name: str
    distribution: str
    """The package whose version is the engine's."""
    environment: Environment | None = None
    """Where it is installed; None where that is beside this package."""
    system_library: str | None = None
    """A shared library of the system that is used instead, where it is there (e.g. "dnnl")."""
    library: str = ""
    """The shared library in its environment that is asked for the engine's version, where that is
    another than its package's."""
    networks: tuple[str, ...] = ()
    """The variants in which it runs whole networks; () where it runs none."""
    reads_onnx: bool = False
    """Whether it reads networks from ONNX files."""
    has_exact: bool = False
    """Whether it runs them in the variant `EXACT`, too."""
    module: str = ""
    """The module of its adapter, where that is not called like the engine."""


MXNET = Environment(
    "mxnet",
    pins=("mxnet==1.9.1", "numpy==1.23.5", "requests==2.34.2", "graphviz==0.8.4"),
    check="import mxnet",
    newest_python=(3, 11),
    libraries={"libquadmath.so.0": "libquadmath0", "libgomp.so.1": "libgomp1"},
    variables={"MXNET_ENGINE_TYPE": "NaiveEngine"},
)
TENSORFLOW = Environment(
    "tensorflow",
    pins=("tensorflow-cpu==2.21.0", "ai-edge-litert==2.3.0"),
    check="import tensorflow, ai_edge_litert.interpreter",
    variables={"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""},
)
ONEDNN = Environment(
    "onednn",
    pins=("onednn-cpu-gomp==2023.2.0", "numpy>=1.26"),  # oneDNN 3.2, the last wheel with OpenMP
    check="import ctypes, sys, numpy; ctypes.CDLL(sys.prefix + '/lib/libdnnl.so.3')",
    libraries={"libgomp.so.1": "libgomp1"},
)
OPENVINO = Environment("openvino", pins=("openvino==2026.4.1",), check="import openvino")
JAX = Environment(
    "jax", pins=("jax==0.10.2", "jaxlib==0.10.2"), check="import jax", oldest_python=(3, 11)
)

SOURCES = {
    source.name: source
    for source in (
        Source("depthwise", "depthwise", networks=("optimized",), module="ours"),
        Source("tvm", "apache-tvm"),
        Source("torch", "torch", networks=("nchw", "channels_last", "compiled")),
        Source("onnxruntime", "onnxruntime", networks=("nchwc",), reads_onnx=True, has_exact=True),
        Source("mxnet", "mxnet", MXNET),
        Source("tensorflow", "tensorflow-cpu", TENSORFLOW),
        Source(
            "onednn",
            "onednn-cpu-gomp",
            ONEDNN,
            system_library="dnnl",
            library="lib/libdnnl.so.3",
        ),
        Source("openvino", "openvino", OPENVINO, networks=("nchw",), reads_onnx=True),
        Source("litert", "ai-edge-litert", TENSORFLOW),
        Source("jax", "jax", JAX),
    )
}
"""Every engine, those of the default set first."""


def onednn_version(library: ctypes.CDLL) -> tuple[int, ...]:
    """Return the version that oneDNN's library says it is; its package has another."""
    library.dnnl_version.restype = ctypes.POINTER(ctypes.c_int * 3)
    return tuple(library.dnnl_version().contents)


def adapter(name: str) -> str:
    """Return the module that has the class `Engine`, of an engine's name or of such a module's."""
    if "." in name:
        return name
    return f"depthwise.bench.peers.{SOURCES[name].module or name}"
