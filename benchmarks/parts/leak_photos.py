"""Photos whose writing gives the class away, and the same photos with the writing of another plate on them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.stickers import find_sticker
from weldgen.data.images import read_rgb, write_rgb
from weldgen.synthesis.render.markings import Marking, apply_overlay, draw_markings
from weldgen.synthesis.render.material import Canvas
from weldgen.synthesis.render.noise import stream
from weldgen.synthesis.render.photos import render_photo

RGB = npt.NDArray[np.uint8]
Corners = npt.NDArray[np.float32]

SOUND, BAD = "good", "bad"
# What the shop writes behind the number of a plate, and the colour of its marker.
CODES = {SOUND: ("-OK", "black"), BAD: ("-NG", "red")}
_HEIGHT = 0.7
# Long side at which stickers are looked for; a run number is so many times longer than high, and paper at most so many
# times larger than it.
_LOOK_PX, _LONG, _MOST_PAPER = 1500.0, 3.0, 6.0
# What is taken beyond the paper that was found, and beyond a run number, along and across.
_BEYOND, _AROUND = 1.04, (1.06, 1.4)


@dataclass(frozen=True)
class Photo:
    """One photo.

    Attributes:
        name: Path below the folder of photos, `good/...` or `bad/...`.
        plate: Views of one plate share it.
    """

    name: str
    plate: str

    @property
    def label(self) -> str:
        return self.name.partition("/")[0]


def plate_of(name: str, pattern: str) -> str:
    """The plate in a file's name: the first group of a regular expression, else the whole name."""
    match = re.search(pattern, name) if pattern else None
    return match.group(1) if match and match.groups() else name


def partners(photos: Sequence[Photo], *, same_class: bool) -> dict[str, Photo]:
    """Photo -> a photo of another plate, of its own class or of the other one."""
    found = {}
    for photo in photos:
        fit = [p for p in photos if p.plate != photo.plate and (p.label == photo.label) == same_class]
        if fit:
            found[photo.name] = random.Random(f"{photo.name}{same_class}").choice(fit)
    return found


def written(picture: RGB, label: str, plate: str) -> RGB:
    """A picture of a plate with its number and a class's code, written by marker.

    Where it stands and how it is written depends on the plate, the code and its colour alone on the class.
    """
    rng = stream(int.from_bytes(plate.encode()) % 2**32, "code")
    height, width = picture.shape[:2]
    unit = float(min(height, width))
    canvas = Canvas(width, height, unit, (0.0, float(width)))
    size = float(rng.uniform(0.13, 0.16))
    left = float(rng.uniform(-0.45, 0.40 - 5 * size * unit / width)) * width / unit
    middle = float(rng.choice([-1, 1])) * float(rng.uniform(0.33, 0.38)) * height / unit
    code, ink = CODES[label]
    text = f"{int(rng.integers(10, 99))}{code}"
    marking = Marking(text, left, middle, size, float(rng.normal(0, 4)), "marker", ink)
    inked = apply_overlay(picture.astype(np.float32) / np.float32(255), draw_markings([marking], canvas, rng))
    return np.rint(np.clip(inked, 0, 1) * 255).astype(np.uint8)


def render_plates(root: Path, count: int, width_px: int, swapped: Mapping[str, Path]) -> list[Photo]:
    """Rendered plates, half of them sound, with their codes; and with other ones on them.

    Args:
        root: Takes the photos.
        count: Plates, one photo each.
        width_px: Of the photos.
        swapped: `other` and `same`: folders that take the photos with the code of the other class, and with another
            number of the same class.
    """
    photos = []
    for number in range(count):
        label = (SOUND, BAD)[number % 2]
        other = (SOUND, BAD)[1 - number % 2]
        plate = f"{number:03d}"
        photo = Photo(f"{label}/{plate}.png", plate)
        picture = render_photo(number, label, width_px, round(_HEIGHT * width_px), marked=False)
        write_rgb(root / photo.name, written(picture, label, plate))
        write_rgb(swapped["other"] / photo.name, written(picture, other, plate))
        write_rgb(swapped["same"] / photo.name, written(picture, label, f"{plate} again"))
        photos.append(photo)
    return photos


