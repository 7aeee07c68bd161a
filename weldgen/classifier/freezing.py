"""What of the backbone keeps its pre-trained weights."""

from __future__ import annotations

import difflib

from torch import nn

from weldgen.classifier.backbone import Backbone
from weldgen.classifier.network import freeze
from weldgen.classifier.settings import UNTIL, ModelSettings
from weldgen.errors import ConfigError


def freeze_backbone(backbone: Backbone, settings: ModelSettings) -> tuple[float, str]:
    """Freeze what the settings say.

    Args:
        backbone: Changed in place.
        settings: `freeze` and `freeze_stages`.

    Returns:
        Share of the backbone's parameters that learn, and a sentence on it for the user.

    Raises:
        ConfigError: The backbone has no stages or no such layer, or random weights and may not learn.
    """
    why = f"model.freeze={settings.freeze}"
    count, layer = 0, ""
    if settings.freeze not in ("stages", "none") and not backbone.weights:
        raise ConfigError(
            f"{why}: {backbone.name} has random weights, and sees nothing unless it learns", "model.freeze=none"
        )
    if settings.freeze == "backbone":
        backbone.model.requires_grad_(False)
    elif settings.freeze.startswith(UNTIL):
        layer = settings.freeze.removeprefix(UNTIL)
        _check_layer(layer, backbone)
    elif settings.freeze == "stages" and not backbone.weights:
        why = "it has no pre-trained weights to keep"
    elif settings.freeze == "stages":
        count = settings.freeze_stages
        why = f"model.freeze_stages={count}"
    share = freeze(backbone.model, count, layer)
    return share, f"{share:.1%} of the backbone's parameters learn ({why}), and all of embedding and head"


def _check_layer(layer: str, backbone: Backbone) -> None:
    """Refuse a name that no layer with weights has."""
    known = layers_of(backbone.model)
    if layer in known:
        return
    top = [name for name in known if "." not in name]
    # Names are nested: the nearest ones, or what the outer layer that was meant holds.
    inside = [name for name in known if name.rpartition(".")[0] == layer.rpartition(".")[0] and "." in name]
    near = dict.fromkeys([*difflib.get_close_matches(layer, known, 3), *inside[:5]])
    raise ConfigError(
        f"model.freeze={UNTIL}{layer}: {backbone.name} has no such layer; it has {', '.join(top)}"
        + (f", and nearest to the name {', '.join(near)}" if near else ""),
        f"model.freeze={UNTIL}{next(iter(near), top[0])}",
    )


def layers_of(network: nn.Module) -> list[str]:
    """Names of the layers that have parameters, of nested ones too, in the network's order."""
    names = (name.split(".")[:-1] for name, _ in network.named_parameters())
    return list(dict.fromkeys(".".join(parts[:end]) for parts in names for end in range(1, len(parts) + 1)))
