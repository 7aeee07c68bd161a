"""A trained model on disk: `model.safetensors` with the weights, `model.json` with everything else.

The `model.json` of an ensemble names its members instead, which are models in folders below (`weldgen.classifier.
ensemble`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import weldgen
from weldgen.classifier.backbones import rebuild
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.preprocess import Frame
from weldgen.classifier.settings import ModelSettings
from weldgen.data.dataset import Sample
from weldgen.errors import DataError
from weldgen.runtime import output_errors, temporary_for, write_atomic

WEIGHTS_NAME, CARD_NAME = "model.safetensors", "model.json"
# The head as it was before it learned the validation photos too; only of models that did.
JUDGE_NAME = "judge.safetensors"
_FORMAT = 2


@dataclass(frozen=True)
class ModelCard:
    """What is known of a trained model.

    Attributes:
        classes: Names, in the order of the outputs.
        frame: Height and width of the input in pixels.
        backbone: timm name, or `torchvision/` and torchvision's; of an ensemble, those of its members.
        features: Length of the backbone's features.
        mean: Normalisation, for RGB from 0 to 1.
        std: Normalisation, for RGB from 0 to 1.
        settings: The configuration's `model` section.
        temperature: Divides the logits.
        temperature_fitted_on: Validation photos that it was fitted on; 0: too few to trust it.
        threshold: Predictions with a lower probability abstain; 0: never.
        trained_on: Training images by class and origin, e.g. `{"good": {"real": 4, "synthetic": 12}}`.
        validated_on: Images that chose the best epoch, in the same way.
        warnings: Sentences that must be shown wherever the model is used.
        seen: Ids of the real photos of training and validation, by split.
        licences: Third-party weights in the model, and the licences of what made synthetic training images.
        validation: Metrics of the best epoch.
        learned_validation: Whether it learned the validation photos too, after they had judged it.
        weldgen: Version that trained it.
        locator: Id of the locator that cut the training images out of their photos; empty for whole photos.
        members: Of an ensemble: the folders of the models whose probabilities are averaged, below its own.
    """

    classes: tuple[str, ...]
    frame: Frame
    backbone: str
    features: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    settings: Mapping[str, Any]
    temperature: float = 1.0
    temperature_fitted_on: int = 0
    threshold: float = 0.0
    trained_on: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    validated_on: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    seen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, float] = field(default_factory=dict)
    learned_validation: bool = False
    weldgen: str = weldgen.__version__
    locator: str = ""
    members: Sequence[str] = ()


def save_model(folder: Path, network: WeldNetwork, card: ModelCard) -> None:
    """Write a model; the card last, so that a folder with a card is whole."""
    _save_state(folder / WEIGHTS_NAME, network)
    save_card(folder, card)


def save_judge(folder: Path, network: WeldNetwork) -> None:
    """Keep the head of a network that has not learned the validation photos: it alone may be measured on them."""
    _save_state(folder / JUDGE_NAME, network.head)


def _save_state(path: Path, module: torch.nn.Module) -> None:
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with output_errors(path):
        save_file(state, temporary_for(path))
        temporary_for(path).replace(path)


def save_card(folder: Path, card: ModelCard) -> None:
    """Write a card."""
    write_atomic(folder / CARD_NAME, json.dumps({"format": _FORMAT, **asdict(card)}, indent=1) + "\n")


def load_card(model: Path) -> ModelCard:
    """Card of a trained model.

    Args:
        model: Its folder, or a file in it.

    Raises:
        DataError: There is no model, or one in the format of another weldgen.
    """
    folder = model if model.is_dir() else model.parent
    path = folder / CARD_NAME
    if not path.is_file():
        unfinished = " (its training is not finished)" if (folder / "run.json").is_file() else ""
        raise DataError(f"{folder} holds no trained model{unfinished}; expected {path}", "weldgen train")
    content = json.loads(path.read_text())
    if content.pop("format") != _FORMAT:
        raise DataError(
            f"{path} was written by another weldgen ({content.get('weldgen')}), in another format",
            "train again, or use the weldgen that wrote it",
        )
    lists = {key: tuple(content[key]) for key in ("classes", "frame", "mean", "std")}
    return ModelCard(**{**content, **lists})


def load_model(model: Path, device: str = "cpu", *, judge: bool = False) -> tuple[WeldNetwork, ModelCard]:
    """A trained network in evaluation mode, and its card.

    Args:
        model: Its folder, or a file in it.
        device: Where it goes.
        judge: As it was before it learned the validation photos, if it did.

    Raises:
        DataError: There is no model, or an ensemble of several.
    """
    from safetensors.torch import load_file

    card = load_card(model)
    folder = model if model.is_dir() else model.parent
    if card.members:
        raise DataError(
            f"{folder} is an ensemble of {len(card.members)} models, and this takes a single one",
            f"name one of them, e.g. {folder / card.members[0]}",
        )
    network = build_network(card)
    network.load_state_dict(load_file(folder / WEIGHTS_NAME))
    if judge and (folder / JUDGE_NAME).is_file():
        network.head.load_state_dict(load_file(folder / JUDGE_NAME))
    return network.to(torch.device(device)).eval(), card


def build_network(card: ModelCard) -> WeldNetwork:
    """The network that a card describes, with random weights."""
    settings = ModelSettings.model_validate(card.settings)
    return WeldNetwork(
        rebuild(card.backbone, card.frame, settings),
        card.features,
        (card.mean, card.std),
        settings,
        len(card.classes),
    )


def by_origin(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    """Number of images by class and origin."""
    table: dict[str, dict[str, int]] = {}
    for sample in samples:
        row = table.setdefault(sample.label, {"real": 0, "synthetic": 0})
        row[sample.origin] += 1
    return table


def licences(samples: Sequence[Sample], weights: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Licences that the model inherits: of the weights in it, and of what made its synthetic images."""
    found: dict[str, str] = {weight["id"]: weight["licence"] for weight in weights}
    made: set[Any] = set()
    for sample in samples:
        made.update(sample.extra.get("licences", ()))
    return found | ({"synthetic images": ", ".join(sorted(made))} if made else {})
