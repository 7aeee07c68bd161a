"""Pages are self-contained and say what they must."""

from __future__ import annotations

import re

import numpy as np
import pytest

from weldgen.data.mix import MixConfig, mix
from weldgen.report.page import Section, Table, picture, write_page
from weldgen.report.project import write_project_report
from weldgen.report.sheets import contact_sheet, fit, strip
from weldgen.report.stage import write_stage_report


def test_a_page_holds_everything_and_escapes_what_it_is_given(tmp_path, make_metal):
    section = Section(
        "A <b>title</b>",
        ["text"],
        ["look here"],
        [Table(("Class", "n"), [("good & bad", 3)])],
        [picture(make_metal(0), 'caption "quoted"')],
    )
    page = write_page(tmp_path / "report.html", "weldgen", "sub", [section]).read_text()
    assert "A &lt;b&gt;title&lt;/b&gt;" in page
    assert "good &amp; bad" in page
    assert "look here" in page
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    assert all(source.startswith("data:") for source in sources)


def test_fit_keeps_the_aspect_ratio():
    box = fit(np.zeros((10, 40, 3), np.uint8), 80, 60)
    dark = np.flatnonzero((box == 0).all(axis=2).any(axis=1))
    assert box.shape == (60, 80, 3)
    assert (dark[0], dark[-1]) == (20, 39)


def test_strips_and_sheets_have_the_size_of_their_parts(make_metal):
    images = [make_metal(seed, 60, 40) for seed in range(5)]
    assert strip(images[:3], 80).shape == (80, 3 * 120 + 2 * 6, 3)
    sheet = contact_sheet(images, columns=2, cell_px=60)
    assert sheet.shape == (3 * 46 - 6, 2 * 66 - 6, 3)


def test_stage_and_project_reports_are_made_from_the_folders_alone(class_folder, tmp_path):
    (class_folder / "good" / "broken.png").write_text("no image")
    mix(class_folder, tmp_path / "none", tmp_path / "mixed", MixConfig(real_ratio=1.0))
    page = write_stage_report("mix", tmp_path / "mixed").read_text()
    assert "Validation and test hold real photos only" in page
    assert "broken.png" in page
    whole = write_project_report(tmp_path, [("mix", tmp_path / "mixed"), ("train", tmp_path / "absent")]).read_text()
    assert "Dataset" in whole
    assert write_stage_report("ingest", tmp_path / "mixed") is None
    assert write_stage_report("mix", tmp_path / "absent") is None


@pytest.mark.parametrize("count", [1, 7])
def test_a_sheet_of_any_number_of_images(make_metal, count):
    assert contact_sheet([make_metal(i) for i in range(count)], columns=6, cell_px=48).ndim == 3
