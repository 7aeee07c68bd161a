"""What metal has that looks like ink and is none: clusters of open pores, glare and nets of bright veins."""

from __future__ import annotations

import cv2
import numpy as np

from assets.training.pictures import CROP_PX, Floats, Rng
from weldgen.synthesis.render.noise import blur, fractal_noise, smoothstep

# Pores of a cluster, their size and the cluster's length and width: beside writing they look like dots of ink.
_PORES, _PORE_PX, _CLUSTER_PX = (6, 90), (1.5, 13.0), ((40.0, 260.0), (8.0, 80.0))
# Glare: how wide its patches are, how soft their borders are (deviations of the noise) and how much light they add.
_GLARE_PX, _GLARE_SOFT, _GLARE_LIGHT = (40.0, 220.0), (0.5, 3.5), (0.4, 1.6)
# Share of glare between patches of a dull film, and how bright the film is.
_FILM_SHARE, _FILM = 0.4, (0.15, 0.5)
# Share of glare with a net of veins; size of the net's cells, how crooked they are, and width of the veins.
_VEINED_SHARE, _CELL_PX, _CROOKED, _VEIN_PX = 0.6, (7.0, 60.0), (0.1, 0.5), (0.7, 2.6)


def with_pores(picture: Floats, rng: Rng) -> Floats:
    """A cluster of open pores: dark hollows side by side, each with a lip that may catch the light."""
    shape = picture.shape[:2]
    angle, middle = rng.uniform(0, np.pi), rng.uniform(0, CROP_PX, 2)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    length, width = (float(np.exp(rng.uniform(*np.log(bounds)))) for bounds in _CLUSTER_PX)
    usual = float(np.exp(rng.uniform(*np.log(_PORE_PX))))
    hollow, taken = np.zeros(shape, np.uint8), np.zeros((0, 3))
    for _ in range(int(rng.integers(*_PORES))):
        place = middle + along * length * rng.uniform(-0.5, 0.5) + across * max(width, usual) * rng.normal(0, 0.4)
        radius = usual * float(np.exp(rng.normal(0, 0.4)))
        if (np.hypot(*(taken[:, :2] - place).T) < 1.1 * (taken[:, 2] + radius) + 1).any():
            continue  # walls stand between pores; drops that run together look like ink
        taken = np.vstack([taken, [*place, radius]])
        axes = (2 * radius, 2 * radius * float(rng.uniform(0.5, 1.0)))
        cv2.ellipse(hollow, (tuple(place), axes, float(rng.uniform(0, 180))), 255, -1, cv2.LINE_AA)
    depth = blur(hollow.astype(np.float32) / 255, float(rng.choice([0.5, 0.9, 1.6])))
    shift = usual * 0.4 * np.array([np.cos(light := rng.uniform(0, 2 * np.pi)), np.sin(light)])
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    lip = np.clip(cv2.warpAffine(depth, move, shape[::-1]) - depth, 0, 1)[:, :, None]
    dark = np.float32(rng.uniform(0.02, 0.18)) * (1 + rng.normal(0, 0.08, 3)).astype(np.float32)
    picture = picture + depth[:, :, None] * np.float32(rng.uniform(0.7, 1.0)) * (dark - picture)
    return np.clip(picture + lip * np.float32(rng.uniform(0.1, 0.9)) * (1 - picture), 0, 1)


def with_glare(picture: Floats, rng: Rng) -> Floats:
    """Patches of metal that shine until they are white, and where they begin, often a net of bright veins."""
    shape = picture.shape[:2]
    patch, soft = (float(np.exp(rng.uniform(*np.log(bounds)))) for bounds in (_GLARE_PX, _GLARE_SOFT))
    field, level = fractal_noise(rng, shape, patch, 0.5), float(rng.uniform(-0.5, 1.5))
    if rng.random() < _FILM_SHARE:
        film = smoothstep(
            fractal_noise(rng, shape, 0.5 * patch, 0.5), float(rng.uniform(0, 1)), float(rng.uniform(1, 2))
        )
        picture = picture + (0.8 * film[:, :, None]) * (np.float32(rng.uniform(*_FILM)) - picture)
    light = smoothstep(field, level, level + soft) * np.float32(rng.uniform(*_GLARE_LIGHT))
    if rng.random() < _VEINED_SHARE:
        reach = smoothstep(field, level - float(rng.uniform(0.3, 1.5)), level + 0.2)
        light = light + _veins(rng) * reach * np.float32(rng.uniform(0.3, 1.0))
    tint = (1 + rng.normal(0, 0.04, 3)).astype(np.float32)
    return np.clip(picture + light[:, :, None] * tint, 0, 1)


def _veins(rng: Rng) -> Floats:
    """Borders between cells, in places broken off, (256, 256) 0..1."""
    shape = (CROP_PX, CROP_PX)
    cell, crooked, width = (float(np.exp(rng.uniform(*np.log(bounds)))) for bounds in (_CELL_PX, _CROOKED, _VEIN_PX))
    steps = np.arange(0, CROP_PX, cell)
    middles = np.stack(np.meshgrid(steps, steps, indexing="ij"))
    rows, columns = np.clip(middles + rng.uniform(0, cell, middles.shape), 0, CROP_PX - 1).astype(int)
    elsewhere = np.ones(shape, np.uint8)
    elsewhere[rows, columns] = 0
    nearest = cv2.distanceTransformWithLabels(elsewhere, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    y, x = np.mgrid[:CROP_PX, :CROP_PX].astype(np.float32)
    x += np.float32(cell * crooked) * fractal_noise(rng, shape, cell, 0.6)
    y += np.float32(cell * crooked) * fractal_noise(rng, shape, cell, 0.6)
    cells = cv2.remap(nearest.astype(np.float32), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    border = np.zeros(shape, bool)
    border[:, 1:] |= cells[:, 1:] != cells[:, :-1]
    border[1:] |= cells[1:] != cells[:-1]
    away_from = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, 3)
    wide = np.float32(width) * np.exp(0.4 * fractal_noise(rng, shape, 25.0))
    whole = smoothstep(fractal_noise(rng, shape, 2 * cell), float(rng.uniform(-2.5, 0.3)), 1.0)
    return np.asarray(smoothstep(-away_from, -wide - 0.7, -wide + 0.7) * whole, np.float32)
