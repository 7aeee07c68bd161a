"""The transfer gate: how much of a LoRA, and how much of the schedule, suits the training photos.

A LoRA that was trained on SDXL-base need not help SDXL-Turbo. So a few images are made with none, half and all of it,
and then at several strengths, and compared with the photos: by the probe that knows the classes, and by the kernel
distance of each class. What was found is kept beside the LoRA, for all machines and later runs to take it from there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weldgen.runtime import derive_seed, log, write_atomic
from weldgen.synthesis.diffusion.settings import TEXT, DiffusionConfig
from weldgen.synthesis.requests import Request

if TYPE_CHECKING:
    from weldgen.features import Floats
    from weldgen.synthesis.reference import KnownPhotos

RECORD = "transfer.json"
_SCALES = (0.0, 0.5, 1.0)
_STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.75)
# Images of each class for one setting.
TRIED = 8
# A setting may agree this much less often with the labels than the best one.
_AGREEMENT_SLACK = 0.05
# Strengths are tried on the same photos with the same noise, so their distances differ by much less than their errors
# say, and a dozen photos leave an error that excuses any strength. On 9 weld photos, each with an error of 0.6: -0.18,
# -0.08, -0.04, 0.02 and 0.12 at strengths of 0.3 to 0.75; at 0.3 half the images were refused as too near to a photo,
# at 0.75 pores turned to grey.
_MOST_SLACK = 0.12


@dataclass(frozen=True)
class Trial:
    """What one setting gave.

    Attributes:
        lora_scale: Weight of the LoRA.
        strength: Share of the schedule.
        agreement: Share of images that the probe takes for their class; 1 where there is no probe.
        kid: Kernel distance to the training photos, mean over the classes.
        error: Its standard error.
    """

    lora_scale: float
    strength: float
    agreement: float
    kid: float
    error: float


def with_transfer(model: DiffusionConfig, generator: str) -> DiffusionConfig:
    """The settings with what an earlier gate found for this LoRA; unchanged where there is no such record."""
    file = _record_file(model)
    if not model.undecided or not file.is_file():
        return model
    record = json.loads(file.read_text(encoding="utf-8"))
    if record.get("for") != _identity(model, generator):
        return model
    return _decided(model, record["lora_scale"], record["strength"])


def pass_gate(
    model: DiffusionConfig, generator: str, requests: Sequence[Request], known: KnownPhotos, device: str, fit: float
) -> tuple[DiffusionConfig, tuple[str, ...]]:
    """Decide what the settings leave open, and say what was found.

    Args:
        model: Settings with a LoRA.
        generator: Name of the generator.
        requests: First requests of the run, of all classes.
        known: The real photos.
        device: Where images are made.
        fit: How far renderings take after their photo.
    """
    from weldgen.synthesis.quality import LEAST_PHOTOS

    enough = [label for label in known.labels if _count(known, label) >= LEAST_PHOTOS]
    if known.reference is None or not enough:
        return model, (f"transfer gate: off, a class with {LEAST_PHOTOS} training photos is needed; the whole LoRA",)
    chosen = [replace(request, seed=derive_seed(request.seed, "transfer")) for request in requests]
    chosen = [request for label in enough for request in [r for r in chosen if r.label == label][:TRIED]]
    trials: list[Trial] = []
    scale = model.lora_scale
    if scale is None:
        for candidate in _SCALES:
            trials += _try(_decided(model, candidate, model.strength), [None], chosen, known, device, fit)
        scale = best_scale(trials)
    strength = model.strength
    if strength is None and model.mode != TEXT:
        allowed = _distinct(model.steps)
        by_strength = _try(_decided(model, scale, None), allowed, chosen, known, device, fit)
        strength = best_strength(by_strength)
        trials += by_strength
    record = {
        "for": _identity(model, generator),
        "lora_scale": scale,
        "strength": strength,
        "trials": [asdict(trial) for trial in trials],
    }
    write_atomic(_record_file(model), json.dumps(record, indent=1) + "\n")
    return _decided(model, scale, strength), (_sentence(scale, strength, trials),)


def best_scale(trials: Sequence[Trial]) -> float:
    """The weight of a LoRA whose images are nearest to the photos; 0 where none is clearly nearer than without it."""
    without = next(trial for trial in trials if trial.lora_scale == 0)
    agreeing = _agreeing(trials)
    best = min(agreeing, key=lambda trial: trial.kid)
    if best.lora_scale and best.kid < without.kid - max(best.error, without.error):
        return best.lora_scale
    return best.lora_scale if without not in agreeing else 0.0


def best_strength(trials: Sequence[Trial]) -> float:
    """The largest strength whose images are as near to the photos as the nearest, within the error of both or 0.12.

    The least strength is always the nearest, as it changes the photos least; what is wanted are new images.
    """
    agreeing = _agreeing(trials)
    nearest = min(agreeing, key=lambda trial: trial.kid)
    return max(
        trial.strength for trial in agreeing if trial.kid <= nearest.kid + min(trial.error + nearest.error, _MOST_SLACK)
    )


def _agreeing(trials: Sequence[Trial]) -> list[Trial]:
    most = max(trial.agreement for trial in trials)
    return [trial for trial in trials if trial.agreement >= most - _AGREEMENT_SLACK]


def _try(
    model: DiffusionConfig,
    strengths: Sequence[float | None],
    requests: Sequence[Request],
    known: KnownPhotos,
    device: str,
    fit: float,
) -> list[Trial]:
    """Make images at some strengths with one loading of the model, and compare them."""
    from weldgen.features import feature_rows
    from weldgen.synthesis.diffusion.generator import DiffusionGenerator
    from weldgen.synthesis.judge import extractor

    assert known.reference is not None
    see = extractor(known.reference.network)
    generator = DiffusionGenerator(model, device, fit)
    trials = []
    for strength in strengths:
        setting = model if strength is None else _decided(model, model.lora_scale, strength)
        images = generator.at(setting).generate(requests)
        features = feature_rows([see([made.image])[0] for made in images])
        trials.append(_compare(setting, features, [request.label for request in requests], known))
        log.info("transfer gate: %s", trials[-1])
    return trials


def _compare(setting: DiffusionConfig, features: Floats, labels: Sequence[str], known: KnownPhotos) -> Trial:
    import numpy as np

    from weldgen.synthesis.quality import kernel_distance

    reference = known.reference
    assert reference is not None
    agreement = 1.0
    if reference.probe is not None:
        pairs = list(zip(features, labels, strict=True))
        agreement = float(np.mean([reference.probe.contradiction(f, label)[1] < 0.5 for f, label in pairs]))
    distances = []
    for label in sorted(set(labels)):
        real = reference.train[[index for index, sample in enumerate(known.train) if sample.label == label]]
        distances.append(kernel_distance(real, features[[index for index, own in enumerate(labels) if own == label]]))
    kid = float(np.mean([distance.value for distance in distances]))
    error = float(np.sqrt(np.mean([distance.error**2 for distance in distances]) / len(distances)))
    return Trial(setting.chosen_scale, setting.chosen_strength, round(agreement, 3), round(kid, 5), round(error, 5))


def _decided(model: DiffusionConfig, scale: float | None, strength: float | None) -> DiffusionConfig:
    update: dict[str, Any] = {}
    if model.lora_scale is None and scale is not None:
        update["lora_scale"] = scale
    if model.strength is None and strength is not None:
        update["strength"] = strength
    return model.model_copy(update=update)


def _distinct(steps: int) -> list[float]:
    """Strengths that run at least one step, one for each number of steps."""
    found: dict[int, float] = {}
    for strength in _STRENGTHS:
        ran = int(steps * strength)
        if ran:
            found.setdefault(ran, strength)
    return list(found.values()) or [1.0]


def _identity(model: DiffusionConfig, generator: str) -> dict[str, Any]:
    """What a record holds for: the LoRA, the model and how it is run."""
    kept = model.model_dump(mode="json", exclude={"lora", "lora_scale", "strength", "batch_size", "compile", "offload"})
    return {"generator": generator, **kept, "given": [model.lora_scale, model.strength]}


def _record_file(model: DiffusionConfig) -> Path:
    path = Path(model.lora)
    return (path if path.is_dir() else path.parent) / RECORD


def _count(known: KnownPhotos, label: str) -> int:
    return sum(sample.label == label for sample in known.train)


def _sentence(scale: float, strength: float | None, trials: Sequence[Trial]) -> str:
    by_scale = {trial.lora_scale: trial for trial in reversed(trials)}
    distances = ", ".join(f"{at:g}: {trial.kid:.4f} +- {trial.error:.4f}" for at, trial in sorted(by_scale.items()))
    verdict = f"the LoRA at {scale:g}" if scale else "without the LoRA, which brings the images no nearer to the photos"
    at = f", strength {strength:g}" if strength is not None else ""
    return f"transfer gate: {verdict}{at} (kernel distance by weight of the LoRA: {distances})"
