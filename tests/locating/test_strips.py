"""On a map of evidence the rectangle with the most of it is found, and only where there is some."""

from __future__ import annotations

import numpy as np
import pytest

from weldgen.data.upright import Rectangle
from weldgen.locating.strips import _best_run, best_rectangles, covered, evidence_in
from weldgen.locating.teach import overlap

BREADTHS = (2.0, 3.0, 4.0)


@pytest.mark.parametrize("seed", range(8))
def test_a_clear_strip_is_found_where_it_is(seed):
    random = np.random.default_rng(seed)
    own = Rectangle(
        random.uniform(25, 55), random.uniform(15, 30), random.uniform(15, 28), random.choice(BREADTHS),
        random.uniform(-89, 90),
    )  # fmt: skip
    (found,) = best_rectangles(covered((45, 80), own), BREADTHS, turned=True)
    assert overlap(found, own) > 0.75
    assert abs((found.turn_deg - own.turn_deg + 90) % 180 - 90) < 4
    assert -90 < found.turn_deg <= 90


def test_an_interrupted_weld_is_one_and_a_spot_beside_it_none():
    own = Rectangle(40, 20, 40, 3, 20)
    evidence = covered((45, 80), own)
    evidence[:, 42:45] = 0  # a gap of three cells
    evidence[38:42, 8:12] = 1  # a clear spot far off the line
    (found,) = best_rectangles(evidence, BREADTHS, turned=True)
    assert overlap(found, own) > 0.75


def test_several_are_found_clearest_first():
    long, short = Rectangle(40, 10, 50, 3, 0), Rectangle(40, 30, 20, 3, 0)
    evidence = np.maximum(covered((45, 80), long), covered((45, 80), short))
    first, second, *more = best_rectangles(evidence, BREADTHS, turned=True, most=3)
    assert overlap(first, long) > 0.8
    assert overlap(second, short) > 0.8
    assert more == []


def test_without_turning_the_sides_stay_level():
    own = Rectangle(30, 20, 8, 12, 0)
    (found,) = best_rectangles(covered((45, 80), own), (6.0, 12.0, 16.0), turned=False)
    assert found.turn_deg == 0
    assert overlap(found, own) > 0.9


def test_no_cell_above_a_half_is_no_weld():
    assert best_rectangles(np.full((20, 30), 0.5, np.float32), BREADTHS, turned=True) == []


def test_a_weld_may_end_at_the_edge_of_the_map():
    own = Rectangle(0, 20, 60, 3, 0)  # half of it lies outside
    (found,) = best_rectangles(covered((45, 80), own), BREADTHS, turned=True)
    assert (found.x_px - found.length_px / 2, found.x_px + found.length_px / 2) == pytest.approx((0, 30), abs=1)


def test_evidence_is_the_mean_inside_and_nothing_outside_of_the_map():
    evidence = np.full((20, 30), 0.8, np.float32)
    assert evidence_in(evidence, Rectangle(15, 10, 10, 4, 30)) == pytest.approx(0.8, rel=0.02)
    assert evidence_in(evidence, Rectangle(0, 10, 10, 4, 0)) == pytest.approx(0.4, rel=0.02)


def test_the_best_run_is_the_one_that_trying_all_finds():
    random = np.random.default_rng(0)
    for _ in range(20):
        values = random.normal(-0.1, 1, (3, 9)).astype(np.float32)
        every = {
            (row, start, end): float(values[row, start:end].sum())
            for row in range(3) for start in range(9) for end in range(start + 1, 10)
        }  # fmt: skip
        total, row, start, end = _best_run(values)
        assert total == pytest.approx(max(every.values()), abs=1e-5)
        assert every[row, start, end] == pytest.approx(total, abs=1e-5)
