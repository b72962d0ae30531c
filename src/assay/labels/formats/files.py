"""How bytes come from disk and go back: which form a name announces, beside-and-rename, digests."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from assay.errors import InputError

SUFFIXES = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".jsonl": "jsonlines",
    ".ndjson": "jsonlines",
    ".parquet": "columnar",
    ".arrow": "columnar",
    ".feather": "columnar",
    ".ipc": "columnar",
    ".npz": "arrays",
    ".npy": "arrays",
}
PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".dill"}


def suffix_of(path: Path) -> str:
    """The suffix that tells the form, in lower case; `.gz` is looked through: `a.CSV.gz` gives `.csv`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def form_of(path: Path) -> str:
    """Which file of this package reads `path`: delimited, jsonlines, columnar or arrays, told by the suffix alone."""
    suffix = suffix_of(path)
    if suffix in PICKLES:
        raise InputError(
            f"{path.name} is a pickle, and opening a pickle runs the code inside it: save the data as .npz, .parquet "
            "or .csv instead."
        )
    form = SUFFIXES.get(suffix)
    if form is None or (is_gzip(path) and form not in ("delimited", "jsonlines")):
        raise InputError(
            f"{path.name} has no supported suffix; supported are {', '.join(SUFFIXES)}, .csv.gz, .tsv.gz, .jsonl.gz, "
            ".ndjson.gz and folders of images."
        )
    return form


def require_column(column: str, columns: Sequence[str], source: str) -> None:
    """Raise unless `column` is one of `columns`, naming the closest and all the others."""
    if column in columns:
        return
    close = difflib.get_close_matches(column, columns, n=1, cutoff=0.6)
    known = ", ".join(map(repr, columns[:20])) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise InputError(f"{source} has no column {column!r}; it has {known}.{hint}")


def require_distinct(columns: Sequence[str], source: str) -> None:
    """Raise if two columns have the same name."""
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise InputError(f"{source} has two columns named {twice!r}: rename one.")


def require_file(path: Path) -> None:
    """Raise unless `path` is a file with something in it."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; a file was expected.")
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: you lack the permission.")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is empty: 0 bytes.")


def is_gzip(path: Path) -> bool:
    """Whether the name says that the bytes are compressed."""
    return path.suffix.lower() == ".gz"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open for reading bytes, looking through `.gz`; a damaged archive raises one sentence."""
    require_file(path)
    try:
        with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as stream:
            yield cast("IO[bytes]", stream)
    except (gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"{path.name} is not a whole gzip file ({error}): fetch or compress it again.") from error


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; the file there is renamed over `target` only if all went well."""
    path = target.with_name(f".{os.getpid()}.{target.name}")  # keeps the suffix, which tells the form
    try:
        yield path
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Bytes that become `target` only if all went well; a `.gz` name compresses, the same every time."""
    with beside(target) as path, path.open("wb") as raw:
        if is_gzip(target):
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream:
                yield cast("IO[bytes]", stream)
        else:
            yield raw
        raw.flush()
        os.fsync(raw.fileno())


def write_bytes(target: Path, content: bytes) -> None:
    """Write a whole file so that a reader sees the old one or the new one, never a part."""
    with replacing(target) as stream:
        stream.write(content)


def copy(source: Path, target: Path) -> None:
    """Copy the very bytes, beside first; copying a file onto itself does nothing."""
    if target.exists() and target.samefile(source):
        return
    with beside(target) as path:
        shutil.copyfile(source, path)


def digest(path: Path) -> str:
    """SHA-256 of the file's bytes as they lie on disk, in hexadecimal, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_utf8(path: Path) -> None:
    """Raise with the byte offset of the first byte that is not UTF-8, read in blocks."""
    offset, held = 0, b""
    with opened(path) as stream:
        while True:
            block = stream.read(1 << 22)
            data = held + block
            try:
                data.decode()
                held = b""
            except UnicodeDecodeError as error:
                # A character cut by the end of the block is not an error until the file ends there too.
                if not block or len(data) - error.start > 3 or error.reason != "unexpected end of data":
                    bad = data[error.start]
                    raise InputError(
                        f"{path.name} is not UTF-8: byte 0x{bad:02x} at offset {offset + error.start}; "
                        "save it as UTF-8, for example with `iconv -f LATIN1 -t UTF-8`."
                    ) from None
                held = data[error.start :]
            offset += len(data) - len(held)
            if not block:
                return
