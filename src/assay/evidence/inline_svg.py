"""SVG of matplotlib made part of a page: colours become CSS variables, ids unique, style and metadata dropped."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from assay.evidence.shown import short

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"


def inline(raw: bytes, title: str, description: str, prefix: str, variables: dict[str, str]) -> str:
    """Make matplotlib's SVG part of a page.

    Parameters
    ----------
    raw : the SVG as written.
    title, description : what a reader who does not see the plot should know.
    prefix : put before every id.
    variables : colour as written to the CSS variable that replaces it.
    """
    root = ET.fromstring(raw)
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    for element in root.iter():
        if "id" in element.attrib:
            element.set("id", prefix + element.attrib["id"])
        for name in ("clip-path", "style"):
            if name in element.attrib:
                element.set(name, element.attrib[name].replace("url(#", f"url(#{prefix}"))
        if _LINK in element.attrib:
            element.set("href", element.attrib.pop(_LINK).replace("#", f"#{prefix}"))
        if style := element.attrib.get("style"):
            style = re.sub(r"#0102[0-9a-f]{2}", lambda found: f"var({variables[found[0]]})", style)
            element.set("style", re.sub(r"font: (?:\w+ )*([\d.]+)px [^;]*", r"font-size: \1px", style))
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib.clear()
    root.attrib.update(
        {
            "viewBox": f"0 0 {width} {height}",
            "style": f"max-width: {width}px",
            "role": "img",
            "aria-labelledby": f"{prefix}title {prefix}desc",
        }
    )
    for at, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(f"{_SVG}{tag}", {"id": f"{prefix}{tag}"})
        element.text = short(text, 2000)
        root.insert(at, element)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
    return ET.tostring(root, encoding="unicode")
