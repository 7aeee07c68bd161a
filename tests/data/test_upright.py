"""Turned rectangles are found, and cut out upright, without a pixel lost."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from weldgen.data.images import read_photo
from weldgen.data.upright import Rectangle, cut_upright, rectangle_around, upright


@pytest.mark.parametrize("turn_deg", [-89, -60, -45, -10, 0, 3.5, 45, 88, 90])
def test_the_rectangle_around_its_corners_is_itself(turn_deg):
    own = Rectangle(50, 40, 30, 8, turn_deg)
    found = rectangle_around(own.corners().tolist())
    np.testing.assert_allclose(found.corners(), own.corners(), atol=1e-3)
    assert found.turn_deg == pytest.approx(turn_deg, abs=0.01)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 1, 0, 3), (3, 2, 1, 0)])
def test_the_order_of_the_points_does_not_matter(order):
    corners = Rectangle(50, 40, 30, 8, 25).corners()
    found = rectangle_around(corners[list(order)].tolist())
    assert (found.length_px, found.breadth_px, found.turn_deg) == pytest.approx((30, 8, 25), abs=1e-3)


@pytest.mark.parametrize(("turn_deg", "least_deg"), [(80, -10), (30, 30), (-50, 40)])
def test_a_nearly_square_one_is_turned_as_little_as_possible(turn_deg, least_deg):
    own = Rectangle(50, 40, 20, 19, turn_deg)
    found = rectangle_around(own.corners().tolist())
    assert found.turn_deg == pytest.approx(least_deg, abs=0.01)
    assert (found.length_px, found.breadth_px) == pytest.approx(
        (20, 19) if turn_deg == least_deg else (19, 20), abs=0.01
    )


def test_points_on_a_line_are_refused():
    with pytest.raises(ValueError, match="line"):
        rectangle_around([(0, 0), (5, 5), (10, 10)])


def test_points_of_the_photo_are_found_on_the_upright_picture():
    own = Rectangle(50, 40, 30, 8, 25)
    np.testing.assert_allclose(own.inside(own.corners()), [[0, 0], [30, 0], [30, 8], [0, 8]], atol=1e-9)
    np.testing.assert_allclose(own.inside([(50, 40)]), [[15, 4]])


def test_a_margin_is_a_share_of_the_longer_side_all_around():
    grown = Rectangle(0, 0, 40, 10, 30).grown(0.1)
    assert (grown.length_px, grown.breadth_px) == (48, 18)


def test_level_and_quarter_turned_rectangles_are_cut_to_the_pixel(make_metal):
    image = make_metal(1)
    np.testing.assert_array_equal(upright(image, Rectangle(40, 30, 20, 10, 0)), image[25:35, 30:50])
    # what points down on the photo points right once it is upright: the photo turned against the clock
    np.testing.assert_array_equal(upright(image, Rectangle(40, 30, 20, 10, 90)), np.rot90(image[20:40, 35:45]))


def test_a_turned_picture_comes_back_upright():
    ramp = np.tile(np.linspace(0, 250, 60), (20, 1)).astype(np.uint8)  # grows to the right
    tilted = np.asarray(Image.fromarray(np.pad(ramp, 40)).rotate(-30, Image.Resampling.BICUBIC))  # clockwise
    back = upright(tilted, Rectangle(70, 50, 60, 20, 30))
    assert back.shape == (20, 60)
    np.testing.assert_allclose(back[3:-3, 3:-3].astype(int), ramp[3:-3, 3:-3].astype(int), atol=4)


def test_beyond_the_photo_its_edge_goes_on():
    image = np.zeros((40, 40), np.uint16)
    image[:, :5] = 50_000
    cut = upright(image, Rectangle(0, 20, 20, 10, 0))
    assert cut.dtype == np.uint16
    assert (cut[:, :14] == 50_000).all()


@pytest.mark.parametrize(("mode", "turn_deg"), [("RGBA", 30), ("I;16", -40), ("L", 10)])
def test_depth_and_alpha_survive(tmp_path, make_metal, mode, turn_deg):
    pixels = make_metal(2)
    deep = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 200)
    (deep if mode == "I;16" else Image.fromarray(pixels).convert(mode)).save(tmp_path / "x.png")
    photo = read_photo(tmp_path / "x.png")
    (tmp_path / "cut.png").write_bytes(cut_upright(photo, Rectangle(48, 32, 30, 18, turn_deg)))
    made = read_photo(tmp_path / "cut.png")
    assert (made.mode, made.pixels.shape) == (photo.mode, (18, 30, 3))
    np.testing.assert_array_equal(made.native, upright(photo.native, Rectangle(48, 32, 30, 18, turn_deg)))


def test_a_jpeg_stays_one(tmp_path, make_metal):
    Image.fromarray(make_metal(3)).save(tmp_path / "x.jpg", quality=60)
    data = cut_upright(read_photo(tmp_path / "x.jpg"), Rectangle(48, 32, 30, 12, 45))
    with Image.open(io.BytesIO(data)) as made:
        assert (made.format, made.size) == ("JPEG", (30, 12))
