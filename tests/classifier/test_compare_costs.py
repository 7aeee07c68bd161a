"""What stands beside the accuracy: false alarms, memory, file, latency, licences, the front, what others claim."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from weldgen.classifier.claims import MARK, Claims, read_claims
from weldgen.classifier.compare import CompareConfig, compare
from weldgen.classifier.comparison import Comparison, Entry
from weldgen.classifier.comparison_plots import pareto_front, pareto_png
from weldgen.classifier.comparison_table import csv_text, markdown, table_rows
from weldgen.classifier.costs import Costs, PeakMemory, train_watched
from weldgen.classifier.latency import measure_latency
from weldgen.classifier.paired import Answers
from weldgen.classifier.rows import compare_config
from weldgen.classifier.sweep import Row
from weldgen.classifier.verdict import verdict
from weldgen.cli import app
from weldgen.data.mix import MixConfig
from weldgen.errors import BackendError, ConfigError, DataError
from weldgen.receipts import Summary
from weldgen.report.stage import write_stage_report
from weldgen.runtime import resource_dir

COSTS = Costs(61.0, 2_500_000, {"net": "Apache-2.0", "other": "Apache-2.0"}, 812.4, 13.56, 4.25)


class Nearest(torch.nn.Module):
    """Stands for the letterbox, which takes the exporter most of its time and is tested with the export."""

    def __init__(self, frame):
        super().__init__()
        self.frame = frame

    def forward(self, images):
        pairs = zip(self.frame, images.shape[1:3], strict=True)
        rows, columns = (torch.arange(side) * length // side for side, length in pairs)
        return images[:, rows][:, :, columns].permute(0, 3, 1, 2).float()


def comparison(*right, costs=None, groups=None, labels=None, good=1):
    """Values "a", "b", ... on photos of which the first half is bad."""
    n = len(right[0])
    labels = labels or ["bad" if k < n // 2 else "good" for k in range(n)]
    answers = Answers.of(labels, groups or [""] * n, [np.array(row, float) for row in right])
    entries = [
        Entry(value, (0,), (0.5,), 10, 0, 3, own)
        for value, own in zip("abcdefgh", costs or [COSTS] * len(right), strict=False)
    ]
    return Comparison.of("train.model.backbone", entries, answers, 300, 0, good)


# --- columns -------------------------------------------------------------------------------------------------------


def test_false_alarms_are_good_photos_called_something_else():
    found = comparison([0] * 10 + [1] * 8 + [0] * 2, [1] * 20)
    value, low, high = found.scores(0)["false_alarms"]
    assert value == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.0567, 0.5098), abs=1e-4)  # Wilson, 2 of 10
    assert found.scores(1)["false_alarms"][0] == 0
    assert found.record()["results"][0]["false_alarms"]["value"] == pytest.approx(0.2)


def test_photos_of_one_group_count_once_in_false_alarms():
    right = [1] * 10 + [0] * 5 + [1] * 5
    alone = comparison(right, right).scores(0)["false_alarms"]
    grouped = comparison(right, right, groups=[f"part{k // 5}" for k in range(20)]).scores(0)["false_alarms"]
    assert alone[0] == grouped[0] == pytest.approx(0.5)
    assert grouped[2] - grouped[1] > alone[2] - alone[1]


def test_the_table_shows_what_was_measured_and_leaves_the_rest_out():
    head, first, second = table_rows(comparison([1] * 8, [1] * 8, costs=[COSTS, replace(COSTS, latency_ms=None)]))
    row = dict(zip(head, first, strict=True))
    assert (row["training"], row["peak memory"], row["parameters"]) == ("61 s", "812 MB", "2.50 M")
    assert (row["file"], row["latency"], row["licence of the weights"]) == ("13.6 MB", "4.25 ms", "Apache-2.0")
    assert row["false alarms"] == "0.0% (0% to 49%)"
    assert second[head.index("latency")] == "-"
    bare = table_rows(comparison([1] * 8, [1] * 8, costs=[Costs(1, 10, {})] * 2, good=None))
    assert not {"latency", "file", "peak memory", "false alarms"} & set(bare[0])
    assert bare[1][-1] == "no third-party weights"
    assert len({len(line) for line in markdown(bare)}) == 1


def test_the_spreadsheet_has_a_number_in_every_cell_that_was_measured():
    found = comparison([1] * 8, [1] * 8, costs=[COSTS, Costs(1, 10, {})])
    first, second = csv.DictReader(io.StringIO(csv_text(found)))
    assert (first["file_mb"], first["latency_ms"], first["peak_memory_mb"]) == ("13.560", "4.250", "812.4")
    assert first["licences"] == "net: Apache-2.0; other: Apache-2.0"
    assert first["false_alarms_high"].startswith("0.4898")
    assert (second["file_mb"], second["latency_ms"], second["peak_memory_mb"]) == ("", "", "")


def test_chance_alone_names_no_winner():
    rng = np.random.default_rng(7)
    named = 0
    for _ in range(40):
        found = comparison(*(rng.random((4, 60)) < 0.8))
        named += found.record()["winner"] is not None or "is the best" in verdict(found)[0]
        assert (found.record()["winner"] is None) == (not all(pair.shown for pair in found.pairs.values()))
    assert named <= 1


# --- the front -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("costs", "scores", "front"),
    [
        ([1, 2, 3], [0.7, 0.8, 0.9], [0, 1, 2]),
        ([1, 2, 3], [0.9, 0.8, 0.9], [0]),
        ([3, 1, 2, 4], [0.9, 0.7, 0.6, 0.95], [1, 0, 3]),
        ([2, 2, 1], [0.8, 0.9, 0.5], [2, 1]),
        ([2, 2], [0.8, 0.8], [0, 1]),
    ],
)
def test_on_the_front_is_what_nothing_beats(costs, scores, front):
    assert pareto_front(costs, scores) == front


def test_the_picture_of_the_front_needs_measured_costs():
    right = [1, 0] * 10
    assert pareto_png(comparison(right, right, costs=[Costs(1, 10, {})] * 2)) is None
    png = pareto_png(comparison(right, right, costs=[COSTS, Costs(1, 10, {})]))
    assert Image.open(io.BytesIO(png)).size[0] > 1000


# --- memory and time -----------------------------------------------------------------------------------------------


def test_peak_memory_is_the_most_that_was_held_while_training():
    with PeakMemory() as before:
        pass
    with PeakMemory() as memory:
        held = np.ones(40_000_000)  # 320 MB that the block alone holds
        for _ in range(3):
            memory._done.wait(0.06)
        del held
    assert memory.mb > before.mb + 250


def test_peak_memory_of_a_model_that_was_there_is_what_its_training_left(tmp_path):
    trained = Summary("train", tmp_path)
    _, peak_mb = train_watched(lambda: trained, tmp_path)
    again, kept_mb = train_watched(lambda: replace(trained, skipped=True), tmp_path)
    assert again.skipped
    assert kept_mb == peak_mb > 0
    (tmp_path / "memory.json").unlink()
    assert train_watched(lambda: replace(trained, skipped=True), tmp_path)[1] is None


def test_a_model_that_cannot_be_timed_says_why(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photo.png")
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(BackendError, match="could not be timed"):
        measure_latency({"a": tmp_path / "model.onnx"}, [tmp_path / "photo.png"])


# --- a whole comparison ------------------------------------------------------------------------------------------


def test_rows_are_trained_exported_timed_and_reported(photos, tmp_path, tiny_config, monkeypatch):
    out = tmp_path / "comparison"
    short = {"epochs": 1}
    rows = {
        "small": Row(settings="train.training.epochs=1", mix=MixConfig(), train=tiny_config(training=short)),
        "other <net>": Row(
            settings="train.model.backbone=test_convnext.r160_in1k", mix=MixConfig(),
            train=tiny_config(training=short, model={"backbone": "test_convnext.r160_in1k"}),
        ),
    }  # fmt: skip
    config = CompareConfig(rows=rows, device="cpu", claims="rust")
    monkeypatch.setattr("weldgen.classifier.graph.Letterbox", Nearest)
    original = export_of(monkeypatch, failing=None)
    summary = compare(photos, None, out, config)
    assert (summary.failures, summary.counts["models"], len(original)) == (0, 2, 2)
    record = json.loads((out / "comparison.json").read_text())
    for result, (name, row) in zip(record["results"], rows.items(), strict=True):
        assert (result["value"], result["settings"], result["licences"]) == (name, row.settings, {})
        assert result["latency_ms"] > 0
        assert result["file_mb"] == pytest.approx(exported_file(out, name).stat().st_size / 1e6)
        assert result["peak_memory_mb"] > 50
        folder = exported_file(out, name).parent.parent
        measured = json.loads((folder / "evaluation" / "metrics.json").read_text())
        assert result["false_alarms"]["value"] == pytest.approx(measured["false_alarm_rate"]["value"])
    page = write_stage_report("compare", out).read_text()
    assert "other &lt;net&gt;" in page
    assert "train.model.backbone=test_convnext.r160_in1k" in page
    assert "licence of the weights" in page
    assert MARK in page
    assert page.count("data:image/png") == 2
    assert all(source.startswith("data:") for source in re.findall(r'(?:src|href)="([^"]+)"', page))
    assert any(note.startswith("latency: median of") for note in summary.notes)
    assert next(k for k, note in enumerate(summary.notes) if note.startswith(MARK)) > len(rows) + 2

    (out / "stage.json").unlink()
    second = compare(photos, None, out, config.model_copy(update={"timing": False, "claims": ""}))
    assert not (out / "pareto.png").exists()
    assert not any(note.startswith(("latency:", MARK)) for note in second.notes)
    assert write_stage_report("compare", out).read_text().count("data:image/png") == 1


def exported_file(out, name):
    return next(
        file for file in out.glob("row=*/seed0/export/classifier.onnx") if ("other" in str(file)) == ("other" in name)
    )


def export_of(monkeypatch, failing):
    """Counts exports, and fails the one of a backbone."""
    from weldgen.classifier import deployed

    original, seen = deployed.export, []

    def export(model, out, config):
        seen.append(model)
        if failing and failing in str(model):
            raise BackendError("the exported network differs from the trained one")
        return original(model, out, config)

    monkeypatch.setattr(deployed, "export", export)
    return seen


def test_a_model_that_cannot_be_exported_keeps_its_accuracy(photos, tmp_path, tiny_config, monkeypatch):
    config = CompareConfig(
        sweep="train.model.embedding_size=8,16", device="cpu", train=tiny_config(training={"epochs": 1})
    )
    export_of(monkeypatch, failing="embedding_size")
    summary = compare(photos, None, tmp_path / "out", config)
    record = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert summary.failures == 2
    assert [result["latency_ms"] for result in record["results"]] == [None, None]
    assert all("accuracy" in result for result in record["results"])
    assert any(note.startswith("failed: train.model.embedding_size=8/export: the exported") for note in summary.notes)


# --- what others claim ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["weld", "rust", "dandelion", "drain", "casting"])
def test_claims_are_marked_and_have_a_source(task):
    claims = read_claims(task)
    assert claims.sentence().startswith(f"{MARK}: description of")
    table = claims.table()
    assert {len(row) for row in table} <= {len(table[0])} if table else task == "casting"
    assert all(any(row[column] for row in table[1:]) for column in range(len(table[0]))) if table else True


def test_an_interval_stands_where_the_number_of_photos_was_stated():
    head, *rows = read_claims("rust").table()
    accuracy = {row[0]: row[head.index("accuracy")] for row in rows}
    assert head[0] == MARK
    assert accuracy["MobileNetV3-Small, ten photos"] == "100 %: 10 of 10 (95 % interval 72% to 100%)"
    assert accuracy["CLIP ViT-B/32"] == "88.4 %"


def test_an_unknown_task_is_named_with_the_nearest_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="casting, dandelion, drain, rust, weld") as raised:
        compare_config("mix.real_ratio=1,0.5", settings={"claims": "rusty"})
    assert "rust" in raised.value.hint


def test_the_file_of_claims_holds_nothing_else():
    import yaml

    content = yaml.safe_load((resource_dir("configs") / "claims" / "default.yaml").read_text())
    assert set(content) == {"weld", "rust", "dandelion", "drain", "casting"}
    assert all(Claims.model_validate(section) for section in content.values())


def test_rows_that_differ_in_the_mix_alone_need_synthetic_images(photos, tmp_path, tiny_config):
    mixing = MixConfig(real_ratio=0.5)
    rows = {"a": Row(settings="", mix=MixConfig(), train=tiny_config())}
    rows["b"] = Row(settings="mix.real_ratio=0.5", mix=mixing, train=tiny_config())
    with pytest.raises(DataError, match="between the rows a, b mixes synthetic images in, but there are none"):
        compare(photos, None, tmp_path / "alone", CompareConfig(rows=rows, device="cpu"))
    rows["b"] = Row(settings="", mix=mixing, train=tiny_config(training={"epochs": 1}))
    summary = compare(photos, None, tmp_path / "both", CompareConfig(rows=rows, device="cpu", timing=False))
    assert any("real photos alone" in note for note in summary.notes)
    assert summary.counts["models"] == 2


def test_the_command_line_takes_rows(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = CliRunner().invoke(app, ["compare", str(photos), "--row", "a:", "--row", "b: train.training.epoch=2"])
    assert wrong.exit_code == 2
    assert "no setting 'training.epoch'" in wrong.output
    both = CliRunner().invoke(app, ["compare", "--row", "a:", "--sweep", "mix.real_ratio=1,0.5"])
    assert (both.exit_code, "one of them is accepted" in both.output) == (2, True)
