"""How numbers and other people's text are shown: units, intervals, and nothing that hides.

Text of a data set is hostile until shown otherwise: it may hold control characters, reversed writing or characters of
no width that make one thing look like another. `visible` spells them out; the template escapes what remains.
"""

from __future__ import annotations

import math
import re

LONGEST = 20_000
"""Characters of one string that a report keeps."""

# Characters that draw nothing or reorder their neighbours. Joiners are needed by Persian, Indic scripts and emoji, so
# they are spelled out only after Latin characters, where they can only deceive.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\ufffe\uffff\U000e0000-\U000e0fff]"
    "|(?<=[\x00-\u024f])[\u200c\u200d]"
)


def visible(text: str, longest: int = LONGEST) -> str:
    r"""Spell out what would not be seen, and cut what is too long, saying so.

    >>> visible("ab\u202ecd")
    'ab⟨U+202E⟩cd'
    >>> visible("a" * 30, 10)
    'aaaaaaaaaa… (30 characters)'
    """
    cut = text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", cut.replace("\r\n", "\n"))


def short(text: str, longest: int = 60) -> str:
    """A name on one line: white space folded, hidden characters spelled out, at most `longest` characters kept.

    >>> short("  two\\nlines ")
    'two lines'
    """
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    folded = " ".join(visible(cut).split())
    return folded or "(blank)"


def number(value: float | int | str | None, unit: str = "", interval: tuple[float, float] | None = None) -> str:
    r"""A number as a person reads it, with as many decimals as it deserves.

    Parameters
    ----------
    value : the number; a string is returned as it is, None as a dash.
    unit : its unit; "%" means that `value` is a share from 0 to 1, shown times hundred.
    interval : its low and high bound, in the unit of `value`; the decimals follow from its width.

    >>> number(0.052, "%", (0.046, 0.059)).replace("\u00a0", " ")  # a space that does not break
    '5.2 % (4.6 to 5.9)'
    >>> number(12345), number(0.07123), number(-2.5)
    ('12,345', '0.0712', '−2.5')
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    scale = 100.0 if unit == "%" else 1.0
    suffix = f"\u00a0{unit}" if unit else ""
    if interval is None:
        return _plain(value, unit) + suffix
    low, high = interval
    half = (high - low) / 2 * scale
    if isinstance(value, int):
        decimals = 0
    elif half <= 0:
        decimals = 0 if float(value * scale).is_integer() else 1
    else:
        # Two digits of a half-width that begins with 1 or 2, else one: more would pretend, fewer would lose.
        decimals = min(6, max(0, -math.floor(math.log10(half / 2.5))))
    shown = [_minus(f"{bound * scale:,.{decimals}f}") for bound in (value, low, high)]
    if unit == "%" and 0 < value < 1 and round(value * scale, decimals) in (0, 100):
        shown[0] = _plain(value, unit)
    return f"{shown[0]}{suffix} ({shown[1]} to {shown[2]})"


def _plain(value: float, unit: str) -> str:
    if unit == "%":
        share = value * 100
        if 0 < share < 1e-4:
            return "< 0.0001"
        if 100 - 1e-4 < share < 100:
            return "> 99.9999"
        # A share that is not 0 or 1 must not be shown as 0 or 100.
        for decimals in range(1, 5):
            if float(share).is_integer() or round(share, decimals) not in (0, 100):
                break
        return _minus(f"{share:.{0 if float(share).is_integer() else decimals}f}")
    if float(value).is_integer() and abs(value) < 1e15:
        return _minus(f"{value:,.0f}")
    size = math.floor(math.log10(abs(value)))
    if not -6 <= size < 15:
        return _minus(f"{value:.3g}")
    text = f"{value:,.{max(0, 2 - size)}f}"
    return _minus(text.rstrip("0").rstrip(".") if "." in text else text)


def _minus(text: str) -> str:
    return text.replace("-", "−")
