"""A self-contained page on which a person decides about photos: pictures and buttons in, a file of decisions out.

The page loads nothing and sends nothing. Decisions lie in the browser's storage until they are downloaded as JSON:
`{"weldgen", "page", "dataset", "by", "saved", "decisions": [...]}`; an entry holds the card's record and the choice's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from weldgen import __version__
from weldgen.errors import OutputError
from weldgen.report.page import Picture
from weldgen.report.review_template import TEMPLATE
from weldgen.runtime import write_atomic

_MARK = '<meta name="generator" content="weldgen review">'


@dataclass(frozen=True)
class Choice:
    """Something that can be decided about a photo.

    Attributes:
        text: On its button.
        key: The key that presses it; empty: none.
        record: What it adds to the decision.
    """

    text: str
    key: str
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """One photo.

    Attributes:
        record: What names it in a decision; `file` is in it and tells cards of one photo apart from others.
        title: First line.
        lines: Further text.
        picture: The photo, or a strip of its states.
        choices: Indices of the page's choices that it offers.
        suggested: Index of the choice that stands out; -1: none.
    """

    record: Mapping[str, Any]
    title: str
    lines: Sequence[str]
    picture: Picture
    choices: Sequence[int]
    suggested: int = -1


@dataclass(frozen=True)
class Part:
    """Cards under a heading."""

    title: str
    text: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class ReviewPage:
    """A whole page.

    Attributes:
        title: Heading.
        subtitle: What was looked at.
        page: Kind of the decisions; the command that takes them checks it.
        key: Identity of what is shown: decisions of another page are not taken for decisions of this one.
        dataset: The folder of the photos, as its path was given.
        download: Name of the file of decisions.
        then: The command that takes it.
        choices: What can be decided.
        parts: The photos.
        wide: Whether a card takes the page's width.
    """

    title: str
    subtitle: str
    page: str
    key: str
    dataset: str
    download: str
    then: str
    choices: Sequence[Choice]
    parts: Sequence[Part]
    wide: bool = False


def write_review_page(path: Path, page: ReviewPage) -> Path:
    """Write the page whole or not at all; returns its path.

    Raises:
        OutputError: A page stands there that weldgen did not make.
    """
    if path.exists() and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise OutputError(f"{path} exists and was not made by weldgen", "move it away, or choose another --out")
    settings = {
        "page": page.page,
        "key": page.key,
        "dataset": page.dataset,
        "download": page.download,
        "weldgen": __version__,
        "choices": [{"key": choice.key, "record": dict(choice.record)} for choice in page.choices],
    }
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE)
    write_atomic(path, template.render(page=page, settings=settings, mark=_MARK, version=__version__))
    return path
