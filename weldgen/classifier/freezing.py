"""What of the backbone keeps its pre-trained weights."""

from __future__ import annotations

from weldgen.classifier.backbone import Backbone
from weldgen.classifier.network import freeze
from weldgen.classifier.settings import ModelSettings
from weldgen.errors import ConfigError


def freeze_backbone(backbone: Backbone, settings: ModelSettings) -> tuple[float, str]:
    """Freeze what the settings say.

    Args:
        backbone: Changed in place.
        settings: `freeze` and `freeze_stages`.

    Returns:
        Share of the backbone's parameters that learn, and a sentence on it for the user.

    Raises:
        ConfigError: The backbone has no stages, or random weights and may not learn.
    """
    why = f"model.freeze={settings.freeze}"
    count = 0
    if settings.freeze == "backbone":
        if not backbone.weights:
            raise ConfigError(
                f"{why}: {backbone.name} has random weights, and sees nothing unless it learns", "model.freeze=none"
            )
        backbone.model.requires_grad_(False)
    elif settings.freeze == "stages" and not backbone.weights:
        why = "it has no pre-trained weights to keep"
    elif settings.freeze == "stages":
        count = settings.freeze_stages
        why = f"model.freeze_stages={count}"
    share = freeze(backbone.model, count)
    return share, f"{share:.1%} of the backbone's parameters learn ({why}), and all of embedding and head"
