"""`assay learn --help`: every option once, under a heading; and what names the kind of labels."""

import importlib
import re

import click
import pytest

from assay.cli import main
from assay.cli.learn import KINDS, SECTIONS, TRAINERS, command


def test_every_option_stands_once_under_a_heading(capsys):
    with pytest.raises(SystemExit):
        main(["learn", "--help"])
    told = capsys.readouterr().out
    for heading in SECTIONS:
        assert f"\n{heading}:\n" in told
    for option in command.params:
        if isinstance(option, click.Option):
            assert len(re.findall(rf"^  {option.opts[0]}\b(?!-)", told, re.MULTILINE)) == 1, option.opts
    listed = [name for names in SECTIONS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert "Other options:\n  -h, --help" in told


def test_each_kind_has_its_options_and_its_trainer():
    names = {option.name for option in command.params}
    for kind, options in KINDS.items():
        assert {kind, *options} <= names
    assert set(TRAINERS) == set(KINDS)


def test_what_methods_say_to_type_names_their_kind():
    found = {}
    for name in ("censored", "label_proportions", "positive_multilabel"):
        words = importlib.import_module(f"assay.learn.{name}").METHOD["command"].split()
        found[name] = next(kind for kind in KINDS if f"--{kind}" in words)
    assert found == {"censored": "time", "label_proportions": "bags", "positive_multilabel": "tags"}
