"""Make the pictures of the README, docs/synth.md and docs/locate.md, from photos that the program rendered.

A photo with writing, before and after `weldgen clean`; a photo of a sound weld with defects that `weldgen synth` puts
into it; and photos of plates on a bench with the weld that `weldgen locate` finds and cuts out.

python docs/make_pictures.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from weldgen.cleaning.photos import load_cleaner
from weldgen.cleaning.settings import CleanConfig
from weldgen.data.images import write_rgb
from weldgen.data.upright import rectangle_around
from weldgen.locating.learn import LocatorConfig, locator
from weldgen.locating.locator import open_locator
from weldgen.report.sheets import fit, strip
from weldgen.runtime import derive_seed
from weldgen.synthesis.render.photos import render_photo, render_photo_with_masks
from weldgen.synthesis.render.shot import measure
from weldgen.synthesis.render.transplant import transplant

ASSETS = Path(__file__).parent.parent / "assets"
SEEDS = (3, derive_seed(2026, "demo", "good", 12))
WIDTH_PX, HEIGHT_PX = 960, 640


# Photos of plates on a bench that a locator learns from, and of others that it is shown on.
TAUGHT, SHOWN = 12, 3
SOUND_SEED = derive_seed(2026, "demo", "good", 19)
PUT_IN = ([("porosity", 0.8)], [("burn_through", 0.7), ("crack", 0.6)], [("irregular", 0.8)])


def main() -> None:
    """Write the pictures into assets/."""
    clean()
    transplants()
    located()


def transplants() -> None:
    """A photo, and defects put into it."""
    photo = render_photo(SOUND_SEED, "good", WIDTH_PX, HEIGHT_PX, marked=False)
    shot = measure(photo, WIDTH_PX)
    made = [transplant(shot, seed, defects, (WIDTH_PX, HEIGHT_PX)) for seed, defects in enumerate(PUT_IN)]
    pictures = [photo, *(view.image for view in made if view is not None)]
    write_rgb(ASSETS / "transplants.jpg", np.concatenate([strip(pictures[at : at + 2], 300) for at in (0, 2)]))


def located() -> None:
    """Plates on a bench, what a locator found that learned from twelve others, and what it cuts out."""
    with tempfile.TemporaryDirectory() as scratch:
        marked, out = Path(scratch) / "marked", Path(scratch) / "locator"
        marked.mkdir()
        (marked / "classes.txt").write_text("weld\n")
        for seed in range(TAUGHT):
            photo, corners = on_a_bench(seed)
            write_rgb(marked / f"{seed:02d}.png", photo)
            shares = (corners / [photo.shape[1], photo.shape[0]]).ravel()
            (marked / f"{seed:02d}.txt").write_text("0 " + " ".join(f"{share:.5f}" for share in shares) + "\n")
        for note in locator(marked, out, LocatorConfig()).notes:
            print(note)
        finder = open_locator(out)
    rows = []
    for seed in range(TAUGHT, TAUGHT + SHOWN):
        photo, _ = on_a_bench(seed)
        cut, found = finder.cut_out(photo)
        if found is None:
            raise SystemExit(f"no weld was found on photo {seed}")
        drawn = cv2.polylines(photo.copy(), [np.int32(found.rectangle.corners())], True, (255, 90, 0), 6)
        rows.append(np.concatenate([fit(drawn, 420, 280), fit(cut, 420, 110)]))
    write_rgb(ASSETS / "located.jpg", np.concatenate(rows, axis=1))


def on_a_bench(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A rendered plate as it lies on a bench, (H, W, 3) uint8 RGB, and the corners of its weld, (4, 2) in pixels."""
    random = np.random.default_rng([seed, 7])
    made = render_photo_with_masks(
        derive_seed(2026, "bench", seed), ("good", "bad")[seed % 2], WIDTH_PX, HEIGHT_PX, marked=False
    )
    width, height = 1500, 1000
    grain = random.normal(0, 1, (height, width // 12))
    bench = cv2.GaussianBlur(cv2.resize(grain, (width, height)), (0, 0), 1.5)[:, :, None] * 14
    bench = bench + np.array([[170, 132, 96], [122, 124, 128], [146, 112, 84]][seed % 3])
    # the plate, turned and seen a little from the side
    half = random.uniform(0.48, 0.6) * np.array([WIDTH_PX, HEIGHT_PX]) * 0.75
    turn = random.uniform(-np.pi, np.pi)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    place = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ axes * [1, random.uniform(0.75, 1)]
    place += np.array([width / 2, height / 2]) + random.uniform(-60, 60, 2)
    place += random.uniform(-14, 14, (4, 2))
    there = np.array([[0, 0], [WIDTH_PX, 0], [WIDTH_PX, HEIGHT_PX], [0, HEIGHT_PX]], np.float32)
    matrix = cv2.getPerspectiveTransform(there, place.astype(np.float32))
    plate = cv2.warpPerspective(made.image, matrix, (width, height), flags=cv2.INTER_AREA)
    cover = cv2.warpPerspective(np.full((HEIGHT_PX, WIDTH_PX), 255, np.uint8), matrix, (width, height)) / 255
    shadow = cv2.GaussianBlur(np.roll(cover, (14, 10), (0, 1)), (0, 0), 12)
    photo = bench * (1 - 0.6 * shadow[:, :, None])
    photo = photo + cover[:, :, None] * (plate - photo)
    weld = cv2.warpPerspective(made.cover, matrix, (width, height)) > 127
    outline = np.argwhere(weld)[:, ::-1].astype(np.float32)
    corners = rectangle_around(cv2.convexHull(outline)[:, 0].tolist()).corners()
    return np.clip(photo + random.normal(0, 3, photo.shape), 0, 255).astype(np.uint8), corners


def clean() -> None:
    """Two photos with writing, before and after."""
    cleaner = load_cleaner(CleanConfig())
    rows = []
    for seed in SEEDS:
        photo = render_photo(seed, "good", WIDTH_PX, HEIGHT_PX, marked=True)
        rows.append(strip([photo, cleaner.clean(photo).pixels], 360))
    write_rgb(ASSETS / "before_after.jpg", np.concatenate(rows))


if __name__ == "__main__":
    main()
