"""Lattices: the laws, by hand, as text, and beside the columns of `Security`."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import InputError
from assay.labels import Security, Space
from assay.labels.lattices import (
    CONFIDENTIALITY,
    INTEGRITY,
    Chain,
    Label,
    Lattice,
    Product,
    Readers,
    Sources,
    lattice_of,
)
from assay.labels.security import from_lattice, join_security, lattice_labels, security_lattice
from assay.labels.spaces import Kind

LEVELS = Chain(("public", "internal", "secret", "top secret"))
SOURCES = Sources(("mail", "web", "wiki"))
READERS = Readers(("ann", "bob", "eve"))
BOTH = Product.of({"integrity": INTEGRITY, "readers": READERS, "where": Product.of({"source": SOURCES})})
EVERY = [INTEGRITY, CONFIDENTIALITY, LEVELS, SOURCES, READERS, BOTH, Chain(("only",)), Sources(())]


def names_of(lattice: Lattice) -> st.SearchStrategy[object]:
    """Labels as people write them."""
    if isinstance(lattice, Chain):
        return st.sampled_from(lattice.levels)
    if isinstance(lattice, Product):
        parts = zip(lattice.names, lattice.parts, strict=True)
        return st.fixed_dictionaries({name: names_of(part) for name, part in parts})
    assert isinstance(lattice, Sources)
    return st.lists(st.sampled_from(lattice.names), max_size=4) if lattice.names else st.just([])


@st.composite
def three(draw: st.DrawFn) -> tuple[Lattice, Label, Label, Label]:
    lattice = draw(st.sampled_from(EVERY))
    a, b, c = (lattice.label(draw(names_of(lattice))) for _ in range(3))
    return lattice, a, b, c


@given(three())
def test_laws(drawn):
    lattice, a, b, c = drawn
    assert a | a == a == a & a
    assert a | b == b | a
    assert a & b == b & a
    assert (a | b) | c == a | (b | c)
    assert (a & b) & c == a & (b & c)
    assert a | (a & b) == a == a & (a | b)  # absorption
    assert a & (b | c) == (a & b) | (a & c)  # distributivity, on which the search rests
    assert a <= a | b
    assert a & b <= a
    assert (a <= b) == (a | b == b) == (a & b == a)
    if a <= c and b <= c:
        assert a | b <= c  # the join is the least upper bound
    if a <= b:
        assert a | c <= b | c  # monotone
    assert lattice.bottom <= a <= lattice.top
    assert lattice.join([a, b, c]) == a | b | c
    assert lattice.join([]) == lattice.bottom
    assert lattice.label(a.value) == lattice.label(str(a)) == lattice.label(a) == a
    assert lattice_of(json.loads(json.dumps(lattice.spec()))) == lattice


def written(lattice, a, b):
    """Order and join as people would say them, without bits."""
    if isinstance(lattice, Chain):
        at, to = lattice.levels.index(a), lattice.levels.index(b)
        return at <= to, lattice.levels[max(at, to)]
    if isinstance(lattice, Product):
        parts = {n: written(p, a[n], b[n]) for n, p in zip(lattice.names, lattice.parts, strict=True)}
        return all(order for order, _ in parts.values()), {name: join for name, (_, join) in parts.items()}
    one, other = set(a), set(b)
    if isinstance(lattice, Readers):
        return one >= other, [name for name in lattice.names if name in one & other]
    return one <= other, [name for name in lattice.names if name in one | other]


@given(st.data())
def test_the_bits_say_what_people_say(data):
    lattice = data.draw(st.sampled_from(EVERY))
    a, b = data.draw(names_of(lattice)), data.draw(names_of(lattice))
    order, join = written(lattice, a, b)
    assert (lattice.label(a) <= lattice.label(b)) == order
    assert (lattice.label(a) | lattice.label(b)).value == join


ROWS = st.lists(st.tuples(st.integers(0, 127), st.integers(0, 127), st.integers(0, 7)), min_size=1, max_size=5)


@given(ROWS, ROWS)
def test_columns_and_labels_agree(one, other):
    n = min(len(one), len(other))
    space = Space(("finance", "health", "law"), Kind.LATTICE)

    def columns(rows):
        s, i, c = zip(*rows[:n], strict=True)
        return Security(space, np.array(s, np.int8), np.array(i, np.int8), np.array(c, np.uint64))

    a, b = columns(one), columns(other)
    labels = list(zip(lattice_labels(a), lattice_labels(b), strict=True))
    assert from_lattice(space, [x for x, _ in labels]) == a
    assert from_lattice(space, [x | y for x, y in labels]) == join_security(a, b)
    assert [x <= y for x, y in labels] == a.below(b).tolist()
    assert security_lattice(space).top.n_restrictions == 127 + 127 + 3


def test_by_hand():
    assert str(LEVELS.label("internal") | LEVELS.label("secret")) == "secret"
    assert LEVELS.label("secret").n_restrictions == 2
    assert READERS.label("*") == READERS.bottom
    assert READERS.label([]) == READERS.top
    assert READERS.label("ann").value == ["ann"]
    assert SOURCES.label(["wiki", "mail", "wiki"]).value == ["mail", "wiki"]
    assert INTEGRITY.label("trusted") <= INTEGRITY.label("untrusted")
    assert BOTH.label({"integrity": "untrusted", "readers": "*", "where": {"source": "web"}}).n_restrictions == 2


def test_fingerprints_tell_names_order_and_kind():
    lattices = [
        Sources(("a", "b")),
        Sources(("b", "a")),
        Readers(("a", "b")),
        Chain(("a", "b")),
        Product.of({"a": INTEGRITY, "b": SOURCES}),
        Product.of({"b": SOURCES, "a": INTEGRITY}),
    ]
    assert len({lattice.fingerprint for lattice in lattices}) == len(set(lattices)) == len(lattices)
    assert Sources(("a", "b")).fingerprint == Sources(("a", "b")).fingerprint


@pytest.mark.parametrize(
    ("lattice", "value", "said"),
    [
        (LEVELS, "secrett", "Unknown level 'secrett': known are 'public', 'internal'"),
        (LEVELS, ["public"], "Unknown level"),
        (LEVELS, None, "Unknown level None"),
        (SOURCES, ["mail", "phone"], "Unknown sources 'phone'"),
        (SOURCES, 3, "a name or a list of names, got 3"),
        (SOURCES, [["mail"]], "Unknown sources"),
        (READERS, "mallory", "Unknown readers 'mallory'"),
        (BOTH, {"integrity": "trusted"}, "an object with the parts integrity, readers, where"),
        (BOTH, '{"integrity": ', "is no JSON"),
        (SOURCES, READERS.top, "of another lattice"),
    ],
)
def test_unknown_labels_are_told(lattice, value, said):
    with pytest.raises(InputError, match=said) as told:
        lattice.label(value, row=7)
    assert told.value.row == 7


def test_labels_of_two_lattices_never_meet():
    for act in (lambda a, b: a <= b, lambda a, b: a | b, lambda a, b: a & b):
        with pytest.raises(InputError, match="two lattices"):
            act(Sources(("a", "b")).top, Sources(("b", "a")).top)


@pytest.mark.parametrize(
    "spec",
    ["secrecy", None, {}, {"kind": "chain"}, {"kind": "chain", "levels": []}, {"kind": "sources", "names": ["a", "a"]},
     {"kind": "readers", "names": ["a", ""]}, {"kind": "product", "parts": {}}, {"kind": "chain", "levels": "abc"},
     {"kind": "sources", "names": [1]}],
)  # fmt: skip
def test_bad_lattices_are_told(spec):
    with pytest.raises(InputError):
        lattice_of(spec)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["mail", "chain"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("kind"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(EVERY), ANY_JSON, st.text(max_size=12))
def test_whatever_comes_is_a_label_or_is_told(lattice, value, text):
    for came in (value, text, "[" + text, "{" + text):
        try:
            label = lattice.label(came)
        except InputError:
            continue
        assert lattice.bottom <= label <= lattice.top


@given(ANY_JSON, st.sampled_from(["chain", "sources", "readers", "product"]), ANY_JSON)
def test_whatever_comes_is_a_lattice_or_is_told(spec, kind, inner):
    for came in (spec, {"kind": kind, "levels": inner, "names": inner, "parts": inner}):
        try:
            lattice = lattice_of(came)
        except InputError:
            continue
        assert lattice_of(lattice.spec()) == lattice
