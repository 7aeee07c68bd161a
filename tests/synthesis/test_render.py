from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from weldgen.errors import ConfigError
from weldgen.synthesis.render.defects import DEFECTS, IRREGULAR
from weldgen.synthesis.render.glyphs import GLYPHS, SIGNS
from weldgen.synthesis.render.markings import INKS, TOOLS, Marking
from weldgen.synthesis.render.photos import render_photo, render_photo_with_masks
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import PHOTO, SYNTHETIC, sample_scene
from weldgen.synthesis.render.writing import write_on

SIZE = (192, 128)


def test_a_seed_is_a_picture() -> None:
    scene = sample_scene(5, [("porosity", 0.6)])
    first, second = render_scene(scene, *SIZE), render_scene(scene, *SIZE)
    assert first.image.shape == (128, 192, 3) and first.image.dtype == np.uint8
    assert np.array_equal(first.image, second.image)
    other = render_scene(sample_scene(6, [("porosity", 0.6)]), *SIZE)
    assert np.abs(first.image.astype(int) - other.image).mean() > 5


@pytest.mark.parametrize("kind", [*DEFECTS, IRREGULAR])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_defect_changes_the_picture_inside_its_mask(kind: str, seed: int) -> None:
    scene = sample_scene(seed, [(kind, 0.7)])
    flawed = render_scene(scene, *SIZE)
    sound = render_scene(replace(scene, defects=()), *SIZE)
    mask = flawed.defect_masks[kind]
    assert set(np.unique(mask)) == {0, 255}
    change = np.abs(flawed.image.astype(int) - sound.image).mean(axis=2)
    inside, outside = change[mask > 0].mean(), change[mask == 0].mean()
    assert inside > 3 and inside > 1.5 * outside
    box = flawed.boxes[0]
    assert box.kind == kind and box.area_px == np.count_nonzero(mask) and box.box is not None
    rows, columns = np.nonzero(mask)
    assert box.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.mark.parametrize("kind", list(DEFECTS))
def test_severity_grows_the_defect(kind: str) -> None:
    def area(severity: float) -> int:
        return sum(
            np.count_nonzero(render_scene(sample_scene(seed, [(kind, severity)]), *SIZE).defect_masks[kind])
            for seed in range(6)
        )

    assert area(1.0) > 1.3 * area(0.2)


def test_several_defects_have_a_mask_each() -> None:
    render = render_scene(sample_scene(3, [("porosity", 0.5), ("undercut", 0.8)]), *SIZE)
    assert set(render.defect_masks) == {"porosity", "undercut"}
    assert [box.kind for box in render.boxes] == ["porosity", "undercut"]


def test_a_sound_weld_has_no_mask() -> None:
    render = render_scene(sample_scene(3), *SIZE)
    assert render.defect_masks == {} and render.boxes == () and not render.marking_mask.any()


@pytest.mark.parametrize("tool", list(TOOLS))
def test_ink_stays_inside_its_mask(tool: str) -> None:
    clean = sample_scene(11, style=PHOTO)
    writing = (Marking("A-17", -0.6, 0.32, 0.16, 3.0, tool, TOOLS[tool].inks[0]),)
    plain = render_scene(clean, 240, 160)
    marked = render_scene(replace(clean, markings=writing), 240, 160)
    mask = marked.marking_mask
    assert 100 < np.count_nonzero(mask) < 0.3 * mask.size
    assert np.array_equal(plain.image[mask == 0], marked.image[mask == 0])
    assert np.abs(plain.image[mask > 0].astype(int) - marked.image[mask > 0]).mean() > 4


def test_every_glyph_sign_and_ink_draws() -> None:
    clean = sample_scene(2)
    for text in [*filter(str.strip, GLYPHS), *SIGNS]:
        scene = replace(clean, markings=(Marking(text, -0.1, 0.3, 0.2, 0.0, "marker", "black"),))
        assert render_scene(scene, 96, 64).marking_mask.any(), text
    assert {ink for tool in TOOLS.values() for ink in tool.inks} == set(INKS)


@pytest.mark.parametrize("size", [(64, 64), (128, 40), (48, 96)])
def test_other_shapes(size: tuple[int, int]) -> None:
    aspect = max(size) / min(size)
    render = render_scene(sample_scene(9, [("porosity", 1.0)], aspect), *size)
    assert render.image.shape == (size[1], size[0], 3)
    assert render.defect_masks["porosity"].any()


def test_photos_are_marked_or_clean() -> None:
    marked = render_photo_with_masks(3, "bad", 192, 128, marked=True)
    clean = render_photo(3, "bad", 192, 128, marked=False)
    assert marked.marking_mask.any()
    outside = marked.marking_mask == 0
    assert np.array_equal(marked.image[outside], clean[outside])
    assert not np.array_equal(marked.image, clean)
    with pytest.raises(ConfigError, match="dandelion"):
        render_photo(3, "dandelion", 192, 128, marked=False)


def test_photos_are_drawn_differently_from_synthetic_images() -> None:
    def noise(style: object) -> float:
        return float(np.mean([sample_scene(seed, style=style).camera.noise for seed in range(40)]))  # type: ignore[arg-type]

    assert noise(PHOTO) > 1.3 * noise(SYNTHETIC)


def test_the_class_does_not_change_the_scene() -> None:
    sound, flawed = sample_scene(8), sample_scene(8, [("crack", 0.5)])
    assert replace(flawed, defects=()) == sound


def test_writing_drawn_on_a_picture_changes_it_where_the_mask_says() -> None:
    plate = np.full((240, 360, 3), 140, np.uint8)
    for seed in range(6):
        marked, ink = write_on(plate, seed)
        changed = (marked != plate).any(axis=2)
        assert 0.001 < ink.mean() < 0.4 and not changed[~ink].any()
        assert changed[ink].mean() > 0.5
        assert np.array_equal(marked, write_on(plate, seed)[0])
    assert not np.array_equal(write_on(plate, 0)[1], write_on(plate, 1)[1])
