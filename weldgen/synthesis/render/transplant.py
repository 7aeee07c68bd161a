"""Put defects into a real photo of a sound weld: rendered ones, or those of another real photo (`donor.py`).

The same scene is rendered with and without its defects, with its bead and its light where the photo's are; the
quotient of the two is what the defects do to the light, and the photo is multiplied by it in linear light. So the pore
is rendered, and everything else is the shop's own metal. (Quotient images: Shashua and Riklin-Raviv, PAMI 2001.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.defect import DefectSpec, Mask
from weldgen.synthesis.render.defects import IRREGULAR
from weldgen.synthesis.render.donor import compose
from weldgen.synthesis.render.graft import graft
from weldgen.synthesis.render.likeness import light_from
from weldgen.synthesis.render.material import Canvas
from weldgen.synthesis.render.noise import Plane, Rng, gaussian, line_noise, stream
from weldgen.synthesis.render.scene import Render, boxes_of, plate_of, radiance_of, union_by_kind
from weldgen.synthesis.render.shot import Shot
from weldgen.synthesis.render.strip import Place
from weldgen.synthesis.render.style import SYNTHETIC, SceneStyle, WeldScene, sample_scene
from weldgen.synthesis.requests import UNKNOWN, DefectBox

RGB = npt.NDArray[np.uint8]

_GAMMA = 2.2
# Light in a pore is no less, and on a drop no more, than this times that of the sound weld.
_QUOTIENT = (0.06, 3.5)
# Reach of a defect's shadow and shine beyond its mask, as a share of the bead's width.
_REACH = 0.12
# Share of the photos on which silica, soot and rust appear that were not there; of every class alike.
_SOILED = 0.5
_MOST_ZOOM = 1.35
_MOST_TURN_DEG = 5.0
# Share of the bead's area that real defects of full severity take.
_GROSS = 0.12


@dataclass(frozen=True)
class Others:
    """What is taken over from other photos.

    Attributes:
        weld: Photo of a sound weld, which is laid over the weld of the first photo; None: that one is sound.
        donor: Photo of a weld with defects, which are put in instead of rendered ones, where they can be told from
            sound metal.
        kind: Kind of these defects.
    """

    weld: Shot | None = None
    donor: Shot | None = None
    kind: str = UNKNOWN


@dataclass(frozen=True)
class _View:
    """A photo seen anew, its weld level or nearly so.

    Attributes:
        picture: (H, W, 3) float32, 0..1.
        canvas: Canvas on which the weld lies level in the middle.
        to_picture: (2, 3) from canvas to picture.
        reach: First and last column of the weld on the canvas.
        width_px: Of the weld.
        light: How much brighter the flank above the axis is.
    """

    picture: Plane
    canvas: Canvas
    to_picture: Plane
    reach: tuple[float, float]
    width_px: float
    light: float


def transplant(
    shot: Shot,
    seed: int,
    defects: Sequence[tuple[str, float]],
    size: tuple[int, int],
    others: Others = Others(),
    style: SceneStyle = SYNTHETIC,
) -> Render | None:
    """A photo with defects, seen anew: mirrored, cut, turned a little, in other light.

    Args:
        shot: Photo of a sound weld, or of any weld where another one is laid over it.
        seed: Another seed, another view and other defects.
        defects: Kind and severity of each; empty for a sound weld.
        size: Width and height of the result in pixels; the photo is cut to its shape.
        others: Other photos of which something is taken over.
        style: Ranges from which the light is drawn.

    Returns:
        The picture; None where the weld that was to be laid over this one does not fit.
    """
    rng = stream(seed, "transplant")
    upright = shot.pose.upright
    view = _see(shot, size[::-1] if upright else size, rng)
    if others.weld is not None:
        laid = graft(view.picture, _place(view), others.weld, view.light, stream(seed, "graft"))
        if laid is None:
            return None
        view = _covered(view, *laid)
    scene = _scene(seed, defects, view, style)
    sound, donor = others.weld or shot, others.donor
    found = _from_donor(sound, donor, view, seed) if donor is not None and defects else None
    if found is None:
        picture, masks = _with_defects(view, scene)
        names = scene.defects
    else:
        picture, mask = found
        masks, names = [mask], (DefectSpec(others.kind, _severity(mask, view), "real", 1, 0.0, 0.0),)
    image = _photograph(picture, rng)
    cover = _cover(view)
    if upright:
        image, cover = np.swapaxes(image, 0, 1), np.ascontiguousarray(cover.T)
        masks = [np.ascontiguousarray(mask.T) for mask in masks]
    none: Mask = np.zeros(image.shape[:2], np.uint8)
    boxes: tuple[DefectBox, ...] = boxes_of(names, masks)
    return Render(np.ascontiguousarray(image), union_by_kind(names, masks), none, boxes, cover)


def _see(shot: Shot, size: tuple[int, int], rng: Rng) -> _View:
    """A new view of a photo."""
    pose, (width, height) = shot.pose, size
    level = pose.level(shot.pixels)
    tall, long = level.shape[:2]
    zoom = max(width / long, height / tall) * float(np.exp(rng.uniform(0, np.log(_MOST_ZOOM))))
    turn_deg = float(rng.uniform(-_MOST_TURN_DEG, _MOST_TURN_DEG))
    flip_x, flip_y = rng.random() < 0.5, rng.random() < 0.5
    shift = [float(rng.uniform(-0.5, 0.5)) * slack for slack in (long * zoom - width, tall * zoom - height)]
    matrix = cv2.getRotationMatrix2D((long / 2, tall / 2), turn_deg, zoom)
    matrix[:, 2] += [width / 2 - long / 2 + shift[0], height / 2 - tall / 2 + shift[1]]
    for axis, flipped in enumerate((flip_x, flip_y)):
        if flipped:
            matrix[axis] *= -1
            matrix[axis, 2] += size[axis] - 1
    source = level if zoom >= 0.5 else cv2.GaussianBlur(level, (0, 0), 0.35 / zoom)
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    seen = cv2.warpAffine(source, matrix, size, flags=method, borderMode=cv2.BORDER_REFLECT_101)
    unit = min(tall, long)
    slope = np.tan(np.deg2rad(pose.angle_deg))
    ends = np.array(
        [[long / 2 + x * unit, tall / 2 + (pose.offset + slope * x) * unit, 1] for x in (pose.start, pose.end)]
    )
    first, last = sorted((matrix @ end for end in ends), key=lambda end: float(end[0]))
    canvas, to_picture, reach = _level_canvas(first, last, size)
    light = shot.light * (-1 if flip_y else 1)
    picture = np.asarray(seen).astype(np.float32) / 255
    return _View(picture, canvas, to_picture, reach, pose.width * unit * zoom, light)


def _level_canvas(first: Plane, last: Plane, size: tuple[int, int]) -> tuple[Canvas, Plane, tuple[float, float]]:
    """A canvas that covers the picture with the axis from `first` to `last`, (2,) each, level in its middle.

    Returns:
        The canvas, the (2, 3) matrix from it to the picture, and the columns of both ends.
    """
    width, height = size
    along = (last - first) / max(float(np.hypot(*(last - first))), 1e-6)
    across = np.array([-along[1], along[0]])
    origin = first + along * float((np.array([width / 2, height / 2]) - first) @ along)
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) - origin
    half_x, half_y = (int(np.ceil(np.abs(corners @ axis).max())) + 2 for axis in (along, across))
    shift = origin - half_x * along - half_y * across
    matrix = np.column_stack([along, across, shift])
    steps = np.arange(-half_x, half_x + 1)
    points = origin[None] + steps[:, None] * along[None]
    inside = steps[(points >= 0).all(axis=1) & (points < [width, height]).all(axis=1)]
    ends = (float((first - origin) @ along) + half_x, float((last - origin) @ along) + half_x)
    low, high = (float(inside[0]) + half_x, float(inside[-1]) + half_x) if len(inside) else ends
    margin = 0.02 * (high - low)
    canvas = Canvas(2 * half_x, 2 * half_y, float(min(size)), (low + margin, high - margin))
    return canvas, matrix, ends


def _scene(seed: int, defects: Sequence[tuple[str, float]], view: _View, style: SceneStyle) -> WeldScene:
    """A scene whose bead and light lie where the photo's do."""
    canvas, unit_px = view.canvas, view.canvas.unit_px
    scene = sample_scene(seed, defects, max(canvas.width / canvas.height, 1.0), style)
    half_px = 0.5 * view.width_px
    first, last = view.reach[0] + half_px, view.reach[1] - half_px
    bead = replace(
        scene.bead, start=(first - canvas.width / 2) / unit_px, end=(max(last, first + 1) - canvas.width / 2) / unit_px,
        offset=0.0, width=view.width_px / unit_px, wander=0.01, crater=0.1,
    )  # fmt: skip
    rng = stream(seed, "leftovers")
    soiled = rng.random() < _SOILED
    silica, soot, bloom = (float(much) for much in soiled * rng.uniform(0.1, 0.9, 3) * (rng.random(3) < 0.5))
    bead = replace(bead, slag=0.0, silica=silica, soot=0.4 * soot, bloom=bloom)
    light = light_from(scene.light, view.light, stream(seed, "photo light")) if view.light else scene.light
    return replace(scene, bead=bead, light=light, surface=replace(scene.surface, plate=None))


