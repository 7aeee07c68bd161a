"""Fixtures that all rooms share: small rendered photos, no network, no user's cache."""

from __future__ import annotations

import os

# Two cores shared by torch, OpenCV and OpenVINO: small tests are faster, and deterministic, on one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import logging
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that run every documented command take longest, so they come first, not last."""
    items.sort(key=lambda item: item.path.name != "test_docs.py")


@pytest.fixture(autouse=True, scope="session")
def _no_tracing() -> None:
    """torch.export traces itself for log handlers such as pytest's, which doubles its time."""
    logging.getLogger("torch.__trace").propagate = False


@pytest.fixture(autouse=True, scope="session")
def _networks_are_compiled_once() -> Iterator[None]:
    """Every cleaning starts with the same few networks, which take seconds to load: those of packages are kept."""
    from weldgen import inference
    from weldgen.cleaning import detectors

    kept: dict[tuple[Any, ...], Any] = {}
    temporary, checkout = Path(tempfile.gettempdir()), Path(__file__).parent.parent

    def is_own(path: Path) -> bool:
        """Whether a test made it; a checkout may lie in the folder of temporary files too."""
        return temporary in path.parents and checkout not in path.parents

    def keep(load: Callable[..., Any], *key: Any) -> Any:
        if key not in kept:
            kept[key] = load()
        return kept[key]

    def compiled(kind: Callable[..., Any]) -> Callable[..., Any]:
        def load(model: Path | bytes, *rest: Any) -> Any:
            if isinstance(model, bytes) or is_own(model.absolute()):
                return kind(model, *rest)
            return keep(lambda: kind(model, *rest), kind, model.absolute(), repr(rest))

        return load

    def craft(network: Any, file: Path, precision: str) -> Any:
        return keep(lambda: on_cpu(network, file, precision), "craft", file, precision)

    on_cpu = detectors._on_cpu
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_OpenVino", "_OnnxRuntime"):
            patch.setattr(inference, name, compiled(getattr(inference, name)))
        patch.setattr(detectors, "_on_cpu", craft)
        yield


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads the user's weights or reaches the network."""
    monkeypatch.setenv("WELDGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("LAMA_MODEL", "MIGAN_MODEL"):
        monkeypatch.delenv(name, raising=False)

    connect = socket.socket.connect

    def refuse(self: socket.socket, address: tuple[str, int]) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


def metal(seed: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A small brushed-metal image, (H, W, 3) uint8 RGB, different for each seed."""
    rng = np.random.default_rng(seed)
    lines = rng.normal(0, 12, (height, 1)) + rng.normal(0, 4, (height, width))
    slope = np.linspace(-20, 20, width)[None] * rng.uniform(-1, 1)
    blob_x, blob_y = rng.uniform(0.2, 0.8, 2)
    y, x = np.mgrid[0:height, 0:width]
    blob = 60 * np.exp(-(((x / width - blob_x) * 5) ** 2) - ((y / height - blob_y) * 5) ** 2)
    grey = np.clip(130 + lines + slope + blob * rng.choice([-1, 1]), 0, 255)
    return np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)


@pytest.fixture
def make_metal() -> Callable[..., np.ndarray]:
    return metal


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """`raw/{good,bad}` with eight photos each."""
    root = tmp_path / "raw"
    for number, label in enumerate(("bad", "good")):
        (root / label).mkdir(parents=True)
        for index in range(8):
            Image.fromarray(metal(100 * number + index)).save(root / label / f"{index}.png")
    return root


PLATE_PHOTO_PX = (320, 224)


def plate_photo(seed: int, *, weld: bool = True) -> tuple[np.ndarray, Any]:
    """A plate on a brown table with a rippled bead that lies anywhere, and the bead's rectangle."""
    import cv2

    from weldgen.data.upright import Rectangle

    width, height = PLATE_PHOTO_PX
    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), (170, 120, 80), np.float32)
    own = Rectangle(
        random.uniform(130, 190), random.uniform(95, 130), random.uniform(110, 150), 14, random.uniform(-80, 80)
    )  # fmt: skip
    plate = Rectangle(own.x_px, own.y_px, own.length_px * 1.15, 90, own.turn_deg)
    cv2.fillConvexPoly(image, plate.corners().astype(np.int32), (70, 72, 78))
    if weld:
        turn = np.deg2rad(own.turn_deg)
        rows, columns = np.mgrid[:height, :width]
        along = (columns - own.x_px) * np.cos(turn) + (rows - own.y_px) * np.sin(turn)
        across = (rows - own.y_px) * np.cos(turn) - (columns - own.x_px) * np.sin(turn)
        ripples = 150 + 60 * np.sin(along * 1.6 + 0.08 * across**2)
        inside = (abs(along) < own.length_px / 2) & (abs(across) < own.breadth_px / 2)
        image[inside] = ripples[inside, None] * np.array([0.85, 0.95, 1.1])
    image += random.normal(0, 5, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), own


@pytest.fixture(scope="session")
def photograph() -> Callable[..., Any]:
    """Render a plate's photo: `photograph(seed, weld=True)` -> (224, 320, 3) uint8 RGB and the weld's rectangle."""
    return plate_photo


@pytest.fixture(scope="session")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve such photos with YOLO's turned boxes, the last of them without a weld."""
    root = tmp_path_factory.mktemp("marked")
    (root / "classes.txt").write_text("weld\nplate\n")
    for seed in range(12):
        image, own = plate_photo(seed, weld=seed != 11)
        Image.fromarray(image).save(root / f"{seed:02d}.png")
        points = " ".join(f"{value:.5f}" for value in (own.corners() / PLATE_PHOTO_PX).ravel())
        (root / f"{seed:02d}.txt").write_text("" if seed == 11 else f"0 {points}\n")
    return root


@pytest.fixture(scope="session")
def taught(marked: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a locator that learned from them, and what its stage says."""
    from weldgen.locating.learn import LocatorConfig, locator

    out = tmp_path_factory.mktemp("taught") / "locator"
    return out, locator(marked, out, LocatorConfig(side_px=PLATE_PHOTO_PX[0]))
