"""Every snippet of the docs is a test: Python blocks share a namespace a page, shell blocks its folder."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser


def run_shell(example: Example) -> None:
    """Run a `bash` block as a reader would, in the folder of its page."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", str(example.parsed)],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def enter(namespace: dict[str, object]) -> None:
    """Give the page an empty folder, as a reader starts in one."""
    folder = tempfile.TemporaryDirectory()
    namespace["_home"], namespace["_folder"] = Path.cwd(), folder
    os.chdir(folder.name)


def leave(namespace: dict[str, object]) -> None:
    """Go back, and remove the folder."""
    os.chdir(str(namespace["_home"]))
    namespace["_folder"].cleanup()  # type: ignore[attr-defined]


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser(language="bash", evaluator=run_shell)],
    patterns=["*.md", "**/*.md"],
    excludes=["commands.md", "results.md", "papers.md"],
    setup=enter,
    teardown=leave,
).pytest()
