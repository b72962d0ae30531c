"""The report of `assay align sparse-po`: what the model learned, which tokens counted, which labels to doubt."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import InputError
from assay.evidence import plots
from assay.evidence.audit_files import as_csv
from assay.evidence.page import write_report
from assay.evidence.report import Column, Command, Fact, Grid, Prose, Report, Section, TokenText
from assay.evidence.result_folder import check_place, check_results
from assay.evidence.results import versions_of
from assay.evidence.shown import number, short
from assay.evidence.sparse_po_run import SHOWN, Aligned
from assay.evidence.token_text import LONGEST, Passage, Passages, merged
from assay.labels.formats import files

LISTED = 20
TITLES = {
    "common": "SparsePO, one learned mask",
    "independent": "SparsePO, two learned masks",
    "mapo": "MaPO, weights from activations",
    "ones": "TDPO1, all tokens alike",
    "tdpo2": "TDPO2, all tokens alike",
    "none": "DPO, all tokens alike and no KL term",
}


def check_folder(folder: Path, source: Path) -> None:
    """Raise unless results can be written to `folder`, over nothing else."""
    check_place(folder)
    check_results(folder, "sparse-po")
    if source.exists() and source.resolve().parent == folder.resolve():
        raise InputError(f"{source} lies in the folder for the results: name another with --out.")


def save(found: Aligned, folder: Path, command: str) -> Path:
    """Write the model, `evidence.csv` and the report into `folder`; returns the path of the page."""
    check_folder(folder, found.path)
    folder.mkdir(parents=True, exist_ok=True)
    if found.model is not None:
        found.model.save(folder / "model", merged=found.options.merged)
    files.write_bytes(folder / "evidence.csv", as_csv(columns(found)))
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return write_report(build(found, {"command": command, "time": time}), folder)


def columns(found: Aligned) -> dict[str, Any]:
    """A row a pair, those first whose label is doubted most; empty where a number is not known."""
    order = found.doubted()
    told: dict[str, Any] = {"row": order}
    if found.audit is not None:
        known = np.isfinite(found.audit.p_flipped_[order])
        for name, values in (("p_flipped", found.audit.p_flipped_), ("audit_margin", found.audit.margin_)):
            told[name] = [value if there else "" for value, there in zip(values[order].tolist(), known, strict=True)]
    if found.evidence is not None:
        place = {int(row): at for at, row in enumerate(found.evidence["row"])}
        for name, values in found.evidence.items():
            if name != "row":
                cells = values.tolist()
                told[name] = [cells[place[row]] if row in place else "" for row in order.tolist()]
    for name in ("prompt", "chosen", "rejected"):
        told[name] = [found.text(row, name) for row in order.tolist()]
    return told


def numbers(found: Aligned) -> dict[str, Any]:
    """The numbers of the run, for machines."""
    told: dict[str, Any] = {"pairs": len(found.pairs), "mask": found.options.mask, "beta": found.options.beta}
    if found.audit is not None:
        told["audit"] = {"agreement": found.audit.accuracy_, "interval": list(found.audit.interval_),
                         "doubted": int((found.audit.margin_ < 0).sum())}  # fmt: skip
    if found.model is not None and found.evidence is not None:
        told["dropped"] = {why: len(rows) for why, rows in found.model.pairs_.dropped.items()}
        told["accuracy"] = {"trained": found.accuracy(False), "held_out": found.accuracy(True)}
        told |= {name: _mean(found, name) for name in ("mask", "zeros", "kl_mask", "kl_zeros", "kl", "masked_kl")}
        told["mask"], told["mean_mask"] = found.options.mask, told["mask"]
        told["loss"] = [entry["loss"] for entry in found.model.run_.history]
    return told


def _mean(found: Aligned, name: str) -> float:
    """Mean over both answers of all pairs; of masks and zeros over their tokens."""
    assert found.evidence is not None
    both = np.concatenate([found.evidence[f"{name}_{answer}"] for answer in ("chosen", "rejected")])
    tokens = np.concatenate([found.evidence[f"tokens_{answer}"] for answer in ("chosen", "rejected")])
    return float(np.average(both, weights=None if name.endswith("kl") else tokens))


def verdict(found: Aligned) -> str:
    """The finding in a sentence."""
    parts = []
    for held, words in ((True, "held-out pairs"), (False, "pairs trained on")):
        told = found.accuracy(held)
        if told is not None:
            parts.append(f"ranks {number(told[0], '%', told[1:3])} of {told[3]:,} {words} as people did")
            break
    start = f"The model {parts[0]}; the" if parts else "The"
    if found.audit is None:
        return f"{start} labels were too few to be doubted."
    doubted = int((found.audit.margin_ < 0).sum())
    return f"{start} labels look flipped in {doubted:,} of {len(found.pairs):,} pairs to a simple reward."


def build(found: Aligned, provenance: dict[str, object]) -> Report:
    """The report of a run."""
    told = numbers(found)
    facts = []
    for held, label in ((True, "Held-out pairs ranked as given"), (False, "Trained pairs ranked as given")):
        share = found.accuracy(held)
        if share is not None:
            facts.append(Fact(label, share[0], share[1:3], "%", f"{share[3]:,} pairs, by the loss's own rewards"))
    if found.model is not None:
        note = f"{number(told['masked_kl'])} after masking; from the reference, over an answer"
        facts += [
            Fact("KL", round(told["kl"], 3), None, "nats", note),
            Fact(
                "Mean reward mask", round(told["mean_mask"], 3), None, "", f"{number(told['zeros'], '%')} exact zeros"
            ),
        ]
    if found.audit is not None:
        note = "by a reward of the other pairs' words; it is where to look, no verdict"
        facts.append(Fact("Held-out agreement of the audit", found.audit.accuracy_, found.audit.interval_, "%", note))
    sections = (tokens_section(found), doubts_section(found), left_out(found))
    again = ["assay", "align", "sparse-po", str(found.path)]
    other = "none" if found.options.mask != "none" else "common"
    return Report(
        title=f"Preferences of {found.path.name}",
        verdict=verdict(found),
        facts=tuple(facts),
        sections=tuple(section for section in sections if section is not None),
        commands=(
            Command(shlex.join([*again, "--labels-only"]), "Look at the labels again, after repairing some."),
            Command(shlex.join([*again, "--mask", other]), f"Compare with {TITLES[other]}."),
        ),
        warnings=warnings(found, told),
        provenance={
            "verb": "sparse-po",
            "source": found.path.name,
            "sha256": found.digest,
            "pairs": len(found.pairs),
            "model": found.options.model,
            "method": TITLES[found.options.mask],
            "beta": found.options.beta,
            "seed": found.options.seed,
            "versions": versions_of("assay", "torch", "transformers"),
            **provenance,
        },
        numbers=told,
    )


def warnings(found: Aligned, told: dict[str, Any]) -> tuple[str, ...]:
    """What makes the numbers doubtful."""
    said = []
    if found.audit is not None and found.audit.interval_[0] <= 0.5:
        said.append("The audit of the labels agrees with them no better than a coin: its list means nothing.")
    if found.model is not None:
        if found.accuracy(True) is None:
            said.append("No pairs were held out: the share ranked as given is that of pairs the model was trained on.")
        if told["zeros"] > 0.99:
            said.append("The reward mask is zero nearly everywhere: the training had next to nothing to learn from.")
        if found.options.mask in ("common", "independent") and told["mean_mask"] > 3:
            said.append(
                f"The reward mask has grown to a mean of {number(told['mean_mask'])}, which acts like that many times "
                "beta: compare at equal KL, or set --clamp or --l1."
            )
    return tuple(said)


def tokens_section(found: Aligned) -> Section | None:
    """Some pairs with their tokens coloured by the masks."""
    if found.model is None or found.options.mask not in ("common", "independent", "mapo"):
        return None
    model, pairs = found.model, found.held if found.held is not None else found.model.pairs_
    some = pairs.take(np.arange(min(SHOWN, len(pairs))))
    two = found.options.mask == "independent"
    groups = []
    for rows, tokens in model.told(some):
        for within, at in enumerate(rows.tolist()):
            passages = []
            for place, (label, ids) in enumerate((("chosen", some.chosen[at]), ("rejected", some.rejected[at]))):
                line = 2 * within + place
                seen = tokens.answer[line]
                weights = [mask[line][seen].tolist() for mask in (tokens.reward_mask, tokens.kl_mask)]
                ids = ids[-len(weights[0]) :][:LONGEST]
                pieces, both = merged(model.lm_.tokenizer.decode, ids, *(each[:LONGEST] for each in weights))
                passages.append(Passage(label, pieces, both[0], both[1] if two else ()))
            row = int(some.rows[at])
            margin = model.beta * float(np.subtract(*model.objective_.weighing.scores(tokens)[within].tolist()))
            prompt = found.text(row, "prompt")[-200:]
            note = f"Ranked {'as given' if margin > 0 else 'the other way'} by a margin of {number(abs(margin))}."
            groups.append(Passages(f"row {row}: {prompt}", note, tuple(passages)))
    block = TokenText(
        f"Tokens of {len(groups)} {'held-out ' if found.held is not None else ''}pairs",
        tuple(groups),
        "weight in the reward",
        "weight in the KL term" if two else "",
        note="The stronger the colour, the more the token counts. A weight is set by what stands before the token.",
    )
    return Section("Which tokens counted", "The masks on whole answers.", (block,))


def doubts_section(found: Aligned) -> Section | None:
    """Pairs whose label is doubted most."""
    if found.audit is None:
        return None
    p = found.audit.p_flipped_
    rows = [row for row in found.doubted()[:LISTED].tolist() if np.isfinite(p[row])]
    parts = ("prompt", "chosen", "rejected")
    table = tuple((row, float(p[row]), *(short(found.text(row, part)[-400:], 240) for part in parts)) for row in rows)
    names = (Column("row"), Column("flipped", "%"), Column("prompt, its end"), Column("chosen"), Column("rejected"))
    agrees = number(found.audit.accuracy_, "%", found.audit.interval_)
    text = (
        f"A reward learned from the other pairs' words agrees with {agrees} of the labels. The nearer that is to half, "
        "the less its doubts mean."
    )
    hist = plots.histogram(
        "How likely the reward holds each label for flipped", p[np.isfinite(p)], bins=20, x_label="flipped", unit="%"
    )
    grid = Grid(
        f"The {len(rows)} labels doubted most", names, table, note="All pairs stand in evidence.csv, in this order."
    )
    return Section("Labels that look flipped", "Where to look first.", (Prose(text), hist, grid))


def left_out(found: Aligned) -> Section | None:
    """Pairs that say nothing."""
    if found.model is None or not any(found.model.pairs_.dropped.values()):
        return None
    rows = tuple(
        (why, len(at), ", ".join(map(str, at[:10])) + (" ..." if len(at) > 10 else ""))
        for why, at in found.model.pairs_.dropped.items()
        if at
    )
    grid = Grid("Pairs left out", (Column("because"), Column("pairs"), Column("rows")), rows)
    return Section("Left out", "Pairs from which nothing can be learned.", (grid,))


def summary(found: Aligned) -> str:
    """The finding for a terminal."""
    told = numbers(found)
    lines = [verdict(found)]
    if found.model is not None:
        lines.append(
            f"  KL {number(told['kl'])}, masked {number(told['masked_kl'])}, mean mask {number(told['mean_mask'])}"
        )
        lines += [f"  {len(at):,} pairs left out: {why}" for why, at in found.model.pairs_.dropped.items() if at]
    return "\n".join([*lines, *(f"Note: {said}" for said in warnings(found, told))])
