"""Confusion matrices, curves and reliability as pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from weldgen.classifier.curves import Curve
from weldgen.classifier.metrics import Counts, normalised

# More classes than this have their names beside the curves instead of over them.
_NAMES_WITHIN = 4
_BLUE, _GREY = "#2f6690", "#8a97a3"
_DPI = 130


def confusion_png(matrix: Counts, labels: Sequence[str], *, shares: bool, title: str) -> bytes:
    """A confusion matrix as PNG.

    Args:
        matrix: (K, K) counts; rows are the true classes.
        labels: The K names.
        shares: Show each row in percent instead of counts.
        title: Line above it.
    """
    from matplotlib.figure import Figure

    values: npt.NDArray[np.float64] = normalised(matrix)
    side = 2.6 + 0.85 * len(labels)
    figure = Figure(figsize=(side + 0.4, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
    support = matrix.sum(axis=1)
    names = [f"{label}\n(n = {support[k]})" for k, label in enumerate(labels)]
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(labels) > 3 else {}
    axes.set_xticks(range(len(labels)), list(labels), **turned)
    axes.set_yticks(range(len(labels)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=10)
    for row in range(len(labels)):
        for column in range(len(labels)):
            text = f"{values[row, column]:.0%}" if shares else str(matrix[row, column])
            axes.text(
                column, row, text, ha="center", va="center", color="white" if values[row, column] > 0.5 else "black"
            )
    return to_png(figure)


def roc_png(curves: Sequence[Curve], title: str) -> bytes:
    """ROC curves of the classes, each against the rest, as PNG; the dashed line is chance."""
    figure, axes = _square(len(curves))
    axes.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1)
    _draw(figure, axes, curves, "AUROC", "default")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.set_title(f"{title}, ROC", fontsize=10)
    return to_png(figure)


def precision_recall_png(curves: Sequence[Curve], title: str) -> bytes:
    """Precision against recall of the classes, each against the rest, as PNG; dotted lines are chance."""
    figure, axes = _square(len(curves))
    _draw(figure, axes, curves, "AP", "steps-post")
    for curve, line in zip(curves, list(axes.lines), strict=True):
        axes.axhline(curve.chance, color=line.get_color(), linestyle=":", linewidth=1)
    axes.set(xlabel="recall", ylabel="precision")
    axes.set_title(f"{title}, precision-recall", fontsize=10)
    return to_png(figure)


def reliability_png(calibration: Mapping[str, Any], title: str) -> bytes:
    """Accuracy against confidence, and below it the photos of each bin, as PNG.

    Args:
        calibration: What `reliability` found, of at least one photo.
        title: Line above it.
    """
    from matplotlib.figure import Figure

    filled = [row for row in calibration["bins"] if row["n"]]
    middles = [(row["low"] + row["high"]) / 2 for row in filled]
    width = 0.92 * (filled[0]["high"] - filled[0]["low"])
    figure = Figure(figsize=(5, 5.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.bar(middles, [row["accuracy"] for row in filled], width, color=_BLUE, label="accuracy")
    above.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1, label="perfectly calibrated")
    above.plot(
        [row["confidence"] for row in filled], [row["accuracy"] for row in filled], "o",
        color="white", markeredgecolor="black", markersize=4, label="at the mean confidence",
    )  # fmt: skip
    above.set(ylabel="accuracy", ylim=(0, 1.04), xlim=(0, 1))
    above.legend(loc="upper left", fontsize=8)
    error = calibration["expected_calibration_error"]
    above.set_title(f"{title}, expected calibration error {error:.3f}", fontsize=10)
    below.bar(middles, [row["n"] for row in filled], width, color=_GREY)
    for middle, row in zip(middles, filled, strict=True):
        below.annotate(str(row["n"]), (middle, row["n"]), ha="center", va="bottom", fontsize=7)
    below.set(xlabel="confidence", ylabel="photos", ylim=(0, 1.25 * max(row["n"] for row in filled)))
    return to_png(figure)


def _square(classes: int) -> tuple[Any, Any]:
    """A figure with axes from 0 to 1 and as many colours and dashes as there are classes."""
    from cycler import cycler
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 if classes <= _NAMES_WITHIN else 7.5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(cycler(linestyle=["-", "--", "-."]) * cycler(color=colormaps["tab10"](range(10))))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), aspect="equal")
    return figure, axes


def _draw(figure: Any, axes: Any, curves: Sequence[Curve], area: str, steps: str) -> None:
    for curve in curves:
        axes.plot(curve.x, curve.y, drawstyle=steps, label=f"{curve.label} ({area} {curve.area:.3f})")
    if len(curves) > _NAMES_WITHIN:
        figure.legend(loc="outside right upper", fontsize=8)
    else:
        axes.legend(loc="lower left" if steps == "steps-post" else "lower right", fontsize=8)


def to_png(figure: Any) -> bytes:
    """A figure as PNG, drawn once: matplotlib's own saving draws a figure that has a layout twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    stream = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(stream, "PNG", dpi=(_DPI, _DPI))
    return stream.getvalue()
