"""Which photos an image starts from: the shares that are asked for, and only training photos in their roles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weldgen.data.dataset import Dataset
from weldgen.data.images import write_rgb
from weldgen.data.split import decide_split
from weldgen.errors import ConfigError
from weldgen.synthesis.generate import SynthConfig, synth
from weldgen.synthesis.plan import make_plan
from weldgen.synthesis.recipes import resolve_recipes
from weldgen.synthesis.requests import PATTERN, TRANSPLANT, Request


def requests(root: Path, **render: float | str) -> tuple[list[Request], dict[Path, str], set[Path]]:
    """A plan's requests, the class of each photo, and the photos that do not train."""
    config = SynthConfig.model_validate({"n": 120, "generator": "render", "render": render})
    photos = decide_split(Dataset.open(root), config.split, 0)
    recipes, _ = resolve_recipes(photos.counts(), {})
    plan = make_plan(photos, recipes, config, {})
    labels = {photos.path(sample): sample.label for sample in photos.samples}
    kept = {photos.path(sample) for sample in photos.samples if sample.split != "train"}
    return [planned.request for planned in plan], labels, kept


def test_roles_of_photos(weld_dataset: Path) -> None:
    made, labels, kept = requests(weld_dataset)
    assert kept
    for request in made:
        assert not {request.photo, request.weld, request.donor} & kept
        if request.use == TRANSPLANT:
            sound = request.weld or request.photo
            assert sound is not None and labels[sound] == "good_welds" and request.weld != request.photo
        else:
            assert request.use == PATTERN and request.weld is None and request.donor is None
        if request.donor:
            assert labels[request.donor] == request.label == "bad_welds"
        assert len(request.parents) == len({request.photo, request.weld, request.donor} - {None})
    assert any(request.weld and labels[request.photo] != "good_welds" for request in made if request.photo)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares(weld_dataset: Path, share: float) -> None:
    made, _, _ = requests(weld_dataset, transplant=1.0, graft=share, real_defects=share)
    assert all(request.use == TRANSPLANT for request in made)
    laid = sum(request.weld is not None for request in made)
    assert laid == 0 if share == 0 else laid > 0.6 * len(made)  # now and then both photos are the same
    given = [request.donor is not None for request in made if request.label == "bad_welds"]
    assert set(given) == {bool(share)}


def test_classes_get_the_same_share_of_each_use(weld_dataset: Path) -> None:
    made, _, _ = requests(weld_dataset, transplant=0.5)
    counts = {
        label: [sum(r.use == TRANSPLANT for r in own), sum(r.weld is not None or r.photo is None for r in own)]
        for label in ("good_welds", "bad_welds")
        for own in [[request for request in made if request.label == label]]
    }
    assert counts["good_welds"][0] == counts["bad_welds"][0] > 10
    assert abs(counts["good_welds"][1] - counts["bad_welds"][1]) <= 4


def test_photos_with_masks_give_the_defects(weld_dataset: Path, tmp_path: Path) -> None:
    _, labels, kept = requests(weld_dataset)
    marked = min(path for path, label in labels.items() if label == "bad_welds" and path not in kept)
    mask = tmp_path / "masks" / "bad_welds" / f"{marked.stem}.png"
    with Image.open(marked) as photo:
        write_rgb(mask, np.zeros((photo.height, photo.width, 3), np.uint8))
    made, _, _ = requests(weld_dataset, defect_masks=str(tmp_path / "masks"))
    assert {(request.donor, request.donor_mask) for request in made} == {(None, None), (marked, mask)}
    with pytest.raises(ConfigError, match="holds no mask"):
        requests(weld_dataset, defect_masks=str(tmp_path / "nowhere"))


def test_a_mask_of_another_size_fails_its_images_alone(weld_dataset: Path, tmp_path: Path) -> None:
    for index in range(5):
        write_rgb(tmp_path / "masks" / "bad_welds" / f"bad_welds_{index}.png", np.zeros((20, 30, 3), np.uint8))
    settings = {"transplant": 1.0, "real_defects": 1.0, "graft": 0.0, "defect_masks": str(tmp_path / "masks")}
    config = SynthConfig.model_validate({"n": 6, "generator": "render", "size_px": 96, "jobs": 1, "render": settings})
    summary = synth(weld_dataset, tmp_path / "out", config)
    assert (summary.counts["images"], summary.failures) == (4, 2)
    assert "30 x 20 pixels" in (tmp_path / "out" / "failures.jsonl").read_text()
