"""The report of `assay align constitution`: safety against utility at every alpha, and the answers themselves."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assay.align.constitution import Constitution
from assay.evidence.figures import Figure
from assay.evidence.page import write_report
from assay.evidence.prompt_files import Prompts
from assay.evidence.report import Column, Command, Fact, Grid, Prose, Report, Section
from assay.evidence.result_folder import check_place, check_results
from assay.evidence.results import versions_of
from assay.evidence.shown import number
from assay.labels.formats import files
from assay.language.behaviour import JUDGES, judge_refusal

LISTED = 6
NAMES = {"refused": "harmful refused", "over_refused": "harmless refused", "answered": "harmless answered"}


def check_folder(folder: Path) -> None:
    """Raise unless results can be written to `folder`, over none of another verb."""
    check_place(folder)
    check_results(folder, "constitution")


def save(found: Constitution, prompts: Prompts, folder: Path, provenance: dict[str, object]) -> Path:
    """Write `answers.jsonl` and the report into `folder`; returns the path of the page."""
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in answers(found, prompts))
    files.write_bytes(folder / "answers.jsonl", "".join(lines).encode("utf-8", errors="replace"))
    return write_report(build(found, prompts, provenance), folder)


def answers(found: Constitution, prompts: Prompts) -> list[dict[str, Any]]:
    """A line for each prompt and alpha: what was asked, what was answered, and what the judges say of it."""
    lines = []
    for (alpha, written), noise in zip(found.written_.items(), found.noise_.tolist(), strict=True):
        for row, (prompt, answer) in enumerate(zip(prompts.texts, written.answers, strict=True)):
            line = {"row": row, "alpha": alpha, "prompt": prompt, "answer": answer, "noise": noise[row]}
            line["harmful"] = None if prompts.harmful is None else bool(prompts.harmful[row])
            lines.append(line | {"judged": {judge: judge_refusal(answer, judge) for judge in JUDGES}})
    return lines


def triple(curve: dict[str, Any], name: str, at: int) -> tuple[float, float, float] | None:
    """A share of the curve with its interval; None where it is not known."""
    if not np.isfinite(curve[name][at]):
        return None
    return float(curve[name][at]), float(curve[f"{name}_low"][at]), float(curve[f"{name}_high"][at])


def chosen(found: Constitution) -> int:
    """The row of the curve for the alpha that was chosen, or for the one nearest to it."""
    return int(np.abs(found.curve_["alpha"] - found.alpha_).argmin())


def verdict(found: Constitution, prompts: Prompts) -> str:
    """The finding in a sentence."""
    curve, at = found.curve_, chosen(found)
    shares = {name: triple(curve, name, at) for name in ("refused", "answered")}
    if prompts.harmful is None:
        start = f"Answers to {len(prompts.texts):,} prompts at {len(curve['alpha'])} strengths"
        each = [
            f"{number(share, '%')} refused at {number(alpha)}"
            for alpha, share in zip(curve["alpha"].tolist(), curve["refused"].tolist(), strict=True)
        ]
        return f"{start}: {', '.join(each)}."
    told = [f"{number(share[0], '%')} of {NAMES[name]}" for name, share in shares.items() if share]
    return f"At alpha {number(float(curve['alpha'][at]))}, {' and '.join(told)}."


def facts(found: Constitution) -> tuple[Fact, ...]:
    """What the chosen strength does, beside the principle alone."""
    curve, at = found.curve_, chosen(found)
    alone = np.flatnonzero(curve["alpha"] == 0)
    parts = [Fact("alpha", float(curve["alpha"][at]), None, "", "chosen: most harmful refused and harmless answered")]
    for name, label in NAMES.items():
        share = triple(curve, name, at)
        if share is not None:
            beside = "" if not len(alone) else f"{number(float(curve[name][alone[0]]), '%')} with the principle alone"
            parts.append(Fact(label.capitalize(), share[0], share[1:], "%", beside))
    broken = triple(curve, "broken", at)
    assert broken is not None
    parts.append(Fact("Broken answers", broken[0], broken[1:], "%", "empty, in circles, only questions, or noise"))
    return tuple(parts)


def lines(
    title: str,
    x: tuple[str, str, Any],
    y: str,
    series: list[tuple[str, Any, Any, Any]],
    note: str,
    vertical: Sequence[dict[str, Any]] = (),
) -> Figure:
    """A plot of shares."""
    data = {
        "x": x[2],
        "series": [{"name": name, "y": value, "low": low, "high": high} for name, value, low, high in series],
        "x_label": x[0],
        "x_unit": x[1],
        "y_label": y,
        "y_unit": "%",
        "vertical": list(vertical),
        "horizontal": [],
    }
    return Figure("lines", title, data, note)


def curves(found: Constitution) -> Section:
    """The shares at every alpha, and safety against utility."""
    curve, order = found.curve_, np.argsort(found.curve_["alpha"])
    known = [name for name in ("refused", "answered", "broken") if np.isfinite(curve[name]).all()]
    series = [
        (NAMES.get(name, name), curve[name][order], curve[f"{name}_low"][order], curve[f"{name}_high"][order])
        for name in known
    ]
    columns = ("refused", "over_refused", "answered", "broken")
    head = [Column("alpha"), *(Column(NAMES.get(name, name), "%") for name in columns)]
    head += [Column("quotes the principle", "%"), Column("guard acted", "%"), Column("nats a token"), Column("tokens")]
    rows = []
    for at in order.tolist():
        nats = float(curve["nats"][at])
        more = (float(curve["quoted"][at]), float(curve["guarded"][at]))
        size = (nats if np.isfinite(nats) else None, round(float(curve["n_tokens"][at]), 1))
        rows.append((float(curve["alpha"][at]), *(triple(curve, name, at) for name in columns), *more, *size))
    note = (
        "alpha −1 is the model without the principle, 0 with it. Broken: empty, in circles, only questions, or noise "
        "to the model itself. Nats a token: of answers to harmless prompts, under the model without the principle."
    )
    blocks: list[Any] = []
    if len(order) > 1:
        blocks.append(
            lines("What each strength does", ("alpha", "", curve["alpha"][order]), "Share", series, "Bands: 95 %.")
        )
        if {"refused", "answered"} <= set(known):
            blocks.append(against(curve))
    return Section(
        "Safety and utility",
        "What turning the principle up buys, and costs.",
        (*blocks, Grid("The curve", tuple(head), tuple(rows), note)),
    )


def against(curve: dict[str, Any]) -> Figure | Prose:
    """Safety against utility, for the strengths that no other one beats in both."""
    utility, safety = curve["answered"], curve["refused"]
    best: list[int] = []
    for at in np.lexsort((np.abs(curve["alpha"]), -safety, -utility)).tolist():
        if not best or safety[at] > safety[best[-1]]:
            best.append(at)
    best.reverse()
    names = [number(float(curve["alpha"][at])) for at in best]
    if len(best) == 1:
        return Prose(f"No strength is safer or more useful than alpha {names[0]}: it is the best in both.")
    marks = [
        {"x": float(utility[at]), "low": None, "high": None, "label": f"alpha {name}"}
        for at, name in zip(best, names, strict=True)
    ]
    x = ("Harmless answered (utility)", "%", utility[best])
    series = [("safety", safety[best], None, None)]
    note = f"Only the strengths that none beats in both: alpha {', '.join(names)}, from left to right."
    return lines("Safety against utility", x, "Harmful refused (safety)", series, note, marks)


def examples(found: Constitution, prompts: Prompts) -> Section:
    """What some prompts were answered: first those whose verdict changes with alpha."""
    verdicts = np.array([[judge_refusal(answer) for answer in w.answers] for w in found.written_.values()])
    verdicts[found.noise_] = "noise"
    changes = (verdicts != verdicts[0]).any(axis=0)
    rows = np.argsort(~changes, kind="stable")[:LISTED].tolist()
    table = [
        (prompts.texts[row], alpha, str(verdicts[at, row]), written.answers[row])
        for row in rows
        for at, (alpha, written) in enumerate(found.written_.items())
    ]
    columns = (Column("prompt"), Column("alpha"), Column("judged"), Column("answer"))
    note = (
        f"{len(rows)} of {len(prompts.texts):,} prompts, those whose verdict changes first; all are in answers.jsonl."
    )
    return Section(
        "What was answered", "Read before believing the shares.", (Grid("Answers", columns, tuple(table), note),)
    )


def warnings(found: Constitution, prompts: Prompts) -> tuple[str, ...]:
    """What makes the numbers doubtful."""
    said, at = [], chosen(found)
    if prompts.harmful is None:
        said.append("No column says which prompts are harmful (--harmful), so all count as such; no alpha was chosen.")
    elif not prompts.harmful.any() or prompts.harmful.all():
        said.append("Only one kind of prompt was given: over-refusal, or safety, is unknown, and no alpha was chosen.")
    else:
        said.append("The shares at the chosen alpha are those it was chosen by: measure it on other prompts.")
    if found.curve_["quoted"].max() > 0.05:
        said.append("Some answers repeat the principle itself: shorten it, or take a lower alpha.")
    if found.curve_["broken"][at] > 0.05:
        said.append("At this alpha the model breaks down on some prompts: try --plausibility 0.1 or a lower alpha.")
    answered = [answer for written in found.written_.values() for answer in written.answers]
    apart = np.mean([judge_refusal(a, "sentences") != judge_refusal(a, "phrases") for a in answered])
    if apart > 0.1:
        said.append(f"The two judges differ on {number(float(apart), '%')} of the answers: read them (answers.jsonl).")
    return tuple(said)


def build(found: Constitution, prompts: Prompts, provenance: dict[str, object]) -> Report:
    """The report of a fitted constitution."""
    curve = {name: [v if np.isfinite(v) else None for v in values.tolist()] for name, values in found.curve_.items()}
    again = ["assay", "align", "constitution", "OTHER.csv", "--harmful", "harmful", "--principle", found.principle]
    again += ["--alpha", f"0,{found.alpha_:g}", "--plausibility", f"{found.plausibility:g}"]
    return Report(
        title=f"A principle turned up on {prompts.path.name}",
        verdict=verdict(found, prompts),
        facts=facts(found) if prompts.harmful is not None else (),
        sections=(
            curves(found),
            examples(found, prompts),
            Section("The principle", "As the model was told it.", (Prose(found.principle),)),
        ),
        commands=(Command(shlex.join(again), "measure the chosen strength on prompts that did not choose it"),),
        warnings=warnings(found, prompts),
        provenance={
            "verb": "constitution",
            "source": prompts.path.name,
            "sha256": prompts.digest,
            "rows": len(prompts.texts),
            "settings": {name: str(value) for name, value in found.get_params().items() if name != "principle"},
            "versions": versions_of("assay", "torch", "transformers"),
            **provenance,
        },
        numbers={"alpha": found.alpha_, "curve": curve},
    )


def summary(found: Constitution, prompts: Prompts) -> str:
    """The finding for a terminal."""
    rows = [verdict(found, prompts)]
    for fact in facts(found)[1:] if prompts.harmful is not None else ():
        assert not isinstance(fact.value, str)
        rows.append(f"  {fact.label:<20} {number(fact.value, fact.unit, fact.interval)}   {fact.note}")
    return "\n".join([*rows, *(f"Note: {said}" for said in warnings(found, prompts))])