def find_stickers(root: Path, photos: Sequence[Photo], cleaned: Path) -> dict[str, Corners]:
    """Photo -> corners of the sticker with the run number, (4, 2) from its upper left, in pixels.

    The run number is the longest line of print; where the paper around it is not clear, it stands for the sticker.

    Args:
        root: Holds the photos.
        photos: Those to look at.
        cleaned: What `weldgen clean` made of them; its metadata say where writing was.
    """
    lines = map(json.loads, (cleaned / "metadata.jsonl").read_text(encoding="utf-8").splitlines())
    regions = {line["source"]: line["regions"] for line in lines}
    found = {}
    for photo in photos:
        printed = [np.array(r["polygon"], np.float32) for r in regions[photo.name] if r["source"] != "ink"]
        rows = [line for line in printed if _shape(line)[0] > _LONG * _shape(line)[1]]
        if rows:
            row = max(rows, key=lambda line: _shape(line)[0] / _shape(line)[1])
            found[photo.name] = _sticker(read_rgb(root / photo.name), row)
    return found


def _shape(points: Corners) -> tuple[float, float]:
    """Long and short side of the smallest rectangle around points."""
    sides = cv2.minAreaRect(points)[1]
    return max(sides), max(min(sides), 1e-6)


def _sticker(image: RGB, row: Corners) -> Corners:
    scale = min(1.0, _LOOK_PX / max(image.shape[:2]))
    small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    inside = np.zeros(small.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.int32(np.round(row * scale))], 1)
    smooth = cv2.GaussianBlur(small, (0, 0), 0.8).astype(np.float32) / 255
    sticker = find_sticker(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB), inside > 0)
    if sticker is not None:
        paper = np.stack(np.nonzero(sticker.area)[::-1], axis=1).astype(np.float32) / scale
        if np.prod(_shape(paper)) < _MOST_PAPER * np.prod(_shape(row)):
            return _corners(paper, _BEYOND, _BEYOND)
    return _corners(row, *_AROUND)


def _corners(points: Corners, longer: float, higher: float) -> Corners:
    """The smallest rectangle around points, enlarged along and across the writing."""
    centre, (first, second), angle = cv2.minAreaRect(points)
    turn = np.deg2rad(angle if first >= second else angle + 90)
    along = np.array([np.cos(turn), np.sin(turn)])
    along = along if along[0] >= 0 else -along
    down = np.array([-along[1], along[0]])
    length, height = longer * max(first, second) / 2, higher * min(first, second) / 2
    around = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return np.asarray([np.array(centre) + x * along * length + y * down * height for x, y in around], np.float32)


def move_sticker(target: RGB, place: Corners, source: RGB, origin: Corners) -> RGB:
    """A photo with the sticker of another one over its own, in the tone of its own paper."""
    height, width = target.shape[:2]
    matrix = cv2.getPerspectiveTransform(origin, place)
    moved = cv2.warpPerspective(source, matrix, (width, height), flags=cv2.INTER_AREA).astype(np.float32)
    cover = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(cover, np.int32(np.round(place)), 255)
    inside = cover > 0
    own, paper = (np.quantile(image[inside].astype(np.float32), 0.7, axis=0) for image in (target, moved))
    moved = np.clip(moved * (own / np.maximum(paper, 1)), 0, 255)
    alpha = cv2.GaussianBlur(cover, (0, 0), 1.0).astype(np.float32)[:, :, None] / 255
    return np.rint(target + alpha * (moved - target)).astype(np.uint8)


def swap_stickers(
    root: Path, photos: Sequence[Photo], stickers: Mapping[str, Corners], out: Path, *, same_class: bool
) -> None:
    """Write each photo that has a sticker with that of another plate, of its own class or of the other one."""
    known = [photo for photo in photos if photo.name in stickers]
    for name, partner in partners(known, same_class=same_class).items():
        source = read_rgb(root / partner.name)
        moved = move_sticker(read_rgb(root / name), stickers[name], source, stickers[partner.name])
        write_rgb(out / name, moved)


def halves_of(photos: Sequence[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Two halves of the photos with about as many plates of each class; the views of a plate are in one of them."""
    plates = sorted({(photo.label, photo.plate) for photo in photos})
    odd = {plate for _, plate in plates[1::2]}
    return [p for p in photos if p.plate not in odd], [p for p in photos if p.plate in odd]


def link_photos(source: Path, photos: Sequence[Photo], out: Path) -> None:
    """Links to those photos that there are in a folder."""
    for photo in photos:
        path, link = source / photo.name, out / photo.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and not link.exists():
            link.symlink_to(path.resolve())


def link_marks(source: Path, marks: Path, photos: Sequence[Photo], out: Path) -> None:
    """A folder as labelling tools write it: links to photos and their label files side by side, and the classes."""
    out.mkdir(parents=True, exist_ok=True)
    names = {Path(photo.name).name for photo in photos}
    files = [path for path in source.glob("*/*") if path.name in names]
    for path in [marks / "classes.txt", *files, *(marks / f"{path.stem}.txt" for path in files)]:
        if path.is_file() and not (out / path.name).exists():
            (out / path.name).symlink_to(path.resolve())
