"""A self-contained HTML page: sections of text, tables and pictures, everything inlined."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image

from weldgen import __version__
from weldgen.runtime import write_atomic

RGB = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A picture with a caption.

    Attributes:
        data: The picture as a data URI.
        caption: One line, plain text.
        size: `small` and `normal` stand beside others, `wide` takes the page's full width.
    """

    data: str
    caption: str = ""
    size: Literal["small", "normal", "wide"] = "normal"


@dataclass(frozen=True)
class Table:
    """Rows under a heading; cells are plain text or numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: Heading.
        paragraphs: Plain text.
        warnings: Sentences that must not be overlooked.
        tables: Shown before the pictures.
        pictures: Shown side by side, or wide.
    """

    title: str
    paragraphs: Sequence[str] = ()
    warnings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


def picture(image: RGB, caption: str = "", *, max_side_px: int = 1800) -> Picture:
    """Inline an image, (H, W, 3) uint8 RGB, over the page's width, as a JPEG of at most `max_side_px` a side."""
    shown = Image.fromarray(image)
    shown.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    shown.save(stream, "JPEG", quality=88)
    return Picture(_data_uri("image/jpeg", stream.getvalue()), caption, "wide")


def figure(plot: Any, caption: str = "", size: Literal["small", "normal", "wide"] = "normal") -> Picture:
    """Inline a matplotlib figure as SVG."""
    stream = io.BytesIO()
    plot.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    return Picture(_data_uri("image/svg+xml", stream.getvalue()), caption, size)


def picture_file(path: Path, caption: str = "") -> Picture:
    """Inline a PNG file as it is, at a small size."""
    return Picture(_data_uri("image/png", path.read_bytes()), caption, "small")


def full_sentences(texts: Sequence[str]) -> list[str]:
    """Notes of a summary as sentences of a page; empty ones are left out."""
    return [f"{text[0].upper()}{text[1:]}." for text in texts if text]


def write_page(path: Path, title: str, subtitle: str, sections: Sequence[Section]) -> Path:
    """Write the page whole or not at all; returns its path."""
    page = jinja2.Environment(autoescape=True).from_string(_TEMPLATE)
    write_atomic(path, page.render(title=title, subtitle=subtitle, sections=sections, version=__version__))
    return path


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { --ink: #1c2530; --soft: #5a6876; --line: #d9e0e6; --paper: #ffffff; --ground: #f3f5f7; --accent: #b4500f; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", sans-serif; }
header { background: var(--ink); color: #fff; padding: 2.2rem 1rem; border-bottom: 6px solid var(--accent); }
header > *, main, footer { max-width: 1080px; margin: 0 auto; }
header h1 { font-size: 1.9rem; line-height: 1.2; }
header p { color: #c3ced8; padding-top: .3rem; max-width: 1080px; }
main { padding: 1rem; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 1.2rem 1.5rem; margin: 1rem 0; }
h2 { margin: 0 0 .6rem; font-size: 1.3rem; }
p { margin: .4rem 0; max-width: 75ch; }
.warning { border-left: 4px solid var(--accent); background: #fdf3ec; padding: .5rem .8rem; max-width: none; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 1rem; margin-top: .8rem; }
figure { margin: 0; max-width: 760px; }
figure.small { max-width: 380px; }
figure.wide { grid-column: 1 / -1; max-width: none; }
img { width: 100%; height: auto; border-radius: 4px; display: block; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .25rem; }
footer { color: var(--soft); font-size: .85rem; padding: 1rem; }
</style>
</head>
<body>
<header><h1>{{ title }}</h1><p>{{ subtitle }}</p></header>
<main>
{% for section in sections %}<section>
<h2>{{ section.title }}</h2>
{% for text in section.warnings %}<p class="warning">{{ text }}</p>
{% endfor %}{% for text in section.paragraphs %}<p>{{ text }}</p>
{% endfor %}{% for table in section.tables %}<table>
<thead><tr>{% for cell in table.head %}<th>{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table>
{% endfor %}{% if section.pictures %}<div class="pictures">
{% for item in section.pictures %}<figure class="{{ item.size }}"><img alt="{{ item.caption }}" src="{{ item.data }}">{% if item.caption %}<figcaption>{{ item.caption }}</figcaption>{% endif %}</figure>
{% endfor %}</div>
{% endif %}</section>
{% endfor %}</main>
<footer>Made by weldgen {{ version }}.</footer>
</body>
</html>
"""  # noqa: E501 - HTML
