"""Which photos are measured, and what the model says of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.sample import scarce_classes
from weldgen.errors import DataError
from weldgen.runtime import track
from weldgen.tta import ask_views, vote

if TYPE_CHECKING:
    from weldgen.classifier.scoring import RGB, Scorer


@dataclass(frozen=True)
class Prediction:
    """What the model said about one photo.

    Attributes:
        file: Path below the dataset's root.
        label: True class.
        predicted: Class with the highest probability.
        probabilities: By class; with several views of the photo their mean.
        alone: Class with the highest probability of the photo as it is, without other views.
        decided: Class by the operating point; empty where there is none.
        abstained: Whether the operating point hands the photo to a person.
    """

    file: str
    label: str
    predicted: str
    probabilities: Mapping[str, float]
    alone: str
    decided: str = ""
    abstained: bool = False

    def record(self) -> dict[str, Any]:
        """The line of `predictions.jsonl`."""
        return {
            "file": self.file,
            "label": self.label,
            "predicted": self.predicted,
            **({"decided": self.decided, "abstained": self.abstained} if self.decided else {}),
            "probabilities": {name: round(value, 6) for name, value in self.probabilities.items()},
        }


def as_arrays(
    predictions: Sequence[Prediction], classes: Sequence[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """(N, K) probabilities and (N,) true classes of predictions."""
    index = {label: k for k, label in enumerate(classes)}
    rows = [[prediction.probabilities[name] for name in classes] for prediction in predictions]
    truth = [index[prediction.label] for prediction in predictions]
    return np.array(rows, np.float64).reshape(-1, len(classes)), np.array(truth, np.int64)


def choose_samples(dataset: Dataset, scorer: Scorer, split: str) -> list[Sample]:
    """The real photos of a split; photos without one get the split that the model saw them in, else `test`.

    There may be none for the test where no class has photos to spare.

    Raises:
        DataError: There are none, or some that cannot be measured honestly.
    """
    split_of = _splits_seen(scorer)
    known = [
        replace(sample, split=sample.split or split_of.get(_content(sample.id), "test"))
        for sample in dataset.select(origin="real")
    ]
    samples = [sample for sample in known if sample.split == split]
    if not samples and not (split == "test" and _all_scarce(known, dataset)):
        found = ", ".join(f"{name} {sum(s.split == name for s in known)}" for name in ("train", "val", "test"))
        raise DataError(
            f"{dataset.root} has no real photo in split '{split}'; real photos: {found}",
            "add photos that the model has not seen, or choose another --split",
        )
    for sample in samples:
        _check_class(dataset, sample, scorer)
        saw = split_of.get(_content(sample.id))
        if split == "test" and saw:
            raise DataError(
                f"{dataset.path(sample)} is in split 'test', but the model saw it in '{saw}'",
                "train again on this dataset, or evaluate on photos that the model has not seen",
            )
        if split == "val" and saw == "train":  # an exported file has no head from before it learned them
            raise DataError(
                f"{dataset.path(sample)} is in split 'val', but the model learned it, so it would flatter",
                "evaluate the model's folder, which keeps what it was before it learned them, or choose --split test",
            )
    return samples


def validation_samples(dataset: Dataset, scorer: Scorer) -> list[Sample]:
    """The real validation photos, on which borders may be chosen; maybe none.

    A photo that the model learned is none of them, for on it the model is surer than on others; nor is one of the test.

    Raises:
        DataError: One is called a validation photo, but the model learned it or does not know its class.
    """
    split_of = _splits_seen(scorer)
    samples = []
    for sample in dataset.select(origin="real"):
        saw = split_of.get(_content(sample.id), "")
        if (sample.split or saw) != "val":
            continue
        if saw == "train":
            raise DataError(
                f"{dataset.path(sample)} is in split 'val', but the model saw it in 'train'",
                "a threshold is chosen on photos that did not train: take the model's folder, not an exported file, or "
                "train again on this dataset",
            )
        _check_class(dataset, sample, scorer)
        samples.append(sample)
    return samples


def photos_seen(dataset: Dataset, scorer: Scorer) -> list[Sample]:
    """Real photos of a dataset that the model saw, in training or to choose the epoch."""
    seen = _splits_seen(scorer)
    return [sample for sample in dataset.select(origin="real") if _content(sample.id) in seen]


def _splits_seen(scorer: Scorer) -> dict[str, str]:
    """Content of each photo that the model saw -> the split in which it did."""
    return {_content(identity): name for name, ids in scorer.seen.items() for identity in ids}


def _check_class(dataset: Dataset, sample: Sample, scorer: Scorer) -> None:
    if sample.label not in scorer.classes:
        raise DataError(
            f"{dataset.path(sample)} has class '{sample.label}'; the model knows {', '.join(scorer.classes)}",
            "take the class out of the dataset, or train again with it",
        )


def _all_scarce(known: Sequence[Sample], dataset: Dataset) -> bool:
    """Whether there are real photos, but too few of every class to spare one."""
    synthetic = dataset.select(origin="synthetic")
    return bool(known) and len(scarce_classes([*known, *synthetic])) == len({s.label for s in dataset.samples})


def _content(identity: str) -> str:
    """A sample's id without the number that tells copies of one photo apart."""
    return identity.partition("-")[0]


def predict_samples(
    dataset: Dataset, samples: Sequence[Sample], scorer: Scorer, jobs: int, views: int = 1
) -> tuple[list[Prediction], list[Failure]]:
    """Ask the model about each photo; a photo that cannot be read becomes a failure."""
    predictions, failures = [], list(dataset.failures)
    pairs = read_ahead(dataset, samples, jobs)
    for sample, image in track(pairs, total=len(samples), description="evaluate", unit="photos"):
        if isinstance(image, Failure):
            failures.append(image)
            continue
        rows = ask_views(scorer.probabilities, image, views)
        values = vote(rows)
        predictions.append(
            Prediction(
                sample.file_name,
                sample.label,
                scorer.classes[int(values.argmax())],
                {name: float(value) for name, value in zip(scorer.classes, values, strict=True)},
                scorer.classes[int(rows[0].argmax())],
            )
        )
    return predictions, failures


def read_ahead(dataset: Dataset, samples: Sequence[Sample], jobs: int) -> Iterator[tuple[Sample, RGB | Failure]]:
    """Decode photos a few at a time while the model works on earlier ones."""
    from weldgen.data.images import read_rgb

    def read(sample: Sample) -> RGB | Failure:
        try:
            return read_rgb(dataset.path(sample))
        except DataError as error:
            return Failure(sample.file_name, error.message)

    with ThreadPoolExecutor(jobs) as pool:
        waiting: deque[tuple[Sample, Future[RGB | Failure]]] = deque()
        for sample in samples:
            waiting.append((sample, pool.submit(read, sample)))
            if len(waiting) > 2 * jobs:
                first, image = waiting.popleft()
                yield first, image.result()
        for first, image in waiting:
            yield first, image.result()
