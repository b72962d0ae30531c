"""The Python of the README runs as it stands."""

import re
from pathlib import Path


def test_python_blocks(capsys):
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert int(capsys.readouterr().out.split()[0]) >= 35
