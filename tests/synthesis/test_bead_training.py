"""The bead network's examples, its training and its export."""

from __future__ import annotations

import json
from functools import partial

import cv2
import numpy as np
import pytest
import torch

from assets.bead import examples, train
from assets.bead.examples import METAL, UNJUDGED, WELD, Examples, welds
from assets.bead.train import bead_net, loss_of, measure
from assets.training.tools import Replay
from assets.training.unet import export, prepared, start
from weldgen.inference import Network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("welds")
    welds(place, 3, 70_000, 1)
    return place


def test_every_rendering_has_its_weld_beside_it(folder):
    for picture in folder.glob("*.jpg"):
        image, cover = cv2.imread(str(picture)), cv2.imread(str(picture.with_suffix(".png")), cv2.IMREAD_GRAYSCALE)
        assert image.shape[:2] == cover.shape and set(np.unique(cover)) == {0, 255}
        assert image.std() > 8, "not black"


def test_a_view_shows_the_weld_where_the_target_says(folder):
    supply = Examples(sorted(folder.glob("*.jpg")), 1)
    drawn = [supply.example(index) for index in range(24)]
    assert all(image.shape == (256, 256, 3) and target.shape == (256, 256) for image, target in drawn)
    assert {METAL, WELD, UNJUDGED} == set(np.unique(np.stack([target for _, target in drawn])))
    again, _ = supply.example(5)
    assert np.array_equal(again, drawn[5][0]) and not np.array_equal(drawn[5][0], drawn[6][0])


def test_a_label_never_hides_the_weld(folder, monkeypatch):
    monkeypatch.setattr(examples, "_LITTERED", 0.0)
    monkeypatch.setattr(examples, "_HARSH", 0.0)
    monkeypatch.setattr(examples, "photograph", lambda picture, rng: (picture * 255).astype(np.uint8))
    files, changed = sorted(folder.glob("*.jpg")), 0
    for index in range(12):
        views = []
        for share in (0.0, 1.0):
            monkeypatch.setattr(examples, "_LABELLED", share)
            views.append(Examples(files, 2).example(index))
        (bare, target), (labelled, _) = views
        inside = cv2.erode((target == WELD).astype(np.uint8), np.ones((7, 7))) > 0
        difference = np.abs(bare.astype(int) - labelled).max(axis=2)
        assert difference[inside].max(initial=0) <= 1
        changed += difference.max() > 40
    assert changed >= 10


def test_loss_and_measure_know_a_right_answer():
    target = torch.zeros(2, 64, 64, dtype=torch.uint8)
    target[:, 20:40, 10:50] = WELD
    target[:, :5] = UNJUDGED
    right = torch.where(target == WELD, 8.0, -8.0)[:, None]
    unjudged = right.clone()
    unjudged[:, :, :5] = 8.0
    assert loss_of(right, target) < 0.02 and loss_of(unjudged, target) == pytest.approx(float(loss_of(right, target)))
    assert loss_of(-right, target) > 5

    class Answer(torch.nn.Module):
        def forward(self, images):
            return right * answer

    images = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    answer = 1
    assert measure(Answer(), [(images, target)])["overlap_mean"] == 1
    answer = -1
    assert measure(Answer(), [(images, target)])["overlap_below_half"] == 1


def test_the_network_ships_with_the_same_answers(tmp_path):
    torch.manual_seed(0)
    net = bead_net().eval()
    assert sum(part.numel() for part in net.parameters()) < 1e6, "what is coarser than a sixteenth is left out"
    export(net, tmp_path / "bead.onnx")
    image = np.random.default_rng(0).integers(0, 255, (1, 96, 160, 3), np.uint8)
    (logits,) = Network(tmp_path / "bead.onnx", threads=1)(image)
    with torch.inference_mode():
        wanted = net.small(prepared(torch.from_numpy(image))).numpy()
    assert logits.shape == (1, 1, 24, 40) and np.ptp(wanted) > 0.01
    assert np.abs(logits - wanted).max() < 0.01 * np.ptp(wanted) + 2e-3


def test_a_training_learns_saves_and_resumes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "HELD_OUT", 1)
    monkeypatch.setattr(train, "HELD_OUT_VIEWS", 16)
    monkeypatch.setattr(train, "SIDES_PX", (64,))
    monkeypatch.setattr(train, "Replay", partial(Replay, least=16))
    asked = ["train", str(folder), "--minutes", "0.01", "--batch", "4", "--workers", "0", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", asked)
    train.main()
    assert (tmp_path / "bead.onnx").stat().st_size < 2e6
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] >= 1 and 0 <= lines[-1]["overlap_mean"] <= 1
    begun = start(bead_net(), None).state_dict()
    saved = start(bead_net(), tmp_path / "bead.pt").state_dict()
    changed = {
        name
        for name in saved
        if "running" not in name and "tracked" not in name and not torch.equal(saved[name], begun[name])
    }
    assert "last.weight" in changed and any(name.startswith("encoder.blocks.4") for name in changed)
    assert not [name for name in changed if name.startswith(("encoder.conv_stem", "encoder.blocks.0."))]
