"""Pascal VOC: one XML file an image with its boxes, in and out.

The corners of the VOC challenges are pixels counted from 1, the last one included (development kit 2012: "the top-left
pixel in the image has coordinates (1, 1)"): on reading, xmin and ymin are lowered by one, which gives the edges that
`Boxes` holds; on writing they are raised again. Many tools write edges from 0 into the same form; read and write those
with `one_based=False`. What a file of one convention means in the other is a box one pixel larger or smaller.

XML may come from anybody. It is read by expat with every declaration of a document type refused, so that there are no
entities to expand and nothing outside to fetch; files are at most 4 MiB and 32 levels deep. Pose, parts, actions,
source and segmented are not kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.boxes import Boxes, gathered
from assay.labels.formats.coco import shown
from assay.labels.spaces import Space

LARGEST = 1 << 22  # bytes of one file
DEEPEST = 32
EDGES = ("xmin", "ymin", "xmax", "ymax")


class Voc(NamedTuple):
    """What a folder of VOC files says.

    Parameters
    ----------
    boxes : the boxes; images in the order of their files' names.
    difficult, truncated : `(b,)` bool; difficult boxes do not count in the evaluation of VOC.
    """

    boxes: Boxes
    difficult: npt.NDArray[np.bool_] | None = None
    truncated: npt.NDArray[np.bool_] | None = None


class _Reader:
    """One file: the texts at the few paths that matter, one dictionary an object."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about: dict[str, str] = {}
        self.objects: list[dict[str, str]] = []
        self._stack: list[str] = []
        self._text: list[str] = []
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.buffer_text = True

    def fail(self, reason: str) -> InputError:
        return InputError(f"{self.path.name}, line {self._parser.CurrentLineNumber}: {reason}.")

    def _refuse_doctype(self, *_: object) -> None:
        raise self.fail("a DOCTYPE is refused, because it can declare entities; take it out")

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._stack.append(name)
        if len(self._stack) > DEEPEST:
            raise self.fail(f"elements are more than {DEEPEST} levels deep")
        if len(self._stack) == 1 and name != "annotation":
            raise self.fail(f"the file holds <{name[:40]}>, not an <annotation>")
        if self._stack == ["annotation", "object"]:
            self.objects.append({})
        self._text.clear()

    def _end(self, _: str) -> None:
        path, text = self._stack[1:], "".join(self._text).strip()
        self._text.clear()
        self._stack.pop()
        of = self.objects[-1] if path[:1] == ["object"] else self.about
        key = "/".join(path[1:] if of is not self.about else path)
        if key in of and (key.startswith("bndbox/") or key in ("name", "filename")):
            raise self.fail(f"<{key}> comes twice")
        of[key] = text

    def read(self) -> _Reader:
        if self.path.stat().st_size > LARGEST:
            raise InputError(f"{self.path.name} is larger than {LARGEST} bytes: no annotation of one image is.")
        try:
            self._parser.Parse(self.path.read_bytes(), True)
        except expat.ExpatError as error:
            raise self.fail(f"it is not XML: {expat.ErrorString(error.code)}") from None
        except (LookupError, ValueError) as error:  # an encoding that expat does not know
            if isinstance(error, InputError):
                raise
            raise self.fail(f"it is not XML: {error}") from None
        return self

    def number(self, of: dict[str, str], key: str, place: str) -> float:
        try:
            number = float(of[key])
        except KeyError:
            raise InputError(f"{self.path.name}: {place} has no <{key}>.") from None
        except ValueError:
            raise InputError(f"{self.path.name}: <{key}> of {place} is no number, {of[key][:40]!r}.") from None
        if not abs(number) < 1e12:
            raise InputError(f"{self.path.name}: <{key}> of {place} is {of[key][:40]}, which is no coordinate.")
        return number

    def flag(self, of: dict[str, str], key: str, place: str) -> bool:
        text = of.get(key) or "0"
        if text not in ("0", "1"):
            raise InputError(f"{self.path.name}: <{key}> of {place} is 0 or 1, got {text[:40]!r}.")
        return text == "1"


