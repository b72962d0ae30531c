"""A small trained model that copies values of keys out of documents, for which the needed sources are known.

Two layers of attention over lines "key: value" and one token a queried key, trained on random keys and values until it
copies; where no line holds the key it says so. It is an answerer of information flow.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.labels.flow import Generated
from assay.language import Tensor, functional, nn, torch

N_KEYS = 40
N_VALUES = 26
UNKNOWN = N_VALUES  # the value said where no line holds the key
LINES = 24

Document = tuple[tuple[int, int], ...]  # its lines: key, value


class Copier(nn.Module):  # type: ignore[misc]
    """Queried keys (b, q) and lines (b, t, 2) with a mask (b, t) to log-probabilities (b, q, values + 1)."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.keys, self.values = nn.Embedding(N_KEYS, width), nn.Embedding(N_VALUES, width)
        self.asked = nn.Parameter(torch.zeros(width))
        self.mix = nn.ModuleList(nn.MultiheadAttention(width, 2, batch_first=True) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.feed = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(2)
        )
        self.head = nn.Linear(width, N_VALUES + 1)

    def forward(self, query: Tensor, lines: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities, and how much the last layer looks at each line (b, q, t)."""
        n = query.shape[1]
        x = torch.cat([self.keys(query) + self.asked, self.keys(lines[..., 0]) + self.values(lines[..., 1])], dim=1)
        hidden = torch.cat([torch.zeros_like(query, dtype=torch.bool), ~mask], dim=1)
        for at, (mix, feed) in enumerate(zip(self.mix, self.feed, strict=True)):
            normal = self.norm[2 * at](x)
            mixed, looks = mix(normal, normal, normal, key_padding_mask=hidden)
            x = x + mixed
            x = x + feed(self.norm[2 * at + 1](x))
        return self.head(x[:, :n]).log_softmax(-1), looks[:, :n, n:]


def trained(seed: int, steps: int) -> Copier:
    """A copier after so many batches of 128 random questions."""
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), Copier()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 50) * min(1.0, (steps - step) / (0.3 * steps))
        b = 128
        keys = rng.permuted(np.tile(np.arange(N_KEYS), (b, 1)), axis=1)[:, :LINES]
        values = rng.integers(0, N_VALUES, (b, LINES))
        mask = rng.random((b, LINES)) < rng.random((b, 1))
        places = rng.integers(0, LINES, (b, 2))
        rows = np.arange(b)[:, None]
        said = np.where(mask[rows, places], values[rows, places], UNKNOWN)
        lines = torch.from_numpy(np.stack([keys, values], axis=-1))
        log_p, _ = model(torch.from_numpy(keys[rows, places]), lines, torch.from_numpy(mask))
        loss = functional.nll_loss(log_p.flatten(0, 1), torch.from_numpy(said).flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    return model


class CopierAnswers:
    """The copier as an answerer: a query is keys, an item a document; a token is a value."""

    def __init__(self, model: Copier) -> None:
        self.model = model

    def _run(self, query: Sequence[int], contexts: Sequence[Sequence[Document]]) -> tuple[Tensor, Tensor]:
        flat = [[line for document in context for line in document] for context in contexts]
        width = max(1, *map(len, flat))
        lines = torch.tensor([[*some, *[(0, 0)] * (width - len(some))] for some in flat])
        mask = torch.tensor([[at < len(some) for at in range(width)] for some in flat])
        with torch.inference_mode():
            log_p, looks = self.model(torch.tensor([list(query)] * len(flat)), lines.reshape(len(flat), width, 2), mask)
        return log_p, looks

    def generate(self, query: Sequence[int], items: Sequence[Document]) -> Generated:
        """The likeliest values."""
        tokens = self._run(query, [items])[0][0].argmax(-1).tolist()
        return Generated(" ".join(map(str, tokens)), tuple(tokens))

    def score(
        self, query: Sequence[int], items: Sequence[Document], subsets: Sequence[Sequence[int]], answer: Generated
    ) -> npt.NDArray[np.float64]:
        """Mean log-likelihood of the values."""
        log_p, _ = self._run(query, [[items[at] for at in subset] for subset in subsets])
        said = torch.tensor([answer.tokens] * len(subsets))
        return np.asarray(log_p.gather(2, said[..., None]).squeeze(2).mean(1), dtype=np.float64)

    def looked_at(self, query: Sequence[int], items: Sequence[Document]) -> tuple[int, ...]:
        """For each queried key the document that the last layer looks at most: what the model itself would name."""
        looks = self._run(query, [items])[1][0]
        owner = [at for at, document in enumerate(items) for _ in document]
        return tuple(sorted({owner[int(look[: len(owner)].argmax())] for look in looks}))


@dataclass(frozen=True)
class Known:
    """A question whose needed sources are known: `needed` are the minimal sets of positions that hold all keys."""

    query: tuple[int, ...]
    items: list[Document]
    needed: list[tuple[int, ...]]


def question(rng: np.random.Generator, n: int, copies: int = 1) -> Known:
    """Two keys from `n` documents of one to three lines, each key in `copies` documents."""
    keys = rng.permutation(N_KEYS)
    sizes = rng.integers(1, 3, n)
    starts = np.cumsum(sizes) - sizes
    held = [
        [(int(key), int(rng.integers(N_VALUES))) for key in keys[a : a + s]] for a, s in zip(starts, sizes, strict=True)
    ]
    lines = [line for document in held for line in document]
    asked = [lines[at] for at in rng.choice(len(lines), 2, replace=False)]
    for line in asked:
        free = [at for at in range(n) if line not in held[at]]
        for at in rng.choice(free, copies - 1, replace=False):
            held[int(at)].append(line)
    holders = [[at for at in range(n) if line in held[at]] for line in asked]
    sets = {frozenset(chosen) for chosen in itertools.product(*holders)}
    needed = sorted(tuple(sorted(one)) for one in sets if not any(other < one for other in sets))
    return Known(tuple(key for key, _ in asked), [tuple(document) for document in held], needed)
