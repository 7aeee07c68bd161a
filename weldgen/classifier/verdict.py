"""What may be said of a comparison: a winner where the photos show one, else that they show none."""

from __future__ import annotations

from weldgen.classifier.comparison import Comparison
from weldgen.classifier.paired import Pair, min_discordant
from weldgen.classifier.sweep import REAL_RATIO


def verdict(comparison: Comparison) -> list[str]:
    """The sentences that follow from the numbers, the most important one first."""
    if len(comparison.entries) < 2:
        only = comparison.entries[0].value
        return [f"only {comparison.key}={only} finished: there is nothing to compare it with"]
    lines = [_winner(comparison)]
    if comparison.key == REAL_RATIO:
        lines.insert(0, _synthetic(comparison))
    lines += [_pair_line(comparison, other) for other in comparison.pairs]
    return lines + _caveats(comparison)


def _winner(comparison: Comparison) -> str:
    values = [entry.value for entry in comparison.entries]
    best = values[comparison.best]
    beaten = [values[k] for k, pair in comparison.pairs.items() if pair.shown]
    open_ = [values[k] for k, pair in comparison.pairs.items() if not pair.shown]
    photos = f"these {_photos(comparison)}"
    if not open_:
        return f"{comparison.key}={best} is the best of {len(values)} on {photos}{_once(comparison)}"
    if not beaten:
        return f"{comparison.key}: no difference that {photos} could show between {', '.join(values)}"
    return (
        f"{comparison.key}={best} is better than {', '.join(beaten)}{_once(comparison)}; "
        f"no difference that {photos} could show between {', '.join([best, *open_])}"
    )


def _synthetic(comparison: Comparison) -> str:
    """Whether synthetic images helped: the best mix against real photos alone."""
    scores = [comparison.scores(k)["balanced_accuracy"][0] for k in range(len(comparison.entries))]
    # The best entry leads its kind, so one of the two is always the best and their pair was compared.
    order = sorted(range(len(scores)), key=lambda k: (k != comparison.best, -scores[k]))
    real = next((k for k in order if not comparison.entries[k].synthetic), None)
    mixed = next((k for k in order if comparison.entries[k].synthetic), None)
    if real is None:
        return "whether synthetic images help cannot be told without a model of real photos alone: add 1 to the sweep"
    if mixed is None:
        return "whether synthetic images help cannot be told: no model was trained with any"
    ahead = comparison.best == mixed
    pair = comparison.pairs[real if ahead else mixed]
    found = (
        f"the best mix ({REAL_RATIO}={comparison.entries[mixed].value}) against real photos alone: "
        f"{_points(pair, flipped=not ahead)} in balanced accuracy{_interval_words(comparison)}, "
        f"on {_photos(comparison)}"
    )
    if not pair.shown:
        return f"whether synthetic images help cannot be told from these photos; {found}"
    return f"synthetic images {'helped' if ahead else 'did not help'}{_once(comparison)}; {found}"


def _pair_line(comparison: Comparison, other: int) -> str:
    pair = comparison.pairs[other]
    first, second = comparison.entries[comparison.best].value, comparison.entries[other].value
    return (
        f"{first} against {second}: {_points(pair)}{_interval_words(comparison)}; right where the other was wrong: "
        f"{pair.only_first} to {pair.only_second}, exact McNemar p = {pair.p:.3g}"
    )


def _caveats(comparison: Comparison) -> list[str]:
    lines = []
    few = [k for k, p in comparison.pairs.items() if not p.shown and (p.low > 0 or p.high < 0)]
    if few:
        names = ", ".join(comparison.entries[k].value for k in few)
        needed, best = min_discordant(len(comparison.pairs)), comparison.entries[comparison.best].value
        lines.append(
            f"fewer than {needed} photos tell {best} from {names}: "
            "whatever the interval says, that many could be chance"
        )
    if _single(comparison):
        lines.append(
            "one training each: how much a second one would differ is not in these intervals; --repeats 3 averages "
            "over three and shows how far they lie apart"
        )
    else:
        spread = ", ".join(f"{e.value}: {min(e.run_scores):.1%} to {max(e.run_scores):.1%}" for e in comparison.entries)
        lines.append(f"balanced accuracy of the single trainings, which is not in these intervals: {spread}")
    return lines


def _once(comparison: Comparison) -> str:
    """What limits a claim that rests on single trainings."""
    return ", in one training each" if _single(comparison) else ""


def _single(comparison: Comparison) -> bool:
    return any(len(entry.seeds) == 1 for entry in comparison.entries)


def _photos(comparison: Comparison) -> str:
    groups = comparison.answers.groups
    return f"{comparison.photos} photos" + (f" in {groups} groups" if groups < comparison.photos else "")


def _points(pair: Pair, *, flipped: bool = False) -> str:
    low, middle, high = pair.low, pair.difference, pair.high
    if flipped:
        low, middle, high = -high, -middle, -low
    low, middle, high = (round(100 * value, 1) + 0.0 for value in (low, middle, high))  # no "-0.0"
    return f"{middle:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"


def _interval_words(comparison: Comparison) -> str:
    pairs = len(comparison.pairs)
    return f", for {pairs} comparisons together" if pairs > 1 else ""
