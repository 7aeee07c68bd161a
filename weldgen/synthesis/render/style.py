"""How scenes are drawn: the ranges of everything that varies, and the sampler.

Two styles ship. `SYNTHETIC` is what the generator makes: all surfaces, sober light, a camera above the plate.
`PHOTO` plays real shop-floor photos (the demo's stand-in for a user's data): other shares of surfaces, plates on a
bench, harder and warmer light, more tilt, more blur and noise. The two overlap but differ, as synthetic and real
images do, and neither looks at the class: the defects are drawn from a stream of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from weldgen.synthesis.render.bead import FRICTION_STIR, BeadSpec
from weldgen.synthesis.render.defect import DefectSpec
from weldgen.synthesis.render.defects import sample_defect
from weldgen.synthesis.render.draws import sample_bead
from weldgen.synthesis.render.light import CameraSpec, Lamp, LightSpec
from weldgen.synthesis.render.markings import Marking
from weldgen.synthesis.render.noise import Rng, stream
from weldgen.synthesis.render.surface import SurfaceSpec
from weldgen.synthesis.render.writing import sample_markings

Range = tuple[float, float]


@dataclass(frozen=True)
class Finish:
    """How a surface is welded.

    Attributes:
        beads: Weights of the kinds of bead.
        heats: Weights of the kinds of heat tint.
        level: Grey of the bead's metal, linear.
        film: How clearly tint can be seen: temper colours need a bright, smooth metal.
    """

    beads: Mapping[str, float]
    heats: Mapping[str, float]
    level: Range = (0.22, 0.48)
    film: float = 1.0


FINISHES: dict[str, Finish] = {
    "brushed": Finish(
        {"mig": 0.45, "tig": 0.45, "stick": 0.1}, {"mild": 0.5, "stainless": 0.4, "titanium": 0.1}, (0.34, 0.58)
    ),
    "ground": Finish({"mig": 0.6, "tig": 0.3, "stick": 0.1}, {"mild": 0.8, "stainless": 0.2}),
    "mill_scale": Finish({"mig": 0.75, "stick": 0.25}, {"scale": 0.7, "mild": 0.3}, film=0.7),
    "rusted": Finish({"mig": 0.65, "stick": 0.35}, {"scale": 0.8, "mild": 0.2}, film=0.7),
    "blasted": Finish({"mig": 0.85, "stick": 0.15}, {"scale": 0.8, "mild": 0.2}, film=0.7),
    "rolled": Finish({"tig": 0.5, "mig": 0.5}, {"mild": 0.6, "stainless": 0.33, "titanium": 0.07}, (0.34, 0.58)),
    "stainless": Finish({"tig": 0.7, "mig": 0.3}, {"stainless": 0.9, "titanium": 0.1}, (0.42, 0.62)),
    "aluminium": Finish({"tig": 0.5, "mig": 0.25, FRICTION_STIR: 0.25}, {"clean": 1.0}, (0.60, 0.80)),
    "galvanised": Finish({"mig": 0.9, "stick": 0.1}, {"zinc": 1.0}, (0.30, 0.52)),
    "painted": Finish({"mig": 0.6, "stick": 0.4}, {"paint": 1.0}),
}
_BENCHES = ((0.035, 0.035, 0.04), (0.10, 0.10, 0.105), (0.26, 0.17, 0.09), (0.34, 0.24, 0.14), (0.20, 0.21, 0.20))


@dataclass(frozen=True)
class SceneStyle:
    """Ranges from which scenes are drawn; a pair is the low and the high end of a uniform draw.

    Attributes:
        surfaces: Kind of surface -> weight.
        wear: Scratches and stains.
        beads: Kind of bead -> by how much it is met more often than on such surfaces in general; 1 where not named.
        bench_share: Share of pictures that show the plate's edges.
        lamps: Fewest and most lamps.
        elevation_deg: Lamps above the plate.
        power: Of the first lamp; others are weaker.
        lamp_size: 0 a point to 0.4 a window.
        warmth: Red over blue of the lamps.
        ambient: Light from everywhere.
        room_contrast: Liveliness of reflections.
        falloff: Unevenness of the light.
        roll_deg: Largest turn of the weld.
        tilt: Largest foreshortening.
        exposure: Mean brightness.
        contrast: 1 neutral.
        white_balance: Largest deviation of the red and blue gains.
        saturation: 1 neutral.
        blur_px: At 512 pixels.
        sharpen: The camera's own sharpening.
        noise: In 1/255 at mid grey.
        vignette: Darkening of the corners.
        depth_blur_px: At 512 pixels, of what is a tenth nearer or farther than the focus.
        jpeg_quality: Lowest and highest.
    """

    surfaces: Mapping[str, float] = field(
        default_factory=lambda: {
            "brushed": 0.8, "ground": 0.8, "mill_scale": 1.3, "rusted": 0.9, "blasted": 1.3, "rolled": 0.6,
            "stainless": 0.8, "aluminium": 0.8, "galvanised": 0.5, "painted": 0.6,
        }
    )  # fmt: skip
    wear: Range = (0.0, 0.8)
    beads: Mapping[str, float] = field(default_factory=dict)
    bench_share: float = 0.08
    lamps: tuple[int, int] = (1, 3)
    elevation_deg: Range = (28.0, 75.0)
    power: Range = (1.6, 3.6)
    lamp_size: Range = (0.03, 0.28)
    warmth: Range = (-0.06, 0.14)
    ambient: Range = (0.16, 0.50)
    room_contrast: Range = (0.25, 0.75)
    falloff: Range = (0.0, 0.28)
    roll_deg: float = 7.0
    tilt: float = 0.10
    exposure: Range = (0.40, 0.57)
    contrast: Range = (1.3, 2.3)
    white_balance: float = 0.05
    saturation: Range = (0.8, 1.2)
    blur_px: Range = (0.0, 0.8)
    sharpen: Range = (0.0, 0.9)
    noise: Range = (0.6, 4.5)
    vignette: Range = (0.0, 0.30)
    depth_blur_px: Range = (0.0, 1.2)
    jpeg_quality: tuple[int, int] = (72, 98)


SYNTHETIC = SceneStyle()
PHOTO = SceneStyle(
    surfaces={
        "mill_scale": 1.6, "rusted": 1.2, "rolled": 1.5, "brushed": 0.8, "blasted": 0.6, "stainless": 0.15,
        "aluminium": 0.15, "galvanised": 0.1, "painted": 0.1,
    },
    wear=(0.3, 1.0),
    beads={"stick": 0.3, FRICTION_STIR: 0.3},
    bench_share=0.45,
    elevation_deg=(20.0, 60.0),
    power=(1.6, 4.2),
    lamp_size=(0.04, 0.30),
    warmth=(0.0, 0.30),
    ambient=(0.16, 0.45),
    room_contrast=(0.35, 0.9),
    falloff=(0.05, 0.45),
    roll_deg=14.0,
    tilt=0.22,
    exposure=(0.30, 0.52),
    contrast=(1.2, 2.2),
    white_balance=0.12,
    saturation=(0.75, 1.2),
    blur_px=(0.2, 1.3),
    sharpen=(0.2, 1.6),
    noise=(2.0, 8.0),
    vignette=(0.05, 0.5),
    depth_blur_px=(0.0, 0.6),
    jpeg_quality=(70, 95),
)  # fmt: skip


@dataclass(frozen=True)
class WeldScene:
    """All that is in a picture but its size; the same scene gives the same picture.

    Attributes:
        seed: Seeds the grain of every part, each from a stream of its own.
        surface: Base metal.
        bead: The weld.
        defects: In the order in which they are applied.
        light: Lamps and surroundings.
        camera: Point of view and development.
        markings: Writing on the plate.
    """

    seed: int
    surface: SurfaceSpec
    bead: BeadSpec
    defects: tuple[DefectSpec, ...]
    light: LightSpec
    camera: CameraSpec
    markings: tuple[Marking, ...] = ()


def sample_scene(
    seed: int,
    defects: Sequence[tuple[str, float]] = (),
    aspect: float = 1.5,
    style: SceneStyle = SYNTHETIC,
    marked: bool = False,
) -> WeldScene:
    """Draw a scene.

    Args:
        seed: Of the scene; everything is drawn from it.
        defects: Kind and severity of each defect.
        aspect: Long over short side of the picture; long strips show a larger bead.
        style: Ranges.
        marked: Whether there is writing on the plate.
    """
    rng = stream(seed, "scene")
    surface_kind = _pick(rng, style.surfaces)
    bead = _bead_on(rng, surface_kind, aspect, style)
    on_bench = rng.random() < style.bench_share
    plate = None
    if on_bench:
        reach = max(abs(bead.start), abs(bead.end)) + bead.width
        plate = (reach * float(rng.uniform(1.0, 1.1)), bead.width * 0.6 + float(rng.uniform(0.30, 0.42)))
    bench = _BENCHES[int(rng.integers(len(_BENCHES)))]
    surface = SurfaceSpec(surface_kind, float(rng.uniform(*style.wear)), plate, bench)
    light, camera = _sample_light(rng, style), _sample_camera(rng, style)
    chosen = stream(seed, "defects")
    specs = tuple(sample_defect(kind, severity, chosen) for kind, severity in defects)
    markings = sample_markings(stream(seed, "markings"), bead, aspect, camera) if marked else ()
    return WeldScene(seed, surface, bead, specs, light, camera, markings)


def _bead_on(rng: Rng, surface: str, aspect: float, style: SceneStyle) -> BeadSpec:
    """Draw a bead of a kind that is met on a surface."""
    finish = FINISHES[surface]
    kind = _pick(rng, {kind: share * style.beads.get(kind, 1.0) for kind, share in finish.beads.items()})
    level = float(rng.uniform(*finish.level)) * (0.62 if kind == FRICTION_STIR else 1.0)  # wiped, not frozen: duller
    heats = {heat: share for heat, share in finish.heats.items() if heat != "titanium" or kind == "tig"}
    bead = sample_bead(rng, kind, _pick(rng, heats), aspect, level)
    return replace(bead, heat=replace(bead.heat, strength=finish.film * bead.heat.strength))


def _pick(rng: Rng, weights: Mapping[str, float]) -> str:
    """One of the keys, by weight."""
    shares = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=shares / shares.sum()))


def _sample_light(rng: Rng, style: SceneStyle) -> LightSpec:
    lamps = []
    azimuth = float(rng.uniform(0, 360))
    for index in range(int(rng.integers(style.lamps[0], style.lamps[1] + 1))):
        warmth = float(rng.uniform(*style.warmth))
        lamps.append(
            Lamp(
                azimuth_deg=azimuth + index * float(rng.uniform(70, 160)),
                elevation_deg=float(rng.uniform(*style.elevation_deg)),
                power=float(rng.uniform(*style.power)) * (1.0 if index == 0 else float(rng.uniform(0.2, 0.7))),
                colour=(1 + warmth, 1.0, 1 - warmth),
                size=float(rng.uniform(*style.lamp_size)),
            )
        )
    return LightSpec(
        lamps=tuple(lamps),
        ambient=float(rng.uniform(*style.ambient)),
        room_contrast=float(rng.uniform(*style.room_contrast)),
        falloff=float(rng.uniform(*style.falloff)),
    )


def _sample_camera(rng: Rng, style: SceneStyle) -> CameraSpec:
    # A camera errs along the colours of lamps and daylight, little between green and magenta.
    warmth = float(rng.uniform(-style.white_balance, style.white_balance))
    green = 0.3 * float(rng.uniform(-style.white_balance, style.white_balance))
    turned = 180.0 if rng.random() < 0.5 else 0.0
    return CameraSpec(
        roll_deg=turned + float(rng.uniform(-style.roll_deg, style.roll_deg)),
        tilt=(float(rng.uniform(-style.tilt, style.tilt)), float(rng.uniform(-style.tilt, style.tilt))),
        exposure=float(rng.uniform(*style.exposure)),
        contrast=float(rng.uniform(*style.contrast)),
        white_balance=(1 + warmth + green, 1 - warmth + green),
        saturation=float(rng.uniform(*style.saturation)),
        blur_px=float(rng.uniform(*style.blur_px)),
        sharpen=float(rng.uniform(*style.sharpen)),
        noise=float(rng.uniform(*style.noise)),
        vignette=float(rng.uniform(*style.vignette)),
        depth_blur_px=float(rng.uniform(*style.depth_blur_px)),
        focus=float(rng.uniform(-0.6, 0.6)),
        jpeg_quality=int(rng.integers(*style.jpeg_quality, endpoint=True)),
    )
