"""Small C functions that printed machine functions call, and the C names of element types."""

from __future__ import annotations

from collections.abc import Mapping

C_TYPES = {
    "bool": "int", "float32": "float", "float64": "double",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
"""By TensorIR's name."""
_LITTLE_ENDIAN = """\
#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__)
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "packed weights are of a machine whose bytes are in little-endian order"
#endif
#endif
"""
_UNROLL = """\
#if defined(__GNUC__) && __GNUC__ >= 8 && !defined(__clang__) && !defined(__OPTIMIZE_SIZE__)
#define DW_UNROLL _Pragma("GCC unroll 16")
#else
#define DW_UNROLL
#endif
"""
_CHOICE = """\
static inline {type} dw_{name}_{dtype}({type} a, {type} b) {{
  return a {sign} b ? a : b;
}}
"""
_LOAD = """\
static inline {type} dw_load_{dtype}(const void *at) {{
  {type} value;
  memcpy(&value, at, sizeof value);
  return value;
}}
"""
_BITS = """\
static inline {type} dw_{name}({given} bits) {{
  {type} value;
  memcpy(&value, &bits, sizeof value);
  return value;
}}
"""
_ROUND = """\
/* The nearest whole number, the even one of two, of a number between -2^22 and 2^22: added to
   1.5 * 2^23, whose neighbours are 1 apart. */
static inline int32_t dw_round(float value) {
  const float moved = value + 12582912.0f;
  uint32_t bits;
  memcpy(&bits, &moved, sizeof bits);
  return (int32_t)(bits - 0x4B400000u);
}
"""
_FMA = """\
/* a * b + c, rounded once.  In double precision the product is exact.  Where the sum is not, its
   last bit becomes odd, so that it lies between the same two floats, and no tie, as the true sum
   (Boldo and Melquiond, "Emulation of FMA and Correctly Rounded Sums", 2008). */
static inline float dw_fma(float a, float b, float c) {
#ifdef __FP_FAST_FMAF
  return __builtin_fmaf(a, b, c);
#else
  const double product = (double)a * (double)b;
  const double addend = (double)c;
  double sum = product + addend;
  const double part = sum - product;
  const double error = (product - (sum - part)) + (addend - part);
  uint64_t bits;
  memcpy(&bits, &sum, sizeof bits);
  if ((error > 0.0 || error < 0.0) && (bits & 1u) == 0u) {
    bits = (error > 0.0) == (sum > 0.0) ? bits + 1u : bits - 1u;
    memcpy(&sum, &bits, sizeof sum);
  }
  return (float)sum;
#endif
}
"""


def _helpers() -> dict[str, str]:
    found = {
        "dw_little_endian": _LITTLE_ENDIAN,
        "dw_unroll": _UNROLL,
        "dw_round": _ROUND,
        "dw_fma": _FMA,
    }
    for dtype, c_type in C_TYPES.items():
        if dtype == "bool":
            continue
        for name, sign in (("min", "<"), ("max", ">")):
            text = _CHOICE.format(type=c_type, name=name, dtype=dtype, sign=sign)
            found[f"dw_{name}_{dtype}"] = text
        found[f"dw_load_{dtype}"] = _LOAD.format(type=c_type, dtype=dtype)
    for real, bits in (("float32", "int32"), ("float64", "int64")):
        for given, wanted in ((real, bits), (bits, real)):
            name = f"{wanted}_of_{given}"
            text = _BITS.format(type=C_TYPES[wanted], name=name, given=C_TYPES[given])
            found[f"dw_{name}"] = text
    return found


HELPERS: Mapping[str, str] = _helpers()
"""C text by name; none calls another."""
