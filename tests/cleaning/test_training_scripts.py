"""What trains the ink network and the tones network: examples with exact truth, and the Fourier convolution."""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib
import numpy as np
import onnx
import pytest
import torch

from assets.ink.blemishes import with_glare
from assets.ink.examples import INK, STAMPED, UNJUDGED
from assets.ink.examples import Examples as InkExamples
from assets.ink.train import ink_net, settle
from assets.inpaint.examples import FILLED, KIND, LACK, NOTHING, Examples, packed
from assets.inpaint.network import Fourier, Tones
from assets.inpaint.train import drawn, measure, step
from assets.training.hands import Fonts, scrawl, usual_width_px
from assets.training.pictures import CROP_PX, Pictures
from assets.training.tools import Replay
from assets.training.unet import export, prepared
from assets.training.writing import Habits
from weldgen.cleaning.ink import probability
from weldgen.cleaning.morphology import stroke_width
from weldgen.cleaning.tones import HOLE, KNOWN, OUTSIDE, SIDE_PX
from weldgen.inference import Network


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


def test_an_untrained_network_adds_nothing_and_none_adds_beside_holes():
    net, picture = Tones().eval(), torch.rand(1, 3, SIDE_PX, SIDE_PX)
    hole, outside = torch.zeros(2, 1, 1, SIDE_PX, SIDE_PX)
    hole[..., 40:60, 30:80], outside[..., 100:] = 1, 1
    with torch.inference_mode():
        assert not net(picture, hole, outside).any()
        net.last.weight.normal_()
        made = net(picture, hole, outside)
        other = net(torch.where(outside > 0, 0.9, picture), hole, outside)
    assert made[hole.expand_as(made) > 0].any() and not made[hole.expand_as(made) == 0].any()
    assert torch.allclose(made, other, atol=1e-5), "what is outside is not seen"


def test_an_example_holds_what_the_tones_of_a_filling_lack():
    truth = np.full((80, 200, 3), (90, 120, 150), np.uint8)
    hole = np.zeros((80, 200), bool)
    hole[20:60, 80:140] = True
    example = packed(np.where(hole[:, :, None], truth - 30, truth).astype(np.uint8), truth, hole)
    assert example.shape == (SIDE_PX, SIDE_PX, 7)
    inside = example[:40, :100, KIND] == HOLE
    assert np.array_equal(inside, hole[::2, ::2])
    assert (example[:40, :100, LACK][inside] == NOTHING + 30).all()
    assert (example[40:, :, KIND] == OUTSIDE).all() and (example[:40, :100, KIND][~inside] == KNOWN).all()


def test_examples_of_fillings_are_the_same_every_time(pictures):
    examples = Examples(pictures, 5)
    one, again, other = examples.example(1), examples.example(1), examples.example(2)
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert (one[:, :, KIND] == HOLE).any() and (one[:, :, FILLED] > 0).any()


def test_the_tones_network_learns_what_is_lacking():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    hole = np.zeros((2 * SIDE_PX, 2 * SIDE_PX), bool)
    hole[100:150, 60:200] = True
    truth = np.full((*hole.shape, 3), 140, np.uint8)
    examples = np.stack([packed(np.where(hole[:, :, None], 100, truth).astype(np.uint8), truth, hole)] * 2)
    net = Tones()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    losses = [step(net, optimiser, drawn(examples, 2, rng)) for _ in range(8)]
    assert losses[-1] < 0.7 * losses[0]
    assert set(measure(net, {"a": examples})) == {"gain_a", "median_a"}


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


