"""Blocks of predicted probabilities, read as the integers that their bits spell.

For numbers >= 0 integers and floats sort alike. So a maximum needs no care for NaN and runs at the speed of memory,
float16 needs no conversion, and comparisons alone find negatives, NaN and infinities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic, overload

from assay.errors import InputError

UNLABELLED = np.iinfo(np.int64).min  # stands for the label of a row that has none; never leaves the kernels
TOLERANCE = 1e-3  # how far from 1 a row may sum

_INTEGER_OF: dict[np.dtype[Any], type[Any]] = {
    np.dtype(np.float16): np.int16,
    np.dtype(np.float32): np.int32,
    np.dtype(np.float64): np.int64,
}


@dataclass(frozen=True, slots=True)
class Rows:
    """A block of rows.

    Parameters
    ----------
    start : index of its first row in the data set.
    given : (n,) int64 given classes, `UNLABELLED` where a row has none.
    bits : (n, k) int16, int32 or int64: the probabilities' bits, in C order.
    status, gap : (n,) uint8, what the second pass found, when the block is read a third time.
    """

    start: int
    given: npt.NDArray[np.int64]
    bits: npt.NDArray[Any]
    status: npt.NDArray[np.uint8] | None = None
    gap: npt.NDArray[np.uint8] | None = None


def bits_of(probabilities: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """View `(n, k)` floats as integers of the same width; copies only what is not in C order or native bytes."""
    native = np.ascontiguousarray(probabilities, dtype=probabilities.dtype.newbyteorder("="))
    return native.view(_INTEGER_OF[native.dtype])


def floats_of(bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The floats `(n, k)` that `bits_of` viewed."""
    return bits.view({2: np.float16, 4: np.float32, 8: np.float64}[bits.itemsize])


@intrinsic  # type: ignore[untyped-decorator]
def _reinterpret(_context: Any, bits: Any) -> Any:
    """The float whose bits these are (no numeric conversion)."""
    result = {types.int32: types.float32, types.int64: types.float64}[bits]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return result(bits), generate


def _spelt(bits):  # type: ignore[no-untyped-def]  # numba wants the bare signature of its implementations
    """The number that the bits spell: int16 (half) and int32 give float32, int64 gives float64. For kernels only."""
    raise NotImplementedError("only compiled code may call this")


value: Any = _spelt


@overload(value)
def _value(bits):  # type: ignore[no-untyped-def]
    if bits != types.int16:
        return lambda bits: _reinterpret(bits)

    def half(bits):  # type: ignore[no-untyped-def]
        # Move the fraction into place and correct the exponent's bias; subnormal halves come out one power too high
        # with an implicit leading one, which the subtraction removes. No branch, so that loops stay vectorised.
        wide = np.int32(np.int32(bits) << np.int32(13))
        normal = _reinterpret(np.int32(wide + np.int32(112 << 23)))
        small = _reinterpret(np.int32(wide + np.int32(113 << 23))) - np.float32(2.0**-14)
        return small if bits < np.int16(1024) else normal

    return half


def explain(rows: Rows, at: int) -> NoReturn:
    """Raise the error of row `at` of a block."""
    given, row = int(rows.given[at]), rows.start + at
    probabilities = floats_of(rows.bits[at]).astype(np.float64)
    k = len(probabilities)
    if given != UNLABELLED and not 0 <= given < k:
        raise InputError(f"Label {given} is outside 0..{k - 1}, the columns of pred_probs.", row=row)
    if np.isnan(probabilities).any():
        raise InputError(f"pred_probs holds NaN in column {int(np.isnan(probabilities).argmax())}.", row=row)
    if (probabilities < 0).any():
        worst = int(probabilities.argmin())
        hint = "are these log-probabilities (log_probabilities=True) or logits?"
        raise InputError(f"pred_probs is negative ({probabilities[worst]:g}) in column {worst}: {hint}", row=row)
    message = f"A row of pred_probs sums to {probabilities.sum():.6g}, not to 1: divide each row by its sum."
    raise InputError(message, row=row)
