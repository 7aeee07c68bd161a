"""The self-supervised warm-up: what it may look at, that it resumes, that train takes its weights, and the collapse."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from weldgen.classifier import pretrain_keeper
from weldgen.classifier.backbones import create_backbone
from weldgen.classifier.dino import DinoModule, Length
from weldgen.classifier.embedded import embedded_state
from weldgen.classifier.local_weights import OWN_RECORD, OWN_WEIGHTS, pin_weights, read_own_weights
from weldgen.classifier.model_file import load_card
from weldgen.classifier.pretrain import PretrainConfig, open_sources, pretrain
from weldgen.classifier.pretraining import CropSettings
from weldgen.classifier.spread import collapsed
from weldgen.classifier.train import train
from weldgen.classifier.views import Photos, ViewSet
from weldgen.data.dataset import METADATA_NAME, Dataset
from weldgen.data.split import SplitConfig, decide_split
from weldgen.errors import ConfigError, DataError
from weldgen.report.stage import write_stage_report


def build(**sections) -> PretrainConfig:
    """A configuration that runs in a second; sections are merged into it."""
    settings = {
        "device": "cpu",
        "model": {"backbone": "test_efficientnet", "weights": "none", "hidden": 32, "prototypes": 32},
        "crops": {"global_px": 64, "local_px": 32, "local_count": 2},
        "training": {"epochs": 3, "min_steps": 0, "batch_size": 8, "lr": 1e-3, "precision": "fp32"},
    }
    for name, section in sections.items():
        settings[name] = {**settings.get(name, {}), **section} if isinstance(section, dict) else section
    return PretrainConfig.model_validate(settings)


@pytest.fixture(scope="module")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights that were made from a plain folder, and that folder."""
    root = tmp_path_factory.mktemp("warmed")
    for number, label in enumerate(("bad", "good")):
        (root / "photos" / label).mkdir(parents=True)
        for index in range(9):
            rng = np.random.default_rng(100 * number + index)
            pixels = np.clip(rng.normal(70 + 120 * number, 25, (56, 120, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / label / f"{index}.png")
    pretrain(root / "photos", root / "none", root / "pretrained", build())
    return root / "pretrained", root / "photos"


def as_synthetic(root: Path, parents: tuple[str, ...] = ()) -> Path:
    """Turn a plain folder into one of synthetic images."""
    samples = [replace(s, split="train", origin="synthetic", parents=parents) for s in Dataset.open(root).samples]
    (root / METADATA_NAME).write_text("".join(json.dumps(sample.record()) + "\n" for sample in samples))
    return root


# --- what it looks at ----------------------------------------------------------------------------------------------


def test_only_training_photos_are_looked_at(warmed):
    folder, photos = warmed
    split = decide_split(Dataset.open(photos), SplitConfig(), 0)
    seen = json.loads((folder / OWN_RECORD).read_text())["seen"]
    assert seen == sorted(sample.id for sample in split.select(split="train"))
    assert len(seen) < len(split.samples)


def test_synthetic_images_join_but_not_those_of_held_out_photos(photos, tmp_path, make_photos):
    made = as_synthetic(make_photos(tmp_path / "made", {"bad": 3, "good": 3}, first=300))
    sources = open_sources(photos, made, build())
    assert [len(samples) for _, samples in sources][1] == 6
    held_out = decide_split(Dataset.open(photos), SplitConfig(), 0).select(split="test")[0]
    as_synthetic(made, (held_out.id,))
    with pytest.raises(DataError, match="made from a test photo"):
        open_sources(photos, made, build())


def test_photos_keep_their_shape_and_unreadable_ones_are_listed(tmp_path):
    (tmp_path / "good").mkdir()
    Image.fromarray(np.zeros((100, 400, 3), np.uint8)).save(tmp_path / "good" / "long.png")
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "good" / "small.png")
    dataset = Dataset.open(tmp_path)
    broken = replace(dataset.samples[0], file_name="good/broken.png")
    (tmp_path / "good" / "broken.png").write_text("no image")
    for cache_gb in (1.0, 0.0):
        photos = Photos([(dataset, [*dataset.samples, broken])], side_px=32, cache_gb=cache_gb, jobs=2)
        assert [photos[row].shape for row in range(len(photos))] == [(51, 204, 3), (30, 40, 3)]
        assert [failure.file for failure in photos.failures] == ["good/broken.png"]


def test_views_depend_on_seed_epoch_and_photo_alone(warmed):
    _, root = warmed
    dataset = Dataset.open(root)
    photos = Photos([(dataset, dataset.samples)], side_px=64, cache_gb=1, jobs=1)
    settings = CropSettings(global_px=64, local_px=32, local_count=3)
    large, small = ViewSet(photos, settings, 0)[2, 5]
    assert (large.shape, small.shape, large.dtype) == ((2, 3, 64, 64), (3, 3, 32, 32), torch.uint8)
    torch.manual_seed(99)
    before = np.random.get_state()[1][:3].tolist()
    again, _ = ViewSet(photos, settings, 0)[2, 5]
    assert torch.equal(large, again)
    assert np.random.get_state()[1][:3].tolist() == before
    assert not torch.equal(large, ViewSet(photos, settings, 0)[3, 5][0])
    assert not torch.equal(large, ViewSet(photos, settings, 1)[2, 5][0])
    alone = ViewSet(photos, settings.model_copy(update={"local_count": 0}), 0)[2, 5]
    assert len(alone[1]) == 0


# --- the loss ------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_papers():
    """Algorithm 1 of Caron et al. 2021, written out: each student view against each other large view."""
    config = build()
    module = DinoModule(create_backbone("test_efficientnet", "none", (64, 64)), config, Length(3, 2))
    module.eval()
    generator = torch.Generator().manual_seed(0)
    large = torch.randint(0, 256, (4, 2, 3, 64, 64), dtype=torch.uint8, generator=generator)
    small = torch.randint(0, 256, (4, 2, 3, 32, 32), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        center = torch.linspace(-0.1, 0.1, 32)
        module.loss.center.copy_(center.view(1, 1, -1))
        teacher = [module.teacher.head(module.teacher.embed(large[:, k])) for k in range(2)]
        views = [*large.unbind(1), *small.unbind(1)]
        student = [module.student.head(module.student.embed(view)) for view in views]
        expected = []
        for t, taught in enumerate(teacher):
            for s, said in enumerate(student):
                if s != t:
                    target = F.softmax((taught - center) / 0.04, dim=1)
                    expected.append(-(target * F.log_softmax(said / 0.1, dim=1)).sum(dim=1).mean())
        found = module.training_step((large, small), 0)
    assert float(found) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)
    assert torch.allclose(module.loss.center.flatten(), 0.9 * center + 0.1 * torch.cat(teacher).mean(dim=0), atol=1e-6)


def test_the_teacher_follows_and_never_learns_by_itself():
    module = DinoModule(create_backbone("test_efficientnet", "none", (64, 64)), build(), Length(3, 2))
    assert all(torch.equal(a, b) for a, b in zip(module.teacher.parameters(), module.student.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in module.teacher.parameters())
    learning = sum(len(group["params"]) for group in module.configure_optimizers()["optimizer"].param_groups)
    assert learning == sum(parameter.requires_grad for parameter in module.student.parameters())


# --- a run ---------------------------------------------------------------------------------------------------------


def test_a_run_leaves_weights_history_and_a_report(warmed):
    folder, _ = warmed
    history = json.loads((folder / "history.json").read_text())
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert all(np.isfinite(record["loss"]) and record["spread"] > 0 for record in history)
    assert list((folder / "tensorboard").iterdir())
    assert not (folder / "last.ckpt").exists()
    receipt = json.loads((folder / "stage.json").read_text())
    assert receipt["details"]["spread"]["end"] > 0
    report = write_stage_report("pretrain", folder)
    assert report and "Spread of the embeddings" in report.read_text()


def test_an_interrupted_run_goes_on_to_the_same_weights(warmed, tmp_path, monkeypatch):
    folder, photos = warmed
    monkeypatch.setattr(pretrain_keeper, "_SAVE_EVERY_S", 0.0)
    original = DinoModule.on_train_epoch_start

    def die(self):
        if self.current_epoch == 2:
            raise KeyboardInterrupt
        original(self)

    with monkeypatch.context() as patched:
        patched.setattr(DinoModule, "on_train_epoch_start", die)
        with pytest.raises(KeyboardInterrupt):
            pretrain(photos, tmp_path / "none", tmp_path / "out", build())
    assert (tmp_path / "out" / "last.ckpt").is_file()
    pretrain(photos, tmp_path / "none", tmp_path / "out", build())
    whole, resumed = load_file(folder / OWN_WEIGHTS), load_file(tmp_path / "out" / OWN_WEIGHTS)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert pretrain(photos, tmp_path / "none", tmp_path / "out", build()).skipped


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_any_timm_network_can_be_warmed_up_and_its_weights_fit_another_size(name, warmed, tmp_path):
    _, photos = warmed
    config = build(model={"backbone": name}, training={"epochs": 1})
    summary = pretrain(photos, tmp_path / "none", tmp_path / "out", config)
    assert any("built for one size" in note for note in summary.notes) == (name == "test_vit")
    loaded = create_backbone("auto", str(tmp_path / "out"), (96, 96))
    assert loaded.name == name
    stored = load_file(tmp_path / "out" / OWN_WEIGHTS)
    state = loaded.model.state_dict()
    same = [key for key in stored if key != "pos_embed"]
    assert all(torch.equal(state[key], stored[key]) for key in same)
    assert loaded.model.eval()(torch.zeros(1, 3, 96, 96)).shape == (1, loaded.features)


def test_it_starts_from_the_weights_that_auto_takes(warmed, tmp_path):
    _, photos = warmed
    config = build(model={"backbone": "auto", "weights": "auto"}, training={"epochs": 1, "lr": 1e-9, "momentum": 1.0})
    config = config.model_copy(update={"crops": CropSettings(global_px=32, local_px=32, local_count=0)})
    summary = pretrain(photos, tmp_path / "none", tmp_path / "out", config)
    state, start = load_file(tmp_path / "out" / OWN_WEIGHTS), embedded_state()
    assert torch.equal(state["conv_stem.weight"], start["conv_stem.weight"])
    assert not torch.equal(state["bn1.running_mean"], start["bn1.running_mean"])  # taken from the photos
    assert summary.weights[0]["id"] == "efficientnet_lite0"
    assert not summary.details["collapsed"]


@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [(0.5, 0.4, False), (0.5, 0.09, True), (0.04, 0.04, False), (0.03, 0.008, True), (0.5, float("nan"), True)],
)
def test_a_collapse_is_known_by_the_spread(before, after, answer):
    assert collapsed(before, after) == answer


# --- train takes them ----------------------------------------------------------------------------------------------


def test_train_takes_the_weights_and_their_licence(warmed, tmp_path, tiny_config):
    folder, photos = warmed
    config = tiny_config(model={"backbone": "auto", "weights": str(folder)}, training={"epochs": 1})
    train(photos, tmp_path / "model", config)
    card = load_card(tmp_path / "model")
    assert card.backbone == "test_efficientnet"
    assert card.licences["pretrained (weldgen pretrain)"] == "made from the project's own images"
    assert card.settings["weights"].startswith(f"{folder}#")
    assert train(photos, tmp_path / "model", config).skipped


def test_other_weights_in_the_same_place_are_another_run(warmed, tmp_path):
    folder, _ = warmed
    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    pinned = pin_weights(str(copied))
    assert pin_weights(pinned) == pinned
    state = {name: value.clone() for name, value in load_file(copied / OWN_WEIGHTS).items()}
    next(iter(state.values())).add_(1)
    save_file(state, copied / OWN_WEIGHTS)
    for weights, message in ((pinned, "has changed"), (str(copied), "is not the file that")):
        with pytest.raises(DataError, match=message):
            read_own_weights(weights)


def test_weights_made_from_test_photos_are_refused(warmed, tmp_path, tiny_config):
    folder, photos = warmed
    other = tiny_config(model={"backbone": "auto", "weights": str(folder)}, seed=5)
    with pytest.raises(DataError, match=r"the weights in .* were made from it") as caught:
        train(photos, tmp_path / "model", other)
    assert "weldgen pretrain" in caught.value.hint


def test_wrong_weights_are_refused(warmed, tmp_path):
    folder, _ = warmed
    with pytest.raises(ConfigError, match="those of test_efficientnet"):
        create_backbone("test_resnet", str(folder), (64, 64))
    with pytest.raises(ConfigError, match="auto, pretrained, embedded, none"):
        create_backbone("auto", "embeded", (64, 64))
    with pytest.raises(DataError, match="no finished weights"):
        create_backbone("auto", str(tmp_path), (64, 64))
    plain = tmp_path / "plain.safetensors"
    save_file(load_file(folder / OWN_WEIGHTS), plain)
    with pytest.raises(ConfigError, match="does not say of which network"):
        create_backbone("auto", str(plain), (64, 64))
    with pytest.raises(DataError, match="does not hold the weights of test_resnet"):
        create_backbone("test_resnet", str(plain), (64, 64))
    loaded = create_backbone("test_efficientnet", str(plain), (64, 64))
    assert loaded.weights[0]["licence"] == "unknown"
    pickled = tmp_path / "weights.pth"
    pickled.write_bytes(b"PK\x03\x04 a pickle of torch")
    with pytest.raises(DataError, match=r"weights\.pth is no whole safetensors file"):
        create_backbone("test_efficientnet", str(pickled), (64, 64))
