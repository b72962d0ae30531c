"""The methods that assay implements, read from the literal in each method file without importing it.

The command line, PAPERS.md, the docs and the contract tests all read this list, so a new method is a new file and
nothing else.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import assay
from assay.errors import AssayError

STAGES = ("acquire", "aggregate", "audit", "learn", "represent", "compress", "align", "protect")


@dataclass(frozen=True, slots=True)
class Method:
    """What a method file says of itself in its `METHOD` literal.

    Parameters
    ----------
    name : the method, which is also the name of its file.
    title : what it is called in the docs.
    paper : authors, year, title.
    arxiv : arXiv number, or None.
    accepts, gives : label types that go in, and what comes out.
    command : the command line that runs it.
    claim : what it must show, in a sentence.
    status : "stable" or "experimental".
    stage : the folder it lives in.
    """

    name: str
    title: str
    paper: str
    arxiv: str | None
    accepts: tuple[str, ...]
    gives: tuple[str, ...]
    command: str
    claim: str
    status: str
    stage: str

    @property
    def file(self) -> str:
        """Path of the method file in the repository."""
        return f"src/assay/{self.stage}/{self.name}.py"

    @property
    def test(self) -> str:
        """Path of its test."""
        return f"tests/{self.stage}/test_{self.name}.py"

    @property
    def bench(self) -> str:
        """Path of its bench."""
        return f"bench/{self.stage}/{self.name}.py"

    @property
    def results(self) -> str:
        """Path of its measured numbers."""
        return f"bench/results/{self.stage}/{self.name}.json"

    @property
    def docs(self) -> str:
        """Path of its docs page."""
        return f"docs/{self.stage}/{self.name}.md"


def read_method(path: Path) -> Method | None:
    """The `METHOD` literal of one file, or None where there is none. Nothing is imported or executed."""
    for node in ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if not any(isinstance(target, ast.Name) and target.id == "METHOD" for target in targets):
            continue
        assert isinstance(node, ast.Assign | ast.AnnAssign)
        try:
            said = ast.literal_eval(node.value or ast.Constant(None))
            said = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
            method = Method(**said, stage=path.parent.name)
        except (ValueError, TypeError, AttributeError) as error:
            raise AssayError(
                f"{path.name}: METHOD must be a plain literal with the fields of Method: {error}."
            ) from None
        if method.name != path.stem:
            raise AssayError(f"{path.name}: METHOD says {method.name!r}, but a method is named like its file.")
        return method
    return None


def methods() -> list[Method]:
    """All methods, by stage in the order of a label's life, then by name."""
    root = Path(assay.__file__).parent
    found = [read_method(path) for stage in STAGES for path in sorted((root / stage).glob("*.py"))]
    return [method for method in found if method is not None]
