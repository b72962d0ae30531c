"""Frozen dataclasses to JSON and back, checked: a file that came from elsewhere is input like any other."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from assay.errors import InputError


def plain(value: object, where: str = "value") -> Any:
    """Copy of `value` that holds only str, int, float, bool, None, lists and dicts; numbers must be finite.

    A dataclass becomes a dict of its fields, with its name under "type" when its class sets `TAGGED`.
    """
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), where)
    if isinstance(value, np.generic):
        return plain(value.item(), where)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"A report holds finite numbers only: {where} is {value}; leave it out or pass None.")
        return value
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        tag = {"type": type(value).__name__} if getattr(type(value), "TAGGED", False) else {}
        names = [field.name for field in dataclasses.fields(value)]
        return tag | {name: plain(getattr(value, name), f"{where}.{name}") for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, f"{where}[{at}]") for at, inner in enumerate(value)]
    raise InputError(f"A report holds text, numbers, lists and mappings: {where} is a {type(value).__name__}.")


def build(hint: Any, value: Any, where: str) -> Any:
    """Inverse of `plain`: make `value` what the type `hint` says, or raise one sentence that names the place."""
    if hint is object or hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return _build_record(hint, value, where)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Union or isinstance(hint, types.UnionType):
        return _build_union(inner, value, where)
    if origin is tuple and isinstance(value, list):
        if inner[-1] is Ellipsis:
            return tuple(build(inner[0], one, f"{where}[{at}]") for at, one in enumerate(value))
        if len(value) == len(inner):
            return tuple(build(one, v, f"{where}[{at}]") for at, (one, v) in enumerate(zip(inner, value, strict=True)))
    if origin is dict and isinstance(value, dict):
        return value
    if hint is type(None) and value is None:
        return None
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    if hint in (str, int, bool) and type(value) is hint:
        return value
    raise InputError(f"Not a report: {where} holds {str(value)[:40]!r}, expected {_spell(hint)}.")


def _build_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    records = {_spell(option): option for option in options if dataclasses.is_dataclass(option)}
    if isinstance(value, dict) and records:
        tag = value.get("type")
        if tag is None and len(records) == 1:
            return _build_record(next(iter(records.values())), value, where)
        if tag not in records:
            raise InputError(f"Not a report: {where} has the type {tag!r}, expected one of {', '.join(records)}.")
        return _build_record(records[str(tag)], {k: v for k, v in value.items() if k != "type"}, where)
    for option in options:
        try:
            return build(option, value, where)
        except InputError:
            continue
    spelled = ", ".join(_spell(option) for option in options)
    raise InputError(f"Not a report: {where} holds {str(value)[:40]!r}, expected one of {spelled}.")


def _build_record(hint: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"Not a report: {where} holds {str(value)[:40]!r}, expected the fields of {hint.__name__}.")
    hints = get_type_hints(hint)
    fields = {field.name: field for field in dataclasses.fields(hint)}
    if unknown := sorted(set(value) - set(fields)):
        raise InputError(f"Not a report: {where} has the unknown field {unknown[0][:40]!r}.")
    needed = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(needed - set(value)):
        raise InputError(f"Not a report: {where} lacks the field {missing[0]!r}.")
    return hint(**{name: build(hints[name], inner, f"{where}.{name}") for name, inner in value.items()})


def _spell(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint))
