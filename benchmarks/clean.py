"""Clean rendered photos whose clean state is known, and measure what is left and how good the fill is.

Either every photo is rendered twice from one seed, with and without writing, or writing is drawn on given clean images
(`--clean FOLDER`): the truth under the ink is exact. Compared are the inpainters that are present, each behind the
whole `clean` step, and the plain chain of published scripts: EasyOCR's `readtext` at its defaults, boxes, 30 px
dilation, OpenCV's Telea on the whole photo.

    python benchmarks/clean.py [--photos 6] [--clean FOLDER] [--backend texture] [--lpips WEIGHTS] [--sheet FILE.jpg]
    python benchmarks/clean.py --clean FOLDER --fonts FOLDER [...]
    python benchmarks/clean.py --marked FOLDER [--backend texture]

The ink network learned from the renderer's letters, with which `--clean` writes too; `--fonts` writes with others.

PSNR and texture (local deviation of grey against the truth's; 1 is right) are taken over the writing and 24 px around
it on a photo of 1500 px, the same for all; `outside` is the share of pixels beyond that which changed. LPIPS (Zhang et
al. 2018) needs AlexNet's convolutions in torchvision's format; without the file it is left out. Where images are
given, `false` is the share of pixels that are masked on them without writing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from weldgen.cleaning.inpainters import INPAINTERS
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.photos import load_cleaner
from weldgen.cleaning.scale import scaled_px
from weldgen.cleaning.settings import CleanConfig, InpaintConfig
from weldgen.data.images import is_image_name, read_rgb, write_rgb
from weldgen.errors import BackendError
from weldgen.report.sheets import strip
from weldgen.runtime import evenly
from weldgen.synthesis.render.photos import render_photo_with_masks
from weldgen.synthesis.render.writing import write_on

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.parts.hands import write_by_hand

WIDTH_PX, HEIGHT_PX = 1200, 800
PLAIN = "plain chain"
# Photos that weldgen cleans at the same time.
AT_ONCE = 2
RGB = np.ndarray
# Around the writing, on a photo of 1500 px: PSNR and texture are measured there.
_MARGIN_PX = 24


@dataclass(frozen=True)
class Case:
    """A photo with writing, the same photo without, and where the ink is, (H, W) bool."""

    marked: RGB
    truth: RGB
    ink: np.ndarray


def cases(count: int) -> list[Case]:
    found = []
    seed = 0
    while len(found) < count:
        seed += 1
        label = ("good", "bad")[seed % 2]
        marked = render_photo_with_masks(seed, label, WIDTH_PX, HEIGHT_PX, marked=True)
        truth = render_photo_with_masks(seed, label, WIDTH_PX, HEIGHT_PX, marked=False)
        ink = marked.marking_mask > 0
        if ink.mean() > 0.002:
            found.append(Case(marked.image, truth.image, ink))
    return found


def given_cases(folder: Path, count: int, first_seed: int, fonts: Sequence[Path] = ()) -> list[Case]:
    """Writing drawn on clean images, evenly chosen from a folder: with the renderer's letters, or in given fonts."""
    paths = evenly(sorted(path for path in folder.rglob("*") if is_image_name(path)), count)
    found = []
    for seed, path in enumerate(paths, first_seed):
        truth = read_rgb(path)
        marked, ink = write_by_hand(truth, seed, fonts) if fonts else write_on(truth, seed)
        found.append(Case(marked, truth, ink))
    return found


def load_lpips(weights: Path) -> Callable[[RGB, RGB], float]:
    """LPIPS of a whole picture, from AlexNet's convolutions as torchvision names them."""
    import torch
    from torchmetrics.functional.image.lpips import _LPIPS

    network = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    own = network.net.state_dict()  # "slice2.3.weight" of torchvision's "features.3.weight"
    given = {key.removeprefix("features."): value for key, value in torch.load(weights, weights_only=True).items()}
    network.net.load_state_dict({key: given[key.partition(".")[2]] for key in own})

    def lpips(result: RGB, truth: RGB) -> float:
        pair = [torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1 for image in (result, truth)]
        with torch.inference_mode():
            return float(network(*pair))

    return lpips


def load_reader() -> Any:
    import easyocr

    from weldgen.weights import require

    return easyocr.Reader(
        ["en"], gpu=False, verbose=False, download_enabled=False, quantize=False,
        model_storage_directory=str(require("craft").parent),
    )  # fmt: skip


def plain_chain(reader: Any) -> Callable[[RGB], tuple[RGB, np.ndarray]]:
    """EasyOCR's `readtext`, which also reads what it finds, as published scripts call it; boxes; Telea."""
    return chain_of(lambda image: [polygon for polygon, _, _ in reader.readtext(image)])


