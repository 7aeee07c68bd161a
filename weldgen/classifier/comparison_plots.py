"""Pictures of a comparison: how good the values are, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weldgen.classifier.comparison import Comparison
from weldgen.classifier.plots import to_png

_MARKERS = "osD^v<>PX*"
_COLOURS = (
    "#b4500f", "#1f5f8b", "#3f7d3a", "#8a3d7a", "#a08400", "#2a8c8c", "#6b4a2b", "#d1495b", "#5a6876", "#1c2530",
)  # fmt: skip


def comparison_png(comparison: Comparison) -> bytes:
    """Accuracy and balanced accuracy of each value with their intervals, as PNG."""
    from matplotlib.figure import Figure

    values = [entry.value for entry in comparison.entries]
    figure = Figure(figsize=(max(5.0, 1.6 + 1.1 * len(values)), 3.8), layout="constrained")
    axes = figure.add_subplot()
    for measure, shift, marker in (("balanced_accuracy", -0.08, "o"), ("accuracy", 0.08, "s")):
        scores = [comparison.scores(k)[measure] for k in range(len(values))]
        middle = [100 * value for value, _, _ in scores]
        ends = [[100 * (v - low) for v, low, _ in scores], [100 * (high - v) for v, _, high in scores]]
        places = [k + shift for k in range(len(values))]
        axes.errorbar(places, middle, yerr=ends, fmt=marker, capsize=4, label=measure.replace("_", " "))
    turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if max(map(len, values)) > 12 else {}
    axes.set_xticks(range(len(values)), values, **turned)
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set_ylim(0, 103)
    axes.set_xlabel(comparison.key)
    axes.set_ylabel("% of the photos, 95 % interval")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower left")
    axes.set_title(f"the same {comparison.photos} real test photos", fontsize=10)
    return to_png(figure)


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Indices of what nothing else beats, cheapest first: no other costs less and scores as well, or the reverse.

    >>> pareto_front([3, 1, 2, 4], [0.9, 0.7, 0.6, 0.9])
    [1, 0]
    """
    points = list(zip(costs, scores, strict=True))

    def beaten(cost: float, score: float) -> bool:
        return any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)

    return sorted((k for k, point in enumerate(points) if not beaten(*point)), key=lambda k: costs[k])


def pareto_png(comparison: Comparison) -> bytes | None:
    """Balanced accuracy against the latency and the size of the file, as PNG; None where they were not measured.

    Full markers on the line are the front; the names stand beside the plots, where no two of them can overlap.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    entries = comparison.entries
    known = [k for k, e in enumerate(entries) if e.costs.latency_ms is not None and e.costs.file_mb is not None]
    if not known:
        return None
    scores = [comparison.scores(k)["balanced_accuracy"] for k in known]
    figure = Figure(figsize=(10.5, max(4.0, 1.6 + 0.24 * len(known))), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name, measure in zip(
        panels, ("latency on the CPU, ms a photo", "exported file, MB"), ("latency_ms", "file_mb"), strict=True
    ):
        costs = [float(getattr(entries[k].costs, measure)) for k in known]
        front = pareto_front(costs, [score[0] for score in scores])
        axes.plot([costs[k] for k in front], [100 * scores[k][0] for k in front], color="#9aa5b0", zorder=1)
        for k, (cost, (value, low, high)) in enumerate(zip(costs, scores, strict=True)):
            colour, marker = _look(k)
            axes.errorbar(
                cost, 100 * value, yerr=[[100 * (value - low)], [100 * (high - value)]], fmt=marker,
                color=colour, mfc=colour if k in front else "white", ms=8, capsize=3, elinewidth=1,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
        _plain_ticks(axes.xaxis)
        axes.set_xlabel(name)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("balanced accuracy, %, 95 % interval")
    looks = [_look(k) for k in range(len(known))]
    handles = [Line2D([], [], color=colour, marker=marker, ms=8, linestyle="") for colour, marker in looks]
    labels = [entries[k].value for k in known]
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9, title=comparison.key)
    figure.suptitle(f"the same {comparison.photos} real test photos; full markers and line: the front", fontsize=10)
    return to_png(figure)


def _look(k: int) -> tuple[str, str]:
    """Colour and marker, different for each of a hundred values."""
    return _COLOURS[k % len(_COLOURS)], _MARKERS[k // len(_COLOURS) % len(_MARKERS)]


def _plain_ticks(axis: Any) -> None:
    """Numbers as people write them on a logarithmic axis, few enough to be read."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_locator(NullLocator())
