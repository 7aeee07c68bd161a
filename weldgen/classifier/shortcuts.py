"""Signs that a model goes by something other than the weld: writing, the occasion, the light, "synthetic".

A model can be right on all test photos for the wrong reason where the reason is in the test photos too. So these looks
do not ask how often it is right, but what its answers hang on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from weldgen.classifier.grouping import group_names, recorded_pattern
from weldgen.config import Config
from weldgen.data.dataset import Dataset
from weldgen.errors import BackendError, ConfigError, DataError
from weldgen.receipts import read_receipt
from weldgen.runtime import evenly

if TYPE_CHECKING:
    from weldgen.classifier.evidence import Look, Looker
    from weldgen.classifier.predictions import Prediction
    from weldgen.classifier.preprocess import Frame

# For a device, a function from a photo, (H, W, 3) uint8 RGB, to the corners of each piece of writing, (N, 2) in pixels.
RegionFinder = Callable[[str], Callable[[Any], Sequence[Any]]]

# Photos on the page: the errors of which the model was surest, and right answers of which it was.
_ERRORS_SHOWN, _RIGHT_SHOWN = 12, 6


class ShortcutSettings(Config):
    """What is looked at."""

    enabled: bool = Field(True, description="look for signs that the model goes by something other than the weld")
    max_photos: int = Field(
        200, ge=1, description="photos on which the evidence is located, evenly chosen, besides those of the page"
    )
    writing: Literal["recorded", "search"] = Field(
        "recorded", description="where writing is: recorded by clean, or search: looked for where that says nothing"
    )
    group_pattern: str = Field(
        "", description="as split.group_pattern, for photos without a group; empty: that of the training"
    )


# For commands that evaluate many models only to compare them.
UNASKED = ShortcutSettings(enabled=False)


@dataclass(frozen=True)
class Subject:
    """The model that is looked at, and how.

    Attributes:
        model: Its folder, or an exported file.
        folder: Its folder; None for an exported file.
        device: Where it computes.
        jobs: Threads that decode.
        seed: Of the run.
    """

    model: Path
    folder: Path | None
    device: str
    jobs: int
    seed: int


@dataclass(frozen=True)
class Shortcuts:
    """What was found.

    Attributes:
        record: `shortcuts` of `metrics.json`.
        notes: Sentences for the user.
        shown: Lines of `evidence.jsonl`: photos with their maps.
    """

    record: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    shown: tuple[Mapping[str, Any], ...] = ()


def find_shortcuts(
    dataset: Dataset,
    predictions: Sequence[Prediction],
    subject: Subject,
    settings: ShortcutSettings,
    find_regions: RegionFinder | None,
) -> Shortcuts:
    """Look for signs that a model goes by something other than the weld.

    Args:
        dataset: Holds the photos that were measured.
        predictions: What the model said of them; at least one.
        subject: The model.
        settings: What is looked at.
        find_regions: Makes what finds writing, for `writing=search`.

    Raises:
        ConfigError: Writing is to be searched, but nothing that finds it was given.
        BackendError: What finds it is missing.
    """
    from weldgen.classifier.evidence import look_at
    from weldgen.classifier.factors import explain_errors
    from weldgen.classifier.shortcut_notes import notes_on

    searched = settings.writing == "search"
    if searched and find_regions is None:
        raise ConfigError("shortcuts.writing=search, but evaluate() was given no find_regions", "use weldgen evaluate")
    receipt = (read_receipt(subject.folder) if subject.folder else None) or {}
    pattern = recorded_pattern(subject.folder, settings.group_pattern)
    of_file = {sample.file_name: sample for sample in dataset.samples}
    measured = replace(dataset, samples=tuple(of_file[prediction.file] for prediction in predictions))
    names = group_names(measured, measured.samples, pattern)
    groups = {sample.file_name: name for sample, name in zip(measured.samples, names, strict=True)}
    looker, refused = _open_looker(subject)
    finder = find_regions(subject.device) if searched and find_regions and looker else None
    shown, fair = worth_showing(predictions), evenly(predictions, settings.max_photos)
    wanted = list({prediction.file: prediction for prediction in (*shown, *fair)}.values())
    looks = {look.file: look for look in look_at(measured, wanted, looker, finder, subject.jobs)}
    fairly = [looks[prediction.file] for prediction in fair if prediction.file in looks]
    wrong = {prediction.file: prediction.predicted != prediction.label for prediction in predictions}
    found = explain_errors(measured, wrong, groups, {look.file: look.brightness for look in fairly}, subject.seed)
    record = {
        "photos": len(fairly),
        **({"no_maps": refused} if refused else {}),
        "writing": _writing(fairly, measured, groups, looker) if looker else None,
        "factors": [finding.record() for finding in found],
        "origin": _origin(dataset, receipt, subject),
    }
    frame = looker.frame if looker else None
    lines = [_line(p, looks[p.file], frame) for p in shown if p.file in looks]
    return Shortcuts(record, tuple(notes_on(record)), tuple(lines))


def worth_showing(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The errors of which the model was surest, then the right answers of which it was, of each class in turn.

    Where all answers are right, those are what there is to look at: a shortcut that the test photos share shows there.
    """
    surest = sorted(predictions, key=lambda p: (-p.probabilities[p.predicted], p.file))
    errors = [p for p in surest if p.predicted != p.label]
    right = [p for p in surest if p.predicted == p.label]
    place = {p.file: sum(other.label == p.label for other in right[:number]) for number, p in enumerate(right)}
    return errors[:_ERRORS_SHOWN] + sorted(right, key=lambda p: place[p.file])[:_RIGHT_SHOWN]


