"""Confusion matrices as pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.classifier.metrics import Counts, normalised


def confusion_png(matrix: Counts, labels: Sequence[str], *, shares: bool, title: str) -> bytes:
    """A confusion matrix as PNG.

    Args:
        matrix: (K, K) counts; rows are the true classes.
        labels: The K names.
        shares: Show each row in percent instead of counts.
        title: Line above it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    values: npt.NDArray[np.float64] = normalised(matrix)
    side = 2.6 + 0.85 * len(labels)
    figure = Figure(figsize=(side + 0.4, side), layout="constrained")
    canvas = FigureCanvasAgg(figure)
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
    stream = io.BytesIO()
    canvas.print_figure(stream, dpi=130, format="png")
    return stream.getvalue()