def read_voc(source: Path | str, *, space: Space | None = None, one_based: bool = True, clip: bool = False) -> Voc:
    """Read a folder of XML files, or the folder above it that has them in `Annotations`; sub-folders too.

    Parameters
    ----------
    space : the classes and their order; else those that occur.
    one_based : corners are pixels from 1, the last one included; else edges from 0.
    clip : cut boxes at the edge of their image, and leave out those that lie outside or have no area.

    Raises
    ------
    InputError : no XML files, malformed ones, a document type, a box that is none; names the file and the place in it.
    """
    root = Path(source)
    folder = root / "Annotations" if (root / "Annotations").is_dir() else root
    paths = sorted(folder.rglob("*.xml")) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{root} holds no .xml files: give the folder with one VOC annotation an image.")
    images: list[str] = []
    sizes: list[tuple[int, int] | None] = []
    rows: list[int] = []
    names: list[str] = []
    corners: list[list[float]] = []
    flags: list[tuple[bool, bool]] = []
    shift = 1 if one_based else 0
    for row, path in enumerate(paths):
        found = _Reader(path).read()
        images.append(found.about.get("filename") or path.relative_to(folder).with_suffix("").as_posix())
        sizes.append(_size(found))
        for number, one in enumerate(found.objects):
            place = f"object {number}"
            left, top, right, bottom = (found.number(one, f"bndbox/{edge}", place) for edge in EDGES)
            if not one.get("name"):
                raise InputError(f"{path.name}: {place} has no <name>.")
            rows.append(row)
            names.append(one["name"])
            corners.append([left - shift, top - shift, right, bottom])
            flags.append((found.flag(one, "difficult", place), found.flag(one, "truncated", place)))
    known = [size for size in sizes if size is not None]
    if known and len(known) < len(sizes):
        raise InputError(f"{paths[sizes.index(None)].name} has no <size>, others have.")
    space = space or Space.from_values(names)
    boxes, order = gathered(
        space, images, known or None, rows, space.encode(names), np.array(corners, dtype=float), clip=clip
    )
    marks = np.array(flags, dtype=bool).reshape(-1, 2)[order]
    return Voc(boxes, *(mark if mark.any() else None for mark in marks.T))


def _size(found: _Reader) -> tuple[int, int] | None:
    if not {"size/width", "size/height"} <= found.about.keys():
        return None
    width, height = (found.number(found.about, f"size/{side}", "the image") for side in ("width", "height"))
    if not (width.is_integer() and height.is_integer() and width >= 0 and height >= 0):
        raise InputError(f"{found.path.name}: the size of the image is no whole number of pixels.")
    return int(width), int(height)


def write_voc(found: Voc | Boxes, target: Path | str, *, one_based: bool = True) -> None:
    """Write a folder with one XML file an image, all beside first and renamed; `target` must not exist.

    Scores and transcriptions have no place in this form: boxes that have any are refused, take them out with
    `dataclasses.replace(boxes, score=None, text=None)`. Coordinates come back as `write_coco` says.
    """
    voc, target = Voc(found) if isinstance(found, Boxes) else found, Path(target)
    boxes = voc.boxes
    if boxes.score is not None or boxes.text is not None:
        raise InputError("VOC has no place for scores and texts: `dataclasses.replace(boxes, score=None, text=None)`.")
    if target.exists():
        raise InputError(f"{target} exists already: give a folder that does not.")
    files = [_file_of(name, row) for row, name in enumerate(boxes.images)]
    first: dict[PurePosixPath, int] = {}
    for row, path in enumerate(files):
        if first.setdefault(path, row) != row:
            raise InputError(f"Two images would both be described by {path}: rename one.", row=row)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        for row, path in enumerate(files):
            (beside / path).parent.mkdir(parents=True, exist_ok=True)
            text = "\n".join(_lines(voc, row, 1 if one_based else 0))
            (beside / path).write_text(text + "\n", encoding="utf-8")
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _file_of(name: str, row: int) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or set(name) & set("\\\0"):
        raise InputError(f"Image {name!r} names no file below a folder.", row=row)
    return path.with_suffix(".xml")


def _lines(voc: Voc, row: int, shift: int) -> Iterator[str]:
    boxes = voc.boxes
    yield "<annotation>"
    yield f"  <filename>{_written(boxes.images[row], row)}</filename>"
    if boxes.sizes is not None:
        width, height = boxes.sizes[row]
        yield f"  <size><width>{width}</width><height>{height}</height></size>"
    for place in range(int(boxes.offsets[row]), int(boxes.offsets[row + 1])):
        left, top, right, bottom = boxes.corners[place].tolist()
        edges = zip(EDGES, (left + shift, top + shift, right, bottom), strict=True)
        marks: Any = [("difficult", voc.difficult), ("truncated", voc.truncated)]
        yield "  <object>"
        yield f"    <name>{_written(boxes.space.names[boxes.label[place]], row)}</name>"
        yield from (f"    <{key}>{0 if mark is None else int(mark[place])}</{key}>" for key, mark in marks)
        yield "    <bndbox>" + "".join(f"<{key}>{shown(edge)}</{key}>" for key, edge in edges) + "</bndbox>"
        yield "  </object>"
    yield "</annotation>"


def _written(text: str, row: int) -> str:
    """A name as XML text that reads as the same name again; XML cannot hold every character."""
    odd = next((c for c in text if (c < " " and c != "\t") or "\ud800" <= c <= "\udfff" or c in "\ufffe\uffff"), None)
    if odd is not None or text != text.strip() or not text:
        raise InputError(
            f"The name {text!r} cannot stand in XML: control characters and outer spaces are lost.", row=row
        )
    return escape(text)
