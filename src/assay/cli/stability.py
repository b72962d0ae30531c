"""`assay stability`: does the ranking of models survive the repair of their test labels?"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from assay.audit.stability import Stability


@click.command(name="stability", short_help="Does the ranking of models survive the repair of their test labels?")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--given", required=True, metavar="COL", help="Column of the labels as they stand.")
@click.option("--corrected", required=True, metavar="COL", help="Column of the corrected labels; empty = no consensus.")
@click.option("--models", metavar="A,B,C", help="Columns of predicted classes. Default: all that hold classes.")
@click.option("--verdicts", metavar="COL", help="Column that says benign, correctable or unknown. Default: derived.")
@click.option("--resamples", default=2000, show_default=True, type=click.IntRange(1), help="Bootstrap resamples.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Also write stability.json here.")
def command(
    predictions: Path,
    given: str,
    corrected: str,
    models: str | None,
    verdicts: str | None,
    resamples: int,
    seed: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """Compare models on the labels as they stand and as they were corrected.

    PREDICTIONS is a table (CSV, TSV, JSON lines, Parquet, Arrow) with one row per test item: the given label, the
    corrected label, and the class that each model predicts.

    \b
      assay stability test.csv --given label --corrected corrected
      assay stability test.parquet --given label --corrected corrected --models svm,forest --json
    """
    from assay.audit.stability import Stability

    labels, said, status, left_out = read(predictions, given, corrected, models, verdicts)
    found = Stability(n_bootstrap=resamples, random_state=seed).fit(*labels, said, status)
    if left_out:
        click.echo(f"Not taken for models: {', '.join(left_out)} (choose with --models).", err=True)
    text = json.dumps(numbers(found), indent=1, ensure_ascii=False)
    if out is not None:
        from assay.labels.formats.files import write_bytes

        out.mkdir(parents=True, exist_ok=True)
        write_bytes(out / "stability.json", f"{text}\n".encode())
    if as_json:
        click.echo(text)
    elif sys.stdout.isatty():
        show(found)
    else:
        click.echo(f"{tsv(found.ranking_)}\n\n{tsv(found.pairs_)}")


def read(
    path: Path, given: str, corrected: str, models: str | None, verdicts: str | None
) -> tuple[tuple[npt.NDArray[Any], npt.NDArray[Any]], dict[str, npt.NDArray[Any]], npt.NDArray[Any] | None, list[str]]:
    """The two labels, the predictions of each model and the status, as codes; and the columns that were left out."""
    import numpy as np

    from assay.labels.formats.files import require_column
    from assay.labels.tables import read_table

    table = read_table(path, label=given)
    columns = table.columns
    chosen = [name.strip() for name in models.split(",")] if models else None
    for name in (corrected, *([verdicts] if verdicts else []), *(chosen or [])):
        require_column(name, columns.column_names, path.name)
    present = table.labels.present
    if not present.all():
        raise InputError(f"Column {given!r} has no label.", row=int(np.argmin(present)))
    where = {name: code for code, name in enumerate(table.labels.space.names)}
    mended, known = codes(columns[corrected], where)
    classes = len(where)
    said, left_out = {}, []
    for name in chosen or [name for name in columns.column_names if name not in (corrected, verdicts)]:
        guess, there = codes(columns[name], where)
        if chosen is None and np.mean(there & (guess < classes)) < 0.5:
            left_out.append(name)
            continue
        if not there.all():
            raise InputError(f"Model {name!r} predicts no class.", row=int(np.argmin(there)))
        said[name] = guess
    if not said:
        raise InputError(
            f"No column of {path.name} holds predicted classes such as {table.labels.space.names[0]!r}: "
            "name the columns of the models with --models."
        )
    status = None if verdicts is None else np.array([str(value) for value in columns[verdicts].to_pylist()])
    return (table.labels.y, np.ma.masked_array(mended, mask=~known)), said, status, left_out


def codes(column: pa.ChunkedArray, where: dict[str, int]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Codes `(n,)` of a column and which cells hold a class; classes that are new are added to `where`."""
    import numpy as np

    from assay.labels.hard import is_missing
    from assay.labels.spaces import name_of
    from assay.labels.tables import MISSING

    encoded = column.combine_chunks()
    encoded = encoded if hasattr(encoded, "indices") else encoded.dictionary_encode()
    values = [*encoded.dictionary.to_pylist(), None]
    there = np.array([not is_missing(value, set(MISSING) - set(where)) for value in values])
    code = np.array([where.setdefault(name_of(v), len(where)) if t else 0 for v, t in zip(values, there, strict=True)])
    indices = encoded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
    return code[indices].astype(np.int64), there[indices]


