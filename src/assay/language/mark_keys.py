"""Secret keys of marks: 128 random bits with a check, in a file only its owner reads; reports show a fingerprint.

A key file holds one line, `assay-mark-1-` with 32 hexadecimal digits and 8 more that check them, so a mistyped or
cut-off key is refused instead of finding nothing. Other libraries' keys are plain whole numbers, such as transformers'
15485863, which everybody knows.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from assay.errors import InputError

PREFIX = "assay-mark-1-"


def new_key() -> str:
    """A new key as text, from the system's source of secrets."""
    return spelled(secrets.token_hex(16))


def spelled(digits: str) -> str:
    """A key's 32 hexadecimal digits with prefix and check."""
    return f"{PREFIX}{digits}-{_check(digits)}"


def read_key(text: str | int) -> int:
    """The number that a mark takes for `key`: of a key as `new_key` makes it, or a whole number.

    Raises
    ------
    InputError for a key of another length, with another check, or that is neither.

    >>> read_key("15485863")
    15485863
    """
    found = str(text).strip()
    if re.fullmatch(r"[0-9]{1,20}", found) and int(found) < 2**64:
        return int(found)
    if not found.startswith(PREFIX):
        raise InputError(
            f"That is no key: expected a line that begins with {PREFIX}, as `assay align watermark` writes it into a "
            "key file, or a whole number below 2^64."
        )
    digits, _, check = found.removeprefix(PREFIX).partition("-")
    if not re.fullmatch(r"[0-9a-f]{32}", digits):
        raise InputError(
            f"The key has {len(digits)} characters where 32 hexadecimal digits are expected: copy it whole."
        )
    if check != _check(digits):
        raise InputError("The key's check does not fit its digits: a character was changed or lost. Copy it again.")
    digest = hashlib.blake2b(bytes.fromhex(digits), digest_size=8, person=b"assay-mark")
    return int.from_bytes(digest.digest(), "little")


def load_key(path: Path, *, create: bool = False) -> tuple[int, bool]:
    """The key in a file, and whether the file was made now, which only `create` allows; its owner alone may read it."""
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(new_key() + "\n")
        return load_key(path)[0], True
    if not path.is_file():
        raise InputError(f"There is no key file {path}: `assay align watermark --key {path.name}` makes one.")
    if path.stat().st_size > 200:
        raise InputError(f"{path} is too long for a key file, which holds one line.")
    return read_key(path.read_text(encoding="utf-8", errors="replace")), False


def fingerprint(key: int) -> str:
    """Twelve hexadecimal digits that tell keys apart, for reports: the key cannot be read from them.

    Who guesses a key can check the guess, so the fingerprint of a short whole number hides nothing.

    >>> fingerprint(15485863) == fingerprint(15485863), len(fingerprint(1))
    (True, 12)
    """
    return hashlib.blake2b(f"{key}".encode(), digest_size=6, person=b"assay-finger").hexdigest()


def _check(digits: str) -> str:
    return hashlib.blake2b(digits.encode(), digest_size=4, person=b"assay-check").hexdigest()
