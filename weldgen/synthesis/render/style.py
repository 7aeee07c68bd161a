"""How scenes are drawn: the ranges of everything that varies, and the sampler.

Two styles ship. `SYNTHETIC` is what the generator makes: all surfaces, sober light, a camera above the plate.
`PHOTO` plays real shop-floor photos (the demo's stand-in for a user's data): other shares of surfaces, plates on a
bench, harder and warmer light, more tilt, more blur and noise. The two overlap but differ, as synthetic and real
images do, and neither looks at the class: the defects are drawn from a stream of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from weldgen.synthesis.render.bead import BeadSpec, HeatSpec
from weldgen.synthesis.render.defect import DefectSpec
from weldgen.synthesis.render.defects import sample_defect
from weldgen.synthesis.render.light import CameraSpec, Lamp, LightSpec
from weldgen.synthesis.render.markings import Marking
from weldgen.synthesis.render.noise import Rng, stream
from weldgen.synthesis.render.surface import SurfaceSpec
from weldgen.synthesis.render.writing import sample_markings

Range = tuple[float, float]

# Surfaces on which TIG beads and clean or stainless tints belong.
_BRIGHT = ("brushed", "ground", "rolled")
_BENCHES = ((0.035, 0.035, 0.04), (0.10, 0.10, 0.105), (0.26, 0.17, 0.09), (0.34, 0.24, 0.14), (0.20, 0.21, 0.20))


@dataclass(frozen=True)
class SceneStyle:
    """Ranges from which scenes are drawn; a pair is the low and the high end of a uniform draw.

    Attributes:
        surfaces: Kind of surface -> weight.
        wear: Scratches and stains.
        tig_share: Share of TIG beads on bright surfaces.
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
    """

    surfaces: Mapping[str, float] = field(
        default_factory=lambda: {
            "brushed": 1.0, "ground": 1.0, "mill_scale": 1.3, "rusted": 0.9, "blasted": 1.3, "rolled": 0.8,
        }
    )  # fmt: skip
    wear: Range = (0.0, 0.8)
    tig_share: float = 0.5
    bench_share: float = 0.08
    lamps: tuple[int, int] = (1, 3)
    elevation_deg: Range = (28.0, 75.0)
    power: Range = (1.6, 3.6)
    lamp_size: Range = (0.06, 0.40)
    warmth: Range = (-0.06, 0.14)
    ambient: Range = (0.22, 0.60)
    room_contrast: Range = (0.25, 0.75)
    falloff: Range = (0.0, 0.28)
    roll_deg: float = 7.0
    tilt: float = 0.10
    exposure: Range = (0.36, 0.55)
    contrast: Range = (1.0, 1.9)
    white_balance: float = 0.07
    saturation: Range = (0.8, 1.2)
    blur_px: Range = (0.0, 0.8)
    sharpen: Range = (0.0, 0.9)
    noise: Range = (0.6, 4.5)
    vignette: Range = (0.0, 0.30)


SYNTHETIC = SceneStyle()
PHOTO = SceneStyle(
    surfaces={"mill_scale": 1.6, "rusted": 1.2, "rolled": 1.6, "brushed": 0.8, "blasted": 0.6},
    wear=(0.3, 1.0),
    tig_share=0.35,
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
    contrast=(1.0, 2.0),
    white_balance=0.12,
    saturation=(0.75, 1.2),
    blur_px=(0.2, 1.3),
    sharpen=(0.2, 1.6),
    noise=(2.0, 8.0),
    vignette=(0.05, 0.5),
)


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
    kinds = list(style.surfaces)
    weights = np.array([style.surfaces[kind] for kind in kinds])
    surface_kind = str(rng.choice(kinds, p=weights / weights.sum()))
    bead = _sample_bead(rng, surface_kind, aspect, style)
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


def _sample_bead(rng: Rng, surface: str, aspect: float, style: SceneStyle) -> BeadSpec:
    bright = surface in _BRIGHT
    kind = "tig" if bright and rng.random() < style.tig_share else "mig"
    width = (0.13 + 0.07 * (aspect - 1)) * float(rng.uniform(0.9, 1.6))
    half = 0.5 * aspect
    if rng.random() < 0.75:
        ends = [-half * float(rng.uniform(0.62, 0.92)), half * float(rng.uniform(0.62, 0.92))]
    else:  # the weld runs out of the picture on one side or on both
        ends = [-half * 1.3, half * 1.3]
        if rng.random() < 0.6:
            side = int(rng.integers(0, 2))
            ends[side] = (2 * side - 1) * half * float(rng.uniform(0.45, 0.9))
    level = float(rng.uniform(0.30, 0.56))
    cold = float(rng.normal(0.0, 0.05))
    tig = kind == "tig"
    heat = str(rng.choice(["stainless", "clean", "mild"] if bright else ["mild", "scale", "scale"]))
    return BeadSpec(
        kind=kind,
        start=ends[0],
        end=ends[1],
        offset=float(rng.normal(0, 0.05)),
        width=width,
        crown=float(rng.uniform(0.10, 0.18) if tig else rng.uniform(0.16, 0.32)),
        sharpness=float(rng.uniform(0.65, 1.1)),
        ripple_pitch=float(rng.uniform(0.16, 0.34) if tig else rng.uniform(0.07, 0.15)),
        ripple_depth=float(rng.uniform(0.05, 0.13) if tig else rng.uniform(0.006, 0.022)),
        ripple_curvature=float(rng.uniform(0.35, 0.75) * rng.choice([-1, 1])),
        ripple_jitter=float(rng.uniform(0.05, 0.20) if tig else rng.uniform(0.2, 0.5)),
        wander=float(rng.uniform(0.005, 0.03)),
        width_variation=float(rng.uniform(0.01, 0.04)),
        edge_roughness=float(rng.uniform(0.004, 0.010) if tig else rng.uniform(0.006, 0.020)),
        hump=float(rng.uniform(0.01, 0.08)),
        crater=float(rng.uniform(0.10, 0.55)),
        colour=(level * (1 - cold), level, level * (1 + cold)),
        tint=float(rng.uniform(0.0, 0.8)) if bright and heat == "stainless" else 0.0,
        roughness=float(rng.uniform(0.26, 0.42) if tig else rng.uniform(0.32, 0.52)),
        orange_peel=float(rng.uniform(0.001, 0.003) if tig else rng.uniform(0.003, 0.008)),
        heat=HeatSpec(heat, float(rng.uniform(0.35, 1.2)), float(rng.uniform(0.35, 1.0))),
    )


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
    turned = 180.0 if rng.random() < 0.5 else 0.0
    return CameraSpec(
        roll_deg=turned + float(rng.uniform(-style.roll_deg, style.roll_deg)),
        tilt=(float(rng.uniform(-style.tilt, style.tilt)), float(rng.uniform(-style.tilt, style.tilt))),
        exposure=float(rng.uniform(*style.exposure)),
        contrast=float(rng.uniform(*style.contrast)),
        white_balance=(
            1 + float(rng.uniform(-style.white_balance, style.white_balance)),
            1 + float(rng.uniform(-style.white_balance, style.white_balance)),
        ),
        saturation=float(rng.uniform(*style.saturation)),
        blur_px=float(rng.uniform(*style.blur_px)),
        sharpen=float(rng.uniform(*style.sharpen)),
        noise=float(rng.uniform(*style.noise)),
        vignette=float(rng.uniform(*style.vignette)),
    )
