"""The report of `assay align cost`: what a mark does to a model's answers, and what resampling gives back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from assay.evidence.figures import Figure
from assay.evidence.mark_cost import Cost, Side
from assay.evidence.mark_report import settings
from assay.evidence.page import write_report
from assay.evidence.report import Column, Fact, Grid, Prose, Report, Section
from assay.evidence.results import versions_of
from assay.evidence.shown import number, short
from assay.kernels.best_of import break_even, expected_maximum, gain_bound, normal_break_even
from assay.kernels.intervals import bootstrap, wilson
from assay.labels.formats import files
from assay.language.degradation import Shift

LEVEL = 0.01
LISTED = 10
Triple = tuple[float, float, float]


def save(found: Cost, folder: Path, provenance: dict[str, object]) -> Path:
    """Write `answers.jsonl` (all candidates) and the report into `folder`; returns the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, side in (("plain", found.plain), ("marked", found.marked)):
        kept = side.resampled.chosen
        for row, texts in enumerate(side.texts):
            for sample, text in enumerate(texts):
                line: dict[str, Any] = {"row": row, "side": name, "sample": sample, "answer": text}
                line |= {"reward": side.rewards[row, sample], "p_value": side.p_values[row, sample]}
                line |= {"refused": bool(side.refused[row, sample]), "kept": bool(kept[row] == sample)}
                lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    files.write_bytes(folder / "answers.jsonl", "".join(lines).encode("utf-8", errors="replace"))
    return write_report(build(found, provenance), folder)


def build(found: Cost, provenance: dict[str, object]) -> Report:
    """The report."""
    return Report(
        title=f"What the mark costs on {found.prompts.path.name}",
        verdict=verdict(found),
        facts=facts(found),
        sections=(shifts(found), curve(found), behaviour(found), detection(found), answers(found)),
        warnings=warnings(found),
        provenance={
            "verb": "cost",
            "source": found.prompts.path.name,
            "sha256": found.prompts.digest,
            "prompts": len(found.prompts.texts),
            "reward": found.told,
            **settings(found.mark),
            "versions": versions_of("assay", "torch", "transformers"),
            **provenance,
        },
        numbers=numbers(found),
    )


def sizes(side: Side) -> list[int]:
    """1, 2, 4... up to the answers a prompt."""
    most = side.rewards.shape[1]
    return [size for size in (1, 2, 4, 8, 16, 32, 64) if size <= most]


def restored(found: Cost) -> int | None:
    """The fewest marked answers whose best is worth as much as one plain answer; None where none of the sizes is."""
    return next((n for n in sizes(found.marked) if found.marked.best(n).mean() >= found.plain.best(1).mean()), None)


def verdict(found: Cost) -> str:
    """The finding in a sentence."""
    change = found.reward
    shown = "lowers" if change.high < 0 else "raises" if change.low > 0 else "does not measurably change"
    enough = restored(found)
    back = (
        "no best of those drawn makes up for it"
        if enough is None
        else "one marked answer is worth as much as a plain one"
        if enough == 1
        else f"the best of {enough} marked answers makes up for it"
    )
    return f"The mark {shown} the mean reward ({number(change.change)} standard deviations); {back}."


def facts(found: Cost) -> tuple[Fact, ...]:
    """The numbers that matter."""
    p = found.marked.p_values
    kept = p[np.arange(len(p)), found.marked.resampled.chosen]
    n = sizes(found.marked)[-1]
    return (
        Fact("Change of reward", found.reward.change, _bounds(found.reward), "sd", "one marked answer, less one plain"),
        Fact(f"Best of {n} marked, less one plain", *gain(found, found.marked, n), "sd", "alignment resampling"),
        Fact(f"Best of {n} plain, less one plain", *gain(found, found.plain, n), "sd", "what choosing alone gains"),
        Fact("Kept answers found", *_share(kept < LEVEL), "%", f"at p < {LEVEL:g}"),
        Fact("Pattern", found.pattern, None, "", "of refusals, by intervals"),
    )