def _with_defects(view: _View, scene: WeldScene) -> tuple[Plane, list[Mask]]:
    """The picture times what the defects do to the light, and a mask for each defect."""
    picture, canvas = view.picture, view.canvas
    drawn = tuple(defect for defect in scene.defects if defect.kind != IRREGULAR)
    masks: dict[DefectSpec, Mask] = {}
    for defect in scene.defects:
        if defect.kind == IRREGULAR:
            picture, masks[defect] = _bent(view, picture, defect.severity, stream(scene.seed, "bend"))
    bare = replace(scene.bead, silica=0.0, soot=0.0, bloom=0.0)
    if drawn or bare != scene.bead:
        plate = plate_of(scene, canvas)
        sound, _, cover = radiance_of(replace(scene, defects=(), bead=bare), canvas, plate)
        changed, found, _ = radiance_of(replace(scene, defects=drawn), canvas, plate)
        masks |= {defect: _onto(view, mask) for defect, mask in zip(drawn, found, strict=True)}
        floor = np.float32(0.05 * float(sound.mean()))
        quotient = np.clip((changed + floor) / (sound + floor), *_QUOTIENT)
        reach_px = max(2.0, _REACH * view.width_px)
        near = np.maximum.reduce([np.zeros_like(cover), *found, *([cover] if bare != scene.bead else [])])
        away_px = cv2.distanceTransform((near == 0).astype(np.uint8), cv2.DIST_L2, 5)
        weight = np.clip(2 - away_px / np.float32(reach_px), 0, 1)[:, :, None]
        change = cv2.warpAffine(
            (weight * (quotient - 1)).astype(np.float32), view.to_picture, picture.shape[1::-1], flags=cv2.INTER_LINEAR
        )
        linear = np.power(picture, _GAMMA) * (1 + change)
        picture = np.power(np.clip(linear, 0, 1), 1 / _GAMMA)
    return picture, [masks[defect] for defect in scene.defects]


