from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from weldgen.synthesis.gates import GateConfig, KnownHashes, check_image, nearest_bits, picture_hash
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import sample_scene
from weldgen.synthesis.requests import DefectBox


def _picture(seed: int = 0) -> np.ndarray:
    return render_scene(sample_scene(seed), 192, 128).image


def test_a_rendering_passes() -> None:
    assert check_image(_picture(), (), GateConfig()) == ""


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((64, 96, 3), 128, np.uint8), "blank"),
        (np.repeat(np.linspace(60, 200, 960).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2), "blurred"),
        (np.where(np.random.default_rng(0).random((64, 96, 3)) < 0.5, 0, 255).astype(np.uint8), ""),
        (
            np.where(np.random.default_rng(0).random((64, 96, 1)) < 0.7, 255, 90).astype(np.uint8).repeat(3, 2),
            "clipped",
        ),
    ],
)
def test_bad_pictures(image: np.ndarray, reason: str) -> None:
    assert check_image(image, (), GateConfig()) == reason


def test_a_defect_must_be_in_sight() -> None:
    hidden, small = DefectBox("crack", 0.5, None, 0), DefectBox("crack", 0.5, (1, 1, 3, 3), 4)
    seen = DefectBox("crack", 0.5, (1, 1, 9, 9), 40)
    assert check_image(_picture(), (hidden,), GateConfig()) == "defect not visible"
    assert check_image(_picture(), (seen, small), GateConfig()) == "defect not visible"
    assert check_image(_picture(), (seen,), GateConfig()) == ""


def test_copies_are_near_and_others_far() -> None:
    limit = GateConfig().duplicate_bits
    hashes = np.array([picture_hash(_picture(seed)) for seed in range(12)])
    assert hashes.shape == (12, 32)
    for index in range(12):
        assert nearest_bits(hashes[index], np.delete(hashes, index, axis=0)) > limit
    original = _picture(0)
    smaller = np.asarray(Image.fromarray(original).resize((120, 80)))
    brighter = np.clip(original * 1.15 + 5, 0, 255).astype(np.uint8)
    for copy in (original, smaller, brighter):
        assert nearest_bits(picture_hash(copy), hashes) <= limit


def test_only_lower_numbers_count() -> None:
    known = KnownHashes(3)
    bits = picture_hash(_picture()).tobytes()
    known.add(2, bits)
    assert known.nearest(1, bits) == 256
    known.add(0, bits)
    assert known.nearest(1, bits) == 0