def gain(found: Cost, side: Side, n: int) -> tuple[float, tuple[float, float]]:
    """Reward of the best of `n` of a side, less one plain answer, and its interval over prompts."""
    change = side.best(n) - found.plain.best(1)
    return float(change.mean()), bootstrap(lambda rows: float(rows.mean()), change)


def shifts(found: Cost) -> Section:
    """Paired changes."""
    named: list[tuple[str, Shift | None]] = [
        ("reward (sd)", found.reward),
        ("reward at equal perplexity (sd)", found.at_equal_perplexity),
        ("log-perplexity (nats a token)", found.log_perplexity),
        ("harmful requests complied with", found.unsafe),
        ("harmless requests refused", found.refused),
    ]
    rows: list[Any] = [
        (name, one.before, one.after, (one.change, one.low, one.high)) for name, one in named if one is not None
    ]
    columns = tuple(map(Column, ("of an answer", "plain", "marked", "change")))
    note = "Intervals are a bootstrap over prompts, each with all its answers. At equal perplexity: the part of the "
    note += "change of reward that a change of fluency does not explain."
    return Section("What the mark changes", "Paired over prompts.", (Grid("Changes", columns, tuple(rows), note),))


def curve(found: Cost) -> Section:
    """The best of n, on both sides, beside the theorem."""
    at, sigma = sizes(found.marked), found.marked.resampled.sigma
    plain = float(found.plain.best(1).mean())
    drop = plain - float(found.marked.best(1).mean())
    rows: list[Any] = []
    for n in at:
        ours, theirs = gain(found, found.marked, n), gain(found, found.plain, n)
        promised, normal = gain_bound(n) * sigma - drop, expected_maximum(n) * sigma - drop
        rows.append((n, (ours[0], *ours[1]), promised, normal, (theirs[0], *theirs[1])))
    columns = tuple(map(Column, ("n", "best of n marked", "theorem, at least", "if normal", "best of n plain")))
    note = (
        f"Rewards less that of one plain answer. Within a prompt, marked answers have a standard deviation of "
        f"{number(sigma)}. Answers needed to make up for the mark: {_count(break_even(drop, sigma))} by the theorem, "
        f"{_count(normal_break_even(drop, sigma))} if rewards are normal."
    )
    blocks: list[Any] = [Grid("The best of n", columns, tuple(rows), note)]
    if len(at) > 1:
        series = [
            {"name": name, "y": [row[place][0] for row in rows], "low": [row[place][1] for row in rows],
             "high": [row[place][2] for row in rows]}
            for name, place in (("marked", 1), ("plain", 4))
        ]  # fmt: skip
        data = {
            "x": at, "series": series, "x_label": "answers drawn for each prompt", "x_unit": "",
            "y_label": "Reward, less one plain answer (sd)", "y_unit": "", "vertical": [],
            "horizontal": [{"y": 0.0, "label": "one plain answer"}],
        }  # fmt: skip
        blocks.append(Figure("lines", "Reward of the best of n", data))
    lead = "Choosing gains for plain answers too: compare with both."
    return Section("What resampling gives back", lead, tuple(blocks))


def behaviour(found: Cost) -> Section:
    """The three shares of each side, with one answer and with resampling."""
    sides = (("plain", found.plain), ("marked", found.marked))
    rows: tuple[Any, ...] = tuple((name, *found.shares(side).values()) for name, side in sides)
    columns = (Column("answers"), Column("unsafe", "%"), Column("over-refused", "%"), Column("neither", "%"))
    known = found.prompts.harmful is not None
    note = (
        "Unsafe: a harmful request that was complied with. Over-refused: a harmless one that was refused."
        if known
        else "No column says which prompts ask for harm: every refusal counts as one too many, and none as unsafe."
    )
    return Section("Refusals", f"Pattern: {found.pattern}.", (Grid("Shares of all answers", columns, rows, note),))


