"""An ensemble: several models in one folder, whose calibrated probabilities are averaged.

(Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017, average networks that were trained apart in the same way; Krogh
and Vedelsby, NIPS 1995, those of a cross-validation.) Its `model.json` names the members, so it is a model wherever a
folder of one is taken.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weldgen.config import StageConfig
from weldgen.errors import ConfigError, DataError
from weldgen.receipts import RECEIPT_NAME, Summary, finished, read_receipt, run_key, write_receipt
from weldgen.runfolder import RUN_NAME, Contents, RunFolder
from weldgen.runtime import file_hash, output_errors

if TYPE_CHECKING:
    from weldgen.classifier.model_file import ModelCard
    from weldgen.classifier.network import WeldNetwork

_MOST_MEMBERS = 50
_SYNTHETIC = "synthetic images"


def ensemble(models: Sequence[Path], out: Path, config: StageConfig) -> Summary:
    """Put models that were trained apart into one folder, as an ensemble.

    Args:
        models: Their folders; the members of an ensemble among them join one by one.
        out: Folder of the ensemble. It holds the members itself (as hard links where the file system allows it), so
            that it stays what it is when one of them is trained again.
        config: Nothing but what every command has.

    Raises:
        ConfigError: Fewer than two models, or one of them twice.
        DataError: One is no trained model, or their classes differ.
        OutputError: The folder holds files that weldgen did not make, or cannot be written.
    """
    from weldgen.classifier.model_file import load_card, save_card

    started = time.monotonic()
    if len(models) < 2:
        raise ConfigError("an ensemble takes two models or more", "weldgen ensemble MODEL MODEL [--out DIR]")
    folders = [folder for model in models for folder in _folders_of(model)]
    if len(folders) > _MOST_MEMBERS:
        raise ConfigError(f"{len(folders)} models are too many for an ensemble; at most {_MOST_MEMBERS} are accepted")
    names = [f"member-{number}" for number in range(1, len(folders) + 1)]
    inputs = dict(zip(names, folders, strict=True))
    card = unite([load_card(folder) for folder in folders], [str(folder) for folder in folders], names)
    identities = {name: _identity(source) for name, source in inputs.items()}
    for source, identity in zip(folders, identities.values(), strict=True):
        if list(identities.values()).count(identity) > 1:
            raise ConfigError(f"{source} is given twice, as it is or inside an ensemble", "give each model once")
    key = run_key("ensemble", config, identities)
    done = finished(out, key)
    if done:
        return done
    with RunFolder(out, _contents(), key) as folder:
        for name, source in inputs.items():
            _take(source, out / name)
        save_card(out, card)
        notes = [*folder.notes, *_notes(card, folders)]
        details = {"members": [str(source) for source in folders], "warnings": list(card.warnings)}
        summary = Summary(
            "ensemble", out, {"models": len(folders), "classes": len(card.classes)}, notes=tuple(notes),
            weights=tuple({"id": name, "licence": text} for name, text in card.licences.items()),
            details=details, seconds=time.monotonic() - started,
        )  # fmt: skip
        write_receipt(out, key, config, {**inputs, **_common_dataset(folders)}, summary)
    return summary


def load_members(model: Path, device: str = "cpu", *, judge: bool = False) -> list[tuple[WeldNetwork, ModelCard]]:
    """The networks of a model in evaluation mode, each with its card: one, or those of an ensemble.

    Args:
        model: Folder of the model.
        device: Where they go.
        judge: As they were before they learned the validation photos, where they did.

    Raises:
        DataError: There is no model, or a member is missing.
    """
    from weldgen.classifier.model_file import load_model

    return [load_model(folder, device, judge=judge) for folder in _folders_of(model)]


def unite(cards: Sequence[ModelCard], shown: Sequence[str], members: Sequence[str]) -> ModelCard:
    """The card of an ensemble.

    Args:
        cards: Those of its members.
        shown: What a message calls them.
        members: Their folders, below that of the ensemble.

    Raises:
        DataError: Their classes differ.
    """
    from weldgen.classifier.model_file import ModelCard

    first = cards[0]
    for card, name in zip(cards, shown, strict=True):
        if card.classes != first.classes:
            raise DataError(
                f"{shown[0]} knows {', '.join(first.classes)}, but {name} knows {', '.join(card.classes)}",
                "the models of an ensemble have the same classes",
            )
    kinds = Counter(card.backbone for card in cards)
    trained = {identity for card in cards for identity in card.seen.get("train", ())}
    validated = {identity for card in cards for identity in card.seen.get("val", ())}
    return ModelCard(
        classes=first.classes,
        frame=max((card.frame for card in cards), key=lambda frame: frame[0] * frame[1]),
        backbone=" + ".join(f"{count} x {name}" for name, count in kinds.items()),
        features=0,
        mean=(),
        std=(),
        settings={},
        temperature_fitted_on=min(card.temperature_fitted_on for card in cards),
        trained_on=_most([card.trained_on for card in cards]),
        validated_on=_most([card.validated_on for card in cards]),
        warnings=tuple(dict.fromkeys(warning for card in cards for warning in card.warnings)),
        seen={"train": sorted(trained), "val": sorted(validated - trained)},
        licences=_licences([card.licences for card in cards]),
        members=tuple(members),
        learned_validation=any(card.learned_validation for card in cards),
        locator="+".join(sorted({card.locator for card in cards} - {""})),
    )


def _folders_of(model: Path) -> list[Path]:
    """Folders of the single models in a model."""
    from weldgen.classifier.model_file import load_card

    folder = model if model.is_dir() else model.parent
    card = load_card(model)
    return [folder / name for name in card.members] if card.members else [folder]


def _most(tables: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Images by class and origin: as many as the member with most of them has."""
    found: dict[str, dict[str, int]] = {}
    for table in tables:
        for label, row in table.items():
            own = found.setdefault(label, {})
            for origin, count in row.items():
                own[origin] = max(own.get(origin, 0), count)
    return found


