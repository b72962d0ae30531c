"""The page of a report: one HTML file that loads nothing and runs nothing; text of the data set is inert."""

from __future__ import annotations

from pathlib import Path

from assay.evidence.draw import svg
from assay.evidence.figures import Figure
from assay.evidence.report import Fact, Report, to_json
from assay.evidence.rows import Card
from assay.evidence.shown import number, short, visible
from assay.labels.formats import files

_LINE = 1_000  # characters of a title, a note, a cell; the texts of rows are shown whole


def render(report: Report) -> str:
    """The page: one HTML file that loads nothing and runs nothing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    drawn = 0

    def figure(block: Figure, wide: bool) -> Markup:
        nonlocal drawn
        drawn += 1
        return Markup(svg(block.kind, block.title, block.note, block.data, wide=wide, prefix=f"f{drawn}-"))

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every value that reaches the page passes here, then autoescape: no text of a data set can hide or act.
        finalize=lambda value: visible(value, _LINE) if type(value) is str else value,
    )
    environment.filters.update(short=short, spell=_spell, whole=lambda text: escape(visible(text)))
    environment.globals.update(
        figure=figure, number=number, stat=_stat, matrix_cell=_cell, kind=lambda block: type(block).__name__
    )
    return environment.get_template("report.html.j2").render(report=report)


def _stat(shown: Fact | Card) -> tuple[str, str]:
    """A number and its interval, apart."""
    value, unit = (shown.value, shown.unit) if isinstance(shown, Fact) else (shown.p_wrong, "%")
    if shown.interval is None:
        return number(value, unit), ""
    first, _, rest = number(value, unit, shown.interval).partition(" (")
    return first, rest.removesuffix(")")


def _cell(value: float, unit: str) -> str:
    """A cell of a matrix, short and with the same decimals as its neighbours; the unit stands in the head."""
    if unit != "%":
        return number(value)
    return "<0.1" if 0 < value < 0.0005 else f"{value * 100:.1f}"


def _spell(value: object) -> str:
    """A value of the provenance on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_spell(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_spell, value))
    return "–" if value is None else str(value)


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.json` and `report.html` into `folder`, beside the targets first; returns the path of the page."""
    page, data = render(report), to_json(report)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.json", data)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole. A lone surrogate becomes a question mark: no error after all the work."""
    files.write_bytes(path, text.encode("utf-8", errors="replace"))
