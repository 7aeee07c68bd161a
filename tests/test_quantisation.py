"""Convolutions computed in int8 give nearly the numbers of fp32."""

from __future__ import annotations

import io
import json

import numpy as np
import openvino
import pytest
import torch
from torch import nn

from weldgen.cleaning.settings import DETECTOR_WEIGHTS, INK_WEIGHT
from weldgen.errors import BackendError
from weldgen.inference import Network, ranges_file, ranges_for
from weldgen.quantisation import convolutions, input_ranges, quantise
from weldgen.weights import require


class Branches(nn.Module):
    """A wide convolution, two more that share its input, one of them grouped; their inputs may be negative."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.grouped = nn.Conv2d(3, 6, 3, padding=1, groups=3)
        self.small = nn.Conv2d(3, 2, 1)
        self.last = nn.Conv2d(24, 4, 1)

    def forward(self, x):
        return self.last(self.joined(x))

    def joined(self, x):
        return torch.cat([torch.relu(self.first(x)), self.grouped(x), self.small(x)], dim=1)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Branches().eval()


@pytest.fixture(scope="module")
def onnx(net):
    buffer = io.BytesIO()
    torch.onnx.export(
        net, (torch.zeros(1, 3, 16, 16),), buffer, dynamo=False, input_names=["x"], output_names=["y"],
        dynamic_axes={"x": {2: "h", 3: "w"}},
    )  # fmt: skip
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photos():
    return list(np.random.default_rng(0).uniform(-1, 2, (3, 1, 3, 24, 40)).astype(np.float32))


def test_ranges_are_what_goes_into_each_convolution(net, onnx, photos):
    ranges = input_ranges(openvino.Core().read_model(onnx), photos)
    batch = torch.from_numpy(np.concatenate(photos))
    with torch.inference_mode():
        joined = net.joined(batch)
    wanted = [(float(batch.min()), float(batch.max()))] * 2 + [(float(joined.min()), float(joined.max()))]
    wanted += [(float(batch.min()), float(batch.max()))]  # the grouped one
    assert np.allclose(sorted(ranges), sorted(wanted), atol=1e-4)


def test_what_is_not_chosen_has_no_range_and_stays_as_it_is(onnx, photos):
    everything = input_ranges(openvino.Core().read_model(onnx), photos)
    ranges = input_ranges(openvino.Core().read_model(onnx), photos, [1, 3])
    assert ranges == [None, everything[1], None, everything[3]]
    network = openvino.Core().read_model(onnx)
    quantise(network, ranges)
    quantised = [node.input_value(1).get_node().get_type_name() == "FakeQuantize" for node in convolutions(network)]
    assert quantised == [False, True, False, True]


def test_int8_is_coarse_but_close_at_sizes_and_values_it_was_not_measured_on(onnx, photos):
    ranges = input_ranges(openvino.Core().read_model(onnx), photos)
    exact, coarse = Network(onnx, runtime="openvino", threads=1), Network(onnx, threads=1, ranges=ranges)
    other = np.random.default_rng(1).uniform(-1, 2, (1, 3, 33, 18)).astype(np.float32)
    (wanted,), (found,) = exact(other), coarse(other)
    assert 0 < np.abs(wanted - found).max() < 0.05 * np.ptp(wanted)
    assert abs(float((wanted - found).mean())) < 0.005 * np.ptp(wanted)


def test_a_shared_input_is_rounded_once(onnx):
    network = openvino.Core().read_model(onnx)
    quantise(network, [(-0.5, 0.5)] * 4)
    kinds = [node.get_type_name() for node in network.get_ops()]
    assert kinds.count("FakeQuantize") == 2 + 4, "two inputs, four weights"


@pytest.mark.parametrize("ends", [(-0.3, 1.0), (0.2, 1.0), (-1.0, -0.2), (0.0, 0.0)])
def test_zero_is_one_of_the_levels(onnx, ends):
    """Padding is zero: rounded to anything else it would shift every border."""
    network = openvino.Core().read_model(onnx)
    quantise(network, [ends] * 4)
    rounding = [node for node in network.get_ops() if node.get_type_name() == "FakeQuantize"]
    for node in (node for node in rounding if node.get_attributes()["levels"] == 256):
        low, high = (float(node.input_value(place).get_node().data.item()) for place in (1, 2))
        assert low <= min(ends[0], 0.0) + 0.01 and high >= max(ends[1], 0.0) - 0.01 and low < high
        level = -low / (high - low) * 255
        assert level == pytest.approx(round(level), abs=1e-4)


def test_ranges_of_another_network_are_refused(onnx):
    with pytest.raises(BackendError, match="2 ranges do not fit a network of 4 convolutions"):
        Network(onnx, runtime="openvino", ranges=[(0, 1)] * 2)


@pytest.mark.parametrize(("name", "count", "left"), [("easyocr", 27, 0), ("ink", 61, 3), ("rapidocr", 83, 81)])
def test_the_shipped_ranges_are_sound(name, count, left):
    ranges = json.loads(ranges_file(name).read_text())["ranges"]
    assert (len(ranges), ranges.count(None)) == (count, left)
    assert all(low <= 0 < high < 200 and low > -200 for low, high in filter(None, ranges))


def test_the_shipped_ranges_are_used_for_the_weights_they_were_measured_on_and_no_others(tmp_path):
    weights = require(INK_WEIGHT)
    assert len(ranges_for("ink", weights, "int8")) == 61
    assert ranges_for("ink", weights, "bf16") == []
    later = tmp_path / "ink.onnx"
    later.write_bytes(weights.read_bytes() + b"\0")
    assert ranges_for("ink", later, "int8") == []


def test_easyocr_and_the_ink_network_run_with_their_ranges():
    """A new release of either without new ranges would be slow and nobody would see why."""
    assert ranges_for("easyocr", require(DETECTOR_WEIGHTS["easyocr"]), "int8")
    assert ranges_for("ink", require(INK_WEIGHT), "int8")
