"""Random numbers for language models that do not depend on the device, the batch or the order in which they are drawn.

A number is a hash of a key and of counters (a row, a step, token ids): see `assay.kernels.keyed_hash` for the hash and
its bits, which are the same here. Marks draw from a key that is secret, sampling from one that is not; `separate` makes
keys whose streams never meet, so that a mark's draws and a sampler's draws are independent.
"""

from __future__ import annotations

import hashlib
from functools import reduce

from assay.kernels.keyed_hash import UNIT, absorb, key_state
from assay.language import Tensor, torch


def separate(seed: int, name: str) -> int:
    """A key of 64 bits for the stream `name` of `seed`; different names or seeds give unrelated streams.

    >>> separate(0, "sampling") == separate(0, "sampling"), separate(0, "sampling") == separate(0, "mark")
    (True, False)
    """
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8, person=b"assay")
    return int.from_bytes(digest.digest(), "little")


def mix32(key: int, *counters: int | Tensor) -> Tensor:
    """Uniform integers 0..2^32-1 as int64, of the broadcast shape of the counters: integers and int64 tensors.

    They lie on the device of the counters. Low 32 bits of a counter count; negative ones wrap.

    >>> mix32(1, 2, torch.arange(4)).tolist()[3]
    1017498323
    """
    wide = (counter.to(torch.int64) if isinstance(counter, Tensor) else counter for counter in counters)
    return torch.as_tensor(reduce(absorb, wide, key_state(key)))


def uniform(key: int, *counters: int | Tensor) -> Tensor:
    """Uniform float64 numbers in (0, 1), `(mix32 + 1/2) 2^-32`: equal bits wherever they are drawn."""
    return (mix32(key, *counters).to(torch.float64) + 0.5) * UNIT


def gumbel(key: int, *counters: int | Tensor) -> Tensor:
    """Standard Gumbel float64 numbers, `-log(-log u)`, below 23; its last bit may differ by device."""
    return -torch.log(-torch.log(uniform(key, *counters)))


def states(key: int, tokens: Tensor) -> Tensor:
    """State after the last axis of `tokens` (..., h) was absorbed, (...,) int64: what `mix32(key, *tokens)` is."""
    state = torch.full(tokens.shape[:-1], key_state(key), dtype=torch.int64, device=tokens.device)
    return reduce(absorb, tokens.to(torch.int64).unbind(-1), state)
