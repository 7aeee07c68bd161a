"""From probabilities to an answer: which class it is, and whether a person should look.

The rule is written once, because evaluation measures it and the exported model applies it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Names in the metadata of an exported file: least confidence, and the record of the chosen operating point.
CONFIDENCE_KEY, OPERATING_KEY = "threshold", "operating"


@dataclass(frozen=True)
class Decision:
    """How probabilities become an answer; as it stands, the most probable class wins and nothing abstains.

    Attributes:
        positive: Class that must not be missed, which `threshold` decides on; empty: the most probable class wins.
        threshold: Least probability of `positive` that makes it the answer, 0 to above 1.
        band: Probabilities of `positive`, both included, between which a person should look; None: nowhere.
        confidence: An answer with a lower probability abstains; 0: never.
    """

    positive: str = ""
    threshold: float = 0.5
    band: tuple[float, float] | None = None
    confidence: float = 0.0

    def __call__(self, probabilities: npt.NDArray[Any], classes: tuple[str, ...]) -> tuple[int, bool]:
        """Index of the answer, and whether the model abstains, from (K,) probabilities of the K classes."""
        values = probabilities.astype(np.float64)
        best = int(values.argmax())
        unsure = False
        if self.positive:
            index = classes.index(self.positive)
            share = float(values[index])
            others = values.copy()
            others[index] = -1
            best = index if share >= self.threshold else int(others.argmax())
            unsure = self.band is not None and self.band[0] <= share <= self.band[1]
        return best, unsure or float(values[best]) < self.confidence

    def record(self) -> dict[str, Any]:
        """What is kept of it as JSON."""
        return {
            "positive": self.positive,
            "threshold": self.threshold,
            "band": None if self.band is None else list(self.band),
            "confidence": self.confidence,
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Decision:
        """The decision of a `record`; what else is in it does not matter."""
        band = record["band"]
        return Decision(
            record["positive"], record["threshold"], None if band is None else (band[0], band[1]), record["confidence"]
        )

    def sentences(self) -> list[str]:
        """What a person has to know of it; empty for the plain rule."""
        said = [f"{self.positive} from a probability of {self.threshold:.3g} on"] if self.positive else []
        if self.band is not None:
            said.append(f"abstains where that of {self.positive} is {self.band[0]:.3g} to {self.band[1]:.3g}")
        if self.confidence > 0:
            said.append(f"abstains below {self.confidence:g}")
        return said


def read_operating(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The record of the operating point in the metadata of an exported file; empty where there is none."""
    record: dict[str, Any] = json.loads(metadata.get(OPERATING_KEY, "{}"))
    return record


def read_decision(metadata: Mapping[str, str]) -> Decision:
    """The decision that an exported file makes; its `threshold` wins over the operating point's confidence."""
    confidence = float(metadata[CONFIDENCE_KEY])
    record = read_operating(metadata)
    return Decision.from_record({**record, "confidence": confidence}) if record else Decision(confidence=confidence)