def detection(found: Cost) -> Section:
    """Whether the mark is found, in first and in kept answers, and in plain ones."""
    p, kept = found.marked.p_values, found.marked.resampled.chosen
    groups = (
        ("marked, first answer", p[:, 0]),
        ("marked, kept answer", p[np.arange(len(p)), kept]),
        ("plain (false positives)", found.plain.p_values.ravel()),
    )
    rows = tuple((name, len(one), _triple(one < LEVEL), float(np.median(one))) for name, one in groups)
    columns = (Column("answers"), Column("number"), Column(f"p < {LEVEL:g}", "%"), Column("median p-value"))
    return Section("Detection", "Choosing must not hide the mark.", (Grid("Found", columns, rows),))


def answers(found: Cost) -> Section:
    """A few prompts with what a plain answer says and what resampling keeps."""
    kept = found.marked.resampled.texts
    told = zip(found.prompts.texts, found.plain.texts, kept, strict=True)
    rows = tuple((short(prompt, 120), short(plain[0], 200), short(best, 200)) for prompt, plain, best in told)[:LISTED]
    columns = tuple(map(Column, ("prompt", "a plain answer", "the marked answer that is kept")))
    note = f"The first {len(rows)} of {len(kept):,} prompts; all answers stand in answers.jsonl."
    return Section("Answers", "Read some.", (Grid("Answers", columns, rows, note), Prose(f"Reward: {found.told}.")))


def warnings(found: Cost) -> tuple[str, ...]:
    """What makes the numbers doubtful."""
    said = []
    if len(found.prompts.texts) < 100:
        said.append(f"{len(found.prompts.texts)} prompts: intervals are wide, and a small shift is not seen.")
    if found.marked.resampled.sigma == 0:
        said.append("All marked answers to a prompt are alike, with nothing to choose from: take the scheme 'gumbel'.")
    if found.prompts.harmful is None:
        said.append("Name a column of harmful prompts with --harmful: without it, attenuation cannot be seen.")
    return tuple(said)


def numbers(found: Cost) -> dict[str, Any]:
    """The numbers of the run, for machines."""
    shifted = {
        "reward": found.reward,
        "reward_at_equal_perplexity": found.at_equal_perplexity,
        "log_perplexity": found.log_perplexity,
        "unsafe": found.unsafe,
        "over_refused": found.refused,
    }
    return {
        "prompts": len(found.prompts.texts),
        "mark": settings(found.mark),
        "shifts": {name: None if one is None else one._asdict() for name, one in shifted.items()},
        "pattern": found.pattern,
        "best_of": {
            str(n): {"marked": gain(found, found.marked, n), "plain": gain(found, found.plain, n)}
            for n in sizes(found.marked)
        },
        "restored_by": restored(found),
        "sigma": found.marked.resampled.sigma,
        "shares": {"plain": found.shares(found.plain), "marked": found.shares(found.marked)},
    }


def summary(found: Cost) -> str:
    """The finding for a terminal."""
    lines = [verdict(found)]
    for fact in facts(found):
        value = fact.value if isinstance(fact.value, str) else number(fact.value, fact.unit, fact.interval)
        lines.append(f"  {fact.label:<34} {value}   {fact.note}")
    return "\n".join([*lines, *(f"Note: {said}" for said in warnings(found))])


def _bounds(one: Shift) -> tuple[float, float]:
    return one.low, one.high


def _triple(hits: Any) -> Triple:
    low, high = wilson(int(hits.sum()), len(hits))
    return float(hits.mean()), float(low), float(high)


def _share(hits: Any) -> tuple[float, tuple[float, float]]:
    value, low, high = _triple(hits)
    return value, (low, high)


def _count(size: float) -> str:
    return "no number suffices" if np.isinf(size) else f"{size:,.0f}"