def found_only(reader: Any) -> Callable[[RGB], tuple[RGB, np.ndarray]]:
    """The same without reading what was found: nothing but the seconds differs, nearly."""

    def polygons(image: RGB) -> list[Any]:
        boxes, free = reader.detect(image)
        corners = [
            [(left, top), (right, top), (right, bottom), (left, bottom)] for left, right, top, bottom in boxes[0]
        ]
        return [*corners, *free[0]]

    return chain_of(polygons)


def chain_of(find: Callable[[RGB], list[Any]]) -> Callable[[RGB], tuple[RGB, np.ndarray]]:
    def clean(image: RGB) -> tuple[RGB, np.ndarray]:
        mask = np.zeros(image.shape[:2], np.uint8)
        for polygon in find(image):
            cv2.fillPoly(mask, [np.array(polygon, np.int32)], 255)
        mask = cv2.dilate(mask, np.ones((61, 61), np.uint8))
        filled = cv2.inpaint(image[:, :, ::-1].copy(), mask, 3, cv2.INPAINT_TELEA)[:, :, ::-1]
        return np.ascontiguousarray(filled), mask > 0

    return clean


def ours(backend: str) -> Callable[[RGB], tuple[RGB, np.ndarray]]:
    cleaner = load_cleaner(CleanConfig(inpaint=InpaintConfig(backend=backend)))

    def clean(image: RGB) -> tuple[RGB, np.ndarray]:
        cleaned = cleaner.clean(image)
        return cleaned.pixels, cleaned.holes > 0

    return clean


def ink_left(case: Case, result: RGB) -> tuple[int, int]:
    """Pixels of visible ink that are still at least half as far from the truth as the ink was, and all of them.

    Compared are tones, not pixels: another grain than the true one, which no method can know, is no ink.
    """

    def tone(image: RGB) -> np.ndarray:
        difference = cv2.GaussianBlur(image.astype(np.float32) - case.truth, (0, 0), 3.0)
        return np.abs(difference).sum(axis=2)[case.ink]

    before = tone(case.marked)
    visible = before > 30
    return int((tone(result) > before / 2)[visible].sum()), int(visible.sum())


def items_found(reader: Any, image: RGB, ink: np.ndarray) -> int:
    """Regions that EasyOCR at its default thresholds finds where there was ink."""
    level, tilted = reader.detect(image)
    boxes = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)] for x0, x1, y0, y1 in level[0]] + list(tilted[0])
    found = 0
    for box in boxes:
        inside = np.zeros(ink.shape, np.uint8)
        cv2.fillPoly(inside, [np.array(box, np.int32)], 1)
        found += bool(ink[inside > 0].sum() > 0.02 * inside.sum())
    return found


def psnr_in(hole: np.ndarray, result: RGB, truth: RGB) -> float:
    error = ((result[hole].astype(float) - truth[hole]) ** 2).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def texture_ratio(hole: np.ndarray, result: RGB, truth: RGB) -> float:
    """Mean local deviation of grey values in the hole, relative to the truth's there; 1 is right, less is blurred."""

    def local_std(image: RGB) -> np.ndarray:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        mean = cv2.blur(grey, (7, 7))
        return np.sqrt(np.maximum(cv2.blur(grey * grey, (7, 7)) - mean * mean, 0))

    return float(local_std(result)[hole].mean() / local_std(truth)[hole].mean())


