"""Keys: what is refused, and that a file is private."""

import stat
from pathlib import Path

import pytest

from assay.errors import InputError
from assay.language.mark_keys import PREFIX, fingerprint, load_key, new_key, read_key, spelled

KEY = spelled("00112233445566778899aabbccddeeff")


def test_a_key_is_a_format():
    """A text marked today is tested in years."""
    assert "assay-mark-1-00112233445566778899aabbccddeeff-" + KEY[-8:] == KEY
    assert read_key(KEY + "\n") == read_key(KEY)
    assert 0 <= read_key(KEY) < 2**64


def test_keys_are_new_and_make_different_numbers():
    keys = {new_key() for _ in range(50)}
    assert len(keys) == len({read_key(key) for key in keys}) == len({fingerprint(read_key(key)) for key in keys}) == 50


def test_whole_numbers_are_taken_as_they_are():
    assert read_key(15485863) == read_key("15485863") == 15485863
    assert read_key(str(2**64 - 1)) == 2**64 - 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (KEY[:-1], "check does not fit"),
        (KEY.replace("0011", "0012"), "check does not fit"),
        (PREFIX + "0011-00000000", "4 characters where 32"),
        (KEY.replace("ff-", "fg-"), "32 hexadecimal digits"),
        ("", "no key"),
        ("secret", "no key"),
        (str(2**64), "no key"),
        ("-5", "no key"),
        ("١٢", "no key"),
    ],
)
def test_tampered_keys_are_refused(wrong: str, told: str):
    with pytest.raises(InputError, match=told):
        read_key(wrong)


def test_messages_do_not_hold_the_key():
    with pytest.raises(InputError) as error:
        read_key(KEY[:-1] + "x")
    assert "00112233" not in str(error.value)


def test_key_files(tmp_path: Path):
    path = tmp_path / "keys" / "my.key"
    with pytest.raises(InputError, match="There is no key file"):
        load_key(path)
    key, made = load_key(path, create=True)
    assert made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path, create=True) == (key, False)
    path.write_text("x" * 300)
    with pytest.raises(InputError, match="too long for a key file"):
        load_key(path)
