"""MixUp and CutMix: the targets say what share of the pixels comes from whom."""

from __future__ import annotations

import pytest
import torch

from weldgen.classifier.mixing import mix_batch
from weldgen.classifier.settings import AugmentationSettings

SEEDS = range(40)


def batch(size=5, height=24, width=36):
    """Each image has one grey level and a class of its own."""
    levels = torch.arange(size, dtype=torch.uint8) * 50
    return levels.view(-1, 1, 1, 1).expand(size, 3, height, width).contiguous(), torch.eye(size)


@pytest.mark.parametrize("settings", [{"cutmix": 1.0}, {"mixup": 0.4}, {"mixup": 0.2, "cutmix": 1.0}])
def test_the_targets_are_the_shares_of_the_pixels(settings):
    images, targets = batch()
    levels = images[:, 0, 0, 0].float()
    for seed in SEEDS:
        mixed, shares = mix_batch(images, targets, AugmentationSettings(**settings), seed)
        torch.testing.assert_close(shares.sum(1), torch.ones(5))
        torch.testing.assert_close(mixed.float().mean(dim=(1, 2, 3)), shares @ levels, rtol=1e-4, atol=1e-3)


def test_cutmix_pastes_whole_pixels_of_one_rectangle():
    images, targets = batch()
    areas = []
    for seed in SEEDS:
        mixed, shares = mix_batch(images, targets, AugmentationSettings(cutmix=1.0), seed)
        assert mixed.dtype == torch.uint8
        foreign = (mixed != images).any(dim=1)
        for pasted, row, number in zip(foreign, shares, range(5), strict=True):
            if pasted.any():
                rows, columns = (pasted.any(dim=axis).nonzero() for axis in (1, 0))
                assert pasted.sum() == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
                assert float(row[number]) == pytest.approx(1 - float(pasted.float().mean()), abs=1e-6)
                areas.append(float(pasted.float().mean()))
    assert min(areas) < 0.2
    assert max(areas) > 0.6
    assert torch.equal(batch()[0], images), "the batch that was given stays as it was"


def test_both_are_drawn_equally_often_and_some_batches_stay_as_they_are():
    images, targets = batch()
    settings = AugmentationSettings(mixup=1.0, cutmix=1.0, mix_prob=0.8)
    kinds = {"none": 0, "mixup": 0, "cutmix": 0}
    for seed in range(400):
        mixed, shares = mix_batch(images, targets, settings, seed)
        kinds["none" if shares is targets else "mixup" if mixed.dtype == torch.float32 else "cutmix"] += 1
    assert kinds["none"] == pytest.approx(80, abs=25)
    assert kinds["mixup"] == pytest.approx(160, abs=35)
    assert kinds["cutmix"] == pytest.approx(160, abs=35)


def test_the_seed_decides_and_off_is_off():
    images, targets = batch()
    settings = AugmentationSettings(mixup=0.4, cutmix=1.0)
    one, again, other = (mix_batch(images, targets, settings, seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[1], other[1])
    for off in (AugmentationSettings(), AugmentationSettings(mixup=1.0, mix_prob=0)):
        assert mix_batch(images, targets, off, 0)[0] is images
        assert mix_batch(images, targets, off, 0)[1] is targets


def test_a_batch_of_one_is_mixed_with_itself():
    images, targets = batch(1)
    for settings in ({"mixup": 1.0}, {"cutmix": 1.0}):
        mixed, shares = mix_batch(images, targets, AugmentationSettings(**settings), 0)
        assert torch.equal(mixed.float(), images.float())
        torch.testing.assert_close(shares, targets)
