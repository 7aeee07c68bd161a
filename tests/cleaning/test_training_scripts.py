"""What trains the ink network and the inpainting network: examples with exact truth, and the Fourier convolution."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from assets.ink.examples import INK, UNJUDGED
from assets.ink.examples import Examples as InkExamples
from assets.inpaint.examples import BLANK, COVERED, KNOWN, Examples
from assets.inpaint.network import Fourier, Inpainter
from assets.training.pictures import CROP_PX, Pictures
from assets.training.tools import Replay


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    rng = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("metal") / "a.png"
    cv2.imwrite(str(file), cv2.GaussianBlur(rng.integers(60, 200, (300, 400, 3), np.uint8), (9, 1), 2))
    return Pictures([file], [1], littered=0)


def test_the_fourier_transform_by_matrices_is_torchs():
    fourier, values = Fourier(2, 16), torch.randn(3, 2, 16, 16)
    real, imaginary = fourier.transform(values)
    wanted = torch.fft.rfft2(values, norm="ortho")
    assert torch.allclose(real, wanted.real, atol=1e-5) and torch.allclose(imaginary, wanted.imag, atol=1e-5)
    assert torch.allclose(fourier.inverse(real, imaginary), values, atol=1e-5)


def test_the_inpainter_changes_holes_only():
    net, image = Inpainter().eval(), torch.rand(1, 3, CROP_PX, CROP_PX)
    hole = torch.zeros(1, 1, CROP_PX, CROP_PX)
    hole[..., 40:60, 80:120] = 1
    with torch.inference_mode():
        made = net(image, torch.zeros_like(hole), hole)
        other = net(torch.where(hole > 0, 0.3, image), torch.zeros_like(hole), hole)
    assert torch.equal(made[hole.expand_as(made) == 0], image[hole.expand_as(image) == 0])
    assert not torch.allclose(made[hole.expand_as(made) > 0], image[hole.expand_as(image) > 0], atol=1e-2)
    assert torch.allclose(made, other, atol=1e-5), "what lies in a blank hole is not seen"


def test_examples_of_holes_know_the_truth(pictures):
    examples = Examples(pictures, 5)
    kinds = set()
    for index in range(12):
        given, hole, truth = examples.example(index)
        again = examples.example(index)
        assert all((one == two).all() for one, two in zip((given, hole, truth), again, strict=True))
        kinds |= set(np.unique(hole).tolist())
        if (hole == BLANK).any():
            assert (given[hole == BLANK] == 0).all() and (given[hole == KNOWN] == truth[hole == KNOWN]).all()
    assert kinds == {KNOWN, COVERED, BLANK}


def test_examples_of_ink_mark_what_differs_from_the_metal(pictures):
    examples = InkExamples(pictures, 3)
    targets = [examples.example(index)[1] for index in range(12)]
    inked = [target for target in targets if (target == INK).any()]
    assert len(inked) >= 4 and any((target == 0).all() for target in targets)
    assert all(target.max() <= UNJUDGED for target in targets)


def test_examples_are_kept_and_turned_together():
    def example(index):
        values = np.arange(16, dtype=np.uint8).reshape(4, 4) + np.uint8(16 * (index % 8))
        return values, values.copy()

    replay = Replay(example, 0, torch.device("cpu"), most=32, least=32)
    replay.close()
    torch.manual_seed(1)
    for _ in range(8):
        one, two = replay.draw(6)
        assert torch.equal(one, two) and one.shape == (6, 4, 4)
        assert all(sorted((values % 16).flatten().tolist()) == list(range(16)) for values in one)
