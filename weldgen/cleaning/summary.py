"""What a cleaned folder holds, in counts and sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from weldgen import weights
from weldgen.cleaning.settings import DETECTOR_WEIGHTS, INK_WEIGHT, INPAINTER_WEIGHTS, CleanConfig, detector_names
from weldgen.data.dataset import Failure, Sample
from weldgen.receipts import Summary

# The field of a photo's line that says that it was done again with settings of its own.
REDONE = "redone"


def summarise(
    out: Path, samples: Sequence[Sample], failures: Sequence[Failure], config: CleanConfig, notes: Sequence[str]
) -> Summary:
    """Counts and notes on a cleaned folder."""
    notes = list(notes)
    marked = [sample for sample in samples if sample.extra["regions"]]
    left = [sample for sample in samples if sample.extra["residual"]]
    if left:
        named = ", ".join(sample.file_name for sample in left[:5])
        notes.append(f"something that looks like writing is left on {len(left)} photos, look at them: {named}")
    redone = sum(bool(sample.extra.get(REDONE)) for sample in samples)
    if redone:
        notes.append(f"{redone} photos were done again with --only; they keep those settings until --only names them")
    counts = {
        "photos": len(samples),
        "cleaned": len(marked),
        "regions": sum(len(sample.extra["regions"]) for sample in marked),
        "residual": sum(sample.extra["residual"] for sample in left),
    }
    used = [DETECTOR_WEIGHTS[name] for name in detector_names(config.detect.backend)]
    used += [INK_WEIGHT, INPAINTER_WEIGHTS[config.inpaint.backend]]
    details = {
        "detectors": list(detector_names(config.detect.backend)),
        "inpainter": config.inpaint.backend,
        "masked_share": round(sum(s.extra["masked_share"] for s in marked) / max(1, len(marked)), 4),
        "splits": dict(sorted(Counter(sample.split for sample in samples).items())),
    }
    records = tuple(weights.get(weight_id).record for weight_id in used if weight_id)
    return Summary("clean", out, counts, len(failures), tuple(notes), records, details)
