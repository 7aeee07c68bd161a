"""The project folder: what `init` makes, and how commands find each other's results in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from weldgen.config import PROJECT_FILE, load_config
from weldgen.data.mix import MixConfig
from weldgen.errors import DataError
from weldgen.receipts import Summary, read_receipt
from weldgen.runtime import output_errors, write_atomic
from weldgen.stages import STAGES, run_stage

_CLASSES = ("good", "bad")
_TEMPLATE = """\
# Settings of this project: only what differs from the defaults, one section for each stage.
# A setting on the command line (weldgen train training.epochs=50) wins over this file.
#
# clean:
#   mask: {dilate_px: 24}        # pixels at a photo of 1500 px, scaled with the photo
# synth:
#   n: 10000
# mix:
#   real_ratio: 0.25
# train:
#   training: {epochs: 30}
"""


def init_project(directory: Path) -> list[str]:
    """Make the folders and `weldgen.yaml`; what exists is left alone.

    Returns:
        Sentences for the user.
    """
    lines = []
    for label in _CLASSES:
        folder = directory / "data" / "raw" / label
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    settings = directory / PROJECT_FILE
    if settings.exists():
        lines.append(f"{settings} exists and was left as it is")
    else:
        write_atomic(settings, _TEMPLATE)
        lines.append(f"made {settings}")
    lines.append(f"put photos into {directory / 'data' / 'raw'}/<class>/ (good and bad are there; any names will do)")
    lines.append("then: weldgen clean, weldgen synth --n 10000, weldgen train, weldgen evaluate, weldgen export")
    return lines


def mix_if_parts_exist(*, preset: str | None = None, flags: Mapping[str, Any] | None = None) -> Summary | None:
    """Bring `data/mixed` up to date where its parts lie in the project; None where there is nothing to mix.

    A mix that the user made with other settings keeps them.

    Raises:
        DataError: There is neither a mix nor a folder of clean photos.
    """
    stage = STAGES["mix"]
    out, real = Path(stage.out), Path(stage.inputs["real"])
    synthetic = Path(stage.inputs["synthetic"])
    if not real.is_dir():
        if out.is_dir():
            return None
        raise DataError(f"neither {out} nor {real} exists", "run weldgen clean first, or name a dataset")
    receipt = read_receipt(out)
    if receipt and Path(receipt["inputs"]["real"]) != real:
        return None
    if receipt:
        config = MixConfig.model_validate(receipt["config"])
        synthetic = Path(receipt["inputs"]["synthetic"])
    else:
        config = load_config("mix", MixConfig, preset=preset, flags=flags)
    if not synthetic.is_dir():
        config = config.model_copy(update={"real_ratio": 1.0})
    return run_stage("mix", {"real": real, "synthetic": synthetic}, out, config)


def training_data(model: Path) -> Path:
    """The dataset that a model was trained on, or the project's mix where its receipt does not say."""
    receipt = read_receipt(model if model.is_dir() else model.parent)
    named = cast(Mapping[str, str], receipt["inputs"]).get("dataset") if receipt else None
    return Path(named) if named else Path(STAGES["evaluate"].inputs["dataset"])
