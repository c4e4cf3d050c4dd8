"""What compiled CPU kernels share: how Numba compiles them, bfloat16, and a fast exponential."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
"""Sums may be reordered; NaN and infinities keep their meaning."""


def _digest_of_sources() -> str:
    """Short name of the state of this package's sources."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


_SOURCES: Final = _digest_of_sources()


def compiled(
    *, nogil: bool = False, makes_arrays: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`numba.njit` with this house's choices.

    nogil: for entries, from Python: whether they run beside it. makes_arrays: whether `np.empty`
    and the like are called. What makes no arrays counts no references to those that it is given:
    each count is a locked instruction, several for each look at a tuple of arrays.

    Sums may be reordered, so that they vectorise; division by zero is that of IEEE 754; machine
    code is kept on disk. Numba would reuse it after a change in a file that the function's own
    file calls into, so the name in the cache carries the digest of all sources.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__qualname__ = f"{function.__qualname__}_{_SOURCES}"
        compile_loop = functools.partial(
            numba.njit,
            fastmath=_FASTMATH,
            error_model="numpy",
            nogil=nogil,
            _nrt=makes_arrays,
        )
        loop: Callable[..., Any]
        try:
            loop = compile_loop(cache=True)(function)
        except RuntimeError:  # No folder can be written: compile in each process.
            loop = compile_loop()(function)
        return loop

    return decorate


def as_array(tensor: Tensor) -> NDArray[Any]:
    """A view for compiled code, which knows bfloat16 as its bits (uint16)."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _widening(typing_context: Any, number: types.Type) -> Any:
    def widen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if isinstance(number, types.Float):
            return arguments[0]
        word = builder.zext(arguments[0], ir.IntType(32))
        return builder.bitcast(builder.shl(word, ir.Constant(ir.IntType(32), 16)), ir.FloatType())

    return types.float32(number), widen


to_float: Any = intrinsic(_widening)
"""A float32 as it is, or the bits of a bfloat16 (uint16) widened to float32."""


def _bitcasting(typing_context: Any, bits: types.Type) -> Any:
    def bitcast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), bitcast


_bits_to_float: Any = intrinsic(_bitcasting)
"""The float32 that has these 32 bits."""


@compiled()
def exponential(x):  # type: ignore[no-untyped-def]
    """exp(x) in float32 for x <= 0, within 2 units in the last place; vectorises, unlike libm.

    Cephes' expf: x = n ln 2 + r, then a polynomial in r. Below -87 the answer is exp(-87).
    """
    x = max(x, np.float32(-87.0))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    polynomial = np.float32(1.9875691500e-4)
    polynomial = polynomial * r + np.float32(1.3981999507e-3)
    polynomial = polynomial * r + np.float32(8.3334519073e-3)
    polynomial = polynomial * r + np.float32(4.1665795894e-2)
    polynomial = polynomial * r + np.float32(1.6666665459e-1)
    polynomial = polynomial * r + np.float32(5.0000001201e-1)
    polynomial = polynomial * r * r + r + np.float32(1)
    return polynomial * _bits_to_float((np.int32(n) + np.int32(127)) << np.int32(23))
