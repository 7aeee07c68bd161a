"""What the loss makes of the classes' weights; light, so that it is checked before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from weldgen.classifier.settings import TrainConfig
from weldgen.data.labels import good_class
from weldgen.errors import ConfigError

# What `training.class_weights` may say besides a file.
CHOICES = ("balanced", "none")
# Of the class that is looked for, as in the paper (Lin et al., ICCV 2017): what is easy counts so little already that
# the other class has to be held up, rare as the first may be.
_ALPHA = 0.25


def pin_class_weights(config: TrainConfig) -> TrainConfig:
    """A configuration as it counts in the run's key: the weights of a file instead of its name.

    Raises:
        ConfigError: There is no such file, or it does not hold a weight above 0 for each name.
    """
    given = config.training.class_weights
    if isinstance(given, Mapping) or given in CHOICES:
        return config
    weights = read_class_weights(given)
    return config.model_copy(update={"training": config.training.model_copy(update={"class_weights": weights})})


def read_class_weights(file: str) -> dict[str, float]:
    """Class -> weight from a YAML or JSON file.

    Raises:
        ConfigError: There is no such file, or it does not hold a weight above 0 for each name.
    """
    import yaml

    if not Path(file).is_file():
        raise ConfigError(
            f"training.class_weights={file}: accepted are {', '.join(CHOICES)}, or a YAML or JSON file that exists",
            "a line for each class, e.g. crack: 4.0",
        )
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"training.class_weights: {file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"training.class_weights: {file} must hold lines 'class: weight'", "e.g. crack: 4.0")
    for label, weight in content.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not 0 < weight < float("inf"):
            raise ConfigError(f"training.class_weights: {file}: {label}: {weight!r}; a number above 0 is accepted")
    return {str(label): float(weight) for label, weight in content.items()}


def check_class_weights(config: TrainConfig, labels: Sequence[str]) -> None:
    """Refuse weights of classes that the dataset does not have, and classes without a weight.

    Raises:
        ConfigError: There is one.
    """
    given = config.training.class_weights
    if not isinstance(given, Mapping):
        return
    classes = f"the classes are {', '.join(labels)}"
    unknown = [label for label in given if label not in labels]
    if unknown:
        raise ConfigError(f"training.class_weights: there is no class {', '.join(map(repr, unknown))}", classes)
    missing = [label for label in labels if label not in given]
    if missing:
        raise ConfigError(f"training.class_weights: no weight for class {', '.join(map(repr, missing))}", classes)


def check_focal_alpha(config: TrainConfig, labels: Sequence[str]) -> None:
    """Refuse a `training.focal_alpha` for another number of classes.

    Raises:
        ConfigError: It is one.
    """
    alpha = config.training.focal_alpha
    classes = f"the classes are {', '.join(labels)}"
    if isinstance(alpha, float) and len(labels) != 2:
        raise ConfigError(f"training.focal_alpha={alpha:g}: one number is for two classes, got {len(labels)}", classes)
    if isinstance(alpha, tuple) and len(alpha) != len(labels):
        raise ConfigError(
            f"training.focal_alpha={list(alpha)}: {len(alpha)} numbers for {len(labels)} classes", classes
        )


def focal_alpha_of(alpha: float | str | tuple[float, ...], labels: Sequence[str]) -> tuple[float, ...] | None:
    """Weight of each class in the focal loss; None where that is the class weights' part.

    Args:
        alpha: `training.focal_alpha`. A number is that of the class that is not sound, or of the second one where
            none has such a name; the other one has what is left of 1.
        labels: Classes.
    """
    if isinstance(alpha, tuple):
        return alpha
    if alpha == "none" or (alpha == "auto" and len(labels) != 2):
        return None
    share = _ALPHA if alpha == "auto" else float(alpha)
    return (share, 1 - share) if labels[1] == good_class(labels) else (1 - share, share)
