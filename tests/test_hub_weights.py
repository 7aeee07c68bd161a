"""Bundles of the hub: what a pull says, refuses and checks; the hub itself is played by files of a few bytes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from weldgen import hub_weights
from weldgen.cli import app
from weldgen.errors import BackendError, OutputError
from weldgen.hub_parts import BUNDLES, PARTS, SDXL_BASE, TILE, TURBO, VAE, Part
from weldgen.hub_weights import find, pull_bundle, wrong_files
from weldgen.synthesis.lora.base import require_base
from weldgen.synthesis.lora.settings import LoraConfig
from weldgen.synthesis.sdxl import SdxlConfig, find_part, missing_parts, require_parts

UNET = "unet/diffusion_pytorch_model.fp16.safetensors"


def content(part: Part, name: str) -> bytes:
    return f"{part.repository}/{name}".encode()


def names(part: Part) -> list[str]:
    return [name.replace("*", "vocab.json") for name in part.files]


class Hub:
    """Writes what a download would, as the hub's client lays it out: contents in blobs, names that link to them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.spoiled: set[str] = set()
        self.withheld: set[str] = set()

    def download(self, part: Part) -> None:
        self.asked.append(part.repository)
        for name in names(part):
            if name in self.withheld:
                continue
            data = content(part, name) + (b"!" if name in self.spoiled else b"")
            blob = hub_weights._snapshot(part).parents[1] / "blobs" / hashlib.sha256(data).hexdigest()
            link = hub_weights._snapshot(part) / name
            for folder in (blob.parent, link.parent):
                folder.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(data)
            link.unlink(missing_ok=True)
            link.symlink_to(blob)

    def hashes(self, part: Part) -> dict[str, str]:
        self.asked.append(f"hashes of {part.repository}")
        large = [name for name in names(part) if name.endswith(".safetensors")]
        return {name: hashlib.sha256(content(part, name)).hexdigest() for name in large}


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    played = Hub()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "huggingface" / "hub"))
    monkeypatch.setattr(hub_weights, "_download", played.download)
    monkeypatch.setattr(hub_weights, "_published_hashes", played.hashes)
    monkeypatch.setattr(hub_weights.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100e9))
    return played


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["models", *arguments])
    return result.exit_code, re.sub(r" +", " ", result.output)


def test_pull_states_sizes_licences_and_space_before_it_starts(hub: Hub) -> None:
    code, said = run("pull", "sdxl")
    assert code == 0
    stated, _, done = said.partition("downloading")
    assert "stabilityai/sdxl-turbo: 6.9 GB, to download, licence Stability AI Community Licence" in stated
    assert stated.count("not free for every commercial use") == 1
    assert "xinsir/controlnet-tile-sdxl-1.0: 2.5 GB, to download, licence Apache-2.0" in stated
    assert "madebyollin/sdxl-vae-fp16-fix: 0.3 GB, to download, licence MIT" in stated
    assert re.search(r"total 9\.7 GB, to download 9\.7 GB; \d+\.\d GB free at \S+/huggingface/hub", stated)
    assert f"{TILE.repository}: {find(TILE)}" in said and "checking" in done
    assert hub.asked[:3] == [TURBO.repository, TILE.repository, VAE.repository]
    _, said = run("pull", "sdxl-base")
    assert "present, licence MIT" in said and "total 7.2 GB, to download 6.9 GB" in said
    assert find(SDXL_BASE) is not None and hub.asked.count(VAE.repository) == 1


def test_a_second_pull_needs_no_hub(hub: Hub) -> None:
    folders = pull_bundle("sdxl")
    hub.asked.clear()
    assert pull_bundle("sdxl") == folders == pull_bundle("sdxl", offline=True)
    assert hub.asked == []


def test_a_small_disk_is_refused_but_for_what_is_here_already(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_weights.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5e9))
    with pytest.raises(OutputError, match=r"'sdxl' needs 10\.7 GB in .*, where 5\.0 GB are free") as raised:
        pull_bundle("sdxl")
    assert "HF_HOME" in raised.value.hint
    assert hub.asked == []
    for part in (TURBO, TILE):
        hub.download(part)
    (hub_weights._snapshot(TURBO) / "vae/config.json").unlink()  # as after an interruption
    assert find(TURBO) is None
    unet = (hub_weights._snapshot(TURBO) / UNET).resolve()
    monkeypatch.setattr(hub_weights, "_GB", 1e9 * unet.stat().st_size / 5.1e9)  # so that the file counts as 5.1 GB
    monkeypatch.setattr(hub_weights.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5 * hub_weights._GB))
    pull_bundle("sdxl")


def test_offline_says_what_is_missing(hub: Hub) -> None:
    hub.download(VAE)
    hub.asked.clear()
    code, said = run("pull", "sdxl", "--offline")
    error = said.partition("error:")[2]
    assert code == 1 and "--offline forbids a download" in error
    assert "stabilityai/sdxl-turbo (6.9 GB), xinsir/controlnet-tile-sdxl-1.0 (2.5 GB) is not" in error
    assert VAE.repository not in error and "weldgen models pull sdxl" in error
    hub.download(TURBO), hub.download(TILE)
    hub.asked.clear()
    code, said = run("pull", "sdxl", "--offline")
    assert code == 0 and "has never been checked" in said
    assert hub.asked == []


