"""Lists as they are written on the command line: brackets and quotes hold together what stands in them."""

from __future__ import annotations

_CLOSING = {"[": "]", "(": ")", "{": "}"}
_QUOTES = "'\""


def split_outside(text: str, separators: str) -> list[str]:
    """Parts of a text between separators that stand outside of brackets and quotes, as they are written.

    Args:
        text: What is divided.
        separators: Characters, each of which divides.

    Raises:
        ValueError: A bracket or a quote has no partner.

    >>> split_outside("[],[256,384],'a,b'", ",")
    ['[]', '[256,384]', "'a,b'"]
    """
    parts, awaited, quote, start = list[str](), list[str](), "", 0
    for place, char in enumerate(text):
        if quote:
            if char == quote and text[place - 1] != "\\":
                quote = ""
        elif char in _QUOTES:
            quote = char
        elif char in _CLOSING:
            awaited.append(_CLOSING[char])
        elif char in _CLOSING.values():
            if not awaited or awaited.pop() != char:
                raise ValueError(f"'{char}' closes nothing")
        elif char in separators and not awaited:
            parts.append(text[start:place])
            start = place + 1
    if quote or awaited:
        raise ValueError(f"{quote or awaited[-1]} is missing at the end")
    return [*parts, text[start:]]
