"""Errors that teach: what came, what was expected, the first offending row, how to mend it."""

from __future__ import annotations

import importlib
from types import ModuleType


class AssayError(Exception):
    """Any error that assay raises on purpose. The command line prints it as one sentence and exits with code 2."""


class InputError(AssayError, ValueError):
    """Bad input, found before any work was done.

    Parameters
    ----------
    message : one sentence: what came, what was expected, how to mend it.
    row : zero-based index of the first offending row, when there is one; it is appended to the message.
    """

    def __init__(self, message: str, *, row: int | None = None) -> None:
        self.row = row
        super().__init__(message if row is None else f"{message} (first offending row: {row})")


class MissingExtraError(AssayError, ImportError):
    """A stage needs a package that the base install leaves out."""


def require(module: str, extra: str, why: str) -> ModuleType:
    """Import `module`, or raise one sentence that names the extra that brings it.

    >>> require("json", "frames", "reading").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise
        message = f"{why} needs the package {module.split('.')[0]!r}: install it with `pip install 'assay[{extra}]'`."
        raise MissingExtraError(message) from None