def plain(value: Any) -> Any:
    """Numbers and lists that JSON knows; what is not a number becomes null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def numbers(found: Stability) -> dict[str, Any]:
    """Everything that was found, for JSON."""
    names = "sentence n_benign n_correctable n_unknown prevalence prevalence_interval kendall kendall_interval"
    names += " p_winner_changes ranking pairs"
    return {name: plain(getattr(found, f"{name}_")) for name in names.split()} | {"curves": plain(found.curves())}


def tsv(table: dict[str, npt.NDArray[Any]]) -> str:
    """Tab-separated text of a table, for other programs."""
    lines = ["\t".join(table)]
    for row in zip(*(column.tolist() for column in table.values()), strict=True):
        lines.append("\t".join(f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row))
    return "\n".join(lines)


def show(found: Stability) -> None:
    """Two tables and a sentence for a person at a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    def percent(table: dict[str, Any], name: str, row: int) -> str:
        value, low, high = (100 * float(table[name + end][row]) for end in ("", "_low", "_high"))
        if math.isnan(low):
            return "none"
        return f"{'?' if math.isnan(value) else f'{value:.2f}'} [{low:.2f}, {high:.2f}]"

    console, ranking, pairs = Console(highlight=False), found.ranking_, found.pairs_
    models = Table(title="Accuracy in %, with 95 % intervals", title_justify="left")
    heads = ("model", "rank given", "rank corrected", "given", "corrected", f"benign ({found.n_benign_} rows)")
    for head in (*heads, f"correctable, corrected ({found.n_correctable_} rows)"):
        models.add_column(head, justify="left" if head == "model" else "right")
    for row, name in enumerate(ranking["model"]):
        shown = (percent(ranking, x, row) for x in ("given", "corrected", "benign", "correctable_corrected"))
        now, low, high = (ranking[f"rank_corrected{end}"][row] for end in ("", "_low", "_high"))
        models.add_row(escape(name), str(ranking["rank_given"][row]), f"{now} [{low}-{high}]", *shown)
    crossings = Table(title="Prevalence of label errors in % at which a pair changes places", title_justify="left")
    for head in ("ahead on given labels", "behind", "swaps now"):
        crossings.add_column(head)
    for head in ("probability", "crossover", "from the actual"):
        crossings.add_column(head, justify="right")
    for row, leader in enumerate(pairs["leader"]):
        swaps = "yes" if pairs["flips"][row] else "no"
        ends = (percent(pairs, "crossover", row), percent(pairs, "distance", row))
        crossings.add_row(escape(leader), escape(pairs["follower"][row]), swaps, f"{pairs['p_flip'][row]:.2f}", *ends)
    console.print(models)
    if len(pairs["leader"]):
        console.print(crossings)
    percents = [f"{100 * value:.2f}" for value in (found.prevalence_, *found.prevalence_interval_)]
    taus = [f"{value:.2f}" for value in (found.kendall_, *found.kendall_interval_)]
    console.print(
        f"Prevalence {percents[0]} % [{percents[1]}, {percents[2]}], {found.n_unknown_} rows dropped; "
        f"Kendall tau {taus[0]} [{taus[1]}, {taus[2]}].\n{escape(found.sentence_)}"
    )
