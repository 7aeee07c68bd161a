"""Whether the probabilities mean what they say: of photos called with 90 % confidence, nine in ten should be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15


def reliability(probabilities: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Expected calibration error over 15 equal-width bins of the confidence (Guo et al. 2017).

    The confidence is the highest probability of a photo, after the temperature. The error is the mean over the photos
    of |accuracy - confidence| of their bin ("On Calibration of Modern Neural Networks", ICML 2017, equation 3; bins as
    there, open below and closed above). Few photos make it large by chance: a bin of one photo is right or wrong.

    Args:
        probabilities: (N, K) float64, 0 to 1, calibrated.
        truth: (N,) true classes.

    Returns:
        `expected_calibration_error`, 0 to 1, None without photos; and `bins`, each with `low`, `high`, `n`, and the
        mean `confidence` and `accuracy`, None where it has no photo.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    own = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    n = np.bincount(own, minlength=BINS)
    sums = [np.bincount(own, weights=values, minlength=BINS) for values in (confidence, right)]
    gap = float(np.abs(sums[1] - sums[0]).sum()) / len(truth) if len(truth) else None
    bins = [
        {
            "low": k / BINS,
            "high": (k + 1) / BINS,
            "n": int(n[k]),
            "confidence": float(sums[0][k] / n[k]) if n[k] else None,
            "accuracy": float(sums[1][k] / n[k]) if n[k] else None,
        }
        for k in range(BINS)
    ]
    return {"expected_calibration_error": gap, "bins": bins}
