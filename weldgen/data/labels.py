"""What class names mean: which of them say that nothing is wrong, and which that something is."""

from __future__ import annotations

import re
from collections.abc import Sequence

GOOD_WORDS = (
    "good", "ok", "acceptable", "accept", "accepted", "pass", "passed", "sound", "normal", "no defect", "defect free",
    "non defect", "non defective", "conforming", "intact",
)  # fmt: skip
BAD_WORDS = (
    "bad", "defect", "defective", "def", "ng", "nok", "not ok", "no good", "fail", "failed", "reject", "rejected",
    "faulty", "unacceptable", "nonconforming", "anomaly",
)  # fmt: skip
# Words that say nothing about the class.
_FILLERS = {"weld", "welding", "welded", "bead", "seam", "joint", "image", "sample", "photo", "class", "front"}


def readings(name: str) -> list[str]:
    """A class name in plain words, most literal first; case, hyphens, spaces and plurals do not matter.

    >>> readings("Good_welds")
    ['good welds', 'good', 'good weld', 'good']
    """
    words = re.sub(r"[^a-z0-9]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()).split()
    singular = [_singular(word) for word in words]
    return [
        " ".join(kept)
        for candidates in (words, singular)
        for kept in (candidates, [word for word in candidates if _singular(word) not in _FILLERS])
    ]


def good_class(labels: Sequence[str]) -> str | None:
    """The class that means "nothing wrong": by its name, or as the "no x" of a class "x"; None where there is none."""
    words = {label: readings(label) for label in labels}
    for label, own in words.items():
        others = [text for other, texts in words.items() if other != label for text in texts]
        denied = {f"{negation} {text}" for negation in ("no", "not", "non") for text in others}
        if any(text in GOOD_WORDS or text in denied for text in own):
            return label
    return None


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
