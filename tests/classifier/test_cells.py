"""The judge of cells: what it sees, what it learns from masks, where it looks, and that the exported file has it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from weldgen.classifier.activation import cell_evidence
from weldgen.classifier.backbones import create_backbone
from weldgen.classifier.cell_fit import defect_cover
from weldgen.classifier.cells import CellFeatures, with_cells
from weldgen.classifier.loader import Images
from weldgen.classifier.model_file import load_model
from weldgen.classifier.preprocess import letterbox
from weldgen.classifier.train import train
from weldgen.data.dataset import Dataset, Sample
from weldgen.data.images import encode_rgb, write_rgb
from weldgen.data.writer import DatasetWriter
from weldgen.errors import ConfigError

SHAPE = (96, 160)
LINEAR = {"training": {"method": "linear"}, "model": {"backbone": "test_efficientnet", "layers": "cells"}}


def picture(seed, *, hole=False, spot=False):
    """Grey metal, (96, 160, 3) uint8, with a dark hole, a bright spot, or both; and their masks, (96, 160)."""
    random = np.random.default_rng(seed)
    image = np.full((*SHAPE, 3), 150.0) + random.normal(0, 6, (*SHAPE, 1))
    masks = {}
    for name, wanted, grey, left in (("hole", hole, 20, 20), ("spot", spot, 250, 90)):
        x, y = random.integers(left, left + 50), random.integers(20, 76)
        masks[name] = cv2.circle(np.zeros(SHAPE, np.uint8), (int(x), int(y)), 14, int(wanted), -1)
        image[masks[name] > 0] = grey
    return np.clip(image, 0, 255).astype(np.uint8), masks


def make_mixed(root, defect, only=None):
    """One photo of each class and 12 synthetic images; bad ones have a hole and a spot, masks say what counts."""
    height, width = SHAPE
    with DatasetWriter(root, lambda record: True) as writer:
        for number, label in enumerate(("good", "bad")):
            for index in range(13):
                image, masks = picture(100 * number + index, hole=bool(number), spot=bool(number))
                extra = {"defect_mask": f"masks/{label}/{index}.png"} if index else {}
                if only is not None and number:
                    masks[defect][:] = 0
                    masks[defect][only] = 1
                for name in extra.values():
                    writer.add_side_file(name, encode_rgb(masks[defect]))
                origin = "synthetic" if index else "real"
                one = Sample(f"train/{label}/{index}.png", "", label, "train", origin, width=width, height=height)
                writer.add(replace(one, seed=index, extra=extra), encode_rgb(image), "k")
        writer.finish()
    return root


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return make_mixed(tmp_path_factory.mktemp("cells") / "mixed", "hole")


@pytest.fixture(scope="module")
def model(mixed, tmp_path_factory, tiny_config):
    out = tmp_path_factory.mktemp("cells") / "model"
    train(mixed, out, tiny_config(data={"image_size": 128}, **LINEAR))
    return out


def framed(frame, seed, **what):
    return torch.from_numpy(letterbox(picture(seed, **what)[0], frame))


def badness(model, **what):
    """What speaks for "bad" in 8 images."""
    network, card = load_model(model)
    images = torch.stack([framed(card.frame, 500 + seed, **what) for seed in range(8)])
    bad = card.classes.index("bad")
    with torch.inference_mode():
        logits = network(images)
    return logits[:, bad] - logits[:, 1 - bad]


def test_the_masks_say_which_of_two_flaws_makes_a_photo_bad(model, tmp_path, tiny_config):
    other = tmp_path / "other"
    train(make_mixed(tmp_path / "mixed", "spot"), other, tiny_config(data={"image_size": 128}, **LINEAR))
    assert badness(model, hole=True).median() > badness(model, spot=True).max() + 1
    assert badness(other, spot=True).median() > badness(other, hole=True).max() + 1
    assert max(badness(model).max(), badness(other).max()) < 0
    network, card = load_model(model)
    assert card.settings["layers"] == "cells" and isinstance(network.backbone, CellFeatures)
    assert network.embedding.out_features == 1


def test_the_worst_cells_count_and_the_other_features_are_the_networks_own():
    plain = create_backbone("test_efficientnet", "none", SHAPE)
    judged = with_cells(plain, 2)
    images = torch.rand(2, 3, *SHAPE)
    with torch.inference_mode():
        body = judged.model.eval()
        found = body(images)
        fine = body.fine_map(images)
        evidence = body.judge(fine)
        last = plain.model.eval()(images)
    assert fine.shape[2:] == (6, 10) and judged.features == 2 + plain.features
    assert torch.allclose(found[:, :2], evidence.amax(dim=(2, 3)), atol=1e-6)  # of 60 cells one counts
    assert torch.allclose(found[:, 2:], last, atol=1e-6)
    many = torch.arange(800.0).view(1, 1, 20, 40)
    assert body.gather(many).item() == pytest.approx(np.mean([796, 797, 798, 799]))


def test_it_looks_at_the_hole(model):
    network, card = load_model(model)
    mask = picture(900, hole=True)[1]["hole"]
    images = framed(card.frame, 900, hole=True)[None]
    bad = torch.tensor([card.classes.index("bad")])
    evidence = cell_evidence(network, images, bad)
    with torch.inference_mode():
        logits = network(images)[0]
    bias = network.head.linear.bias.detach()
    margin, offset = (float(row[bad] - row[1 - bad]) for row in (logits, bias))
    assert float(evidence.max()) == pytest.approx(margin - offset, abs=1e-3)  # of few cells one counts
    row, column = np.argwhere(evidence[0].numpy() == evidence[0].numpy().max())[0]
    near = cv2.dilate(mask, np.ones((33, 33), np.uint8))
    y, x = ((np.array([row, column]) + 0.5) * 16 * SHAPE[1] / card.frame[1]).astype(int)
    assert near[min(y, SHAPE[0] - 1), min(x, SHAPE[1] - 1)]


def test_the_exported_file_has_it(model, exported_differences):
    network, card = load_model(model)
    assert max(exported_differences(network, card.frame, "fp16").values()) < 0.02


def test_cover_is_where_the_letterboxed_image_has_it(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[32:48, 16:32] = 3
    write_rgb(tmp_path / "m.png", np.repeat(mask[..., None], 3, axis=2))
    sample = Sample("a.png", "id", "bad", width=64, height=64, extra={"defect_mask": "m.png"})
    images = Images((sample,), np.zeros((1, 3, 64, 128), np.uint8), np.zeros(1, np.int64), tmp_path)
    cover = defect_cover(images, 0, (4, 8))  # 32 pixels of padding on the left, two cells
    assert np.argwhere(cover > 0).tolist() == [[2, 3]] and cover[2, 3] == 1


def test_without_masks_it_is_not_chosen_and_cannot_be(mixed, tmp_path, tiny_config):
    bare = tmp_path / "bare"
    shutil.copytree(mixed, bare)
    lines = [json.loads(line) for line in (bare / "metadata.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("defect_mask", None)
    (bare / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ConfigError, match="nothing says where defects are"):
        train(bare, tmp_path / "refused", tiny_config(**LINEAR))
    own = {"training": {"method": "auto"}, "model": {"backbone": "test_efficientnet"}}
    for root, layers in ((bare, "last"), (mixed, "cells")):
        train(root, tmp_path / layers, tiny_config(**own))
        assert load_model(tmp_path / layers)[1].settings["layers"] == layers


def more_photos(root, out, parts):
    """The same with nine more real photos of each class, which show so many parts in turn."""
    shutil.copytree(root, out)
    lines = []
    for number, label in enumerate(("good", "bad")):
        for index in range(20, 29):
            image, _ = picture(100 * number + index, hole=bool(number), spot=bool(number))
            name = f"train/{label}/{index}.png"
            (out / name).write_bytes(encode_rgb(image))
            group = f"{label}-{index % parts}"
            lines.append({"file_name": name, "id": f"{label}{index}", "label": label, "split": "train", "group": group,
                          "origin": "real", "width": SHAPE[1], "height": SHAPE[0]})  # fmt: skip
    with (out / "metadata.jsonl").open("a") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)
    return out


@pytest.mark.parametrize(("parts", "layers"), [(2, "stages"), (1, "cells")])
def test_ten_photos_of_three_parts_are_told_by_the_means_of_several_layers(mixed, tmp_path, tiny_config, parts, layers):
    # the first photo of each class is a part of its own
    own = {"training": {"method": "linear"}, "model": {"backbone": "test_efficientnet"}}
    train(more_photos(mixed, tmp_path / "more", parts), tmp_path / "model", tiny_config(**own))
    assert load_model(tmp_path / "model")[1].settings["layers"] == layers


def test_folds_have_the_masks_too(mixed, tmp_path, tiny_config):
    own = {"training": {"method": "linear"}, "model": {"backbone": "test_efficientnet"}, "folds": 2}
    train(more_photos(mixed, tmp_path / "more", 1), tmp_path / "model", tiny_config(**own))
    for k in (1, 2):
        fold = Dataset.open(tmp_path / "model" / ".folds" / f"fold-{k}")
        named = [sample.extra["defect_mask"] for sample in fold.samples if "defect_mask" in sample.extra]
        assert len(named) >= 10
        assert all((fold.root / name).read_bytes() == (mixed / name).read_bytes() for name in named)


def test_thin_defects_teach_and_empty_masks_are_refused(tmp_path, tiny_config):
    thin = make_mixed(tmp_path / "thin", "hole", only=np.s_[40:41, 30:31])  # a pixel of a cell, 0.4 %
    train(thin, tmp_path / "model", tiny_config(data={"image_size": 128}, **LINEAR))
    empty = make_mixed(tmp_path / "empty", "hole", only=np.s_[:0])
    with pytest.raises(ConfigError, match="masks of a class of defects are all empty"):
        train(empty, tmp_path / "refused", tiny_config(data={"image_size": 128}, **LINEAR))


def test_a_network_without_a_fine_map_and_one_that_learns_are_refused(mixed, tmp_path, tiny_config):
    with pytest.raises(ConfigError, match="no map with cells of 16 pixels"):
        with_cells(create_backbone("luna", "none", SHAPE), 1)
    with pytest.raises(ConfigError, match="layers=cells is for a backbone that stays as it is"):
        train(mixed, tmp_path / "model", tiny_config(model={"layers": "cells"}, training={"method": "finetune"}))
