"""The network that ships: photos of any size in, probabilities out, preprocessing inside."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from weldgen.classifier.model_file import ModelCard
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.preprocess import Frame, Letterbox
from weldgen.errors import BackendError

INPUT, FRAMED, OUTPUT = "image", "framed", "probabilities"


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

    def letterboxes(self) -> list[nn.Module]:
        """The one letterbox, as a list for the exporter."""
        return [self.letterbox]

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

    def letterboxes(self) -> list[nn.Module]:
        """One for each frame; members of one frame share the photo in it, which costs more than a small network."""
        return list(self._by_frame().values())

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities, (B, K) float32, of (B, H, W, 3) uint8 RGB."""
        return self.judge(*(letterbox(image) for letterbox in self.letterboxes()))

    def judge(self, *framed: Tensor) -> Tensor:
        """Probabilities, (B, K) float32, of photos in each of the frames of `letterboxes`."""
        photos = dict(zip(self._by_frame(), framed, strict=True))
        members = [cast(Deployed, member) for member in self.members]
        return torch.stack([member.judge(photos[member.frame]) for member in members]).mean(dim=0)

    def _by_frame(self) -> dict[Frame, nn.Module]:
        return {member.frame: member.letterbox for member in cast(Sequence[Deployed], self.members)}


class _Judge(nn.Module):
    """What ships without its letterboxes."""

    def __init__(self, deployed: Deployed | Averaged) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(self, *framed: Tensor) -> Tensor:
        return self.deployed.judge(*framed)


def deploy(members: Sequence[tuple[WeldNetwork, ModelCard]], *, half: bool) -> Deployed | Averaged:
    """What ships: one model, or the mean of several.

    Args:
        members: Networks with their cards.
        half: As in `Deployed`.
    """
    deployed = [Deployed(network, card.frame, card.temperature, half=half) for network, card in members]
    return deployed[0] if len(deployed) == 1 else Averaged(deployed)


def to_onnx(deployed: Deployed | Averaged, metadata: Mapping[str, str]) -> bytes:
    """Trace the module into one ONNX file with free batch, height and width.

    Raises:
        BackendError: torch cannot export this backbone.
    """
    kinds: list[Any] = [(type(module), module.frame) for module in deployed.letterboxes()]
    framed = tuple(torch.zeros((2, 3, *frame)) for _, frame in kinds)
    names = [f"{FRAMED}{number}" for number in range(len(framed))]
    try:
        model = _trace(_Judge(deployed), framed, (tuple({0: "batch"} for _ in framed),), names, OUTPUT)
    except Exception as error:  # the exporter raises many kinds
        raise BackendError(
            f"torch cannot export this backbone to ONNX: {str(error).splitlines()[0]}", "choose another model.backbone"
        ) from error
    _put_before(model, [_letterbox_onnx(kind, frame) for kind, frame in kinds], names)
    for name, text in metadata.items():
        model.metadata_props.add(key=name, value=text)
    data: bytes = model.SerializeToString()
    return data


@lru_cache(maxsize=16)
def _letterbox_onnx(kind: Callable[[Frame], nn.Module], frame: Frame) -> Any:
    """A letterbox as ONNX; it takes longer to trace than a small network, and is the same for all of one frame."""
    # A batch of 2, sides that are unequal and no round numbers: torch.export takes equal or special sizes for fixed.
    example = torch.zeros((2, 701, 903, 3), dtype=torch.uint8)
    free = {0: "batch", 1: "height", 2: "width"}
    return _trace(kind(frame), (example,), (free,), [INPUT], FRAMED)


def _trace(module: nn.Module, example: tuple[Tensor, ...], free: Any, inputs: list[str], output: str) -> Any:
    with _quiet_exporter(), torch.no_grad():  # which makes the trace shorter by a sixth
        program: Any = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            dynamic_shapes=free,
            input_names=inputs,
            output_names=[output],
            verbose=False,
        )
    return program.model_proto


def _put_before(model: Any, letterboxes: Sequence[Any], names: Sequence[str]) -> None:
    """Let letterboxes feed the inputs of a network: all take the one photo.

    Args:
        model: The network; changed in place.
        letterboxes: One for each input.
        names: The inputs.
    """
    from onnx.compose import add_prefix

    nodes = list(model.graph.node)
    del model.graph.node[:], model.graph.input[:]
    for letterbox, name in zip(letterboxes, names, strict=True):
        part = add_prefix(letterbox, f"{name}/", rename_inputs=False, rename_outputs=False).graph
        for node in part.node:
            node.output[:] = [name if output == FRAMED else output for output in node.output]
        model.graph.node.extend(part.node)
        model.graph.initializer.extend(part.initializer)
        model.graph.value_info.extend(part.value_info)
    model.graph.input.extend(letterboxes[0].graph.input)
    model.graph.node.extend(nodes)


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
