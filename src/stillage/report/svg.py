"""Matplotlib's SVG made fit for a page: no ids that clash, no inline styles."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"

INK, FAINT = "#010101", "#020202"
"""Stand-ins in figures: text and axes follow the page's text colour, grids its rules."""

PALETTE = {
    "#0072b2": "blue",
    "#d55e00": "vermillion",
    "#cc79a7": "purple",
    "#009e73": "green",
    "#e69f00": "orange",
    "#56b4e9": "sky",
}
"""Okabe and Ito's colour-blind-safe colours; in the dark the page swaps blue for sky."""

STANDALONE = (
    "svg{color:#1d1d1b;background:#fff;font-family:"
    "'DejaVu Sans',Verdana,sans-serif}.k-faint{stroke:#d9d6cf}"
    ".f-faint{fill:#d9d6cf}@media(prefers-color-scheme:dark)"
    "{svg{color:#e8e6e1;background:#141517}.k-faint{stroke:#3a3b3d}"
    ".f-faint{fill:#3a3b3d}.k-blue{stroke:#56b4e9}.f-blue{fill:#56b4e9}}"
)


def tidy(source: str, *, name: str, title: str, description: str) -> str:
    """The figure as one `<svg>` element for a page.

    Styles become attributes and classes (so that the page needs no inline style), ids are prefixed
    with `name`, metadata is dropped, and title and description speak to screen readers.
    """
    root = ET.fromstring(source)  # our own figure, straight from matplotlib
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        _attributes(element)
    _prefix_ids(root, name)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
        "class": "figure",
        "stroke-linejoin": "round",
    }
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        label = ET.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{tag}"})
        label.text = text
        root.insert(position, label)
    ET.register_namespace("", SVG)
    return ET.tostring(root, encoding="unicode")


def standalone(inline: str) -> str:
    """The same figure as a file of its own, readable on light and dark."""
    head, _, body = inline.partition(">")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}><style>{STANDALONE}</style>{body}\n'


def _attributes(element: ET.Element) -> None:
    """Turn an element's style into attributes, and known colours into classes."""
    href = element.attrib.pop(f"{{{XLINK}}}href", None)
    if href:
        element.set("href", href)
    for declaration in element.attrib.pop("style", "").split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font":
            _font(element, value)
        elif key and key not in ("font-family", "font-variant", "font-stretch", "-inkscape-stroke"):
            element.set(key, value)
    classes = []
    for key, letter in (("fill", "f"), ("stroke", "k")):
        value = element.get(key, "").lower()
        if value == INK:
            element.set(key, "currentColor")
        elif value == FAINT:
            element.set(key, "#d9d6cf")
            classes.append(f"{letter}-faint")
        elif value in PALETTE:
            classes.append(f"{letter}-{PALETTE[value]}")
    if classes:
        element.set("class", " ".join(classes))


def _font(element: ET.Element, shorthand: str) -> None:
    size = re.search(r"([\d.]+)px", shorthand)
    if size:
        element.set("font-size", size.group(1))
    weight = re.match(r"(bold|[1-9]00)\b", shorthand)
    if weight:
        element.set("font-weight", weight.group(1))


def _prefix_ids(root: ET.Element, name: str) -> None:
    """Prefix ids that something refers to, and drop the others.

    Several figures share a page.
    """
    text = ET.tostring(root, encoding="unicode")
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own in used:
            element.set("id", f"{name}-{own}")
        for key, value in element.attrib.items():
            element.set(key, re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", value))
        if element.get("href", "").startswith("#"):
            element.set("href", f"#{name}-{element.get('href', '')[1:]}")