def _licences(tables: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """All licences; those of what made synthetic images stand in one line."""
    found = {name: text for table in tables for name, text in table.items() if name != _SYNTHETIC}
    made = {part for table in tables for part in table.get(_SYNTHETIC, "").split(", ") if part}
    return found | ({_SYNTHETIC: ", ".join(sorted(made))} if made else {})


def _notes(card: ModelCard, folders: Sequence[Path]) -> list[str]:
    notes = [f"the mean of {len(folders)} models; it takes as long as all of them together", *card.warnings]
    if not card.temperature_fitted_on:
        notes.append("confidence is not calibrated, because that of a member is not")
    return notes


def _contents() -> Contents:
    from weldgen.classifier.model_file import CARD_NAME
    from weldgen.classifier.operating_point import OPERATING_NAME

    members = (f"member-{number}" for number in range(1, _MOST_MEMBERS + 1))
    return Contents("ensemble", "ensemble", (RUN_NAME, RECEIPT_NAME, CARD_NAME, OPERATING_NAME, *members), ())


def _identity(folder: Path) -> str:
    """What a member is: its weights and its card, but no page or threshold beside them."""
    from weldgen.classifier.model_file import CARD_NAME, WEIGHTS_NAME

    return " ".join(file_hash(folder / name) for name in (CARD_NAME, WEIGHTS_NAME) if (folder / name).is_file())


def _take(source: Path, target: Path) -> None:
    """Take a model over: the weights as a hard link where that is possible, its card and receipt last."""
    from weldgen.classifier.model_file import CARD_NAME, JUDGE_NAME, WEIGHTS_NAME
    from weldgen.data.writer import link_or_copy

    with output_errors(target):
        target.mkdir(exist_ok=True)
        for name in (WEIGHTS_NAME, JUDGE_NAME, RECEIPT_NAME, CARD_NAME):
            if (source / name).is_file():
                link_or_copy(source / name, target / name, link=name == WEIGHTS_NAME)


def _common_dataset(folders: Sequence[Path]) -> dict[str, Path]:
    """What all members were trained on, for commands that go back to it; empty where they differ."""
    receipts = [read_receipt(folder) for folder in folders]
    named = {receipt["inputs"].get("dataset", "") if receipt else "" for receipt in receipts}
    return {"dataset": Path(named.pop())} if len(named) == 1 and named != {""} else {}
