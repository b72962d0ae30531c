"""The card of an exported data set: what was changed, on whose word, how many errors are left, how to make it again.

It depends on the ledger and on what the audit kept, not on the moment of writing, so that it can be made again, byte
for byte. Texts of the data set stand in code spans, in which Markdown, HTML and mentions are inert.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from assay import __version__
from assay.audit.error_rate import ErrorRate
from assay.errors import InputError
from assay.evidence.decisions import judged
from assay.evidence.export_data import Export, ExportOptions
from assay.evidence.report import read_report
from assay.evidence.shown import number, short
from assay.kernels.audit_draw import AuditOrder
from assay.labels.formats import files
from assay.labels.ledger import Ledger

SHOWN = 50
"""Lines of a table in the text; the JSON beside it holds all."""


def described(
    found: Export,
    folder: Path,
    source: Path,
    target: Path,
    form: str,
    digest: str,
    ledger: Ledger,
    options: ExportOptions,
) -> dict[str, Any]:
    """All that the card says, as JSON can hold it; `digest` is that of what was written to `target`."""
    table, point = found.table, ledger.place(options.at)
    given, final = table.labels.names(), found.final.names()
    pairs = Counter((given[row], final[row]) for row in found.changes if given[row] != final[row])
    voices = Counter(found.names.get(e.source, e.source) for one in found.decided for e in one.verdicts)
    outcomes = Counter(one.outcome for one in found.decided)
    shares = [one.agreement for one in found.decided if one.agreement is not None]
    words = _again(folder, source, target, form, point, options)
    return {
        "original": {
            "name": source.name,
            "sha256": ledger.dataset.evidence["sha256"],
            "rows": table.n_rows,
            "label": table.label,
        },
        "repaired": {
            "name": target.name,
            "form": "beliefs" if options.soft else form,
            "sha256": digest,
            "rows": int(found.keep.sum()),
            "labelled": int(found.final.present[found.keep].sum()),
        },
        "ledger": {
            "name": folder.name,
            "event": point,
            "head": ledger.event(point).hash if point else None,
            "time": ledger.event(point).time if point else None,
        },
        "changed": sum(n for (_, after), n in pairs.items() if after is not None),
        "undecided": sum(one.undecided for one in found.decided),
        "undecided_policy": options.undecided,
        "changes": [{"given": a, "final": b, "rows": n} for (a, b), n in sorted(pairs.items(), key=_most_first)],
        "review": {
            "rows": len(found.decided),
            "verdicts": sum(voices.values()),
            **{name: outcomes[name] for name in ("right", "wrong", "split", "skipped")},
            "rows_by_several": len(shares),
            "agreement": float(np.mean(shares)) if shares else None,
            "reviewers": [{"name": name, "verdicts": n} for name, n in voices.most_common()],
        },
        "error_rate": error_rates(found, folder, options),
        "reproduce": words,
        "assay": __version__,
    }


def _most_first(pair: tuple[tuple[str | None, str | None], int]) -> tuple[int, str, str]:
    (given, final), n = pair
    return -n, given or "", final or ""


def error_rates(found: Export, folder: Path, options: ExportOptions) -> dict[str, Any] | None:
    """Share of wrong labels before and after, each with its 95 % interval; None where nothing was kept to reckon with.

    The rate is that of the random audit, as in the report of `assay audit`: rows picked for review count as what they
    are. After: what the audit leaves once the labels found wrong are repaired, and those that keep a wrong label.
    """
    if found.kept is None or not found.decided:
        return None
    kept, said = found.kept, judged(found.decided)
    try:
        seed = read_report(folder).provenance.get("seed", 0)
    except InputError:
        seed = 0
    order = AuditOrder(kept.flagged, np.nan_to_num(kept.p_wrong), seed if isinstance(seed, int) else 0, kept.present)
    here, aside = kept.present[said.rows], said.undecided[kept.present[said.undecided]]
    strata, known, _ = order.counts(said.rows[here], said.wrong[here], aside)
    now = ErrorRate().from_counts(strata, known)
    left = sum(one.undecided and one.outcome == "wrong" for one in found.decided)
    n = now.n_rows
    kept_wrong, rows = (left, n) if options.undecided == "given" else (0, max(n - left, 1))
    after = [(share * n + kept_wrong) / rows for share in (now.remaining, now.remaining_low, now.remaining_high)]
    return {"before": _rate(now.rate, now.low, now.high), "after": _rate(*after), "reviewed": now.n_reviewed}


def _rate(rate: float, low: float, high: float) -> dict[str, float | None]:
    return {"rate": None if math.isnan(rate) else rate, "low": low, "high": min(high, 1.0)}


def _again(folder: Path, source: Path, target: Path, form: str, point: int, options: ExportOptions) -> list[str]:
    """The commands that give the same labels again, with names in place of paths."""
    names: list[object] = [folder.name, source.name, target.name]
    words: list[object] = ["assay", "export", *names, "--at", point]
    if form != "table":
        words += ["--to", form]
    if options.undecided != "given":
        words += ["--undecided", options.undecided]
    words += [f"--{name.replace('_', '-')}" for name in ("soft", "anonymous", "one_based") if getattr(options, name)]
    commands = [shlex.join(map(str, words))]
    if options.undecided == "given" and not options.soft and source.suffix and not source.is_dir():
        replayed = f"replayed{source.name[len(source.name.split('.')[0]) :]}"
        commands.append(
            shlex.join(["assay", "ledger", "replay", folder.name, source.name, replayed, "--at", str(point)])
        )
    return commands


def card_json(said: dict[str, Any]) -> bytes:
    """The card for machines."""
    return (json.dumps(said, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def card_text(said: dict[str, Any]) -> bytes:
    """The card for people, in Markdown."""
    original, repaired, ledger, review = (said[name] for name in ("original", "repaired", "ledger", "review"))
    kept = {"given": "keep the given label", "empty": "have no label", "drop": "are left out"}[said["undecided_policy"]]
    lines = [
        f"# {code(repaired['name'])}",
        "",
        f"{code(original['name'])} with the label column {code(original['label'])} repaired by people's decisions.",
        "",
        "Licence: to be filled in. It is that of the original, unless its owner says otherwise.",
        "",
        "| | original | this |",
        "|---|---|---|",
        f"| rows | {original['rows']:,} | {repaired['rows']:,} |",
        f"| wrong labels, 95 % interval | {_interval(said, 'before')} | {_interval(said, 'after')} |",
        f"| SHA-256 | `{original['sha256']}` | `{repaired['sha256']}` |",
        "",
        "## What was changed",
        "",
        f"{said['changed']:,} labels were changed. {said['undecided']:,} rows are undecided: people found the given "
        f"label wrong, or were split about it, and no other label was agreed. They {kept}.",
        "",
        *_table(
            ["given", "now", "rows"],
            [[_name(c["given"]), _name(c["final"]), f"{c['rows']:,}"] for c in said["changes"]],
        ),
        "## Who decided",
        "",
        f"{review['verdicts']:,} verdicts on {review['rows']:,} rows: the given label is right on {review['right']:,}, "
        f"wrong on {review['wrong']:,}, split on {review['split']:,}, skipped on {review['skipped']:,}.",
        *_agreement(review),
        "",
        *_table(["reviewer", "verdicts"], [[code(one["name"]), f"{one['verdicts']:,}"] for one in review["reviewers"]]),
        "## How to make it again",
        "",
        "```console",
        *(f"$ {re.sub('[^ -~]', '?', command)}" for command in said["reproduce"]),
        "```",
        "",
        f"The history is the ledger {code(ledger['name'])} up to event {ledger['event']}"
        + (f" of {ledger['time']}, whose hash is `{ledger['head']}`" if ledger["head"] else "")
        + f". Written by assay {said['assay']}.",
        "",
    ]
    return "\n".join(lines).encode("utf-8", "replace")


def _agreement(review: dict[str, Any]) -> list[str]:
    if review["agreement"] is None:
        return []
    share = number(review["agreement"], "%")
    return [f"On {review['rows_by_several']:,} rows with several reviewers, {share} of them say the same on average."]


def _interval(said: dict[str, Any], when: str) -> str:
    """A rate and its interval for a cell."""
    rates = said["error_rate"]
    if rates is None:
        return "nobody has reviewed rows"
    one = rates[when]
    if one["rate"] is None:
        return f"{number(one['low'], '%')} to {number(one['high'], '%')} (no random reviews yet)"
    return number(one["rate"], "%", (one["low"], one["high"]))


def _name(name: str | None) -> str:
    return "no label" if name is None else code(name)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    more = [f"and {len(rows) - SHOWN:,} more lines in the JSON beside this file.", ""] if len(rows) > SHOWN else []
    told = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows[:SHOWN])]
    return [*told, "", *more]


def code(text: str) -> str:
    r"""A text of the data set as a code span on one line, in which nothing acts.

    >>> code("a|b`<script>")
    '`` a\\|b`<script> ``'
    """
    plain = short(text, 80)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    gap = " " if "`" in plain else ""
    # A bar ends a cell even in a code span; a backslash before it is taken out by the table.
    return f"{fence}{gap}{plain}{gap}{fence}".replace("|", "\\|")


def tree_digest(folder: Path) -> str:
    """SHA-256 of a folder: of the lines `DIGEST  PATH` of its files, in the order of their paths."""
    lines = [
        f"{files.digest(path)}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
