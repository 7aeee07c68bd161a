from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weldgen.data.images import read_rgb, write_rgb
from weldgen.errors import DataError
from weldgen.features import feature_network, unit_rows
from weldgen.synthesis.accepting import PHOTO_ATTEMPTS, RejectionRate, remedy, retried
from weldgen.synthesis.gates import GateConfig, KnownHashes, check_image, nearest_bits, picture_hash
from weldgen.synthesis.judge import (
    NEAR_HELD_OUT,
    NEAR_TRAIN,
    OUTLIER,
    UNCHANGED,
    Judge,
    Reference,
    extractor,
    still_passes,
)
from weldgen.synthesis.probe import Probe
from weldgen.synthesis.recipes import RECIPES
from weldgen.synthesis.reference import far_limit, near_limit, nearest_apart
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import sample_scene
from weldgen.synthesis.requests import TRANSPLANT, DefectBox, Request


def _picture(seed: int = 0) -> np.ndarray:
    return render_scene(sample_scene(seed), 192, 128).image


def test_a_rendering_passes() -> None:
    assert check_image(_picture(), (), GateConfig()) == ""


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((64, 96, 3), 128, np.uint8), "blank"),
        (np.repeat(np.linspace(60, 200, 960).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2), "blurred"),
        (np.where(np.random.default_rng(0).random((64, 96, 3)) < 0.5, 4, 250).astype(np.uint8), ""),
        # light blue that burnt out in one colour: its grey is far from white
        (np.where(np.random.default_rng(0).random((64, 96, 1)) < 0.4, (170, 210, 255), 90).astype(np.uint8), "clipped"),
        (np.where(np.random.default_rng(0).random((64, 96, 1)) < 0.2, (170, 210, 255), 90).astype(np.uint8), ""),
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


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Renderings that stand for photos: two of training, one of validation."""
    root = tmp_path_factory.mktemp("photos")
    for seed in range(3):
        write_rgb(root / f"{seed}.png", _picture(seed))
    return root


@pytest.fixture(scope="module")
def reference(photos: Path) -> Reference:
    network = feature_network()
    assert network is not None
    features = extractor(network)([read_rgb(photos / f"{seed}.png") for seed in range(3)])
    return Reference(network, "x", 192, features[2:], features[:2], ("zero", "one"), 0.05, float("inf"), None, 0.9)


def _request(**settings: object) -> Request:
    return Request(**{"index": 0, "attempt": 0, "label": "good", "seed": 1, "width": 192, "height": 128,
                      "recipe": RECIPES["good"], **settings})  # fmt: skip


def _brighter(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 1.08 + 3, 0, 255).astype(np.uint8)


def test_what_is_like_no_photo_in_particular_passes(reference: Reference) -> None:
    verdict = Judge(reference).judge(_picture(9), _request())
    assert verdict.reason == "" and verdict.nearest in ("zero", "one") and verdict.distance > 0.05


@pytest.mark.parametrize(("seed", "reason"), [(2, NEAR_HELD_OUT), (0, NEAR_TRAIN)])
def test_a_photo_again_is_refused(reference: Reference, seed: int, reason: str) -> None:
    image = _brighter(_picture(seed))
    assert Judge(reference).judge(image, _request()).reason == reason
    assert Judge(replace(reference, near=-1.0)).judge(image, _request()).reason == ""


def test_a_view_of_a_photo_may_be_near_to_it_but_not_be_it(reference: Reference, photos: Path) -> None:
    judge = Judge(reference)
    request = _request(photo=photos / "0.png", parent="zero", use=TRANSPLANT)
    mirrored = np.ascontiguousarray(_brighter(_picture(0))[:, ::-1])
    assert judge.judge(mirrored, request).reason == ""
    assert judge.judge(_picture(0), request).reason == UNCHANGED
    # the same pixels with a defect somewhere are not the photo
    assert judge.judge(_picture(0), replace(request, recipe=RECIPES["crack"])).reason == ""
    assert judge.judge(_brighter(_picture(2)), request).reason == NEAR_HELD_OUT


def test_a_view_whose_photo_is_near_to_a_validation_photo_passes(reference: Reference, photos: Path) -> None:
    twin = replace(reference, held_out=extractor(reference.network)([_brighter(_picture(0))]))
    request = _request(photo=photos / "0.png", parent="zero", use=TRANSPLANT, recipe=RECIPES["crack"])
    assert Judge(twin).judge(_picture(0), request).reason == ""
    assert Judge(twin).judge(_brighter(_picture(0)), request).reason == NEAR_HELD_OUT


def test_a_view_is_compared_with_each_photo_that_is_in_it(reference: Reference, photos: Path) -> None:
    twin = replace(reference, held_out=extractor(reference.network)([_brighter(_picture(1))]))
    request = _request(photo=photos / "0.png", use=TRANSPLANT, recipe=RECIPES["crack"])
    assert Judge(twin).judge(_picture(1), request).reason == NEAR_HELD_OUT
    assert Judge(twin).judge(_picture(1), replace(request, weld=photos / "1.png")).reason == ""


def test_an_outlier_is_refused(reference: Reference) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (128, 192, 3), np.uint8)
    away = Judge(reference).judge(noise, _request()).distance
    usual = Judge(reference).judge(_picture(9), _request()).distance
    assert usual < away
    strict = Judge(replace(reference, far=(usual + away) / 2))
    assert strict.judge(noise, _request()).reason == OUTLIER
    assert strict.judge(_picture(9), _request()).reason == ""


def test_a_contradicted_label_is_refused(reference: Reference) -> None:
    feature = extractor(reference.network)([_picture(9)])[0]
    weights = np.stack([40 * feature, -40 * feature])[None]
    probe = Probe(("bad", "good"), weights, np.zeros((1, 2), np.float32), 1.0)
    judge = Judge(replace(reference, probe=probe))
    assert judge.judge(_picture(9), _request(label="good")).reason == "looks like 'bad'"
    assert judge.judge(_picture(9), _request(label="bad")).reason == ""
    assert judge.judge(_picture(9), _request(label="crack")).reason == ""  # the probe knows no cracks


def test_limits_come_from_the_distances_among_photos() -> None:
    gates = GateConfig()
    apart = np.linspace(0.1, 0.2, 9, dtype=np.float32)
    assert near_limit(apart, gates) == pytest.approx(0.075)
    assert near_limit(5 * apart, gates) == pytest.approx(0.10) and near_limit(apart[:3], gates) == 0.05
    assert near_limit(apart, GateConfig(near=0)) == -1
    assert far_limit(apart, gates) == 0.85 and far_limit(4 * apart, gates) == pytest.approx(1.2)
    assert far_limit(apart[:7], gates) == far_limit(apart, GateConfig(outlier=0)) == float("inf")
    rows = unit_rows(np.array([[1, 0], [1, 0.01], [0, 1], [0.3, 1]]))
    assert nearest_apart(rows, ["a", "a", "b", "c"]).min() > 0.03  # one group's photos do not count
    assert len(nearest_apart(rows[:2], ["a", "a"])) == 0


def test_a_verdict_stands_until_the_photos_change(reference: Reference, photos: Path) -> None:
    image = photos / "0.png"
    record = {"rejected": ["blank"], "judged": {"by": "x", "nearest": "one", "distance": 0.5}}
    assert still_passes(record, _request(), image, reference)  # not looked at: it would not pass
    other = replace(reference, identity="y")
    assert not still_passes(dict(record), _request(), image, other)
    loose = replace(other, near=-1.0)
    assert still_passes(record, _request(), image, loose)
    assert record["judged"] == {"by": "y", "nearest": "zero", "distance": pytest.approx(0, abs=1e-3)}
    assert not still_passes({"rejected": [OUTLIER]}, _request(), image, loose)  # might pass now


def test_too_many_refusals_of_a_class_stop_the_run() -> None:
    rate = RejectionRate(0.5)
    for number in range(400):
        rate.add("good", "blank" if number % 2 else "")
        rate.add("bad", "")
    with pytest.raises(
        DataError, match=r"101 of the last 200 tries of class 'good' were refused: 101 x blank"
    ) as error:
        for _ in range(9):
            rate.add("good", "blank")
    assert "gates.min_deviation" in error.value.hint and remedy(["looks like 'bad'"]).endswith("contradiction=1")


def test_after_some_attempts_an_image_is_made_without_its_photo(photos: Path) -> None:
    first = _request(photo=photos / "0.png", parent="zero", use=TRANSPLANT)
    second, late = retried(first, 1, 0), retried(first, PHOTO_ATTEMPTS, 0)
    assert retried(first, 0, 0) == first
    assert (second.photo, second.parents) == (first.photo, ("zero",)) and second.seed != first.seed
    assert (late.photo, late.parents, late.use) == (None, (), "")
    assert retried(second, PHOTO_ATTEMPTS, 0) == late
