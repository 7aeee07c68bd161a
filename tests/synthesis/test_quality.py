from __future__ import annotations

import numpy as np
import pytest

from weldgen.features import unit_rows
from weldgen.synthesis.quality import (
    copies_share,
    density_and_coverage,
    kernel_distance,
    neighbours_for,
    shortcut_auc,
)


def _cloud(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return unit_rows(np.ones(16) + 0.6 * rng.normal(size=(count, 16)) + shift * np.eye(16)[0])


def _by_hand(one: np.ndarray, other: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b + 1) ** 3)

    def within(rows: np.ndarray) -> float:
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return float(np.mean([kernel(rows[i], rows[j]) for i, j in pairs]))

    return within(one) + within(other) - 2 * float(np.mean([kernel(a, b) for a in one for b in other]))


def test_kernel_distance_is_the_sum_by_hand() -> None:
    one, other = _cloud(5, 0).astype(np.float64), _cloud(4, 1, 1.0).astype(np.float64)
    found = kernel_distance(one, other)
    assert found.value == pytest.approx(_by_hand(one, other), abs=1e-5)
    left_out = [_by_hand(np.delete(one, i, 0), other) for i in range(5)]
    others = [_by_hand(one, np.delete(other, i, 0)) for i in range(4)]
    variance = 4 / 5 * np.sum((left_out - np.mean(left_out)) ** 2) + 3 / 4 * np.sum((others - np.mean(others)) ** 2)
    assert found.error == pytest.approx(np.sqrt(variance), rel=1e-3)


def test_the_same_source_is_no_distance_away_and_another_is() -> None:
    same = [kernel_distance(_cloud(40, seed), _cloud(60, 100 + seed)) for seed in range(40)]
    values = np.array([estimate.value for estimate in same])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))  # unbiased
    assert 0.5 < np.mean([estimate.error for estimate in same]) / values.std() < 2.5  # errors of the right size
    far = kernel_distance(_cloud(40, 0), _cloud(60, 1, 3.0))
    assert far.value > 5 * far.error


def test_density_and_coverage() -> None:
    real, same, away = _cloud(200, 0), _cloud(400, 1), _cloud(400, 2, 20.0)
    density, coverage = density_and_coverage(real, same, 5)
    assert density == pytest.approx(1, abs=0.15) and coverage > 0.97
    assert density_and_coverage(real, away, 5) == (0.0, 0.0)
    line = np.array([[0.0], [1.0], [2.0], [10.0]], np.float32)  # neighbourhoods reach 1, 1, 1 and 8
    assert density_and_coverage(line, np.array([[0.5], [50.0]], np.float32), 1) == (1.0, 0.5)
    assert [neighbours_for(photos) for photos in (5, 10, 15, 100)] == [1, 3, 5, 5]


def test_real_and_synthetic_told_apart_or_not() -> None:
    real, same, away = _cloud(60, 0), _cloud(60, 1), _cloud(60, 2, 6.0)
    families = [str(index) for index in range(120)]
    untold = shortcut_auc(real, same, families, 0)
    assert untold is not None and 0.3 < untold < 0.7
    assert shortcut_auc(real, away, families, 0) == pytest.approx(1, abs=0.01)
    assert shortcut_auc(real[:1], away, families[:61], 0) is None


def test_share_of_copies() -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (10, 32), np.uint8)
    assert copies_share(hashes, range(10), 32) == 0
    hashes[7] = hashes[2]
    hashes[7, 0] ^= 1
    assert copies_share(hashes, range(10), 32) == 0.2
    assert copies_share(hashes[:1], range(1), 32) == 0
