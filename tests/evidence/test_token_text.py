"""Coloured tokens: what a piece is, how strong its colour, and nothing of it acts."""

import pytest
from tests.evidence.hostile import HOSTILE

from assay.errors import InputError
from assay.evidence.page import render
from assay.evidence.report import Report, Section, TokenText, from_json, to_json
from assay.evidence.token_text import Passage, Passages, merged


def block(*pieces, lines=()):
    passage = Passage("chosen", pieces, tuple(float(at) for at in range(len(pieces))), lines)
    return TokenText("Tokens", (Passages("prompt", "a note", (passage,)),), "reward", "KL" if lines else "")


def page(*blocks):
    return render(Report("t", "v", sections=(Section("s", "l", blocks),)))


def test_colours_scale_to_the_largest_weight_of_the_block():
    made = block("a", "b", "c", lines=(0.0, 4.0, 1.0))
    told = made.shares(made.groups[0].passages[0])
    assert [each[:3] for each in told] == [("a", 0.0, 0.0), ("b", 0.5, 1.0), ("c", 1.0, 0.25)]
    assert told[1][3] == "reward 1, KL 4"
    assert block("a").shares(block("a").groups[0].passages[0])[0][1] == 0.0


def test_hostile_tokens_are_text():
    found = page(block(*HOSTILE[:8]))
    assert "<script>" not in found
    assert "<img" not in found
    assert "<iframe" not in found
    assert "\u202e" not in found
    assert "⟨U+202E⟩" in found
    assert 'style="--w: 1.000; --l: 0.000"' in found


def test_white_space_stays_between_pieces():
    assert ">Hello</span><span" in page(block("Hello", " world"))
    assert "> world</span>" in page(block("Hello", " world"))


def test_a_report_with_tokens_comes_back_from_its_json():
    report = Report("t", "v", sections=(Section("s", "l", (block("a", "b", lines=(0.0, 1.0)),)),))
    assert from_json(to_json(report)) == report


def test_weights_must_fit():
    with pytest.raises(InputError, match="2 pieces has 1 weights"):
        Passage("x", ("a", "b"), (1.0,))
    with pytest.raises(InputError, match="cannot be negative"):
        Passage("x", ("a",), (-1.0,))


def read(ids):
    return bytes(ids).decode(errors="replace")


def test_tokens_that_share_a_character_become_one_piece():
    ids = list("aß你b".encode())
    pieces, (weights,) = merged(
        lambda some: bytes(some).decode(errors="replace"), ids, [float(i) for i in range(len(ids))]
    )
    assert pieces == ("a", "ß", "你", "b")
    assert weights == (0.0, 2.0, 5.0, 6.0)
    broken, _ = merged(read, [195], [1.0])
    assert broken == ("\ufffd",)
