"""Heads and losses against values worked out by hand and against torch."""

from __future__ import annotations

import math

import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from weldgen.classifier.heads import HEADS, AngularMargin, CosineHead, CosineMargin, MlpHead
from weldgen.classifier.losses import (
    balanced_class_weights,
    class_weights_of,
    smooth,
    soft_cross_entropy,
    soft_focal,
    training_loss,
)
from weldgen.classifier.settings import MlpSettings, ModelSettings
from weldgen.classifier.training_settings import TrainingSettings


def cosines(margin, centres=None):
    """A head of two classes with the centres given, along x and y by default."""
    rows = torch.eye(2) if centres is None else torch.tensor(centres)
    head = CosineHead(2, 2, margin, scale=30.0, centres=len(rows) // 2)
    with torch.no_grad():
        head.weight.copy_(rows)
    return head


@pytest.fixture
def arcface():
    return cosines(AngularMargin(0.5))


def at(degrees):
    return torch.tensor([[3 * math.cos(math.radians(degrees)), 3 * math.sin(math.radians(degrees))]])


def test_predictions_are_scaled_cosines_without_margin(arcface):
    expected = 30 * torch.tensor([[math.cos(math.radians(40)), math.sin(math.radians(40))]])
    torch.testing.assert_close(arcface(at(40)), expected)


def test_the_margin_widens_the_angle_to_the_true_class_alone(arcface):
    logits = arcface(at(40), torch.tensor([[1.0, 0.0]]))
    angle = math.radians(40)
    expected = 30 * torch.tensor([[math.cos(angle + 0.5), math.sin(angle)]])
    torch.testing.assert_close(logits, expected)


def test_soft_targets_get_their_share_of_the_margin(arcface):
    logits = arcface(at(40), torch.tensor([[0.6, 0.4]]))
    angle = math.radians(40)
    expected = 30 * torch.tensor([[math.cos(angle + 0.3), math.cos(math.pi / 2 - angle + 0.2)]])
    torch.testing.assert_close(logits, expected)


def test_beyond_half_a_turn_the_logit_still_falls(arcface):
    angles = [140, 150, 155, 165, 175, 179]
    logits = [arcface(at(angle), torch.tensor([[1.0, 0.0]]))[0, 0].item() for angle in angles]
    assert logits == sorted(logits, reverse=True)


@pytest.mark.parametrize("degrees", [30, 60, 89, 91, 120, 179])
def test_the_easy_margin_ends_at_a_right_angle(degrees):
    first = cosines(AngularMargin(0.5, easy=True))(at(degrees), torch.tensor([[1.0, 0.0]])).detach()[0, 0]
    angle = math.radians(degrees)
    assert float(first) == pytest.approx(30 * math.cos(angle + (0.5 if degrees < 90 else 0)), abs=1e-4)


def test_cosface_takes_the_share_of_its_margin_off_the_cosine():
    angle = math.radians(40)
    plain = torch.tensor([[math.cos(angle), math.sin(angle)]])
    for share in (1.0, 0.6):
        targets = torch.tensor([[share, 1 - share]])
        torch.testing.assert_close(cosines(CosineMargin(0.35))(at(40), targets), 30 * (plain - 0.35 * targets))
    torch.testing.assert_close(cosines(CosineMargin(0.0))(at(40), targets), 30 * plain)


def test_the_nearest_centre_of_a_class_counts():
    head = cosines(AngularMargin(0.5), [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])  # two centres each
    near, far = math.cos(math.radians(10)), math.cos(math.radians(100))
    torch.testing.assert_close(head(at(80)), 30 * torch.tensor([[near, far]]))
    margined = head(at(80), torch.tensor([[1.0, 0.0]])).detach()[0, 0]
    assert float(margined) == pytest.approx(30 * math.cos(math.radians(10) + 0.5), abs=1e-4)


def test_one_centre_a_class_is_arcface():
    torch.manual_seed(0)
    settings = ModelSettings(embedding_size=8, subcenters=1)
    one, other = (HEADS[name](settings, 3) for name in ("subcenter", "arcface"))
    other.load_state_dict(one.state_dict())
    embeddings, targets = torch.randn(5, 8), torch.rand(5, 3).softmax(1)
    assert torch.equal(one(embeddings, targets), other(embeddings, targets))


@pytest.mark.parametrize("degrees", [0, 180])
def test_gradients_are_finite_where_the_angle_has_none(arcface, degrees):
    embedding = at(degrees).requires_grad_()
    arcface(embedding, torch.tensor([[1.0, 0.0]])).sum().backward()
    assert torch.isfinite(embedding.grad).all()


@pytest.mark.parametrize("name", list(HEADS))
def test_every_head_learns_two_directions(name):
    torch.manual_seed(0)
    head = HEADS[name](ModelSettings(embedding_size=8), 2)
    embeddings = torch.randn(2, 8).repeat(8, 1) + 0.1 * torch.randn(16, 8)
    targets = F.one_hot(torch.arange(16) % 2, 2).float()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        soft_cross_entropy(head(embeddings, targets), targets).backward()
        optimizer.step()
    assert (head(embeddings).argmax(1) == targets.argmax(1)).all()


@pytest.mark.parametrize("name", ["subcenter", "mlp"])  # cosface's predictions are arcface's
def test_every_kind_of_head_is_exported(name):
    torch.manual_seed(0)
    head = HEADS[name](ModelSettings(embedding_size=8, scale=4.0), 3).eval()
    embeddings = torch.randn(5, 8)
    program = torch.onnx.export(head, (torch.randn(2, 8),), dynamo=True, dynamic_shapes=({0: "batch"},))
    runtime = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    found = runtime.run(None, {runtime.get_inputs()[0].name: embeddings.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), head(embeddings).detach(), rtol=1e-4, atol=1e-5)


def test_the_hidden_layers_are_as_asked():
    settings = MlpSettings(hidden=(6, 5), norm="batch", activation="relu")
    head = MlpHead(8, 3, settings, 0.3)
    linear, norm, active, drop = head.hidden[:4]
    assert [(layer.in_features, layer.out_features) for layer in (linear, head.hidden[4])] == [(8, 6), (6, 5)]
    assert isinstance(norm, torch.nn.BatchNorm1d) and isinstance(active, torch.nn.ReLU) and drop.p == 0.3
    assert head(torch.randn(4, 8)).shape == head(torch.randn(4, 8)).shape == (4, 3)
    seen = norm.running_mean.clone()
    assert torch.isfinite(head(torch.randn(1, 8))).all(), "a last batch of one"
    assert torch.equal(norm.running_mean, seen) and not torch.equal(seen, torch.zeros(6))
    assert len(MlpHead(8, 3, MlpSettings()).hidden) == 4


@pytest.mark.parametrize("wrong", [{"hidden": [0]}, {"hidden": [8] * 5}, {"norm": "group"}])
def test_hidden_layers_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError):
        MlpSettings(**wrong)