def test_a_wrong_file_is_refused_and_named(hub: Hub) -> None:
    hub.spoiled = {UNET}
    with pytest.raises(BackendError, match=f"{UNET} of stabilityai/sdxl-turbo is not the file") as raised:
        pull_bundle("sdxl")
    assert wrong_files(TURBO) is None  # a wrong file is not recorded
    blob = Path(re.findall(r"delete (\S+) and run: weldgen models pull sdxl$", raised.value.hint)[0])
    assert blob.parent.name == "blobs"
    blob.unlink()
    assert find(TURBO) is None
    hub.spoiled = set()
    assert pull_bundle("sdxl")[TURBO.repository] == find(TURBO)


def test_verify_uses_the_record(hub: Hub) -> None:
    hub.download(TILE)
    assert "controlnet-tile-sdxl-1.0 never checked" in run("verify")[1]
    pull_bundle("sdxl")
    record = json.loads((hub_weights.cache_dir() / "hub_weights.json").read_text())
    assert record[TURBO.repository][TURBO.revision].keys() == {n for n in TURBO.files if n.endswith(".safetensors")}
    hub.asked.clear()
    code, said = run("verify")
    assert code == 0 and f"{TURBO.repository} ok" in said and f"{SDXL_BASE.repository} missing" in said
    (hub_weights._snapshot(TURBO) / UNET).write_bytes(b"other")
    code, said = run("verify")
    assert code == 1 and f"{TURBO.repository} WRONG CONTENT: " in said and UNET in said
    assert f"{TILE.repository} ok" in said
    assert hub.asked == []


def test_a_failing_hub_is_one_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(part: Part) -> None:
        raise ConnectionError("no route\nmore")

    monkeypatch.setattr(hub_weights, "_download", fail)
    with pytest.raises(BackendError, match=r"sdxl-turbo could not be fetched .*ConnectionError: no route$") as raised:
        pull_bundle("sdxl")
    assert "weldgen models pull sdxl again" in raised.value.hint
    hub.withheld = {UNET}
    monkeypatch.setattr(hub_weights, "_download", hub.download)
    with pytest.raises(BackendError, match="came without some of the files"):
        pull_bundle("sdxl")
    record = hub_weights.cache_dir() / "hub_weights.json"
    record.write_text("{")
    hub.download(VAE)
    with pytest.raises(BackendError, match=r"hub_weights\.json cannot be read"):
        wrong_files(VAE)


def test_the_list_shows_terms_and_what_is_here(hub: Hub) -> None:
    hub.download(VAE)
    said = run("list")[1]
    assert "sdxl missing 9.7 GB" in said and "sdxl-base missing 7.2 GB" in said
    turbo = next(line for line in said.splitlines() if TURBO.repository in line)
    assert "missing 6.9 GB Stability AI Community Licence" in turbo and "not free for every commercial use" in turbo
    assert f"{SDXL_BASE.repository} missing 6.9 GB CreativeML Open RAIL++-M\n" in said
    assert f"{VAE.repository} present 0.3 GB MIT\n" in said


def test_missing_parts_name_the_pull(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=TURBO.repository) as raised:
        require_parts(SdxlConfig())
    assert raised.value.hint.startswith("weldgen models pull sdxl (or set sdxl.model")
    for train_on, bundle in (("base", "sdxl-base"), ("turbo", "sdxl")):
        with pytest.raises(BackendError, match="weldgen lora needs stabilityai/") as raised:
            require_base(LoraConfig(train_on=train_on))
        assert raised.value.hint.startswith(f"weldgen models pull {bundle} (or set model.{train_on}")
    for part in BUNDLES["sdxl"].parts:
        hub.download(part)
    with pytest.raises(BackendError) as raised:
        require_parts(SdxlConfig(model="someone/other", model_revision="abc"))
    assert "hf download someone/other --revision abc" in raised.value.hint
    with pytest.raises(BackendError) as raised:
        require_parts(SdxlConfig(lora=str(tmp_path / "gone")))
    assert raised.value.hint.startswith("weldgen lora (")


def test_parts_are_found_in_the_cache_whole_or_as_folders(hub: Hub, tmp_path: Path) -> None:
    pull_bundle("sdxl")
    assert missing_parts(SdxlConfig()) == []
    assert find_part(TURBO.repository, TURBO.revision) == hub_weights._snapshot(TURBO)
    (hub_weights._snapshot(TURBO) / UNET).unlink()
    assert missing_parts(SdxlConfig()) == [TURBO.repository]
    assert missing_parts(SdxlConfig(model=str(tmp_path))) == []
    assert missing_parts(SdxlConfig(controlnet_revision="0" * 40)) == [TURBO.repository, TILE.repository]


def test_full_precision_that_is_here_already_counts(hub: Hub) -> None:
    hub.download(TURBO)
    for path in hub_weights._snapshot(TURBO).rglob("*.fp16.*"):
        path.rename(path.with_name(path.name.replace(".fp16.", ".")))
    assert find(TURBO) is not None
    shutil.rmtree(hub_weights._snapshot(TURBO) / "unet")
    assert find(TURBO) is None


def test_every_part_names_a_commit_and_weights_without_pickles() -> None:
    for part in PARTS.values():
        assert re.fullmatch(r"[0-9a-f]{40}", part.revision)
        assert part.licence and part.size_gb > 0
        assert {Path(name).suffix for name in part.files} <= {".json", ".safetensors", ""}
    assert {part for bundle in BUNDLES.values() for part in bundle.parts} == set(PARTS.values())
