"""What makes a training faster changes neither what is trained nor what is saved."""

from __future__ import annotations

import functools
import json
import math

import pytest
import torch

from weldgen.classifier.model_file import load_card, load_model
from weldgen.classifier.train import train


def losses(folder):
    return [record["train_loss"] for record in json.loads((folder / "history.json").read_text())]


def test_bf16_trains_on_a_cpu(trained, tmp_path, tiny_config):
    out, dtypes = tmp_path / "model", set()
    original = torch.nn.Linear.forward

    def spied(self, values):
        answer = original(self, values)
        dtypes.add(answer.dtype)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Linear, "forward", spied)
        summary = train(trained[1], out, tiny_config(training={"precision": "bf16", "epochs": 14}))
    assert torch.bfloat16 in dtypes
    assert summary.details["precision"] == "bf16"
    assert all(map(math.isfinite, losses(out)))
    assert losses(out)[-1] < losses(out)[0]
    network, _ = load_model(out)
    assert {value.dtype for value in network.parameters()} == {torch.float32}, "the weights themselves stay float32"
    assert load_card(out).validation["val_balanced_accuracy"] == 1


def test_what_is_compiled_is_what_is_trained(photos, tmp_path, monkeypatch, tiny_config):
    # The backend "eager" runs the graph that torch has captured without compiling it to code, which takes minutes.
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    compiled, plain = tmp_path / "compiled", tmp_path / "plain"
    settings = {"epochs": 2, "batch_size": 6}
    train(photos, compiled, tiny_config(training={**settings, "compile": True}))
    assert graphs, "the network was captured"
    train(photos, plain, tiny_config(training=settings))
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-4)
    states = [load_model(folder)[0].state_dict() for folder in (compiled, plain)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-2, atol=1e-4)
