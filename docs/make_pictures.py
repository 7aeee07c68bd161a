"""Make the pictures of the README: a rendered weld photo with writing, before and after `weldgen clean`.

python docs/make_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from weldgen.cleaning.photos import load_cleaner
from weldgen.cleaning.settings import CleanConfig
from weldgen.data.images import write_rgb
from weldgen.report.sheets import strip
from weldgen.runtime import derive_seed
from weldgen.synthesis.render.photos import render_photo

ASSETS = Path(__file__).parent.parent / "assets"
SEEDS = (3, derive_seed(2026, "demo", "good", 12))
WIDTH_PX, HEIGHT_PX = 960, 640


def main() -> None:
    """Write the pictures into assets/."""
    cleaner = load_cleaner(CleanConfig())
    rows = []
    for seed in SEEDS:
        photo = render_photo(seed, "good", WIDTH_PX, HEIGHT_PX, marked=True)
        rows.append(strip([photo, cleaner.clean(photo).pixels], 360))
    write_rgb(ASSETS / "before_after.jpg", np.concatenate(rows))


if __name__ == "__main__":
    main()
