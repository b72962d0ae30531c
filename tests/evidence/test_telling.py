"""Which columns of a row speak: asked one row at a time, on few rows of many, and for values that are not known."""

import datetime

import numpy as np
import pyarrow as pa

from assay.evidence import telling
from assay.evidence.telling import Telling, readable, spread


def test_values_of_arrow_are_found_again():
    """A number with gaps becomes a float in its column; the cell of a row is still the integer, text or date."""
    n = 300
    table = pa.table(
        {
            "code": pa.array([1234567, None, 89] * (n // 3)),
            "many": pa.array([None if at % 50 == 0 else at for at in range(n)]),
            "flag": [True, False, None] * (n // 3),
            "kind": pa.array(["a", "b", "b"] * (n // 3)).dictionary_encode(),
            "day": [datetime.date(2020, 1, 1 + at % 3) for at in range(n)],
            "list": [[at % 3] for at in range(n)],
        }
    )
    given = np.arange(n) % 3
    found = Telling(dict(readable(table)), given, ("x", "y", "z"))
    row = {name: table[name][0].as_py() for name in table.column_names}
    row = {name: cell if isinstance(cell, int | str | None) else str(cell) for name, cell in row.items()}
    told = {name: (value, note) for name, value, note in found.row(row, 1, 0)}
    # Every third row holds these values, and all of them are labelled x: 101 against 1 of 100, over the values.
    assert told["code"] == ("1234567", "101.0 times as common in x")
    assert told["flag"] == ("True", "101.0 times as common in x")
    assert told["kind"] == ("a", "101.0 times as common in x")
    assert told["day"] == ("2020-01-01", "101.0 times as common in x")
    assert told["list"] == ("[0]", "101.0 times as common in x")
    assert told["many"][0] == "missing"


def test_a_value_never_seen_says_nothing():
    columns = {"word": np.array(["a", "b"] * 50, dtype=object), "size": np.arange(100.0), "few": np.arange(100) % 3}
    found = Telling(columns, np.arange(100) % 2, ("x", "y"))
    told = found.row({"word": "new", "size": None, "few": 7}, 0, 1)
    assert [note for _, _, note in told] == ["", "", ""]
    assert dict(told_[:2] for told_ in told) == {"word": "new", "size": "missing", "few": "7"}


def test_few_rows_of_many(monkeypatch):
    """The rows asked are spread over all; what they say is near what all say."""
    monkeypatch.setattr(telling, "ROWS", 1000)
    some = np.arange(100_001)[spread(100_001)]
    assert len(some) <= 1000
    assert some[-1] > 99_000
    assert np.array_equal(np.arange(999)[spread(999)], np.arange(999))
    assert len(np.arange(0)[spread(0)]) == 0
