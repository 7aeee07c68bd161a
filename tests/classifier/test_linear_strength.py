"""How freely the linear classifier follows its photos."""

from __future__ import annotations

import numpy as np

from weldgen.classifier.linear_fit import fit_rows
from weldgen.classifier.linear_strength import STRENGTHS, choose_strength
from weldgen.data.sample import Sample

FEATURES = 200


def photos(count, *, told_by, seed=0, origin="real"):
    """Features of two classes that differ by `told_by` in each of a few directions; the rest is noise."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % 2
    features = rng.normal(size=(count, FEATURES))
    features[:, :8] += told_by * (2 * targets[:, None] - 1)
    samples = [Sample(f"{k}/{n}.png", f"id{seed}-{n}", str(k), "train", origin) for n, k in enumerate(targets)]
    return features, targets, samples


def chosen(features, targets, samples):
    def logits_by(rows, strength):
        assert not rows.all() and rows.any()
        return fit_rows(features, targets, rows, 2, strength).logits(features)

    return choose_strength(logits_by, targets, samples, 0)


def test_what_cannot_be_told_apart_needs_a_strong_decay():
    assert chosen(*photos(60, told_by=0.0)) == STRENGTHS[0]


def test_what_is_told_apart_for_sure_may_be_followed_freely():
    assert chosen(*photos(240, told_by=1.5)) > STRENGTHS[0]


def test_with_few_photos_the_strong_one_is_taken_unasked():
    _, targets, samples = photos(18, told_by=1.5)
    assert choose_strength(lambda rows, strength: 1 / 0, targets, samples, 0) == STRENGTHS[0]


def test_images_made_from_a_photo_are_held_out_with_it():
    features, targets, samples = photos(60, told_by=0.0)
    children = [
        # two parents, as a weld that was laid over another photo has; either may be held out
        Sample(f"s{n}.png", f"child{n}", sample.label, "train", "synthetic", ("another", sample.id)[:: 1 - 2 * (n % 2)])
        for n, sample in enumerate(samples)
    ]
    both = np.concatenate([features, features])  # a child is its photo again: seen, it would give the label away
    all_targets, all_samples = np.concatenate([targets, targets]), [*samples, *children]
    seen = []

    def logits_by(rows, strength):
        seen.append(np.array_equal(rows[:60], rows[60:]))
        return fit_rows(both, all_targets, rows, 2, strength).logits(both)

    assert choose_strength(logits_by, all_targets, all_samples, 0) == STRENGTHS[0]
    assert all(seen) and len(seen) == 5 * len(STRENGTHS)
