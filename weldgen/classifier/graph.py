"""The network that ships: photos of any size in, probabilities out, preprocessing inside."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, cast

import torch
from torch import Tensor, nn

from weldgen.classifier.model_file import ModelCard
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.preprocess import Frame, Letterbox
from weldgen.errors import BackendError

INPUT, OUTPUT = "image", "probabilities"


class Deployed(nn.Module):
    """Letterbox, network, temperature and softmax in one.

    Args:
        network: Trained network.
        frame: Height and width of its input in pixels.
        temperature: Divides the logits.
        half: Compute the backbone in fp16; preprocessing and head stay in fp32, where coordinates of a large photo and
            cosines need it.
    """

    def __init__(self, network: WeldNetwork, frame: Frame, temperature: float, *, half: bool) -> None:
        super().__init__()
        self.frame = frame
        self.letterbox = Letterbox(frame)
        self.network = network
        self.temperature = temperature
        self._dtype = torch.float16 if half else torch.float32
        network.backbone.to(self._dtype)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities, (B, K) float32, of (B, H, W, 3) uint8 RGB."""
        return self.judge(self.letterbox(image))

    def judge(self, framed: Tensor) -> Tensor:
        """Probabilities, (B, K) float32, of letterboxed photos, (B, 3, h, w) float32 from 0 to 255."""
        pixels = (framed - self.network.mean) / self.network.std
        features = self.network.backbone(pixels.to(self._dtype)).float()
        logits = self.network.head(self.network.embedding(features))
        return torch.softmax(logits / self.temperature, dim=1)


class Averaged(nn.Module):
    """The mean of what several models say of a photo, each of which sees it in its own frame.

    Args:
        members: The models.
    """

    def __init__(self, members: Sequence[Deployed]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities, (B, K) float32, of (B, H, W, 3) uint8 RGB."""
        members = [cast(Deployed, member) for member in self.members]
        # Members of one frame share the letterboxed photo, which costs more than a small network.
        framed = {frame: member.letterbox(image) for frame, member in {m.frame: m for m in members}.items()}
        return torch.stack([member.judge(framed[member.frame]) for member in members]).mean(dim=0)


def deploy(members: Sequence[tuple[WeldNetwork, ModelCard]], *, half: bool) -> nn.Module:
    """What ships: one model, or the mean of several.

    Args:
        members: Networks with their cards.
        half: As in `Deployed`.
    """
    deployed = [Deployed(network, card.frame, card.temperature, half=half) for network, card in members]
    return deployed[0] if len(deployed) == 1 else Averaged(deployed)


def to_onnx(deployed: nn.Module, metadata: Mapping[str, str]) -> bytes:
    """Trace the module into one ONNX file with free batch, height and width.

    Raises:
        BackendError: torch cannot export this backbone.
    """
    free = {0: "batch", 1: "height", 2: "width"}
    # A batch of 2, sides that are unequal and no round numbers: torch.export takes equal or special sizes for fixed.
    example = torch.zeros((2, 701, 903, 3), dtype=torch.uint8)
    try:
        with _quiet_exporter():
            program: Any = torch.onnx.export(
                deployed.eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=(free,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
    except Exception as error:  # the exporter raises many kinds
        raise BackendError(
            f"torch cannot export this backbone to ONNX: {str(error).splitlines()[0]}", "choose another model.backbone"
        ) from error
    model = program.model_proto
    for name, text in metadata.items():
        model.metadata_props.add(key=name, value=text)
    data: bytes = model.SerializeToString()
    return data


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter prints its steps and warns about its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
