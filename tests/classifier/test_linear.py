"""The linear classifier on fixed features, and the border that real photos set."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weldgen.classifier.backbones import create_backbone
from weldgen.classifier.linear import _install
from weldgen.classifier.linear_border import (
    _USUAL_SHARE,
    _USUAL_SHARE_OF_CELLS,
    _USUAL_WEIGHT,
    _parted,
    border_shift,
)
from weldgen.classifier.linear_fit import Linear, fit_rows
from weldgen.classifier.loader import Images
from weldgen.classifier.model_file import load_model
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.settings import ModelSettings
from weldgen.classifier.train import train
from weldgen.data.dataset import Sample


def images(rows):
    """Samples of (label, origin, parents), without pixels."""
    samples = tuple(
        Sample(f"{label}/{index}.png", f"id{index}", str(label), "train", origin, parents)
        for index, (label, origin, parents) in enumerate(rows)
    )
    return Images(samples, np.zeros((len(rows), 3, 1, 1), np.uint8), np.array([row[0] for row in rows]))


def shifted_photos(reals, children=()):
    """Synthetic images of two classes at 0 and 4, real photos at other places, children of the first at 30."""
    rng = np.random.default_rng(0)
    rows = [(label, "synthetic", ()) for label in (0, 1) for _ in range(40)]
    places = [4.0 * label for label, _, _ in rows]
    first = f"id{len(rows)}"
    rows += [(label, "real", ()) for label, _ in reals]
    places += [place for _, place in reals]
    rows += [(label, "synthetic", (first,)) for label in children]
    places += [30.0 for _ in children]
    features = np.column_stack([places, np.zeros(len(places))]) + rng.normal(0, 0.4, (len(places), 2))
    return features, images(rows)


LABELS = ("first", "second")
NONE_UNSEEN = np.zeros((0, 2)), np.zeros(0, np.int64)


def shift_of(features, training, labels=LABELS, unseen=NONE_UNSEEN):
    fitted = fit_rows(features, training.targets, np.ones(len(training), bool), 2)
    return border_shift(fitted, features, training, labels, unseen)


def test_the_border_follows_the_real_photos():
    features, training = shifted_photos([(0, 3.0), (0, 2.8), (1, 7.0), (1, 7.4)])
    synthetic = np.array([sample.origin == "synthetic" for sample in training.samples])
    plain = fit_rows(features, training.targets, synthetic, 2)
    shift, notes = shift_of(features, training)
    unseen = np.array([[3.0, 0.0], [7.2, 0.0]])
    assert plain.logits(unseen).argmax(axis=1).tolist() == [1, 1]
    assert (plain.logits(unseen) - shift).argmax(axis=1).tolist() == [0, 1]
    assert "4 real photos" in notes[0] and shift.sum() == pytest.approx(0)


def test_few_photos_move_it_less_than_many():
    few, _ = shift_of(*shifted_photos([(0, 3.0), (0, 3.0)]))
    many, _ = shift_of(*shifted_photos([(0, 3.0)] * 12))
    assert 0 < few[1] < 0.8 * many[1]


def test_validation_photos_count_as_they_are():
    features, training = shifted_photos([])
    centres = fit_rows(features, training.targets, np.ones(80, bool), 2).logits(features)[:40].mean(axis=0)
    unseen = np.array([[3.0, 0.0], [3.0, 0.0]]), np.array([0, 0])
    shift, notes = shift_of(features, training, unseen=unseen)
    judged = fit_rows(features, training.targets, np.ones(80, bool), 2).logits(unseen[0])[0] - centres
    expected = 2 * judged / (2 + _USUAL_WEIGHT)
    assert shift == pytest.approx(expected - expected.mean()) and "2 real photos" in notes[0]


def test_by_the_worst_cells_clean_photos_do_not_bring_the_border_nearer():
    labels = ("good", "bad")
    shifts = []
    for reals in ([], [(0, -3.0)] * 6, [(0, 3.5)] * 6):
        features, training = shifted_photos(reals)
        fitted = fit_rows(features, training.targets, np.ones(len(training), bool), 2)
        shift, _ = border_shift(fitted, features, training, labels, NONE_UNSEEN, cells=True)
        shifts.append(shift / fitted.weights[:, 0] / 4)  # as a share of the way from sound to bad
    usual, clean, suspicious = (shift[1] for shift in shifts)
    assert usual == pytest.approx(_USUAL_SHARE_OF_CELLS, abs=0.05) and clean == pytest.approx(usual, abs=0.05)
    assert suspicious > usual + 0.05


def test_of_many_photos_some_are_left_out_in_turn(monkeypatch):
    features, training = shifted_photos([(label, 3.0 + 4 * label) for label in (0, 1) for _ in range(30)])
    fits = []
    monkeypatch.setattr("weldgen.classifier.linear_border.fit_rows", lambda *job: fits.append(job) or fit_rows(*job))
    _, notes = shift_of(features, training)
    assert len(fits) == 40 and "40 real photos" in notes[0]


def test_images_made_from_a_photo_do_not_judge_it():
    reals = [(0, 3.0), (0, 3.0), (1, 7.0), (1, 7.0)]
    one, _ = shift_of(*shifted_photos(reals))
    other, _ = shift_of(*shifted_photos(reals, children=[1] * 40))
    # the children lie far off on the other class's side and would move the border of the photo they come from
    assert np.sign(one[1]) == np.sign(other[1]) == 1


def test_the_only_photo_of_a_class_is_not_left_out():
    shift, notes = shift_of(*shifted_photos([(0, 3.0), (1, 30.0)]))
    assert not shift.any() and notes == []


def test_without_photos_the_border_lies_where_it_usually_does():
    features, training = shifted_photos([])
    shift, notes = shift_of(features, training, ("good", "bad"))
    logits = fit_rows(features, training.targets, np.ones(80, bool), 2).logits(features)
    gap = logits[40:].mean(axis=0) - logits[:40].mean(axis=0)
    assert shift == pytest.approx(_USUAL_SHARE * (gap - gap.mean())) and "usually lies" in notes[0]


def test_photos_of_defective_welds_do_not_move_it_where_one_class_is_sound():
    features, training = shifted_photos([])
    sound = np.array([[1.0, 0.0], [1.2, 0.0]])
    alone, _ = shift_of(features, training, ("good", "bad"), (sound, np.array([0, 0])))
    for severity in (5.0, 12.0):
        unseen = np.concatenate([sound, [[severity, 0.0]] * 3]), np.array([0, 0, 1, 1, 1])
        shift, notes = shift_of(features, training, ("good", "bad"), unseen)
        assert shift == pytest.approx(alone) and "2 real photos" in notes[0]
        among_equals, _ = shift_of(features, training, LABELS, unseen)
        assert among_equals != pytest.approx(alone)


@pytest.mark.parametrize("among", ["trained", "unseen"])
def test_ten_photos_of_each_class_part_it_themselves(among):
    """Real sound welds at 1 and bad ones at 2, where sound ones alone would put the border above 3."""
    places = np.concatenate([np.linspace(0.4, 1.4, 12), np.linspace(1.7, 2.9, 12)])
    reals = [(int(k >= 12), place) for k, place in enumerate(places)]
    labels, features, training = ("good", "bad"), *shifted_photos(reals if among == "trained" else [])
    rows = np.column_stack([places, np.zeros(24)]), np.repeat([0, 1], 12)
    fitted = fit_rows(features, training.targets, np.ones(len(training), bool), 2)
    shift, notes = border_shift(fitted, features, training, labels, rows if among == "unseen" else NONE_UNSEEN)
    right = (fitted.logits(rows[0]) - shift).argmax(axis=1) == rows[1]
    assert right.mean() > 0.9 and "24 real photos" in notes[0] and shift.sum() == pytest.approx(0, abs=1e-4)
    # With nine bad photos the sound ones judge alone.
    kept = [k for k in range(24) if k not in (20, 21, 22)]
    features, training = shifted_photos([reals[k] for k in kept] if among == "trained" else [])
    unseen = (rows[0][kept], rows[1][kept]) if among == "unseen" else NONE_UNSEEN
    shift, notes = border_shift(fitted, features, training, labels, unseen)
    right = (fitted.logits(rows[0]) - shift).argmax(axis=1) == rows[1]
    assert right[:12].all() and right[12:].mean() < 0.7 and "12 real photos" in notes[0]


def test_the_parting_border_takes_classes_as_equals_and_stays_near_where_nothing_is_between():
    rng = np.random.default_rng(3)
    targets = np.repeat([0, 1, 2], [300, 30, 30])
    truth = np.array([1.5, -2.0, 0.5])
    logits = 3.0 * np.eye(3)[targets] + rng.normal(0, 1, (360, 3)) + truth
    found = _parted(logits, targets, np.zeros(3))
    assert found == pytest.approx(truth, abs=0.35)
    apart = np.array([[9.0, -9.0], [8.0, -8.0], [-9.0, 9.0], [-8.0, 8.0]])
    near = np.array([1.0, -1.0])
    assert _parted(apart, np.array([0, 0, 1, 1]), near) == pytest.approx(near, abs=0.3)


@pytest.mark.parametrize("classes", [2, 3])
def test_rare_classes_count_as_much(classes):
    rng = np.random.default_rng(1)
    counts = [200, 6, 6][:classes]
    targets = np.repeat(np.arange(classes), counts)
    centres = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])[targets]
    features = centres + rng.normal(0, 0.7, (len(targets), 2))
    fitted = fit_rows(features, targets, np.ones(len(targets), bool), classes)
    assert fitted.logits(np.array([[1.6, -0.1]])).argmax() == 1
    assert (fitted.logits(features).argmax(axis=1) == targets).mean() > 0.9


def test_the_network_gives_the_same_logits():
    backbone = create_backbone("test_efficientnet", "none", (64, 64))
    settings = ModelSettings(head="unit_softmax", embedding_size=backbone.features)
    network = WeldNetwork(backbone.model, backbone.features, (backbone.mean, backbone.std), settings, 3).eval()
    rng = np.random.default_rng(2)
    linear = Linear(rng.normal(size=(3, backbone.features)), rng.normal(size=3))
    _install(network, linear)
    with torch.no_grad():
        network.embedding.weight.copy_(torch.eye(backbone.features))
    pixels = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        features = network.backbone((pixels.float() - network.mean) / network.std).numpy().astype(np.float64)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        assert np.allclose(network(pixels).numpy(), linear.logits(features), atol=1e-3)


def test_it_can_be_asked_for_and_its_model_is_like_any_other(class_folder, tmp_path, tiny_config):
    summary = train(class_folder, tmp_path / "model", tiny_config(training={"method": "linear"}))
    network, card = load_model(tmp_path / "model")
    assert summary.details["method"] == "linear" and card.settings["head"] == "unit_softmax"
    assert not card.warnings and card.validated_on["good"]["real"] > 0
    # nothing but photos: however few they are, the means of several layers
    assert (card.settings["pool"], card.settings["layers"]) == ("avg", "stages")
    assert set(card.validation) == {"val_accuracy", "val_balanced_accuracy"}
    again = train(class_folder, tmp_path / "again", tiny_config(training={"method": "linear"}))
    assert again.notes == summary.notes
    same = load_model(tmp_path / "again")[0].state_dict()
    assert all(torch.equal(value, same[name]) for name, value in network.state_dict().items())
    assert network(torch.zeros((1, 3, *card.frame))).shape == (1, 2)
    assert train(class_folder, tmp_path / "model", tiny_config(training={"method": "linear"})).skipped
