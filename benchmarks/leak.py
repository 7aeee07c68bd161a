"""Does a classifier go by what is written on the plates? Photos as they are against cleaned ones, plates left out.

For each of the two it prints the balanced accuracy on plates that no training saw, how much of the evidence for the
answers lies on the writing (HiResCAM), and how often an answer changes when a plate bears the writing of a plate of the
other class and, as a control, that of another plate of its own class. Cleaned photos are cleaned after the swap.

    python benchmarks/leak.py [--plates 24] [--pictures FOLDER] [train settings ...]
    python benchmarks/leak.py --photos FOLDER [--groups PATTERN] [--marks FOLDER] [--sound good] [--objects remove]
        [train settings ...]

Without photos it renders plates on which their number is written and behind it the class's code, as in many shops.
FOLDER holds a folder a class, all but `--sound` taken for bad, with a printed run number on each plate; PATTERN is a
regular expression whose first group is the plate in a file's name. With `--marks`, a folder of YOLO label files of the
photos' names with the welds, a third side is asked: the weld alone, which a locator that learned from the marks of
other plates has cut out of the photo, then cleaned. It loses where cleaned photos are judged worse, or where answers
about them still follow the writing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from weldgen.classifier.evidence import Looker, evidence_ratio, map_on_photo, open_looker, share_on
from weldgen.classifier.fold_stats import group_bootstrap
from weldgen.classifier.scoring import Scorer, open_scorer
from weldgen.cli import app
from weldgen.cli.frame import EXIT_PARTIAL
from weldgen.data.images import read_rgb, shrink, write_rgb
from weldgen.report.evidence import overlay
from weldgen.report.sheets import strip

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.parts.leak_photos import (
    BAD,
    SOUND,
    Photo,
    find_stickers,
    halves_of,
    link_marks,
    link_photos,
    plate_of,
    render_plates,
    swap_stickers,
)

# Each plate is left out once; a class of fewer plates has one left out at a time.
FOLDS = 10
WORDS = ("training.method=linear", "data.image_size=320", "split.val=0.15")
AS_THEY_ARE, CLEANED, CUT_OUT = "as they are", "cleaned", "cut out and cleaned"
# A weld that was cut out has fewer pixels than its photo: about its own number, for more would only be blur.
EXTRA = {CUT_OUT: ("data.image_size=224",)}
OTHER, SAME = "other", "same"
SHOWN, SHOWN_PX = 3, 220


@dataclass(frozen=True)
class Sight:
    """What a model that never saw the plate said of one photo.

    Attributes:
        photo: The photo.
        answer: Of the photo.
        swapped: Answers with other writing, by `OTHER` and `SAME`.
        shares: Shares of the evidence and of the area on the writing; None where there is no evidence.
    """

    photo: Photo
    answer: str
    swapped: Mapping[str, str]
    shares: tuple[float, float] | None


def weldgen(*words: str) -> None:
    run = CliRunner().invoke(app, words)
    if run.exit_code and (words[0], run.exit_code) != ("locate", EXIT_PARTIAL):  # photos without a weld are left out
        raise SystemExit(f"weldgen {' '.join(words)} ended with {run.exit_code}\n{run.output}")


def take_photos(source: Path, sound: str, root: Path) -> None:
    """Links to photos in two classes."""
    for path in sorted(p for p in source.glob("*/*") if p.is_file()):
        label = SOUND if path.parent.name == sound else BAD
        (root / label).mkdir(parents=True, exist_ok=True)
        if not (root / label / path.name).exists():
            (root / label / path.name).symlink_to(path.resolve())


def cut_out(root: Path, photos: Sequence[Photo], sources: Mapping[str, Path], given: argparse.Namespace) -> set[str]:
    """Cut the welds out of photos with what the marks of the other half of the plates taught.

    Args:
        root: Takes what is made.
        photos: All photos.
        sources: Kind -> folder of the photos as they are to be cut; the result is `root/cut-<kind>`.
        given: Where the marks are, and what a plate is.

    Returns:
        Photos whose weld was found in the first of them.
    """
    halves = halves_of(photos)
    for number, half in enumerate(halves):
        marked, locator = root / f"marked-{number}", root / f"locator-{number}"
        link_marks(given.photos, given.marks, [p for p in photos if p not in half], marked)
        weldgen("locator", str(marked), "--out", str(locator), f"group_pattern={given.groups}")
        for kind, folder in sources.items():
            part, made = root / f"part-{kind}-{number}", root / f"cut-{kind}-{number}"
            link_photos(folder, half, part)
            weldgen("locate", str(part), "--locator", str(locator), "--out", str(made))
            link_photos(made, half, root / f"cut-{kind}")
    return {photo.name for photo in photos if (root / f"cut-{next(iter(sources))}" / photo.name).is_file()}


def clean(photos: Path, out: Path, given: argparse.Namespace) -> None:
    own = ("split.val=0", "split.test=0", f"split.group_pattern={given.groups}", f"mask.objects={given.objects}")
    weldgen("clean", str(photos), "--out", str(out), *own)


def regions(cleaned: Path) -> dict[str, list[Any]]:
    """Photo -> where clean found writing on it."""
    lines = map(json.loads, (cleaned / "metadata.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["source"]: [np.array(r["polygon"]) for r in line["regions"]] for line in lines if line["regions"]}


def fold_of(model: Path) -> dict[str, str]:
    """Photo -> the fold that had not seen it."""
    lines = map(json.loads, (model / "predictions.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["file"]: line["fold"] for line in lines}


def answer_of(scorer: Scorer, path: Path) -> str:
    return scorer.classes[int(scorer.probabilities(read_rgb(path)).argmax())]


def look(photos: Sequence[Photo], folders: Mapping[str, Path], model: Path, written: Mapping[str, Any]) -> list[Sight]:
    """Ask the folds' models about photos of plates that they never saw.

    Args:
        photos: All photos.
        folders: Where they lie: `photos` as the model knows them, and with `OTHER` and perhaps `SAME` writing.
        model: What `weldgen train folds=` made.
        written: Photo -> corners of its writing.
    """
    folds = fold_of(model)
    sights = []
    for fold in sorted(set(folds.values())):
        scorer, looker = open_scorer(model / fold, "cpu", 1), open_looker(model / fold, "cpu")
        for photo in (p for p in photos if folds.get(p.name) == fold):
            image = read_rgb(folders["photos"] / photo.name)
            answer = answer_of(scorer, folders["photos"] / photo.name)
            paths = {kind: folder / photo.name for kind, folder in folders.items() if kind in (OTHER, SAME)}
            swapped = {kind: answer_of(scorer, path) for kind, path in paths.items() if path.is_file()}
            map_ = looker.look(image, answer)
            own = written.get(photo.name)
            shares = share_on(map_, own, image.shape, looker.frame) if own else None
            sights.append(Sight(photo, answer, swapped, shares))
    return sights


def balanced(sights: Sequence[Sight]) -> str:
    labels = (SOUND, BAD)
    pairs = np.array([(labels.index(s.photo.label), labels.index(s.answer)) for s in sights]).reshape(-1, 2)
    if len(set(pairs[:, 0])) < len(labels):
        return "unknown, for a class has no photo"
    ends = group_bootstrap(pairs, [sight.photo.plate for sight in sights], labels, 0)
    recalls = [float((pairs[pairs[:, 0] == k, 1] == k).mean()) for k in range(len(labels))]
    each = (f"{name} {value:.0%}{spanned(ends['recall'][name])}" for name, value in zip(labels, recalls, strict=True))
    return f"{np.mean(recalls):.0%}{spanned(ends['balanced_accuracy'])}; {', '.join(each)}"


def spanned(ends: Sequence[float] | None) -> str:
    """An interval in brackets; nothing where there is none."""
    return f" ({ends[0]:.0%} to {ends[1]:.0%})" if ends else ""


def evidence(sights: Sequence[Sight]) -> str:
    known = [sight for sight in sights if sight.shares is not None]
    if not known:
        return "no evidence on writing"
    ratio = evidence_ratio([s.shares for s in known if s.shares], [s.photo.plate for s in known])
    ends = f" ({ratio.low:.1f} to {ratio.high:.1f})" if ratio.low is not None and ratio.high is not None else ""
    return f"{ratio.share:.0%} of the evidence on {ratio.area:.0%} of the photo, {ratio.value:.1f} times as much{ends}"


def changes(sights: Sequence[Sight], kind: str) -> str:
    asked = [sight for sight in sights if kind in sight.swapped]
    if not asked:
        return "no plate to swap with"
    changed = np.array([sight.swapped[kind] != sight.answer for sight in asked])
    pairs = np.stack([np.zeros(len(asked), np.int64), (~changed).astype(np.int64)], axis=1)
    ends = group_bootstrap(pairs, [sight.photo.plate for sight in asked], ("changed", "kept"), 0)["recall"]["changed"]
    return f"{changed.sum()} of {len(asked)}, {changed.mean():.0%}{spanned(ends)}"


def draw(photos: Sequence[Photo], sides: Sequence[tuple[Path, Path]], written: Mapping[str, Any], out: Path) -> None:
    """Pictures of plates with the writing of the other class: each side's photo, and where its model looked.

    Args:
        photos: Those to draw.
        sides: Folder of photos and model, as they are and cleaned.
        written: Photo -> corners of its writing.
        out: Takes a file a photo.
    """
    for photo in photos:
        parts, said = [], []
        for folder, model in sides:
            fold = model / fold_of(model)[photo.name]
            image, looker = read_rgb(folder / photo.name), open_looker(fold, "cpu")
            answer = answer_of(open_scorer(fold, "cpu", 1), folder / photo.name)
            said.append(answer)
            parts += marked(image, looker, answer, written.get(photo.name, ()))
        write_rgb(out / f"leak-{photo.plate}.jpg", strip(parts, SHOWN_PX))
        print(f"leak-{photo.plate}.jpg: {photo.label}, called {said[0]} as it is, {said[1]} cleaned", flush=True)


def marked(image: Any, looker: Looker, answer: str, corners: Sequence[Any]) -> list[Any]:
    cells = np.round(255 * map_on_photo(looker.look(image, answer), image.shape, looker.frame)).astype(int).tolist()
    small = shrink(image, 2 * SHOWN_PX)
    scale = small.shape[1] / image.shape[1]
    return [small, overlay(small, cells, [np.asarray(polygon) * scale for polygon in corners])]


def study(root: Path, given: argparse.Namespace, words: Sequence[str]) -> None:
    raw, cleaned = root / "raw", root / "clean"
    swapped = {kind: root / kind for kind in (OTHER, SAME)}
    if given.photos:
        take_photos(given.photos, given.sound, raw)
        names = sorted(path.relative_to(raw).as_posix() for path in raw.glob("*/*"))
        photos = [Photo(name, plate_of(Path(name).name, given.groups)) for name in names]
    else:
        photos = render_plates(raw, given.plates, given.width, swapped)
    clean(raw, cleaned, given)
    written = regions(cleaned)
    if given.photos:
        stickers = find_stickers(raw, photos, cleaned)
        written = {name: [corners] for name, corners in stickers.items()}
        for kind, folder in swapped.items():
            swap_stickers(raw, photos, stickers, folder, same_class=kind == SAME)
    print(
        f"{len(photos)} photos of {len({p.plate for p in photos})} plates, writing found on {len(written)}", flush=True
    )
    clean_swapped = {kind: root / f"clean-{kind}" for kind in swapped}
    for kind, folder in swapped.items():
        clean(folder, clean_swapped[kind], given)
    sides = {AS_THEY_ARE: {"photos": raw, **swapped}, CLEANED: {"photos": cleaned, **clean_swapped}}
    asked = dict.fromkeys(sides, photos)
    if given.marks:
        found = cut_out(root, photos, {"raw": raw, **swapped}, given)
        for kind in ("raw", *swapped):
            clean(root / f"cut-{kind}", root / f"cut-clean-{kind}", given)
        asked[CUT_OUT] = [photo for photo in photos if photo.name in found]
        print(f"the weld was found on {len(found)} photos; the others are left out where it is cut out", flush=True)
        sides[CUT_OUT] = {"photos": root / "cut-clean-raw", **{kind: root / f"cut-clean-{kind}" for kind in swapped}}
    models, sights = {}, {}
    for name, folders in sides.items():
        models[name] = root / f"model-{name.replace(' ', '-')}"
        own = (
            f"folds={FOLDS}",
            "split.test=0",
            f"split.group_pattern={given.groups}",
            *WORDS,
            *EXTRA.get(name, ()),
            *words,
        )
        weldgen("train", str(folders["photos"]), "--out", str(models[name]), *own)
        # writing was found on whole photos, and lies elsewhere or nowhere on what was cut out of them
        seen = sights[name] = look(asked[name], folders, models[name], {} if name == CUT_OUT else written)
        print(f"{name}: balanced accuracy on left-out plates {balanced(seen)}")
        if name != CUT_OUT:
            print(f"{name}: on the writing {evidence(seen)}")
        print(f"{name}: answers that change with the writing of the other class {changes(seen, OTHER)}", flush=True)
        misled = [replace(sight, answer=sight.swapped[OTHER]) for sight in seen if OTHER in sight.swapped]
        print(f"{name}: balanced accuracy with the writing of the other class {balanced(misled)}", flush=True)
        print(f"{name}: answers that change with other writing of the same class {changes(seen, SAME)}", flush=True)
    if given.pictures:
        # those whose answer the writing changed come first
        swapped_ones = [sight for sight in sights[AS_THEY_ARE] if OTHER in sight.swapped]
        there = [s.photo for s in sorted(swapped_ones, key=lambda s: s.swapped[OTHER] == s.answer)]
        pairs = [(sides[name][OTHER], models[name]) for name in (AS_THEY_ARE, CLEANED)]
        draw(there[:SHOWN], pairs, written, given.pictures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--groups", default="")
    parser.add_argument("--sound", default="good")
    parser.add_argument("--objects", choices=("keep", "remove"), default="keep", help="remove: whole labels go too")
    parser.add_argument("--marks", type=Path, help="with --photos: YOLO label files of the welds")
    parser.add_argument("--plates", type=int, default=24)
    parser.add_argument("--width", type=int, default=640, help="pixels of rendered photos")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--keep", type=Path, help="folder for what is made; without it a temporary one")
    given, words = parser.parse_known_args()
    if given.keep:
        study(given.keep, given, words)
        return
    with tempfile.TemporaryDirectory() as scratch:
        study(Path(scratch), given, words)


if __name__ == "__main__":
    main()
