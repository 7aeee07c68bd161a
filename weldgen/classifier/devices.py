"""How many devices train one network (`training.devices`), and what that asks of settings and network."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.plan import Plan
from weldgen.classifier.preprocess import Frame
from weldgen.classifier.settings import TrainConfig
from weldgen.errors import ConfigError


def count_devices(config: TrainConfig, device: str, *, linear: bool = False) -> int:
    """Number of processes that train, one a device.

    Args:
        config: Settings of the run.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        linear: Whether the backbone stays as it is.

    Raises:
        ConfigError: There are not so many, they cannot share a batch, or nothing is trained in batches.
    """
    wanted = config.training.devices
    if wanted == 1:
        return 1
    said = f"training.devices={wanted}"
    if device.startswith("cuda:"):
        raise ConfigError(f"{said}, but device={device} names one GPU", "device=cuda, or training.devices=1")
    there = torch.cuda.device_count() if device == "cuda" else 1
    count = there if wanted == "all" else wanted
    # A CPU takes any number of processes.
    if count > there and device != "cpu":
        raise ConfigError(
            f"{said}, but this machine has {there} {'GPU' if there == 1 else 'GPUs'} for device={device}",
            f"training.devices={there}, or all",
        )
    if count == 1:
        return 1
    if linear:
        raise ConfigError(
            f"{said}: a linear classifier on a fixed backbone is fitted on one device",
            "training.devices=1, or training.method=finetune",
        )
    batch = config.training.batch_size
    if batch % count:
        raise ConfigError(
            f"{said}: {count} devices cannot share training.batch_size={batch} equally",
            f"training.batch_size={-(-batch // count) * count}",
        )
    return count


def check_stock(plan: Plan) -> None:
    """Refuse more devices than a batch has images, which few training images make smaller than was asked for.

    Raises:
        ConfigError: A device would have nothing to do.
    """
    count = plan.share.count
    if plan.batch_size < count:
        raise ConfigError(
            f"training.devices={count}, but there are only {plan.batch_size} training images for a batch",
            "training.devices=1",
        )


def has_idle_weights(network: WeldNetwork, frame: Frame) -> bool:
    """Whether some weights that learn have no gradient, because the answer does not depend on them.

    Args:
        network: On the CPU; is in evaluation mode afterwards.
        frame: Height and width of an image.
    """
    network.eval()
    targets = torch.eye(network(torch.zeros(1, 3, *frame)).shape[1])[:1]
    answer = network(torch.zeros(1, 3, *frame), targets).sum()
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    return any(gradient is None for gradient in torch.autograd.grad(answer, weights, allow_unused=True))


def join_norms(network: WeldNetwork, device: str) -> None:
    """Let batch norms take their statistics from the whole batch; torch does it on GPUs alone."""
    if device.startswith("cuda"):
        from timm.layers import convert_sync_batchnorm

        # timm's knows its own norms, which hold an activation that torch's own conversion would lose. The statistics
        # of the network itself, its parameters among them, are taken over as they are.
        for name, child in network.named_children():
            network.add_module(name, cast(nn.Module, convert_sync_batchnorm(child)))


def device_notes(network: WeldNetwork, plan: Plan, device: str) -> list[str]:
    """Sentences on how several devices trained; none for one."""
    count = plan.share.count
    if count == 1:
        return []
    kind = "processes on the CPU" if device == "cpu" else "GPUs"
    each = -(-plan.batch_size // count)
    lines = [f"trained on {count} {kind}, up to {each} images of each batch on one (training.devices)"]
    if device == "cpu" and _has_learning_norms(network, plan):
        lines.append(
            f"on a CPU a batch norm takes its statistics from the up to {each} images of its own process, not from "
            "the whole batch as on GPUs: training.devices=1 gives another result"
        )
    return lines


def _has_learning_norms(network: WeldNetwork, plan: Plan) -> bool:
    """Whether a batch norm looks at the batch; those of a pre-trained backbone keep their statistics."""
    parts = (network.head,) if plan.pretrained else (network.backbone, network.head)
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and any(p.requires_grad for p in module.parameters())
        for part in parts
        for module in part.modules()
    )
