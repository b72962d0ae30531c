"""`assay papers`: from a paper to its file, test, bench row and claim."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict

import click

from assay.errors import InputError


@click.command(name="papers", short_help="From a paper to its file, test, bench row and claim.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the methods, or show one: its paper, file, test, bench, docs and claim.

    \b
    NAME is a method, a part of a paper's title or author, or an arXiv number:
      assay papers confident_learning
      assay papers northcutt
      assay papers 2103.14749
    """
    from assay.evidence.methods import methods

    known = methods()
    if name is None:
        chosen = known
    else:
        wanted = name.lower().replace("-", "_")
        chosen = [method for method in known if method.name == wanted] or [
            method
            for method in known
            if name.lower() in f"{method.name} {method.title} {method.paper} {method.arxiv}".lower()
        ]
        if not chosen:
            near = difflib.get_close_matches(wanted, [method.name for method in known], n=1, cutoff=0.3)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(f"No method matches {name!r}.{hint} `assay papers` lists all {len(known)}.")
    if as_json:
        click.echo(json.dumps([asdict(method) | {"file": method.file} for method in chosen], indent=1))
    elif name is None:
        width = max((len(method.name) for method in chosen), default=0)
        for method in chosen:
            click.echo(f"{method.stage:<10} {method.name:<{width}}  {method.title}")
    else:
        for method in chosen:
            click.echo(
                f"{method.title}\n"
                f"  paper    {method.paper}" + (f" arXiv {method.arxiv}" if method.arxiv else "") + "\n"
                f"  claim    {method.claim}\n"
                f"  run      {method.command}\n"
                f"  file     {method.file}\n"
                f"  test     {method.test}\n"
                f"  bench    {method.bench}\n"
                f"  results  {method.results}\n"
                f"  docs     {method.docs}"
            )
