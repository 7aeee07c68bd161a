"""Crops hold whole holes, and only pixels of holes change."""

from __future__ import annotations

import numpy as np

from weldgen.cleaning.crops import fill_holes, find_crops, paste


def white(images, masks):
    return [np.full_like(image, 255) for image in images]


def holes_at(*boxes, shape=(300, 500)):
    holes = np.zeros(shape, bool)
    for top, bottom, left, right in boxes:
        holes[top:bottom, left:right] = True
    return holes


def test_every_hole_lies_whole_in_one_crop_with_context():
    holes = holes_at((100, 140, 100, 180), (200, 230, 400, 470))
    crops = find_crops(holes, 32)
    assert len(crops) == 2
    covered = np.zeros(holes.shape, int)
    for crop in crops:
        rows, columns = crop.window
        assert rows.stop <= 300 and columns.stop <= 500
        covered[crop.window][crop.inner] += holes[crop.window][crop.inner]
    assert np.array_equal(covered, holes.astype(int))


def test_holes_that_nearly_touch_share_a_crop():
    assert len(find_crops(holes_at((100, 140, 100, 180), (100, 140, 184, 220)), 32)) == 1


def test_no_hole_no_crop():
    assert find_crops(np.zeros((50, 60), bool), 32) == []


def test_only_pixels_of_holes_change_and_all_of_them_are_filled(make_plate):
    image = make_plate(0, 500, 300)
    # the second hole reaches into the first one's context
    holes = holes_at((100, 140, 100, 180), (110, 150, 200, 260))
    seen = []

    def inpaint(images, masks):
        seen.extend(masks)
        return white(images, masks)

    result = fill_holes(image, holes, inpaint, 40, 0)
    assert (result[holes] == 255).all()
    assert np.array_equal(result[~holes], image[~holes])
    assert all(mask.any() for mask in seen)


def test_the_seam_is_blended_inside_the_hole_alone(make_plate):
    image = make_plate(0, 500, 300)
    hole = holes_at((100, 160, 100, 200))
    result = paste(image, np.full_like(image, 255), hole, 5)
    assert np.array_equal(result[~hole], image[~hole])
    assert (result[115:145, 115:185] == 255).all()
    assert result[100, 150, 0] < result[102, 150, 0] < result[104, 150, 0]


def test_the_photo_itself_is_not_written_to(make_plate):
    image = make_plate(0, 500, 300)
    before = image.copy()
    fill_holes(image, holes_at((10, 60, 10, 60)), white, 16, 3)
    assert np.array_equal(image, before)
