"""Holes without the bare metal of their margin."""

from __future__ import annotations

import cv2
import numpy as np

from weldgen.cleaning.margin import tighten
from weldgen.cleaning.morphology import dilate


def written(make_plate):
    metal = make_plate(3, 900, 600)
    ink = np.zeros((600, 900), np.uint8)
    cv2.line(ink, (300, 250), (520, 330), 1, 12)
    return metal, ink > 0


def test_bare_metal_leaves_the_hole_and_ink_stays(make_plate):
    metal, ink = written(make_plate)
    marked = np.where(ink[:, :, None], 25, metal).astype(np.uint8)
    wide = dilate(ink, 20)
    tight = tighten(marked, wide, ink)
    assert tight[ink].all() and not tight[~wide].any()
    assert tight.sum() < ink.sum() + 0.35 * (wide.sum() - ink.sum())


def test_what_lies_on_the_margin_stays_in_the_hole(make_plate):
    metal, ink = written(make_plate)
    smear = dilate(ink, 14) & ~dilate(ink, 8)
    smear[:, 400:] = False
    marked = np.where(ink[:, :, None], 25, metal).astype(np.uint8)
    marked[smear] = (marked[smear] * 0.6).astype(np.uint8)
    tight = tighten(marked, dilate(ink, 20), ink)
    assert tight[smear].mean() > 0.97
    assert tight[:, 560:].sum() == 0


def test_a_soft_edge_of_the_ink_stays_in_the_hole(make_plate):
    metal, ink = written(make_plate)
    alpha = cv2.GaussianBlur(ink.astype(np.float32), (0, 0), 3.0)[:, :, None]
    marked = (alpha * 25 + (1 - alpha) * metal).astype(np.uint8)
    tight = tighten(marked, dilate(ink, 20), ink)
    assert tight[alpha[:, :, 0] > 0.12].mean() > 0.98


def test_without_ink_the_hole_stays_where_it_differs(make_plate):
    metal, _ = written(make_plate)
    hole = np.zeros((600, 900), bool)
    hole[200:260, 300:400] = True
    spot = np.zeros_like(hole)
    spot[220:240, 330:360] = True
    marked = np.where(spot[:, :, None], 30, metal).astype(np.uint8)
    tight = tighten(marked, hole, np.zeros_like(hole))
    assert tight[spot].all() and tight.sum() < 0.6 * hole.sum()


def test_bright_metal_beside_dark_ink_leaves_the_hole_and_dark_metal_does_not(make_plate):
    metal, ink = written(make_plate)
    beside = dilate(ink, 16) & ~dilate(ink, 7)

    def kept(change):
        marked = np.where(beside[:, :, None], metal * change, metal)
        marked = np.where(ink[:, :, None], 25, marked).clip(0, 255).astype(np.uint8)
        return 1 - tighten(marked, dilate(ink, 20), ink)[beside].mean()

    assert kept(1.2) > 0.8 and kept(0.8) < 0.05
