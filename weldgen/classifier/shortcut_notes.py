"""What the user is told of shortcuts: what was found, and what could not be looked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Writing lies on the part, so a model that looks at the part, which fills a third of most photos, finds up to three
# times as much there as by the area.
_MUCH = 3.0


def notes_on(record: Mapping[str, Any]) -> list[str]:
    """Sentences on `shortcuts` of `metrics.json`."""
    refused = [f"where the model looked is not shown: {record['no_maps']}"] if "no_maps" in record else []
    writing = [] if refused else [_writing_note(record["writing"])]
    factors = [_factor_note(finding) for finding in record["factors"] if finding["shown"]]
    origin = [_origin_note(record["origin"])] if record["origin"] else []
    return [*refused, *writing, *factors, *origin]


def training_notes(record: Mapping[str, Any]) -> list[str]:
    """Sentences on what `weldgen.classifier.train_shortcuts` found."""
    origin = [_origin_note(record["origin"])] if record["origin"] else []
    findings = record["factors"]
    shown = [f"on the validation photos, {_factor_note(finding)}" for finding in findings if finding["shown"]]
    if shown or not findings:
        return [*origin, *shown]
    photos = f"on the {record['validation_photos']} validation photos"
    tested = [_name_of(finding["factor"]) for finding in findings if finding["p"] is not None]
    if tested:
        return [*origin, f"no sign that errors {photos} follow the {' or the '.join(tested)} (permutation tests)"]
    return origin  # too few photos or errors to know, which is no news


def _name_of(factor: str) -> str:
    return "group of photos" if factor == "group" else factor


def _writing_note(writing: Mapping[str, Any] | None) -> str:
    if writing is None:
        return (
            "whether the model looks at writing is not known: the dataset does not say where writing is; weldgen clean "
            "notes it, and shortcuts.writing=search looks for it now"
        )
    if not writing["photos"]:
        return f"no writing was found on the {writing['searched_photos']} photos that were looked at"
    what, which = "writing", "which takes"
    if writing["removed"]:
        what, which = "places that held writing until clean took it away", "which take"
    measured = (
        f"{writing['share']:.1%} of the evidence lies on {what}, {which} {writing['area']:.1%} of the area "
        f"({writing['photos']} photos of {writing['groups']} independent groups)"
    )
    if writing["low"] is None:
        return f"too few independent photos with writing to say whether the model looks at it: {measured}"
    most = "more" if writing["high"] is None else f"{writing['high']:.1f}"
    interval = f"{writing['value']:.1f} times as much (95 % interval {writing['low']:.1f} to {most})"
    if writing["low"] > 1 and writing["value"] >= _MUCH:
        return f"the model looks at {what}: {measured}, {interval}; look at the pictures in report.html"
    if writing["low"] > 1:
        return (
            f"no clear sign that the model looks at {what}: {measured}, {interval}; looking at the whole part would "
            "bring as much"
        )
    return f"no sign that the model looks at {what}: {measured}, {interval}"


def _factor_note(finding: Mapping[str, Any]) -> str:
    worst, factor = finding["worst"], finding["factor"]
    which = {"group": "that belong together with", "day": "of"}.get(factor, "that are")
    counts = (
        f"of the {worst['class']} photos {which} {worst['level']} {worst['wrong']} of {worst['of']} are wrong, of "
        f"other {worst['class']} photos {worst['wrong_others']} of {worst['of_others']}"
    )
    tail = "; such photos are not independent, so that the intervals are too narrow" if factor == "group" else ""
    return (
        f"errors follow the {_name_of(factor)}: {counts} (permutation test, p {finding['p_holm']:.2g} after Holm){tail}"
    )


def _origin_note(origin: Mapping[str, Any]) -> str:
    if not origin["told_apart"]:
        return (
            "whether the model tells synthetic images from real ones is not known: no class has five independent "
            "training images of both kinds"
        )
    measured = "; ".join(
        f"{label} {found['balanced_accuracy']:.0%} of {found['real']} real and {found['synthetic']} synthetic ones "
        f"right, AUC {found['auc']:.2f} (95 % interval {found['low']:.2f} to {found['high']:.2f})"
        for label, found in origin["told_apart"].items()
    )
    measured = f"cross-validated from its embedding, balanced accuracy: {measured}; 50 % and 0.5 are chance"
    shares = ", ".join(f"{label} {share:.0%}" for label, share in origin["synthetic_share"].items())
    if origin["shortcut"]:
        return (
            f"'synthetic' is a shortcut to the class: the model tells synthetic training images from real ones "
            f"({measured}), and the classes' shares of synthetic images differ ({shares}); mix with equal shares"
        )
    if origin["readable"]:
        return (
            f"the model tells synthetic training images from real ones ({measured}), which says nothing of the class, "
            "for every class has about the same share of them"
        )
    differ = f"; the classes' shares of synthetic images differ ({shares})" if origin["shares_differ"] else ""
    return f"no sure sign that the model tells synthetic training images from real ones ({measured}){differ}"
