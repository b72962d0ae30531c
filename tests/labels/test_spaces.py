"""Label spaces: order, fingerprints, names, codes."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import InputError
from assay.labels import Kind, Space
from assay.labels.spaces import distinct, name_of

names = st.lists(st.text(max_size=4), unique=True, min_size=2, max_size=6)


@given(names, st.randoms())
def test_the_fingerprint_changes_with_order_and_nothing_else(given_names, random):
    other = given_names[:]
    random.shuffle(other)
    assert (Space(tuple(given_names)).fingerprint == Space(tuple(other)).fingerprint) == (other == given_names)


def test_the_fingerprint_tells_names_that_join_alike():
    assert Space(("a", "b,c")).fingerprint != Space(("a,b", "c")).fingerprint
    assert Space(("a", "b")).fingerprint != Space(("a", "b"), Kind.ORDINAL).fingerprint
    assert Space(("a", "b")).fingerprint != Space(("a", "b"), open_set=True).fingerprint


def test_the_fingerprint_is_the_same_in_another_process():
    code = "from assay.labels import Space; print(Space(('ä', 'b')).fingerprint)"
    printed = {subprocess.check_output([sys.executable, "-c", code], text=True).strip() for _ in range(2)}
    assert printed == {Space(("ä", "b")).fingerprint}


@given(names, st.randoms())
def test_a_permutation_reorders_columns(given_names, random):
    space, shuffled = Space(tuple(given_names)), given_names[:]
    random.shuffle(shuffled)
    other = Space(tuple(shuffled))
    columns_of_other = np.array(shuffled, dtype=object)
    assert columns_of_other[space.permutation(other)].tolist() == given_names


@given(names, st.data())
def test_encode_and_decode_undo_each_other(given_names, data):
    space = Space(tuple(given_names))
    values = data.draw(st.lists(st.sampled_from(given_names)))
    assert space.decode(space.encode(values)) == values


def test_typed_arrays_encode_like_lists():
    for values in ([3, 1, 3, 2], [0.5, 1.0, 0.5], ["b", "a", "b"], [True, False]):
        space = Space.from_values(values)
        assert space.encode(np.array(values)).tolist() == space.encode(values).tolist()
        assert space == Space.from_values(np.array(values))


def test_order_of_values():
    assert Space.from_values([10, 9, 2]).names == ("2", "9", "10")
    assert Space.from_values(["10", "9", "x"]).names == ("10", "9", "x")
    assert Space.from_values(["nan", "2", "10"]).names == ("10", "2", "nan")  # "nan" is a float without a place
    assert Space.from_values([1.0, 2.0]).names == ("1", "2")  # integers that a missing cell made floats


@given(
    st.lists(st.integers(-(2**62), 2**62) | st.integers(-5, 5), max_size=8),
    st.sampled_from([np.int64, np.int8, np.uint64]),
)
def test_distinct_is_what_unique_says(values, dtype):
    array = np.array(values, dtype=np.int64).astype(dtype)
    found, inverse = distinct(array)
    expected, where = np.unique(array, return_inverse=True)
    assert list(map(int, found)) == expected.tolist()
    assert inverse.tolist() == where.tolist()


def test_values_that_python_holds_equal_stay_apart():
    found, inverse = distinct([True, 1, "1"])
    assert len(found) == 3
    assert inverse.tolist() == [0, 1, 2]
    assert name_of(True) == "True"


@pytest.mark.parametrize(
    ("call", "says", "row"),
    [
        (lambda: Space("cat"), "single string", None),
        (lambda: Space(("a", "b", "a")), "stands at 0 and at 2", None),
        (lambda: Space(("a", "b")).encode(["a", "c"]), "Unknown class 'c'", 1),
        (lambda: Space(("a", "b")).encode(np.array(["b", "a", "d", "c"])), "Unknown class 'd'", 2),
        (lambda: Space(("a", "b")).decode([0, -1]), "Code -1 names no class", 1),
        (lambda: Space.from_values([["a"]]), "cannot be a list", 0),
        (lambda: Space(("a", "b")).require(Space(("b", "a"))), "another order: column 0", None),
        (lambda: Space(("a", "b")).require(Space(("a", "c"))), "only here ['b'], only there ['c']", None),
        (lambda: Space(("a",)).require(Space(("a",), Kind.ORDINAL)), "differ in kind", None),
    ],
)
def test_errors_name_the_row(call, says, row):
    with pytest.raises(InputError) as caught:
        call()
    assert says in str(caught.value)
    assert caught.value.row == row


def test_masked_rows_are_not_encoded():
    assert Space(("a", "b")).encode(["b", "?", "a"], np.array([True, False, True])).tolist() == [1, 0, 0]
