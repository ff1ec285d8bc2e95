"""Devices that code is made for elsewhere, by name, each with its own limits.

Caches are about those of common chips with such a core: a core's share where several have one.
Microcontrollers without caches have memory that is as near as one, but little of it.
"""

from __future__ import annotations

import platform
from typing import Any

_KIB = 2**10


def _device(
    name: str, cpu: str, isa: str, triple: str, **limits: Any
) -> tuple[str, dict[str, Any]]:
    architecture = triple.partition("-")[0]
    missing = () if name == platform.machine() else (architecture or "a compiler of C",)
    own = {"cpu": cpu, "isa": isa, "missing": missing, "triple": triple, "device": name}
    return name, own | limits


def _sizes(first: int, private: int, shared: int, line: int = 64) -> dict[str, Any]:
    """Return caches in KiB, and the bytes of a line."""
    return {
        "first_cache_bytes": first * _KIB,
        "private_cache_bytes": private * _KIB,
        "shared_cache_bytes": shared * _KIB,
        "line_bytes": line,
    }


_LITTLE: dict[str, Any] = {"work_bytes": 2 * _KIB}
_NO_CACHE: dict[str, Any] = {**_sizes(64, 1024, 1024, 32), **_LITTLE}
_X86, _ARM, _RISC_V = (
    f"{architecture}-unknown-linux-gnu" for architecture in ("x86_64", "aarch64", "riscv64")
)

DEVICES: dict[str, dict[str, Any]] = dict(
    (
        _device("x86-64", "x86-64", "sse", _X86),
        _device("x86-64-v2", "x86-64-v2", "sse", _X86),
        _device("x86-64-v3", "x86-64-v3", "avx2", _X86, dots="pairs", table_bytes=16),
        _device("x86-64-v4", "x86-64-v4", "avx512", _X86, dots="pairs", table_bytes=16),
        _device("aarch64", "generic", "neon", _ARM, **_sizes(32, 256, 1024)),
        _device("cortex-a53", "cortex-a53", "neon", _ARM, **_sizes(32, 128, 512)),
        _device("cortex-a72", "cortex-a72", "neon", _ARM, **_sizes(32, 256, 1024)),
        _device(
            "cortex-a76", "cortex-a76", "neon", _ARM, dots="signed quads", **_sizes(64, 512, 2048)
        ),
        _device(
            "armv7", "cortex-a7", "neon of 32 bits", "armv7-unknown-linux-gnueabihf",
            features=("+neon",), float_abi="hard", **_sizes(32, 128, 512),
        ),
        _device("cortex-m0plus", "cortex-m0plus", "scalar", "thumbv6m-unknown-none-eabi",
                float_abi="soft", **_NO_CACHE),
        _device("cortex-m4f", "cortex-m4", "scalar", "thumbv7em-unknown-none-eabihf",
                features=("+vfp4d16sp",), float_abi="hard", dots="words", **_NO_CACHE),
        _device("cortex-m7", "cortex-m7", "scalar", "thumbv7em-unknown-none-eabihf",
                features=("+fp-armv8d16sp",), float_abi="hard", dots="words",
                **_sizes(16, 512, 512, 32), **_LITTLE),
        _device("cortex-m55", "cortex-m55", "scalar", "thumbv8.1m.main-unknown-none-eabihf",
                float_abi="hard", dots="words", **_sizes(32, 1024, 1024, 32), **_LITTLE),
        _device("riscv64", "generic-rv64", "scalar", _RISC_V,
                features=("+m", "+a", "+f", "+d", "+c"), **_sizes(32, 256, 2048)),
        _device("riscv64-v", "generic-rv64", "rvv", _RISC_V,
                features=("+m", "+a", "+f", "+d", "+c", "+zve64d", "+zvl128b"),
                **_sizes(32, 256, 512)),
        _device("wasm32", "generic", "simd128", "wasm32-unknown-unknown", features=("+simd128",)),
        _device("c", "c", "scalar", "", **_sizes(16, 256, 1024), **_LITTLE),
    )
)  # fmt: skip
"""What a target has, by the name that `target.named` takes."""
