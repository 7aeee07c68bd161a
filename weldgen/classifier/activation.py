"""Class-activation maps: in which cells of its last map a trained model found what speaks for its answer.

Each cell's evidence is the sum over the channels of activation times gradient, cell by cell (HiResCAM, Draelos and
Carin 2020, https://arxiv.org/abs/2011.08891). Grad-CAM (Selvaraju et al., ICCV 2017) averages the gradients over the
map first. Where features are pooled by their mean the two are the same; where they are pooled by their maximum, as
those of the linear classifier, only one cell of a channel counts, and Grad-CAM would hand its weight to all cells that
are active.

It says where in the last map the evidence lies, and what a cell holds comes from around it too; through gates over the
whole photo (squeeze-and-excite, as in EfficientNet and luna) a mark in a corner also reaches cells far off.

What is explained is the answer's margin: its logit less those of the other classes together, for what speaks for all
classes alike decides nothing. Lengths and spreads by which embeddings and pooled features are divided count as
constants (Ali et al., ICML 2022, https://arxiv.org/abs/2202.07304). Without that a cosine hardly changes where the
model is surest, and the evidence of all cells always adds up to nothing; with it, it adds up to the margin.

A model that judges by its worst cells (`weldgen.classifier.cells`) says itself what it finds in each.

A class token gathers from all places, block by block, so that its last map explains nothing. Where a network tells what
each token takes from each other (torchvision's vision transformers), what speaks for the answer is followed back
through all blocks (Chefer et al., ICCV 2021, https://arxiv.org/abs/2103.15679). It says where the token looked, in
shares; they do not add up to the margin, and what speaks against the answer is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weldgen.classifier.cells import CellFeatures
from weldgen.classifier.heads import CosineHead, SoftmaxHead
from weldgen.classifier.layers import StageFeatures
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.torchvision_vit import TokenVit
from weldgen.errors import BackendError


def activation_maps(network: WeldNetwork, images: Tensor, answers: Tensor) -> Tensor:
    """Where the evidence for an answer lies.

    Args:
        network: In evaluation mode.
        images: (B, 3, H, W) letterboxed RGB from 0 to 255, uint8 or float.
        answers: (B,) int64, the classes that are asked about: as a rule those that were predicted.

    Returns:
        (B, h, w) float32: each cell's share of what speaks for the class, in sum 1; what speaks against it is left
        out. All 0 where nothing speaks for it.

    Raises:
        BackendError: The backbone makes no map.
    """
    speaks_for = cell_evidence(network, images, answers).clamp(min=0)
    return speaks_for / speaks_for.sum(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def cell_evidence(network: WeldNetwork, images: Tensor, answers: Tensor) -> Tensor:
    """What each cell adds to the margin of the answer, (B, h, w) float32; see `activation_maps`.

    Of a network that answers from a class token, how much of what speaks for the answer it took from each cell.
    """
    backbone: Any = network.backbone
    if isinstance(backbone, TokenVit):
        return _token_evidence(network, backbone, images, answers)
    if isinstance(backbone, CellFeatures):
        return _defect_evidence(network, backbone, images, answers)
    if isinstance(backbone, StageFeatures):
        return _stage_evidence(network, backbone, images, answers)
    if not (hasattr(backbone, "forward_features") and hasattr(backbone, "forward_head")):
        raise _no_map(backbone)
    with torch.no_grad():
        made = backbone.forward_features(network.normalised(images))
    if not isinstance(made, Tensor):
        raise _no_map(backbone)
    _check_map(backbone, made)
    leaf = made.detach().float().requires_grad_()
    with torch.enable_grad(), _constant_spreads(network):
        margin = _margin(network, backbone.forward_head(leaf), answers)
        gradient = torch.autograd.grad(margin.sum(), leaf)[0]
    return _on_grid(backbone, (leaf * gradient).detach())


def _defect_evidence(network: WeldNetwork, backbone: CellFeatures, images: Tensor, answers: Tensor) -> Tensor:
    """The evidence of all cells, (B, h, w) float32, each weighed as if it were one of the worst, which decide.

    So a map shows all of a defect, and it is the mean of its worst cells that makes the margin, not the sum of all.
    """
    with torch.no_grad():
        cells = backbone.judge(backbone.fine_map(network.normalised(images))).float()
    leaf = backbone.gather(cells).requires_grad_()
    with torch.enable_grad():
        # Behind the evidence of defects the embedding holds nothing: its weights on the other features are 0.
        logits = network.head(F.linear(leaf, network.embedding.weight[:, : backbone.kinds]))
        weights = torch.autograd.grad(_lead(logits, answers).sum(), leaf)[0]
    return cast(Tensor, (cells * weights[:, :, None, None]).sum(dim=1))


def _stage_evidence(network: WeldNetwork, backbone: StageFeatures, images: Tensor, answers: Tensor) -> Tensor:
    """The evidence of the maps of several layers together, on the cells of the last one, (B, h, w) float32."""
    with torch.no_grad():
        leaves = [m.detach().float().requires_grad_() for m in backbone.maps(network.normalised(images))]
    with torch.enable_grad(), _constant_spreads(network):
        margin = _margin(network, backbone.gather(leaves), answers)
        gradients = torch.autograd.grad(margin.sum(), leaves)
    cells = (*_on_grid(backbone.body, leaves[-1].detach()).shape[1:],)
    found = torch.zeros((len(images), *cells), device=images.device)
    for leaf, gradient in zip(leaves[:-1], gradients[:-1], strict=True):
        fine = (leaf * gradient).detach().sum(dim=1)
        # Means of the cells below, times their number: their sum where the grids fit.
        each = fine[0].numel() / found[0].numel()
        found += each * F.adaptive_avg_pool2d(fine[:, None], cells)[:, 0]
    return found + _on_grid(backbone.body, (leaves[-1] * gradients[-1]).detach())


def _token_evidence(network: WeldNetwork, backbone: TokenVit, images: Tensor, answers: Tensor) -> Tensor:
    """What the class token took from each patch for the answer, by way of all blocks, (B, h, w) float32."""
    with torch.enable_grad():
        # The photo is what gradients go through, as all weights may be frozen.
        features, taken = backbone.attended(network.normalised(images).detach().requires_grad_())
        gradients = torch.autograd.grad(_margin(network, features, answers).sum(), taken)
    row = torch.zeros_like(taken[0][:, 0, :1])  # (B, 1, tokens)
    row[:, :, 0] = 1
    # From the last block to the first: each token's share goes on to those that it took from, and stays with itself.
    for shares, gradient in zip(reversed(taken), reversed(gradients), strict=True):
        row = row + row @ (shares * gradient).detach().clamp(min=0).mean(dim=1)
    height, width = (side // backbone.patch_px for side in images.shape[2:])
    return row[:, 0, 1:].detach().float().view(len(images), height, width)


def _margin(network: WeldNetwork, features: Tensor, answers: Tensor) -> Tensor:
    """Logits of the answers less those of the other classes together, (B,), of (B, F) features."""
    return _lead(_logits(network.head, network.embedding(features)), answers)


def _lead(logits: Tensor, answers: Tensor) -> Tensor:
    """Logits of the answers less those of the other classes together, (B,), of (B, K)."""
    asked = answers[:, None]
    return logits.gather(1, asked)[:, 0] - logits.scatter(1, asked, -torch.inf).logsumexp(dim=1)


def _check_map(backbone: Any, made: Tensor) -> None:
    """Refuse tokens that have no place, and those that the answer is not read from."""
    if made.ndim == 4:
        return
    grid = getattr(getattr(backbone, "patch_embed", None), "grid_size", None)
    if made.ndim != 3 or grid is None or made.shape[1] != _prefix(backbone) + grid[0] * grid[1]:
        raise _no_map(backbone)
    if getattr(backbone, "global_pool", None) == "token":
        raise BackendError(
            f"{type(backbone).__name__} answers from a class token, which has gathered from all places before the last "
            "layer: no map says where it looked",
            "networks that pool a map show it: model.backbone=auto",
        )


def _on_grid(backbone: Any, products: Tensor) -> Tensor:
    """Sums over the channels, as (B, h, w)."""
    if products.ndim == 4:
        return products.sum(dim=-1 if getattr(backbone, "output_fmt", None) == "NHWC" else 1)
    cells = products[:, _prefix(backbone) :].sum(dim=-1)
    return cells.view(len(cells), *backbone.patch_embed.grid_size)


def _prefix(backbone: Any) -> int:
    """Tokens that stand for no place."""
    return int(getattr(backbone, "num_prefix_tokens", 0))


def _no_map(backbone: nn.Module) -> BackendError:
    return BackendError(
        f"{type(backbone).__name__} makes no map of features: nothing says where it looked",
        "networks that make one show it: model.backbone=auto",
    )


def _logits(head: nn.Module, embeddings: Tensor) -> Tensor:
    """The head's logits, (B, K), with the length of each embedding taken for a constant."""
    unit = embeddings / embeddings.detach().norm(dim=1, keepdim=True).clamp(min=1e-12)
    if isinstance(head, CosineHead):
        cosines = F.linear(unit, F.normalize(head.weight))
        return head.scale * cosines.view(len(cosines), -1, head.centres).amax(dim=2)
    if isinstance(head, SoftmaxHead) and head.unit:
        return cast(Tensor, head.linear(unit))
    return cast(Tensor, head(embeddings))


@contextmanager
def _constant_spreads(network: nn.Module) -> Iterator[None]:
    """Within, layer norms divide by a spread that has no gradient; what they give is the same."""
    hooks = [m.register_forward_hook(_with_constant_spread) for m in network.modules() if isinstance(m, nn.LayerNorm)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _with_constant_spread(norm: nn.LayerNorm, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
    # The channels come second in maps (timm's and torchvision's LayerNorm2d), last in all else.
    x = inputs[0]
    axis, shape = (1, (-1, 1, 1)) if x.ndim == 4 else (-1, (-1,))
    centred = x - x.mean(dim=axis, keepdim=True)
    spread = (centred.square().mean(dim=axis, keepdim=True) + norm.eps).sqrt().detach()
    weight, bias = norm.weight, norm.bias
    scaled = centred / spread if weight is None else centred / spread * weight.view(shape)
    return scaled if bias is None else scaled + bias.view(shape)
