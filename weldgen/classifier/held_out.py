"""Photos on which a threshold is chosen: those of validation, or those that the folds of a run held out."""

from __future__ import annotations

from pathlib import Path

from weldgen.classifier.folder import FOLD_DATA
from weldgen.classifier.model_file import load_card
from weldgen.classifier.predictions import Prediction, choose_samples, predict_samples, validation_samples
from weldgen.classifier.scoring import Scorer, open_scorer
from weldgen.data.dataset import Dataset
from weldgen.receipts import read_receipt

_OUT_OF_FOLD = (
    "the operating point was chosen on the photos that the folds held out, each judged by the one that had not seen "
    "it; the ensemble, their mean, is a little less sure than one of them"
)


def judge_unseen(
    folder: Path | None, dataset: Dataset, scorer: Scorer, device: str, jobs: int, views: int
) -> tuple[list[Prediction], list[str]]:
    """What a model says of photos that it did not learn.

    The members of a cross-validation have together learned all photos, so each photo is asked of the one that has not.
    Otherwise they are the validation photos of the dataset, or else of the one that the model was trained on: new
    photos to measure on have none.

    Args:
        folder: Of the trained model; None for an exported file.
        dataset: What is measured.
        scorer: The model.
        device: Of the members.
        jobs: Threads.
        views: Of each photo.

    Returns:
        The answers, maybe none; and sentences on where they come from.
    """
    if folder and (folder / FOLD_DATA).is_dir():
        return _out_of_fold(folder, device, jobs, views), [_OUT_OF_FOLD]
    samples = validation_samples(dataset, scorer)
    receipt = read_receipt(folder) if folder else None
    named = receipt["inputs"].get("dataset") if receipt else None
    if not samples and named and Path(named).is_dir() and Path(named) != dataset.root:
        dataset = Dataset.open(Path(named))
        samples = validation_samples(dataset, scorer)
    if folder and samples and load_card(folder).learned_validation:
        scorer = open_scorer(folder, device, jobs, judge=True)
    return predict_samples(dataset, samples, scorer, jobs, views)[0], []


def _out_of_fold(folder: Path, device: str, jobs: int, views: int) -> list[Prediction]:
    found = []
    for name in load_card(folder).members:
        scorer, dataset = open_scorer(folder / name, device, jobs), Dataset.open(folder / FOLD_DATA / name)
        found += predict_samples(dataset, choose_samples(dataset, scorer, "test"), scorer, jobs, views)[0]
    return found
