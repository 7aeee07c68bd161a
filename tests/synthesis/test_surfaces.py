"""Surfaces, kinds of bead, heat tints, residues and the camera of the renderer."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from weldgen.synthesis.render.bead import FRICTION_STIR, Bead, BeadSpec, HeatSpec, lay_bead
from weldgen.synthesis.render.draws import RANGES, sample_bead
from weldgen.synthesis.render.lens import compress, defocus, develop, focus
from weldgen.synthesis.render.light import normals
from weldgen.synthesis.render.material import Canvas, Material
from weldgen.synthesis.render.noise import fractal_noise, streaks, stream, value_noise
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import FINISHES, PHOTO, SYNTHETIC, sample_scene
from weldgen.synthesis.render.surface import SURFACES, SurfaceSpec, base_metal
from weldgen.synthesis.render.tints import BURNS, HEAT_COLOURS, heat, tint_table
from weldgen.synthesis.render.weld import BEADS, weld

SIZE = (192, 128)
CANVAS = Canvas(192, 128, 128.0, (0.0, 192.0))
RESIDUES = ("silica", "soot", "slag")


def plate(kind: str, seed: int = 1) -> Material:
    return base_metal(SurfaceSpec(kind, wear=0.0), CANVAS, stream(seed, "surface"))


def bead_of(kind: str, tint: str = "mild", seed: int = 1, level: float = 0.4) -> BeadSpec:
    spec = sample_bead(stream(seed, "bead"), kind, tint, 1.5, level)
    return replace(spec, start=-0.5, end=0.5, offset=0.0, silica=0.0, soot=0.0, slag=0.0)


def welded(spec: BeadSpec, surface: str = "rolled", seed: int = 1) -> tuple[Material, Bead]:
    bead = lay_bead(spec, CANVAS, stream(seed, "outline"))
    return weld(plate(surface), spec, bead, stream(seed, "weld")), bead


@pytest.mark.parametrize("kind", list(SURFACES))
def test_every_surface_renders(kind: str) -> None:
    style = replace(SYNTHETIC, surfaces={kind: 1.0}, bench_share=1.0)
    image = render_scene(sample_scene(1, style=style), *SIZE).image
    assert image.std() > 8 and 20 < image.mean() < 235


@pytest.mark.parametrize("kind", list(SURFACES))
def test_a_surface_is_valid_and_a_seed_is_a_surface(kind: str) -> None:
    first, second, other = plate(kind), plate(kind), plate(kind, seed=2)
    for name in ("height", "albedo", "roughness", "metallic"):
        plane = getattr(first, name)
        assert plane.dtype == np.float32 and np.isfinite(plane).all(), name
        assert np.array_equal(plane, getattr(second, name)), name
    assert first.albedo.min() > 0 and first.albedo.max() < 1.6
    assert first.roughness.min() >= 0.1 and first.roughness.max() <= 1
    assert np.abs(first.albedo - other.albedo).mean() > 0.002


def test_surfaces_differ_as_metals_do() -> None:
    def level(kind: str) -> float:
        return float(np.mean([plate(kind, seed).albedo.mean() for seed in range(4)]))

    assert level("galvanised") > 2 * level("mill_scale")
    assert level("aluminium") > level("stainless") > level("mill_scale")
    assert plate("painted").metallic.mean() < 0.1
    assert plate("stainless").metallic.mean() > 0.9
    cool = np.mean([plate("stainless", seed).albedo.mean(axis=(0, 1)) for seed in range(6)], axis=0)
    assert cool[2] > cool[0]
    rust = plate("rusted").albedo.mean(axis=(0, 1))
    assert rust[0] > 1.1 * rust[2]


def test_bright_metal_stays_brighter_than_scale_through_automatic_exposure() -> None:
    def mean(kind: str) -> float:
        scenes = [sample_scene(seed, style=replace(SYNTHETIC, surfaces={"mill_scale": 1.0})) for seed in range(4)]
        return float(
            np.mean([render_scene(replace(scene, surface=SurfaceSpec(kind)), *SIZE).image.mean() for scene in scenes])
        )

    assert mean("galvanised") > mean("mill_scale") + 8


def test_galvanised_has_crystals_and_paint_has_colours() -> None:
    shine = plate("galvanised").roughness
    steps = np.abs(np.diff(shine, axis=1))
    assert np.mean(steps < 0.002) > 0.25 and steps.max() > 0.02  # flat within a crystal, another one beside it
    hues = {
        round(colorsys.rgb_to_hsv(*plate("painted", seed).albedo.mean(axis=(0, 1)).tolist())[0], 1)
        for seed in range(12)
    }
    assert len(hues) >= 3


@pytest.mark.parametrize("kind", list(BEADS))
def test_every_kind_of_bead_renders(kind: str) -> None:
    scene = sample_scene(3)
    spec = replace(bead_of(kind), start=-0.4, end=0.4)
    image = render_scene(replace(scene, bead=spec), *SIZE).image
    bare = render_scene(replace(scene, bead=replace(spec, start=-9.0, end=-8.0)), *SIZE).image
    assert np.abs(image.astype(int) - bare).mean() > 2


def test_kinds_of_bead_have_ranges_and_surfaces_have_finishes() -> None:
    assert set(RANGES) == set(BEADS)
    assert set(FINISHES) == set(SURFACES)
    for finish in FINISHES.values():
        assert set(finish.beads) <= set(BEADS) and set(finish.heats) <= {*HEAT_COLOURS, *BURNS}
    assert set(SYNTHETIC.surfaces) == set(SURFACES)


def test_kinds_of_bead_have_the_relief_of_their_process() -> None:
    def relief(kind: str) -> float:
        material, bead = welded(bead_of(kind))
        inside = (bead.radius < 0.8) & (np.abs(np.arange(192)[None] - 96) < 30)
        return float(np.ptp(np.percentile(material.height[inside], [2, 98])) / bead.width_px)

    assert relief(FRICTION_STIR) < 0.03
    assert relief("tig") > 1.5 * relief(FRICTION_STIR)
    assert min(relief("mig"), relief("stick")) > relief("tig")


def test_friction_stir_has_a_keyhole_and_flash() -> None:
    material, bead = welded(bead_of(FRICTION_STIR), "aluminium")
    rows, columns = np.mgrid[:128, :192]
    away = np.hypot(columns - bead.end_px, rows - bead.axis[int(bead.end_px)])
    middle = (bead.radius < 0.5) & (np.abs(columns - 96) < 20)
    assert material.height[away < 0.1 * bead.width_px].mean() < material.height[middle].mean() - 2
    beyond = (bead.radius > 1.02) & (bead.radius < 1.12)
    assert material.height[beyond].max() > 1


def test_tig_ripples_are_more_regular_than_stick_ripples() -> None:
    def regularity(kind: str) -> float:
        """How much the height along the axis is like itself one ripple on: its autocorrelation."""
        found = []
        for seed in range(4):
            spec = replace(bead_of(kind, seed=seed), start=-1.5, end=1.5, wander=0.0, hump=0.0, orange_peel=0.0)
            canvas = Canvas(480, 96, 160.0, (0.0, 480.0))
            bead = lay_bead(spec, canvas, stream(seed, "outline"))
            flat = Material(*(np.zeros((96, 480, *tail), np.float32) for tail in ((), (3,), (), ())))
            line = weld(flat, spec, bead, stream(seed, "weld")).height[48] / bead.crown_px
            line = (line - cv2.GaussianBlur(line[None], (0, 0), 12)[0])[60:-60]
            alike = np.correlate(line, line, "full")[len(line) - 1 :]
            pitch_px = spec.ripple_pitch * bead.width_px
            found.append(alike[int(0.6 * pitch_px) : int(1.6 * pitch_px) + 2].max() / alike[0])
        return float(np.mean(found))

    assert regularity("tig") > 2 * regularity("stick")


@pytest.mark.parametrize("kind", [*HEAT_COLOURS, *BURNS])
def test_heat_changes_the_plate_beside_the_bead_most(kind: str) -> None:
    spec = bead_of("tig", kind)
    bead = lay_bead(spec, CANVAS, stream(1, "outline"))
    before = plate("rolled")
    after = heat(before, HeatSpec(kind, 0.6, 1.0), bead, stream(1, "heat"))
    change = np.abs(after.albedo - before.albedo).mean(axis=2)
    near, far = (bead.radius > 1.05) & (bead.radius < 1.5), bead.radius > 4
    assert change[near].mean() > 0.02 and change[near].mean() > 4 * change[far].mean()
    none = heat(before, HeatSpec(kind, 0.6, 0.0), bead, stream(1, "heat"))
    assert np.abs(none.albedo - before.albedo).mean() < 0.2 * change[near].mean()


def _hues(kind: str) -> tuple[list[float], list[float]]:
    """Hue in degrees and saturation of a tint from the cold end to the toe."""
    table = tint_table(kind)[::-1]
    found = [colorsys.rgb_to_hsv(*(min(1.0, float(v)) for v in row)) for row in table]
    return [360 * hue for hue, _, _ in found], [saturation for _, saturation, _ in found]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("mild", ["straw", "brown", "purple", "blue", "grey"]),
        ("stainless", ["straw", "brown", "purple", "blue", "grey"]),
        ("titanium", ["straw", "brown", "purple", "blue", "grey", "straw"]),  # the last is powder
    ],
)
def test_temper_colours_come_in_the_order_of_their_heat(kind: str, names: list[str]) -> None:
    def name(hue: float, saturation: float) -> str:
        if saturation < 0.15:
            return "grey"
        return {0: "brown", 1: "straw", 2: "green", 3: "blue", 4: "purple"}[
            0 if hue < 28 or hue > 330 else 1 if hue < 70 else 2 if hue < 190 else 3 if hue < 245 else 4
        ]

    seen: list[str] = []
    for step in (name(*pair) for pair in zip(*_hues(kind), strict=True)):
        if not seen or seen[-1] != step:
            seen.append(step)
    if seen[0] == "grey":  # bare metal, before the first film
        seen = seen[1:]
    assert "green" not in seen  # the film of these metals never looks green
    assert seen == names


def test_steel_and_stainless_end_dark_and_titanium_in_light_powder() -> None:
    assert tint_table("mild")[0].max() < 0.4 and tint_table("stainless")[0].max() < 0.3
    assert tint_table("titanium")[0].min() > 0.6
    assert np.ptp(tint_table("clean"), axis=1).max() < 0.05  # aluminium takes no colours


@pytest.mark.parametrize("residue", RESIDUES)
def test_residues_leave_their_mark_where_they_belong(residue: str) -> None:
    kind = {"silica": "mig", "soot": "mig", "slag": "stick"}[residue]
    spec = bead_of(kind)
    (clean, bead), (dirty, _) = welded(spec), welded(replace(spec, **{residue: 1.0}))
    change = np.abs(clean.albedo - dirty.albedo).mean(axis=2)
    on_bead, toes, beside = bead.radius < 0.8, np.abs(bead.radius - 1) < 0.15, (bead.radius > 1.3) & (bead.radius < 2)
    expected = {"silica": on_bead, "slag": toes, "soot": beside}[residue]
    rest = np.ones_like(expected) & ~expected
    assert change[expected].mean() > 0.004 and change[expected].mean() > 1.5 * change[rest].mean()


def test_residues_and_kinds_do_not_tell_the_class() -> None:
    for style in (SYNTHETIC, PHOTO):
        for seed in range(20):
            sound, flawed = sample_scene(seed, style=style), sample_scene(seed, [("porosity", 0.6)], style=style)
            assert sound.bead == flawed.bead and sound.surface == flawed.surface


def test_every_kind_and_tint_is_drawn_and_photos_draw_new_ones_rarely() -> None:
    def share(style: object, *kinds: str) -> float:
        beads = [sample_scene(seed, style=style).bead for seed in range(400)]  # type: ignore[arg-type]
        return float(np.mean([bead.kind in kinds for bead in beads]))

    beads = [sample_scene(seed).bead for seed in range(400)]
    assert {bead.kind for bead in beads} == set(BEADS)
    assert {bead.heat.kind for bead in beads} == {*HEAT_COLOURS, *BURNS}
    assert all(bead.kind == "tig" for bead in beads if bead.heat.kind == "titanium")
    assert all(any(getattr(bead, name) > 0 for bead in beads) for name in RESIDUES)
    assert 0.003 < share(SYNTHETIC, FRICTION_STIR) < 0.06
    assert share(PHOTO, FRICTION_STIR, "stick") < share(SYNTHETIC, FRICTION_STIR, "stick")


def test_depth_of_field_blurs_the_far_side_more() -> None:
    camera = replace(sample_scene(1).camera, tilt=(0.0, 0.2), depth_blur_px=1.5, focus=-1.0)
    grain = np.random.default_rng(0).random((128, 192, 3), dtype=np.float32)
    soft = focus(grain, camera, 512)
    near, far = soft[-24:].std(), soft[:24].std()  # the picture's lower side is nearer
    assert near > 0.7 * grain.std() and near > 1.5 * far
    other = focus(grain, replace(camera, focus=1.0), 512)
    assert other[:24].std() > 1.5 * other[-24:].std()
    assert np.array_equal(focus(grain, replace(camera, depth_blur_px=0.0), 512), grain)
    assert defocus(replace(camera, tilt=(0.0, 0.0), focus=0.0), 192, 128).max() == 0


def test_jpeg_changes_little_and_more_at_low_quality() -> None:
    image = render_scene(sample_scene(2), *SIZE).image
    camera = sample_scene(2).camera
    high, low = (compress(image, replace(camera, jpeg_quality=quality)) for quality in (98, 60))
    worse, better = np.abs(low.astype(int) - image).mean(), np.abs(high.astype(int) - image).mean()
    assert image.shape == low.shape and low.dtype == np.uint8
    assert 0 < better < worse < 12
    assert np.array_equal(low, compress(image, replace(camera, jpeg_quality=60)))


def test_white_balance_and_saturation_do_what_they_say() -> None:
    camera = replace(sample_scene(1).camera, white_balance=(1.0, 1.0), saturation=1.0)
    radiance = np.random.default_rng(0).uniform(0.1, 1.0, (64, 64, 3)).astype(np.float32)
    plain, warm = (develop(radiance, replace(camera, white_balance=gains)) for gains in ((1.0, 1.0), (1.2, 0.8)))
    assert warm[:, :, 0].mean() > plain[:, :, 0].mean() and warm[:, :, 2].mean() < plain[:, :, 2].mean()
    grey = develop(radiance, replace(camera, saturation=0.0))
    assert np.abs(np.diff(grey, axis=2)).max() < 1e-3 < np.abs(np.diff(plain, axis=2)).max()
    brighter = develop(radiance, replace(camera, exposure=camera.exposure + 0.1))
    assert brighter.mean() > plain.mean() and plain.min() >= 0 and plain.max() <= 1


def test_noise_fields_have_zero_mean_and_unit_deviation() -> None:
    shape = (160, 240)
    for make in (value_noise, fractal_noise):
        for cell_px in (2.0, 20.0, 70.0):
            planes = np.stack([make(np.random.default_rng(seed), shape, cell_px) for seed in range(12)])
            assert planes.shape == (12, *shape) and planes.dtype == np.float32
            assert abs(planes.mean()) < 0.35 and 0.6 < planes.std() < 1.5
    for angle in (0.0, 3.0, 90.0, -40.0):
        assert streaks(np.random.default_rng(1), shape, angle, 60.0).shape == shape
    _, down, _ = normals(streaks(np.random.default_rng(1), shape, 0.0, 60.0))
    along, _, _ = normals(streaks(np.random.default_rng(1), shape, 0.0, 60.0))
    assert np.abs(down).mean() > 5 * np.abs(along).mean()
