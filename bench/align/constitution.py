"""CoCA on digits that must not be named: the table of alpha, what the guard does to noise in the tail, and the cost."""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.align.constitution import calibrate
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.language import torch
from assay.training.deep.protocol import interval
from bench.align.digit_answers import Answerer, Digits, behaviour, trained
from bench.data import RESULTS

COMMAND = "python -m bench.align.constitution"
VERSIONS = versions_of("torch", "scikit-learn")
ALPHAS = (-1.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
NAMES = {
    "violation": "forbidden digits not refused",
    "over_refusal": "allowed digits refused",
    "accuracy": "allowed digits answered rightly",
}


def row(case: str, metric: str, values: list[float], seeds: range, **more: Any) -> ResultRow:
    told = interval(values)
    made = ResultRow(
        case,
        metric,
        told["mean"],
        "share",
        COMMAND,
        interval=(told["low"], told["high"]),
        seeds=tuple(seeds),
        versions=VERSIONS,
        **more,
    )
    print(f"{case:70s} {metric:45s} {made.ours:.4f} [{told['low']:.4f}, {told['high']:.4f}]", flush=True)
    return made


def digits(seeds: range, steps: int) -> Iterator[ResultRow]:
    """The card's table: greedy and sampled, and greedy with the guard, over models trained from several seeds."""
    models: list[tuple[Digits, Answerer]] = []
    for seed in seeds:
        data = Digits.split(seed)
        models.append((data, trained(data, seed, steps)))
    ways: dict[str, dict[str, Any]] = {
        "greedy": {},
        "greedy, plausibility 0.1": {"plausibility": 0.1},
        "sampled": {"sampled": 0},
        "sampled, plausibility 0.1": {"plausibility": 0.1, "sampled": 0},
    }
    for way, how in ways.items():
        plain = [behaviour(model, data, 0.0, **how) for data, model in models]
        for alpha in ALPHAS:
            found = [behaviour(model, data, alpha, **how) for data, model in models]
            case = f"digits, {len(seeds)} seeds, {way}, alpha {alpha:g}"
            for field, metric in NAMES.items():
                values = [float(getattr(one, field)) for one in found]
                beside = float(np.mean([getattr(one, field) for one in plain]))
                yield row(case, metric, values, seeds, rival=beside, rival_name="the principle alone, alpha 0")
            if way != "greedy":
                continue
            lost = [a.accuracy - b.accuracy for a, b in zip(plain, found, strict=True)]
            yield row(case, "accuracy lost against alpha 0, paired", [float(one) for one in lost], seeds)


def tail(rows: int, seed: int, alpha: float, plausibility: float, spread: float) -> float:
    """Share of steps at which noise of 0.5 between the branches takes the argmax to a token below one in a thousand.

    Logits of 5,000 tokens are normal with deviation `spread`; the principle changes nothing but the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    with_ = spread * torch.randn(rows, 5000, generator=generator)
    without = with_ + 0.5 * torch.randn(rows, 5000, generator=generator)
    chosen = calibrate(with_, without, alpha, plausibility).logits.argmax(1, keepdim=True)
    return float((with_.softmax(1).gather(1, chosen) < 1e-3).float().mean())


def noise(seeds: range, rows: int) -> Iterator[ResultRow]:
    for spread in (1.75, 2.5):
        for plausibility in (0.0, 0.1):
            for alpha in (0.0, 1.0, 4.0, 8.0):
                values = [tail(rows, seed, alpha, plausibility, spread) for seed in seeds]
                case = (
                    f"noise in the tail, logits' deviation {spread:g}, plausibility {plausibility:g}, alpha {alpha:g}"
                )
                yield row(case, "steps that leave the plausible tokens", values, seeds)


def _ours(with_: torch.Tensor, without: torch.Tensor) -> torch.Tensor:
    return calibrate(with_, without, 2.0).logits


def _second_logits(logits: torch.Tensor, _: object) -> torch.Tensor:
    return logits[:, None]


def cost(n: int) -> Iterator[ResultRow]:
    """What calibrating a batch of 16 rows takes for one token, beside log-softmax guidance as transformers has it."""
    from transformers import UnbatchedClassifierFreeGuidanceLogitsProcessor

    for width in (49_152, 128_256):
        with_, without = torch.randn(16, width), torch.randn(16, width)
        peer = UnbatchedClassifierFreeGuidanceLogitsProcessor(3.0, model=None)
        peer.get_unconditional_logits = partial(_second_logits, without)
        runs: list[Callable[[], torch.Tensor]] = [
            partial(_ours, with_, without),
            partial(peer, None, with_),
        ]
        torch.testing.assert_close(*(run().log_softmax(1) for run in runs), atol=1e-3, rtol=1e-3)
        times: npt.NDArray[np.float64] = np.full((2, n), np.inf)
        for turn in range(n):
            for at, run in enumerate(runs):
                start = time.process_time()
                run()
                times[at, turn] = time.process_time() - start
        ours, rival = times.min(1) * 1e3
        yield ResultRow(
            f"16 rows, {width:,} tokens",
            "calibrating one step",
            float(ours),
            "cpu ms",
            COMMAND,
            rival=float(rival),
            rival_name="guidance of transformers, without its forward pass",
            versions=VERSIONS,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    small = parser.parse_args().scale == "small"
    torch.set_num_threads(1)
    made = [*cost(5 if small else 30), *noise(range(2 if small else 5), 50 if small else 400)]
    made += digits(range(1 if small else 5), 100 if small else 1200)
    write_results(RESULTS / "align" / "constitution.json", made)


if __name__ == "__main__":
    main()