def test_cross_entropy_of_hard_targets_is_that_of_torch():
    torch.manual_seed(0)
    logits, classes, weights = torch.randn(12, 4), torch.randint(4, (12,)), torch.tensor([0.3, 2.0, 1.0, 0.7])
    ours = soft_cross_entropy(logits, F.one_hot(classes, 4).float(), weights)
    torch.testing.assert_close(ours, F.cross_entropy(logits, classes, weight=weights))


def test_cross_entropy_of_mixed_targets_is_the_mixture():
    logits = torch.tensor([[2.0, -1.0]])
    both = [float(soft_cross_entropy(logits, torch.tensor([t]))) for t in ([1.0, 0.0], [0.0, 1.0])]
    assert float(soft_cross_entropy(logits, torch.tensor([[0.7, 0.3]]))) == pytest.approx(0.7 * both[0] + 0.3 * both[1])


def test_class_weights_are_inverse_frequencies_up_to_a_ratio():
    weights = balanced_class_weights([40, 10], 10)
    assert float(weights[1] / weights[0]) == pytest.approx(4)
    assert float(weights.mean()) == pytest.approx(1)
    clipped = balanced_class_weights([1000, 1], 10)
    assert float(clipped[1] / clipped[0]) == pytest.approx(10)


def test_without_gamma_the_focal_loss_is_cross_entropy():
    torch.manual_seed(0)
    logits, targets, weights = torch.randn(12, 4), torch.randn(12, 4).softmax(1), torch.tensor([0.3, 2.0, 1.0, 0.7])
    torch.testing.assert_close(soft_focal(logits, targets, weights, 0.0), soft_cross_entropy(logits, targets, weights))


def test_the_focal_loss_is_that_of_the_paper():
    torch.manual_seed(0)
    logits, classes, alpha = torch.randn(12, 4), torch.randint(4, (12,)), torch.tensor([0.3, 2.0, 1.0, 0.7])
    p = logits.softmax(1)[torch.arange(12), classes]
    expected = -(alpha[classes] * (1 - p) ** 2 * torch.log(p)).sum() / alpha[classes].sum()
    torch.testing.assert_close(soft_focal(logits, F.one_hot(classes, 4).float(), alpha, 2.0), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_has_a_slope_where_a_prediction_is_certain(gamma):
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    soft_focal(logits, torch.tensor([[1.0, 0.0]]), gamma=gamma).backward()
    assert torch.isfinite(logits.grad).all()


def test_smoothed_targets_are_those_of_torch():
    torch.manual_seed(0)
    logits, classes = torch.randn(12, 4), torch.randint(4, (12,))
    targets = F.one_hot(classes, 4).float()
    found = training_loss(logits, targets, torch.ones(4), TrainingSettings(label_smoothing=0.1))
    torch.testing.assert_close(found, F.cross_entropy(logits, classes, label_smoothing=0.1))
    torch.testing.assert_close(smooth(targets, 0.1).sum(1), torch.ones(12))
    assert smooth(targets, 0.0) is targets


def test_the_settings_choose_the_loss():
    logits, targets, weights = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.8, 0.2]]), torch.tensor([1.0, 3.0])
    found = training_loss(logits, targets, weights, TrainingSettings(loss="focal", focal_gamma=3.0))
    assert torch.equal(found, soft_focal(logits, targets, weights, 3.0))


def test_class_weights_are_balanced_equal_or_given():
    def weights(**settings):
        return class_weights_of(TrainingSettings(**settings), ["a", "b"], [40.0, 10.0]).tolist()

    assert weights(class_weights="none") == [1, 1]
    assert weights(class_weights={"b": 3, "a": 0.5}) == [0.5, 3]
    assert weights() == balanced_class_weights([40, 10], 10).tolist()