@pytest.fixture(scope="module")
def fonts():
    return Fonts([Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Oblique.ttf"])


@pytest.mark.parametrize("letter_px", [12.0, 60.0, 170.0])
def test_words_in_a_font_are_about_as_high_as_asked(fonts, letter_px):
    rng = np.random.default_rng(2)
    heights = []
    for _ in range(20):
        rows = np.nonzero((fonts.draw("H", letter_px, 0.0, rng) > 0.5).any(axis=1))[0]
        heights += [np.ptp(rows) + 1] if len(rows) and rows[0] > 0 and rows[-1] < CROP_PX - 1 else []
    assert heights and 0.7 * letter_px < np.median(heights) < 1.3 * letter_px


def test_the_usual_width_of_a_line():
    line = np.zeros((CROP_PX, CROP_PX), np.float32)
    cv2.line(line, (30, 128), (220, 128), 1.0, 11)
    assert usual_width_px(line) == pytest.approx(11, abs=2)
    assert usual_width_px(np.zeros_like(line)) == pytest.approx(1.1)


def test_drawings_without_letters_are_lines():
    rng = np.random.default_rng(3)
    drawn = [scrawl(40.0, 5.0, rng) for _ in range(30)]
    assert all(line.shape == (CROP_PX, CROP_PX) and line.min() >= 0 and line.max() <= 1 for line in drawn)
    widths = [usual_width_px(line) for line in drawn if (line > 0.5).sum() > 100]
    assert len(widths) > 20 and 3 < np.median(widths) < 12


def test_other_hands_and_pores_change_examples_only_where_asked(pictures, fonts):
    plain, same = InkExamples(pictures, 3), InkExamples(pictures, 3, Habits(Fonts([])), pores_share=0.0)
    others, porous = InkExamples(pictures, 3, Habits(fonts)), InkExamples(pictures, 3, pores_share=1.0)
    for index in range(4):
        assert np.array_equal(plain.example(index)[0], same.example(index)[0])
    assert any(not np.array_equal(plain.example(i)[1], others.example(i)[1]) for i in range(6))
    assert all(not np.array_equal(plain.example(i)[0], porous.example(i)[0]) for i in range(6))


def test_plain_words_are_large_and_even_and_alone(pictures):
    plain = [InkExamples(pictures, 3, Habits(plain_share=1.0)).example(index) for index in range(16)]
    usual = [InkExamples(pictures, 3).example(index) for index in range(16)]
    assert all((target != STAMPED).all() for _, target in plain)
    widths = [[stroke_width(target == INK) for _, target in drawn if (target == INK).sum() > 300]
              for drawn in (plain, usual)]  # fmt: skip
    assert min(map(len, widths)) >= 4 and np.median(widths[0]) > 1.3 * np.median(widths[1])


@pytest.mark.parametrize("habits", [Habits(dots_weight=1e6), Habits(broad_share=1.0)])
def test_habits_change_what_is_written(pictures, habits):
    usual, changed = InkExamples(pictures, 3), InkExamples(pictures, 3, habits)
    inked = [[(drawn.example(index)[1] == INK).sum() for index in range(8)] for drawn in (usual, changed)]
    assert inked[0] != inked[1]
    if habits.broad_share == 1.0:
        assert sum(inked[1]) > 1.2 * sum(inked[0])


def test_pale_examples_are_bright_metal_with_white_ink(pictures):
    pale = [InkExamples(pictures, 3, pale_share=1.0).example(index) for index in range(12)]
    plain = [InkExamples(pictures, 3).example(index) for index in range(12)]
    brightness = [np.mean([image[target == 0].mean() for image, target in drawn]) for drawn in (pale, plain)]
    assert brightness[0] > brightness[1] + 20
    inked = [(image, target) for image, target in pale if (target == INK).sum() > 200]
    assert len(inked) >= 3
    assert np.mean([image[target == INK].mean() - image[target == 0].mean() for image, target in inked]) > 0


def test_glare_makes_white_patches_and_veins_and_marks_nothing(pictures):
    dull, shining = InkExamples(pictures, 3), InkExamples(pictures, 3, glare_share=1.0)
    white = [np.mean([(drawn.example(index)[0] > 225).mean() for index in range(12)]) for drawn in (dull, shining)]
    assert white[1] > white[0] + 0.1
    rng = np.random.default_rng(4)
    grey = np.full((CROP_PX, CROP_PX, 3), 0.35, np.float32)
    lit = [with_glare(grey, rng) for _ in range(24)]
    assert all(picture.min() > 0.1 and picture.max() <= 1 for picture in lit)
    assert 2 <= sum(picture.min() < 0.3 for picture in lit) < 20, "some of them between dull films"
    veined = [picture for picture in lit if (cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, np.ones((9, 9))) > 0.2).any()]
    assert 4 <= len(veined) < 24


def test_a_settled_network_keeps_its_statistics_and_early_layers():
    torch.manual_seed(0)
    net = ink_net().train()
    settle(net)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimiser = torch.optim.SGD([value for value in net.parameters() if value.requires_grad], lr=0.1)
    net(torch.randn(2, 3, 64, 64)).square().mean().backward()
    optimiser.step()
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert "last.weight" in changed and any(name.startswith("encoder.blocks.6") for name in changed)
    assert not [
        name for name in changed if "running" in name or name.startswith(("encoder.conv_stem", "encoder.blocks.1."))
    ]


def test_the_ink_network_ships_with_fixed_padding_and_the_same_answers(tmp_path):
    torch.manual_seed(0)
    net = ink_net().eval()
    export(net, tmp_path / "ink.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "ink.onnx").graph.node}
    assert not kinds & {"Pad", "Ceil"}, "no padding is computed at run time"
    image = np.random.default_rng(0).integers(0, 255, (1, 96, 160, 3), np.uint8)
    (logits,) = Network(tmp_path / "ink.onnx", threads=1)(image)[0]
    with torch.inference_mode():
        (wanted,) = torch.sigmoid(net(prepared(torch.from_numpy(image))))
    found = np.stack([probability(plane, (96, 160)) for plane in logits])
    assert found.shape == wanted.shape and np.ptp(wanted.numpy()) > 0.01
    assert np.abs(found - wanted.numpy()).max() < 2e-3, "the weights are kept in fp16"