def timed(
    clean: Callable[[RGB], tuple[RGB, np.ndarray]], photos: Sequence[RGB], at_once: int
) -> tuple[list[tuple[RGB, np.ndarray]], float]:
    """What comes of photos, and seconds a photo; models are loaded and warm."""
    clean(photos[0])
    threads = cv2.getNumThreads()
    cv2.setNumThreads(max(1, threads // at_once))
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        cleaned = list(pool.map(clean, photos))
    seconds = (time.perf_counter() - started) / len(photos)
    cv2.setNumThreads(threads)
    return cleaned, seconds


def compare_marked(folder: Path, backends: Sequence[str]) -> None:
    """Speed on given photos with writing, and what EasyOCR at its defaults still finds anywhere on them."""
    photos = [read_rgb(path) for path in sorted(folder.rglob("*")) if is_image_name(path)]
    reader = load_reader()
    everywhere = [np.ones(photo.shape[:2], bool) for photo in photos]

    def left(results: Sequence[RGB]) -> int:
        return sum(items_found(reader, result, ink) for result, ink in zip(results, everywhere, strict=True))

    print(f"{len(photos)} photos of {folder.name}; EasyOCR finds {left(photos)} items on them")
    plain, plain_seconds = timed(plain_chain(reader), photos, 1)
    print(f"{PLAIN:12} {plain_seconds:6.2f} s/photo, {left([photo for photo, _ in plain])} items left")
    _, found_seconds = timed(found_only(reader), photos, 1)
    print(f"{'  unread':12} {found_seconds:6.2f} s/photo: the same, told not to read what it finds")
    for backend in backends:
        cleaned, seconds = timed(ours(backend), photos, AT_ONCE)
        items = left([photo for photo, _ in cleaned])
        print(
            f"{backend:12} {seconds:6.2f} s/photo, {items} items left, {plain_seconds / seconds:.1f} x the speed "
            f"({found_seconds / seconds:.1f} x the unread)"
        )


def measure(
    name: str,
    clean: Callable[[RGB], tuple[RGB, np.ndarray]],
    photos: list[Case],
    reader: Any,
    lpips: Callable[[RGB, RGB], float] | None,
    given: bool,
) -> tuple[str, float, list[RGB]]:
    cleaned, seconds = timed(clean, [case.marked for case in photos], 1 if name == PLAIN else AT_ONCE)
    rows, results = [], [result for result, _ in cleaned]
    for case, (result, hole) in zip(photos, cleaned, strict=True):
        # the same region for all: the writing, and the margin that the plain chain is asked for
        where = dilate(case.ink, scaled_px(_MARGIN_PX, case.ink.shape))
        outside = (np.abs(result.astype(int) - case.marked).max(axis=2) > 2) & ~where
        rows.append(
            (
                *ink_left(case, result),
                items_found(reader, result, case.ink),
                psnr_in(where, result, case.truth),
                texture_ratio(where, result, case.truth),
                hole.mean(),
                outside.mean(),
                lpips(result, case.truth) if lpips else np.nan,
                clean(case.truth)[1].mean() if given else np.nan,
            )
        )
    left, ink, items, psnr, texture, masked, outside, distance, false = np.mean(rows, axis=0)
    line = f"{name:16} {left / ink:8.1%} {items:8.1f} {psnr:8.1f} {distance:8.4f} {texture:8.2f} {masked:8.1%}"
    return f"{line} {outside:8.2%} {false:8.3%} {seconds:8.2f}", seconds, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=6)
    parser.add_argument("--sheet", type=Path, help="write before / results / truth of each photo to this file")
    parser.add_argument("--clean", type=Path, help="folder of images without writing, on which it is drawn")
    parser.add_argument("--seed", type=int, default=0, help="other writing on the images of --clean")
    parser.add_argument("--fonts", type=Path, help="folder of fonts (.ttf, .otf, .woff) to write with on them")
    parser.add_argument("--backend", choices=INPAINTERS, action="append", help="these inpainters only")
    parser.add_argument("--lpips", type=Path, help="AlexNet's convolutions, torchvision's format")
    parser.add_argument("--marked", type=Path, help="folder of photos with writing: speed, and items left")
    options = parser.parse_args()
    if options.marked:
        return compare_marked(options.marked, options.backend or ["texture"])
    if options.fonts and not options.clean:
        parser.error("--fonts writes on the images of --clean FOLDER")
    if options.clean:
        files = sorted(options.fonts.iterdir()) if options.fonts else []
        fonts = [file for file in files if file.suffix in (".ttf", ".otf", ".woff")]
        if options.fonts and not fonts:
            parser.error(f"{options.fonts} holds no font (.ttf, .otf, .woff)")
        photos = given_cases(options.clean, options.photos, options.seed, fonts)
        print(f"writing drawn on {len(photos)} images of {options.clean.name}")
    else:
        photos = cases(options.photos)
        print(f"{len(photos)} rendered photos of {WIDTH_PX} x {HEIGHT_PX} px; the truth under the ink is known")
    common = photos, load_reader(), load_lpips(options.lpips) if options.lpips else None, bool(options.clean)
    reader = common[1]
    found = np.mean([items_found(reader, case.marked, case.ink) for case in photos])
    print(f"EasyOCR finds {found:.1f} items a photo in them; `items` is what it still finds")
    titles = ("ink left", "items", "PSNR dB", "LPIPS", "texture", "masked", "outside", "false", "s/photo")
    print(" " * 16 + "".join(f" {title:>8}" for title in titles))
    line, plain_seconds, plain_results = measure(PLAIN, plain_chain(reader), *common)
    print(line)
    columns = [plain_results]
    for backend in options.backend or INPAINTERS:
        try:
            clean = ours(backend)
        except BackendError as error:
            print(f"{backend:16} not here: {error.message}")
            continue
        line, seconds, results = measure(backend, clean, *common)
        columns.append(results)
        print(f"{line}   {plain_seconds / seconds:.1f} x the plain chain's speed")
    if options.sheet:
        rows = [strip([c.marked, *(r[i] for r in columns), c.truth], 300) for i, c in enumerate(photos)]
        most = max(row.shape[1] for row in rows)
        write_rgb(
            options.sheet, np.concatenate([np.pad(row, ((0, 0), (0, most - row.shape[1]), (0, 0))) for row in rows])
        )


if __name__ == "__main__":
    main()