def _open_looker(subject: Subject) -> tuple[Looker | None, str]:
    """What says where the model looked, or why nothing does."""
    if subject.folder is None:
        return None, f"{subject.model.name} is an exported file, which has no gradients; evaluate the model's folder"
    from weldgen.classifier.evidence import open_looker

    try:
        return open_looker(subject.folder, subject.device), ""
    except (BackendError, DataError) as error:  # a backbone without a map, or an ensemble
        return None, f"{error.message}; {error.hint}"


def _line(prediction: Prediction, look: Look, frame: Frame | None) -> dict[str, Any]:
    """The line of `evidence.jsonl`; without a map where the model has none, which has no frame."""
    import numpy as np

    from weldgen.classifier.evidence import map_on_photo

    cells = None
    if frame is not None:
        shares = look.shares if look.shares is not None else np.zeros((1, 1), np.float32)
        cells = np.round(255 * map_on_photo(shares, look.shape, frame)).astype(int).tolist()
    return {
        "file": prediction.file,
        "label": prediction.label,
        "predicted": prediction.predicted,
        "score": round(prediction.probabilities[prediction.predicted], 4),
        "regions": [np.asarray(polygon).tolist() for polygon in look.regions or ()],
        "map": cells,
    }


def _writing(
    looks: Sequence[Look], measured: Dataset, groups: Mapping[str, str], looker: Looker
) -> dict[str, Any] | None:
    """How much evidence lies on writing; None where the dataset does not say where writing is."""
    from weldgen.classifier.evidence import evidence_ratio, share_on

    known = [look for look in looks if look.regions is not None]
    if not known:
        return None
    found = {
        look.file: pair
        for look in known
        if look.regions and look.shares is not None
        and (pair := share_on(look.shares, look.regions, look.shape, looker.frame))
    }  # fmt: skip
    record: dict[str, Any] = {"searched_photos": len(known), "photos": len(found)}
    if not found:
        return record
    ratio = evidence_ratio(list(found.values()), [groups[name] for name in found])
    gone = sum(bool(s.extra.get("masked_share")) for s in measured.samples if s.file_name in found)
    return record | asdict(ratio) | {"removed": gone}


def _origin(dataset: Dataset, receipt: Mapping[str, Any], subject: Subject) -> dict[str, Any] | None:
    """Whether the embedding tells synthetic training images from real ones; None where there are not both."""
    source = Path(receipt.get("inputs", {}).get("dataset", ""))
    if subject.folder is None or not receipt:
        return None
    if source != dataset.root:
        if not source.is_dir():
            return None
        dataset = Dataset.open(source)
    if len({sample.origin for sample in dataset.select(split="train")}) < 2:
        return None
    from weldgen.classifier.origin import open_embedder, read_origin

    try:
        embedder = open_embedder(subject.folder, subject.device)
    except DataError:  # an ensemble has no embedding, which `no_maps` says
        return None
    return read_origin(dataset, embedder, subject.jobs, subject.seed)
