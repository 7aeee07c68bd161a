"""Heads and losses against values worked out by hand and against torch."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from weldgen.classifier.heads import HEADS, ArcFaceHead
from weldgen.classifier.losses import balanced_class_weights, soft_cross_entropy
from weldgen.classifier.settings import ModelSettings


@pytest.fixture
def arcface():
    """Class centres along x and y."""
    head = ArcFaceHead(2, 2, scale=30.0, margin=0.5)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
    return head


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
