"""torchvision's vision transformers at any size: `torchvision/vit_b_16`.

torchvision builds them for one square size. Here the embeddings of positions are fitted to the frame that is asked for,
of any shape, and to smaller images in training. They answer from the class token, as they were trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from weldgen.classifier.preprocess import Frame

_POSITIONS = "encoder.pos_embedding"
# Blocks are frozen in so many groups, as the stages of other networks are.
_STAGES = 4


class TokenVit(nn.Module):
    """A vision transformer of torchvision without its classifier.

    Args:
        network: As torchvision builds it.
        frame: Height and width of the input in pixels; its patches fill them.
    """

    def __init__(self, network: Any, frame: Frame) -> None:
        super().__init__()
        self.patch_px = int(network.patch_size)
        self.conv_proj = network.conv_proj
        self.class_token = network.class_token
        self.encoder = network.encoder
        self.grid = (frame[0] // self.patch_px, frame[1] // self.patch_px)
        self.encoder.pos_embedding = nn.Parameter(fitted_positions(network.encoder.pos_embedding.detach(), self.grid))

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to tokens, (B, 1 + h * w, F): the class token, then the patches by rows."""
        return cast(Tensor, self.encoder.ln(self.encoder.layers(self._embedded(x))))

    def forward_head(self, x: Tensor) -> Tensor:
        """The class token, (B, F), of the tokens."""
        return x[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to (B, F) features."""
        return self.forward_head(self.forward_features(x))

    def attended(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features, and how much each token takes from each other in each block: (B, heads, tokens, tokens).

        Args:
            x: (B, 3, H, W) normalised images.
        """
        tokens, taken = self._embedded(x), []
        for block in self.encoder.layers:
            out, shares = _attend(block.self_attention, block.ln_1(tokens))
            taken.append(shares)
            tokens = tokens + block.dropout(out)
            tokens = tokens + block.mlp(block.ln_2(tokens))
        return self.forward_head(self.encoder.ln(tokens)), taken

    def load_fitted(self, state: Mapping[str, Tensor]) -> None:
        """Load weights of the same network for a square of any size, or for this frame."""
        known = state[_POSITIONS]
        if known.shape != self.encoder.pos_embedding.shape:
            known = fitted_positions(known, self.grid)
        self.load_state_dict({**state, _POSITIONS: known})

    def stages(self) -> dict[str, int]:
        """Name of each parameter -> its stage: blocks in four groups; 0 is what makes tokens of patches."""
        blocks = len(self.encoder.layers)
        groups = min(_STAGES, blocks)
        number = {name: i for i, (name, _) in enumerate(self.encoder.layers.named_children())}

        def stage_of(name: str) -> int:
            if name.startswith("encoder.layers."):
                return 1 + number[name.split(".")[2]] * groups // blocks
            return groups if name.startswith("encoder.ln.") else 0

        return {name: stage_of(name) for name, _ in self.named_parameters()}

    def _embedded(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to what the first block takes, (B, 1 + h * w, F)."""
        patches = self.conv_proj(x)  # (B, F, h, w)
        grid = (patches.shape[2], patches.shape[3])
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        known = self.encoder.pos_embedding
        positions = known if grid == self.grid else fitted_positions(known, grid, self.grid)
        return cast(Tensor, self.encoder.dropout(tokens + positions))


def _attend(layer: nn.MultiheadAttention, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer of attention makes of tokens, and its shares; torch's own shares are a copy, without gradients."""
    split = (*tokens.shape[:2], 3, layer.num_heads, layer.head_dim)
    queries, keys, values = (
        F.linear(tokens, layer.in_proj_weight, layer.in_proj_bias).view(split).permute(2, 0, 3, 1, 4)
    )
    shares = (queries @ keys.transpose(2, 3) * layer.head_dim**-0.5).softmax(dim=-1)  # (B, heads, tokens, tokens)
    return cast(Tensor, layer.out_proj((shares @ values).transpose(1, 2).flatten(2))), shares


def fitted_positions(known: Tensor, grid: tuple[int, int], of: tuple[int, int] | None = None) -> Tensor:
    """Embeddings of positions for another grid of patches.

    Args:
        known: (1, 1 + h * w, F), the class token's first.
        grid: Rows and columns that are wanted.
        of: Rows and columns of `known`; None: it is a square.
    """
    fitted = resample_abs_pos_embed(known, list(grid), None if of is None else list(of), num_prefix_tokens=1)
    return cast(Tensor, fitted)
