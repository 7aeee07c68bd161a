"""Make the pictures of the README and of docs/synth.md, from photos that the program rendered.

A photo with writing, before and after `weldgen clean`; and a photo of a sound weld with defects that `weldgen synth`
puts into it.

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
from weldgen.synthesis.render.shot import measure
from weldgen.synthesis.render.transplant import transplant

ASSETS = Path(__file__).parent.parent / "assets"
SEEDS = (3, derive_seed(2026, "demo", "good", 12))
WIDTH_PX, HEIGHT_PX = 960, 640


SOUND_SEED = derive_seed(2026, "demo", "good", 19)
PUT_IN = ([("porosity", 0.8)], [("burn_through", 0.7), ("crack", 0.6)], [("irregular", 0.8)])


def main() -> None:
    """Write the pictures into assets/."""
    clean()
    transplants()


def transplants() -> None:
    """A photo, and defects put into it."""
    photo = render_photo(SOUND_SEED, "good", WIDTH_PX, HEIGHT_PX, marked=False)
    shot = measure(photo, WIDTH_PX)
    made = [transplant(shot, seed, defects, (WIDTH_PX, HEIGHT_PX)) for seed, defects in enumerate(PUT_IN)]
    pictures = [photo, *(view.image for view in made if view is not None)]
    write_rgb(ASSETS / "transplants.jpg", np.concatenate([strip(pictures[at : at + 2], 300) for at in (0, 2)]))


def clean() -> None:
    """Two photos with writing, before and after."""
    cleaner = load_cleaner(CleanConfig())
    rows = []
    for seed in SEEDS:
        photo = render_photo(seed, "good", WIDTH_PX, HEIGHT_PX, marked=True)
        rows.append(strip([photo, cleaner.clean(photo).pixels], 360))
    write_rgb(ASSETS / "before_after.jpg", np.concatenate(rows))


if __name__ == "__main__":
    main()
