from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weldgen.config import load_config
from weldgen.data.dataset import Dataset
from weldgen.data.images import write_rgb
from weldgen.errors import ConfigError, DataError
from weldgen.receipts import read_receipt
from weldgen.report.stage import write_stage_report
from weldgen.stages import STAGES, find_writing
from weldgen.synthesis import accepting
from weldgen.synthesis.gates import GateConfig
from weldgen.synthesis.generate import SynthConfig, synth
from weldgen.synthesis.making import MASK_VALUES
from weldgen.synthesis.recipes import RECIPES, Recipe
from weldgen.synthesis.render.generator import RenderGenerator
from weldgen.synthesis.render.photos import render_photo
from weldgen.synthesis.requests import Request


def _config(**settings: object) -> SynthConfig:
    return SynthConfig.model_validate(
        {"n": 6, "generator": "render", "size_px": 128, "jobs": 1, "quality_images": 0, **settings}
    )


def _content(root: Path) -> dict[str, str]:
    """Hash of every file but the receipt, which holds times."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "stage.json"
    }


def test_what_it_makes(weld_dataset: Path, tmp_path: Path) -> None:
    summary = synth(weld_dataset, tmp_path / "out", _config(annotations="masks"))
    made = Dataset.open(tmp_path / "out")
    assert made.counts() == {"bad_welds": 2, "crack": 2, "good_welds": 2}
    assert summary.counts["images"] == 6 and summary.details["generator"] == "render"
    assert "crack" in summary.notes[0]  # has no photo
    photos = Dataset.open(weld_dataset)
    shapes = {sample.width / sample.height for sample in photos.samples}
    training = {sample.id: sample.label for sample in photos.samples}
    for sample in made.samples:
        assert (sample.split, sample.origin) == ("train", "synthetic")
        assert sample.extra["use"] in ("transplant", "pattern") and set(sample.parents) <= set(training)
        if sample.extra["use"] == "transplant":
            assert [training[parent] for parent in sample.parents] == ["good_welds"]
        assert max(sample.width, sample.height) == 128
        assert min(abs(sample.width / sample.height - shape) for shape in shapes) < 0.02
        with Image.open(made.path(sample)) as image:
            assert image.size == (sample.width, sample.height) and image.format == "JPEG"
        kinds = {defect["kind"] for defect in sample.extra["defects"]}
        assert kinds <= set(RECIPES["bad"].defects) and bool(kinds) == (sample.label != "good_welds")
        mask = np.asarray(Image.open((tmp_path / "out/masks" / sample.file_name).with_suffix(".png")))
        assert set(np.unique(mask)) - {0} <= {MASK_VALUES[kind] for kind in kinds}
        assert mask.any() == bool(kinds)


def test_photos_are_used_as_far_as_asked(weld_dataset: Path, tmp_path: Path) -> None:
    def uses(name: str, **render: float) -> Counter[str]:
        synth(weld_dataset, tmp_path / name, _config(n=12, render=render))
        return Counter(sample.extra["use"] for sample in Dataset.open(tmp_path / name).samples)

    assert uses("plain", transplant=0.0, fit=0.0) == {"": 12}
    assert uses("all", transplant=1.0) == {"transplant": 12}
    half = uses("half", transplant=0.5)
    assert set(half) == {"transplant", "pattern"} and 2 <= half["transplant"] <= 10
    assert not any(sample.parents for sample in Dataset.open(tmp_path / "plain").samples)


def test_nothing_is_put_into_photos_whose_weld_is_not_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(3):
        plate = np.clip(rng.normal(90 + 20 * index, 8, (96, 144, 3)), 0, 255).astype(np.uint8)
        write_rgb(tmp_path / "photos" / "good" / f"plate_{index}.png", plate)
    (tmp_path / "photos" / "bad").mkdir()
    summary = synth(tmp_path / "photos", tmp_path / "out", _config(n=4, render={"transplant": 1.0}))
    made = Dataset.open(tmp_path / "out").samples
    assert {sample.extra["use"] for sample in made} == {"pattern"} and all(sample.parents for sample in made)
    assert any("4 of 4 images were rendered" in note and "plate_" in note for note in summary.notes)


def test_number_of_jobs_does_not_matter(weld_dataset: Path, tmp_path: Path) -> None:
    synth(weld_dataset, tmp_path / "one", _config(jobs=1))
    synth(weld_dataset, tmp_path / "two", _config(jobs=2))
    assert _content(tmp_path / "one") == _content(tmp_path / "two")


def test_a_torn_run_ends_like_an_unbroken_one(weld_dataset: Path, tmp_path: Path) -> None:
    synth(weld_dataset, tmp_path / "whole", _config())
    torn = tmp_path / "torn"
    shutil.copytree(tmp_path / "whole", torn)
    (torn / "stage.json").unlink()
    lines = (torn / "metadata.jsonl").read_text().splitlines()
    for line in lines[2:]:
        (torn / json.loads(line)["file_name"]).unlink()
    (torn / "metadata.jsonl").write_text("\n".join(lines[:3]) + lines[3][:40])
    (torn / "bad_welds" / ".writing-render_000003.jpg").write_bytes(b"half")
    summary = synth(weld_dataset, torn, _config())
    assert summary.counts["made"] == 4
    assert _content(torn) == _content(tmp_path / "whole")


def test_a_larger_n_adds(weld_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    synth(weld_dataset, out, _config(n=3))
    first = _content(out)
    stamps = {name: (out / name).stat().st_mtime_ns for name in first if name.endswith(".jpg")}
    assert synth(weld_dataset, out, _config(n=6)).counts["made"] == 3
    assert all((out / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())
    synth(weld_dataset, tmp_path / "whole", _config(n=6))
    assert _content(out) == _content(tmp_path / "whole")
    assert synth(weld_dataset, out, _config(n=6)).skipped
    assert not synth(weld_dataset, out, _config(n=6, seed=1)).skipped


def test_png_photos_make_png_images(tmp_path: Path) -> None:
    for index in range(3):
        picture = np.random.default_rng(index).integers(0, 255, (64, 96, 3), np.uint8)
        write_rgb(tmp_path / "clean" / "good" / f"{index}.png", picture)
    synth(tmp_path / "clean", tmp_path / "out", _config(n=2))
    assert sorted(path.name for path in (tmp_path / "out/good").iterdir()) == [
        "render_000000.png",
        "render_000001.png",
    ]


def test_copies_of_held_out_photos_are_made_anew(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    for seed, split in enumerate(("train", "train", "test")):
        write_rgb(photos / split / "good" / f"{seed}.jpg", render_photo(seed, "good", 128, 96, marked=False))
    config = _config(n=3, render={"transplant": 0.0})
    synth(photos, out, config)
    before = {sample.file_name: sample for sample in Dataset.open(out).samples}
    leak = "good/render_000001.jpg"
    shutil.copy(out / leak, photos / "test" / "good" / "leak.jpg")
    assert synth(photos, out, config).counts["made"] == 1
    after = {sample.file_name: sample for sample in Dataset.open(out).samples}
    assert after[leak].extra["rejected"] == ["copy of a validation or test photo"]
    assert after[leak].extra["attempt"] == 1 and after[leak].id != before[leak].id
    assert all(after[name].id == before[name].id for name in before if name != leak)
    synth(photos, tmp_path / "fresh", config)
    assert _content(out) == _content(tmp_path / "fresh")


def test_hopeless_gates_stop_the_run(weld_dataset: Path, tmp_path: Path) -> None:
    config = _config(gates=GateConfig(min_deviation=200, attempts=3))
    with pytest.raises(DataError, match=r"image 0 of class 'bad_welds' was refused 3 times: 3 x blank"):
        synth(weld_dataset, tmp_path / "out", config)


def _tinted(thorough: bool) -> Callable[[np.ndarray], bool]:
    """Stands for what finds writing: pictures with a red corner carry some."""
    return lambda image: bool(image[2, 2, 0] > 180 and image[2, 2, 2] < 90)


def test_photos_with_writing_start_no_image(weld_dataset: Path, tmp_path: Path) -> None:
    marked = Dataset.open(weld_dataset).select(label="good_welds")[0]
    picture = np.array(Image.open(weld_dataset / marked.file_name))
    picture[:20, :20] = (250, 10, 10)
    write_rgb(weld_dataset / marked.file_name, picture)
    split = {"val": 0.0, "test": 0.0}
    config = _config(n=12, split=split, render={"transplant": 1.0})
    marked = next(s for s in Dataset.open(weld_dataset).samples if s.file_name == marked.file_name)

    def parents(name: str) -> set[str]:
        return {parent for sample in Dataset.open(tmp_path / name).samples for parent in sample.parents}

    summary = synth(weld_dataset, tmp_path / "found", config, _tinted)
    assert any("1 of 10 training photos carry writing" in note and marked.file_name in note for note in summary.notes)
    assert marked.id not in parents("found") and parents("found")
    never = config.model_copy(update={"gates": GateConfig(writing="never")})
    synth(weld_dataset, tmp_path / "never", never, _tinted)
    assert marked.id in parents("never")
    with pytest.raises(ConfigError, match="find_writing"):
        synth(weld_dataset, tmp_path / "none", config.model_copy(update={"gates": GateConfig(writing="always")}))


def _everywhere(thorough: bool) -> Callable[[np.ndarray], bool]:
    """Finds writing on whatever is as small as a synthetic image."""
    return lambda image: max(image.shape) <= 96


def test_images_with_writing_are_refused(weld_dataset: Path, tmp_path: Path) -> None:
    config = _config(n=2, size_px=96, gates=GateConfig(writing="always", attempts=2))
    with pytest.raises(DataError, match="refused 2 times: 2 x writing in the image") as caught:
        synth(weld_dataset, tmp_path / "out", config, _everywhere)
    assert "gates.writing=never" in caught.value.hint


def test_a_residue_that_clean_reported_counts(tmp_path: Path, weld_dataset: Path) -> None:
    lines = []
    for sample in Dataset.open(weld_dataset).samples:
        residual = int(sample.file_name.endswith("good_welds_0.jpg"))
        lines.append(json.dumps({**sample.record(), "residual": residual}))
    (weld_dataset / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    summary = synth(weld_dataset, tmp_path / "out", _config(n=2, split={"val": 0.0, "test": 0.0}))
    assert any("good_welds_0.jpg" in note for note in summary.notes)


def test_too_many_refused_stop_the_run_and_an_interruption_does_not_matter(
    weld_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "WINDOW", 16)
    out = tmp_path / "out"
    gates = GateConfig(min_detail=9.0, attempts=100, max_rejected=0.6)
    config = _config(n=90, size_px=96, render={"transplant": 0.0, "fit": 0.0}, gates=gates)
    with pytest.raises(DataError, match=r"of the last 16 tries of class '\w+' were refused: \d+ x blurred") as first:
        synth(weld_dataset, out, config)
    made = {name: content for name, content in _content(out).items() if name.endswith(".jpg")}
    assert made  # it did not stop at the first
    with pytest.raises(DataError) as again:
        synth(weld_dataset, out, config)
    assert again.value.message == first.value.message and "gates.min_detail" in first.value.hint
    assert made == {name: content for name, content in _content(out).items() if name.endswith(".jpg")}


def test_a_receipt_measures_the_result(weld_dataset: Path, tmp_path: Path) -> None:
    summary = synth(weld_dataset, tmp_path / "out", _config(n=12, quality_images=12, split={"val": 0.0, "test": 0.0}))
    classes = summary.details["quality"]["classes"]
    assert set(classes) == {"bad_welds", "crack", "good_welds"}
    assert classes["crack"]["real"] == 0 and "kid" not in classes["crack"]
    own = classes["good_welds"]
    assert own["real"] == 5 and own["measured"] == 4 and 0 <= own["coverage"] <= 1 and own["kid_error"] > 0
    assert {"id": "efficientnet_lite0", "licence": "Apache-2.0"} in summary.weights
    distances = [pair["distance"] for pair in own["neighbours"]]
    assert len(distances) == 4 and distances == sorted(distances)
    page = write_stage_report("synth", tmp_path / "out").read_text()
    assert "too few photos" in page and "KID" in page and "real training photos" in page
    shutil.rmtree(weld_dataset / "good_welds")
    assert "photos of" in write_stage_report("synth", tmp_path / "out").read_text()


def test_a_class_without_a_recipe(weld_dataset: Path, tmp_path: Path) -> None:
    (weld_dataset / "class_9").mkdir()
    write_rgb(weld_dataset / "class_9" / "a.jpg", render_photo(77, "bad", 128, 96, marked=False))
    with pytest.raises(ConfigError, match="class_9"):
        synth(weld_dataset, tmp_path / "out", _config())
    own = {"class_9": Recipe(defects={"spatter": 1.0})}
    synth(weld_dataset, tmp_path / "out", _config(n=2, recipes=own))


def test_an_unknown_generator(weld_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="accepted: auto, render, sdxl"):
        synth(weld_dataset, tmp_path / "out", _config(generator="gan"))


def test_a_request_is_independent_of_its_batch() -> None:
    requests = [Request(i, 0, "bad", 50 + i, 96, 64, RECIPES["bad"]) for i in range(3)]
    together = RenderGenerator().generate(requests)
    for request, image in zip(requests, together, strict=True):
        assert np.array_equal(RenderGenerator().generate([request])[0].image, image.image)


def test_the_shipped_defaults_are_the_classs(tmp_path: Path) -> None:
    assert load_config("synth", SynthConfig, project=tmp_path) == SynthConfig()


def test_a_receipt_says_what_was_made(weld_dataset: Path, tmp_path: Path) -> None:
    synth(weld_dataset, tmp_path / "out", _config(n=3))
    receipt = read_receipt(tmp_path / "out")
    assert receipt is not None
    assert receipt["details"]["classes"] == {"bad_welds": 1, "crack": 1, "good_welds": 1}


def test_an_empty_class_of_unknown_name_is_left_out_and_said(weld_dataset: Path, tmp_path: Path) -> None:
    (weld_dataset / "zigzag").mkdir()
    summary = synth(weld_dataset, tmp_path / "out", _config())
    assert "zigzag" not in summary.details["classes"]
    assert any("'zigzag' has no photo and no recipe" in note for note in summary.notes)


def test_the_command_lends_what_cleaning_knows_of_writing() -> None:
    assert STAGES["synth"].tools == {"find_writing": find_writing}
    assert pickle.loads(pickle.dumps(find_writing)) is find_writing  # workers get it
    has_writing = find_writing(False)
    found = [has_writing(render_photo(seed, "good", 480, 320, marked=True)) for seed in range(4)]
    assert sum(found) >= 3
    assert not any(has_writing(render_photo(seed, "good", 480, 320, marked=False)) for seed in range(4))
