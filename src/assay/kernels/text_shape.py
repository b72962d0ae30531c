"""Numbers that describe a short text against texts that were accepted: how likely its letters, its form, its words.

Everything is counted once over the accepted texts; a text is then described in time linear in its length.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from datetime import date

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NAMES = (
    "letters",
    "worst letters",
    "form",
    "known words",
    "known signs",
    "log length",
    "digits",
    "signs",
    "amount",
    "date",
    "mixed words",
)
BETTER = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
"""1 where more is better, 0 where only the accepted range is."""
AMOUNT = re.compile(r"[^\d\s]{0,3}\s?-?\d{1,3}(?:,?\d{3})*\.\d{2}")
DATE = re.compile(r"(\d{1,4})[./ -](\d{1,2}|[A-Za-z]{3,9})[./ -](\d{1,4})")
WORD = re.compile(r"[^\W\d_]{2,}")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def form_of(text: str) -> str:
    """The form of a text: digits become 9, letters A or a, runs of letters one, spaces one.

    >>> form_of("Total: RM 33.90")
    'Aa: A 99.99'
    """
    marked = "".join("9" if c.isdigit() else "A" if c.isupper() else "a" if c.isalpha() else c for c in text)
    return re.sub(r"\s+", " ", re.sub(r"A{2,}", "A", re.sub(r"a{2,}", "a", marked))).strip()


def is_amount(text: str) -> bool:
    """Whether a text is an amount of money with two decimals.

    >>> is_amount("RM 1,033.90"), is_amount("8091"), is_amount("33,90")
    (True, False, False)
    """
    return AMOUNT.fullmatch(text.strip()) is not None


def is_date(text: str) -> bool:
    """Whether a text holds a day that exists, in any order of day, month and year.

    >>> is_date("25/12/2018"), is_date("2018-12-25"), is_date("25/13/2018"), is_date("1 Feb 19")
    (True, True, False, True)
    """
    found = DATE.search(text)
    if found is None:
        return False
    a, b, c = found.groups()
    if b.isalpha():
        if b[:3].lower() not in MONTHS:
            return False
        b = str(MONTHS.index(b[:3].lower()) + 1)
    orders = ((a, b, c), (c, b, a), (c, a, b))  # year, month, day
    return any(_exists(*map(int, order)) for order in orders)


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year + 2000 if year < 100 else year, month, day)
    except ValueError:
        return False
    return True


class TextShape:
    """What accepted texts look like: `of(text)` gives 11 numbers, named by `NAMES`.

    Letters by a trigram model of characters whose chances back off from three letters to two, one and none.
    """

    def __init__(self, accepted: Iterable[str]) -> None:
        texts = [normal(text) for text in accepted]
        self._grams: list[Counter[str]] = [Counter(), Counter(), Counter(), Counter()]
        self._forms: Counter[str] = Counter(map(form_of, texts))
        self._words: set[str] = {word.lower() for text in texts for word in WORD.findall(text)}
        for text in texts:
            padded = f"  {text} "
            for at in range(2, len(padded)):
                for n in range(1, 4):
                    self._grams[n][padded[at - n + 1 : at + 1]] += 1
        self._total = sum(self._grams[1].values())
        before: list[Counter[str]] = [Counter(), Counter(), Counter()]
        for n in (2, 3):
            for gram, count in self._grams[n].items():
                before[n - 1][gram[:-1]] += count
        self._before = before

    def of(self, text: str) -> Floats:
        """Describe one text (11,)."""
        text = normal(text)
        logs = self._logs(text)
        words = [word.lower() for word in WORD.findall(text)]
        solid = [c for c in text if not c.isspace()]
        count = max(len(solid), 1)
        mixed = sum(any(c.isdigit() for c in token) and any(c.isalpha() for c in token) for token in text.split())
        return np.array(
            [
                logs.mean(),
                logs.min(),
                np.log((self._forms[form_of(text)] + 0.5) / (sum(self._forms.values()) + 1)),
                sum(word in self._words for word in words) / len(words) if words else 1.0,
                sum(c in self._grams[1] for c in solid) / count if solid else 1.0,
                np.log1p(len(text)),
                sum(c.isdigit() for c in solid) / count,
                sum(not c.isalnum() for c in solid) / count,
                float(is_amount(text)),
                float(is_date(text)),
                mixed / max(len(text.split()), 1),
            ]
        )

    def _logs(self, text: str) -> Floats:
        """Log chance of each character and of the end (len + 1,), each after the two before it."""
        padded, out = f"  {text} ", []
        for at in range(2, len(padded)):
            chance = (self._grams[1][padded[at]] + 0.5) / (self._total + 100)
            for n in (2, 3):
                gram = padded[at - n + 1 : at + 1]
                seen = self._before[n - 1][gram[:-1]]
                chance = (self._grams[n][gram] + 2 * chance) / (seen + 2)
            out.append(np.log(chance))
        return np.array(out)


def normal(text: str) -> str:
    """One form of signs that look alike, one space between words."""
    return " ".join(unicodedata.normalize("NFKC", text).split())
