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
from weldgen.synthesis.render.noise import Plane, Rng, gaussian, line_noise, stream
from weldgen.synthesis.render.scene import Render, boxes_of, plate_of, radiance_of, union_by_kind
from weldgen.synthesis.render.shot import Shot
from weldgen.synthesis.render.style import SYNTHETIC, SceneStyle, WeldScene, sample_scene
from weldgen.synthesis.render.view import View, see
from weldgen.synthesis.requests import UNKNOWN, DefectBox

RGB = npt.NDArray[np.uint8]

_GAMMA = 2.2
# Light in a pore is no less, and on a drop no more, than this times that of the sound weld.
_QUOTIENT = (0.06, 3.5)
# A hole is where so much of the light or less is left; all of it, and none.
_HOLE = (0.15, 0.4)
# Reach of a defect's shadow and shine beyond its mask, as a share of the bead's width.
_REACH = 0.12
# Share of the photos on which silica, soot and rust appear that were not there; of every class alike.
_SOILED = 0.5
# Half widths from its axis: a bent weld takes along its rough toes, over so many it fades into the plate, and where it
# lay there is metal from beyond so many.
_TOE, _SOFT_TOE, _BARE = 1.10, 0.14, 1.4
# Least share of a real defect that must come to lie on the weld.
_ON_WELD = 0.8
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
        The picture; None where the outline of the photo's weld was not found, for then nobody knows where its defects
        belong, or where the weld that was to be laid over it does not fit.
    """
    if not shot.pose.outline:
        return None
    rng = stream(seed, "transplant")
    upright = shot.pose.upright
    view = see(shot, size[::-1] if upright else size, rng)
    if others.weld is not None:
        laid = graft(view.picture, view.place(covering=True), others.weld, view.light, stream(seed, "graft"))
        if laid is None:
            return None
        view = view.covered(*laid)
    scene = _scene(seed, defects, view, style)
    sound, donor = others.weld or shot, others.donor
    found = _from_donor(sound, donor, view, seed) if donor is not None and defects else None
    if found is None:
        view, masks = _with_defects(view, scene)
        names = scene.defects
    else:
        picture, mask = found
        view = replace(view, picture=picture)
        masks, names = [mask], (DefectSpec(others.kind, _severity(mask, view), "real", 1, 0.0, 0.0),)
    image = _photograph(view.picture, rng)
    cover = view.cover()
    if upright:
        image, cover = np.swapaxes(image, 0, 1), np.ascontiguousarray(cover.T)
        masks = [np.ascontiguousarray(mask.T) for mask in masks]
    none: Mask = np.zeros(image.shape[:2], np.uint8)
    boxes: tuple[DefectBox, ...] = boxes_of(names, masks)
    return Render(np.ascontiguousarray(image), union_by_kind(names, masks), none, boxes, cover)


def _scene(seed: int, defects: Sequence[tuple[str, float]], view: View, style: SceneStyle) -> WeldScene:
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


def _with_defects(view: View, scene: WeldScene) -> tuple[View, list[Mask]]:
    """The view with its picture times what the defects do to the light, and a mask for each defect."""
    drawn = tuple(defect for defect in scene.defects if defect.kind != IRREGULAR)
    masks: dict[DefectSpec, Mask] = {}
    for defect in scene.defects:
        if defect.kind == IRREGULAR:
            view, masks[defect] = _bent(view, defect.severity, stream(scene.seed, "bend"))
    picture, canvas = view.picture, view.canvas
    bare = replace(scene.bead, silica=0.0, soot=0.0, bloom=0.0)
    if drawn or bare != scene.bead:
        plate = plate_of(scene, canvas)
        sound, _, cover = radiance_of(replace(scene, defects=(), bead=bare), canvas, plate)
        changed, found, _ = radiance_of(replace(scene, defects=drawn), canvas, plate)
        masks |= {defect: view.mask_onto(mask) for defect, mask in zip(drawn, found, strict=True)}
        floor = np.float32(0.05 * float(sound.mean()))
        quotient = np.clip((changed + floor) / (sound + floor), *_QUOTIENT)
        reach_px = max(2.0, _REACH * view.width_px)
        near = np.maximum.reduce([np.zeros_like(cover), *found, *([cover] if bare != scene.bead else [])])
        away_px = cv2.distanceTransform((near == 0).astype(np.uint8), cv2.DIST_L2, 5)
        weight = np.clip(2 - away_px / np.float32(reach_px), 0, 1)[:, :, None]
        linear = np.power(picture, _GAMMA)
        lit = linear * (1 + view.onto((weight * (quotient - 1)).astype(np.float32)))
        # multiplied, ripples would shine through a hole: what is almost black is taken as it was rendered
        hole = weight * _ramp(quotient.mean(axis=2, keepdims=True), *_HOLE)
        on_weld = view.onto(cover.astype(np.float32)) > 127
        exposure = linear[on_weld].mean() / max(float(sound[cover > 0].mean()), 1e-6) if on_weld.any() else 1.0
        dark = view.onto((hole * changed * np.float32(exposure)).astype(np.float32))
        lit += dark - view.onto(hole[:, :, 0].astype(np.float32))[:, :, None] * lit
        picture = np.power(np.clip(lit, 0, 1), 1 / _GAMMA)
    return replace(view, picture=picture), [masks[defect] for defect in scene.defects]


def _ramp(values: Plane, low: float, high: float) -> Plane:
    """1 up to `low`, falling to 0 at `high`."""
    return np.asarray(np.clip((high - values) / (high - low), 0, 1), np.float32)


def _bent(view: View, severity: float, rng: Rng) -> tuple[View, Mask]:
    """The weld laid by an unsteady hand: it wanders and swells; the metal beside it stays where it is.

    Returns:
        The view that follows it, and its mask.
    """
    height, width = view.canvas.shape
    half_px = 0.5 * view.width_px
    much = 0.35 + 0.65 * severity
    wander = np.clip(0.30 * much * line_noise(rng, width, 3.4 * half_px), -0.5, 0.5) * half_px
    swell = np.clip(1 + 0.26 * much * line_noise(rng, width, 2.4 * half_px), 0.6, 1.45)
    down = np.arange(height, dtype=np.float32)[:, None] - np.float32(height / 2)
    on_weld = down / swell[None] - wander[None]  # the row, from the axis, that is seen there if the weld is
    edge_px = _TOE * half_px
    side = np.where(on_weld < 0, -1, 1)
    bare_px = _BARE * half_px
    on_plate = np.where(side * down < bare_px, side * (2 * bare_px - side * down), down)
    weld, plate = (_moved(view, rows - down) for rows in (on_weld, on_plate))
    soft_px = max(1.0, _SOFT_TOE * half_px)
    alpha = view.onto(np.clip(0.5 + (edge_px - np.abs(on_weld)) / soft_px, 0, 1).astype(np.float32))[:, :, None]
    picture = plate + alpha * (weld - plate)
    swells = (view.swells * swell).astype(np.float32)
    middles = (view.middles + swells * wander).astype(np.float32)
    bent = replace(view, picture=picture, middles=middles, swells=swells)
    return bent, bent.cover()


def _moved(view: View, steps: Plane) -> Plane:
    """The picture with each pixel from another row of the canvas, (h, w) rows away across the weld."""
    across = view.to_picture[:, 1].astype(np.float32)
    seen = view.onto((view.swells * steps).astype(np.float32))
    rows, columns = np.indices(seen.shape, dtype=np.float32)
    sources = columns + across[0] * seen, rows + across[1] * seen
    return np.asarray(cv2.remap(view.picture, *sources, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


def _from_donor(shot: Shot, donor: Shot, view: View, seed: int) -> tuple[Plane, Mask] | None:
    """The picture with the real defects of another photo; None where none can be told or fits."""
    picture = np.asarray(np.clip(view.picture * 255 + 0.5, 0, 255), np.uint8)
    found = compose(picture, view.place(), shot, donor, stream(seed, "donor"))
    if found is None or np.count_nonzero(found[1] & view.cover()) < _ON_WELD * np.count_nonzero(found[1]):
        return None
    return found[0].astype(np.float32) / 255, found[1]


def _severity(mask: Mask, view: View) -> float:
    """0 to 1 by the share of the weld that is taken."""
    weld_px = max(view.width_px * (view.reach[1] - view.reach[0]), 1.0)
    return round(min(1.0, float(np.count_nonzero(mask)) / weld_px / _GROSS), 4)


def _photograph(picture: Plane, rng: Rng) -> RGB:
    """Other exposure, white balance and noise."""
    gain = np.exp(rng.normal(0, 0.10) + rng.normal(0, 0.025, 3)).astype(np.float32)
    gamma = np.float32(np.exp(rng.normal(0, 0.10)))
    noise = gaussian(rng, picture.shape) * np.float32(rng.uniform(0.002, 0.010))
    return np.asarray(np.clip((np.power(picture, gamma) * gain + noise) * 255 + 0.5, 0, 255), np.uint8)