def _onto(view: _View, mask: Mask) -> Mask:
    """A mask of the canvas, in the picture."""
    return np.asarray(cv2.warpAffine(mask, view.to_picture, view.picture.shape[1::-1], flags=cv2.INTER_NEAREST))


def _cover(view: _View) -> Mask:
    """255 on the weld, taken as a band with round ends, in the picture."""
    mask = np.zeros(view.canvas.shape, np.uint8)
    row, radius = view.canvas.height // 2, max(1, round(view.width_px / 2))
    first, last = (round(view.reach[0]) + radius, round(view.reach[1]) - radius)
    cv2.line(mask, (first, row), (max(last, first), row), 255, 2 * radius)
    return _onto(view, mask)


def _bent(view: _View, picture: Plane, severity: float, rng: Rng) -> tuple[Plane, Mask]:
    """The weld laid by an unsteady hand: it wanders and swells; the metal beside it stays where it is."""
    height, width = view.canvas.shape
    half_px = 0.5 * view.width_px
    much = 0.35 + 0.65 * severity
    wander = np.clip(0.30 * much * line_noise(rng, width, 3.4 * half_px), -0.6, 0.6) * half_px
    swell = np.clip(1 + 0.26 * much * line_noise(rng, width, 2.4 * half_px), 0.55, 1.6)
    down = np.arange(height, dtype=np.float32)[:, None] - np.float32(height / 2)
    fade = np.exp(-((np.abs(down) / (2.0 * half_px)) ** 4))
    move = (fade * (down / swell[None] - down - wander[None])).astype(np.float32)  # source row minus row
    mask = np.where(np.abs(down - wander[None]) < half_px * swell[None], 255, 0).astype(np.uint8)
    across = view.to_picture[:, 1].astype(np.float32)
    seen = cv2.warpAffine(move, view.to_picture, picture.shape[1::-1], flags=cv2.INTER_LINEAR)
    rows, columns = np.indices(seen.shape, dtype=np.float32)
    bent = cv2.remap(
        picture, columns + across[0] * seen, rows + across[1] * seen, cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    return np.asarray(bent), _onto(view, mask)


def _from_donor(shot: Shot, donor: Shot, view: _View, seed: int) -> tuple[Plane, Mask] | None:
    """The picture with the real defects of another photo; None where none can be told from sound metal."""
    picture = np.asarray(np.clip(view.picture * 255 + 0.5, 0, 255), np.uint8)
    found = compose(picture, _place(view), shot, donor, stream(seed, "donor"))
    return None if found is None else (found[0].astype(np.float32) / 255, found[1])


def _place(view: _View) -> Place:
    middle = view.to_picture @ np.array([np.mean(view.reach), view.canvas.height / 2, 1.0])
    return Place(middle, view.to_picture[:, 0], view.width_px, view.reach[1] - view.reach[0])


def _covered(view: _View, picture: Plane, place: Place) -> _View:
    """The view with another picture, whose weld is another."""
    middle, half = 0.5 * (view.reach[0] + view.reach[1]), 0.5 * place.length_px
    return replace(view, picture=picture, width_px=place.width_px, reach=(middle - half, middle + half))


def _severity(mask: Mask, view: _View) -> float:
    """0 to 1 by the share of the weld that is taken."""
    weld_px = max(view.width_px * (view.reach[1] - view.reach[0]), 1.0)
    return round(min(1.0, float(np.count_nonzero(mask)) / weld_px / _GROSS), 4)


def _photograph(picture: Plane, rng: Rng) -> RGB:
    """Other exposure, white balance and noise."""
    gain = np.exp(rng.normal(0, 0.10) + rng.normal(0, 0.025, 3)).astype(np.float32)
    gamma = np.float32(np.exp(rng.normal(0, 0.10)))
    noise = gaussian(rng, picture.shape) * np.float32(rng.uniform(0.002, 0.010))
    return np.asarray(np.clip((np.power(picture, gamma) * gain + noise) * 255 + 0.5, 0, 255), np.uint8)
