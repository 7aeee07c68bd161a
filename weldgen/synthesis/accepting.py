"""Make images anew until they pass, and stop where too many are refused."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from weldgen.errors import DataError
from weldgen.runtime import derive_seed
from weldgen.synthesis.gates import KnownHashes
from weldgen.synthesis.requests import TRANSPLANT, Request
from weldgen.synthesis.settings import SynthConfig

if TYPE_CHECKING:
    from weldgen.synthesis.making import Outcome, Workers

WINDOW = 200
# Attempts after which an image is made without its photo.
PHOTO_ATTEMPTS = 10
# What to change, by the first words of a reason.
_REMEDIES: Mapping[str, str] = {
    "blank": "lower gates.min_deviation",
    "blurred": "lower gates.min_detail",
    "clipped": "raise gates.max_clipped",
    "defect not visible": "lower gates.min_defect_px, or raise severity in recipes",
    "copy of another": "lower gates.duplicate_bits, ask for fewer images, or add photos",
    "copy of a validation": "group photos of one part with split.group_pattern, or lower gates.duplicate_bits",
    "too close to a validation": "group photos of one part with split.group_pattern, or lower gates.near",
    "too close to a training": "lower gates.near",
    "the photo it was made from": "lower render.transplant",
    "unlike every": "raise gates.outlier_floor, or set gates.outlier=0: the images look like nothing on the photos",
    "looks like": "look whether classes and recipes fit each other, or set gates.contradiction=1",
    "writing": "clean the photos with weldgen clean, or set gates.writing=never",
}


class RejectionRate:
    """Share of the last tries of each class that were refused.

    Args:
        most: Share at which the run stops.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._tries: dict[str, deque[str]] = {}

    def add(self, label: str, reason: str) -> None:
        """Count a try; an empty reason is one that passed.

        Raises:
            DataError: Too many were refused.
        """
        tries = self._tries.setdefault(label, deque(maxlen=WINDOW))
        tries.append(reason)
        refused = [why for why in tries if why]
        if len(tries) == WINDOW and len(refused) > self._most * WINDOW:
            raise DataError(
                f"{len(refused)} of the last {WINDOW} tries of class '{label}' were refused: {counted(refused)}",
                f"{remedy(refused)}, and run the same command again; gates.max_rejected sets how many may be refused",
            )


class Acceptance:
    """Settles what becomes of each image, in the order of their numbers.

    Args:
        workers: Make the further tries.
        config: Settings.
    """

    def __init__(self, workers: Workers, config: SynthConfig) -> None:
        self._workers = workers
        self._config = config
        self._known = KnownHashes(config.n)
        self._rate = RejectionRate(config.gates.max_rejected)

    def remember(self, index: int, record: Mapping[str, Any]) -> None:
        """Take in an image that an earlier run made, by its metadata line."""
        self._known.add(index, bytes.fromhex(record["hash"]))
        for reason in [*record["rejected"], ""]:
            self._rate.add(record["label"], reason)

    def settle(self, outcome: Outcome) -> tuple[Outcome, list[str]]:
        """Make an image anew, each time with the next seed, until it passes; returns it and why others did not.

        Raises:
            DataError: It was refused `gates.attempts` times, or too many of its class were.
        """
        config = self._config
        rejected: list[str] = []
        while not outcome.error:
            request = outcome.request
            reason = outcome.rejected or self._copy(outcome)
            self._rate.add(request.label, reason)
            if not reason:
                self._known.add(request.index, outcome.hash)
                break
            rejected.append(reason)
            if len(rejected) >= config.gates.attempts:
                raise DataError(
                    f"image {request.index} of class '{request.label}' was refused {len(rejected)} times: "
                    f"{counted(rejected)}",
                    f"{remedy(rejected)}, or change recipes or the generator's settings; run the same command again",
                )
            again = retried(request, request.attempt + 1, config.seed)
            outcome = next(self._workers.run([again]))
        return outcome, rejected

    def _copy(self, outcome: Outcome) -> str:
        """Why an image is a copy of another synthetic one, or empty."""
        limit = self._config.gates.duplicate_bits
        if limit < 0:
            return ""
        # views of one photo look alike and are meant to; only the same one twice is a copy
        alike = 0 if outcome.request.use == TRANSPLANT else limit
        near = self._known.nearest(outcome.request.index, outcome.hash) <= alike
        return "copy of another synthetic image" if near else ""


def retried(request: Request, attempt: int, seed: int) -> Request:
    """The request of a further attempt.

    It has another seed, and after some in vain no photo either, for the photo may be what is refused.

    Args:
        request: An earlier attempt, or the first.
        attempt: Number of the attempt.
        seed: The run's.
    """
    if attempt == 0:
        return request
    again = replace(request, attempt=attempt, seed=derive_seed(seed, "synth", request.index, attempt))
    if attempt < PHOTO_ATTEMPTS:
        return again
    return replace(again, photo=None, parent="", use="", weld=None, weld_parent="", donor=None, donor_parent="")


def counted(reasons: Sequence[str]) -> str:
    """Reasons with how often each occurs, the most frequent first."""
    return ", ".join(f"{count} x {why}" for why, count in Counter(reasons).most_common())


def remedy(reasons: Sequence[str]) -> str:
    """What to change so that the most frequent reason does not occur."""
    first = Counter(reasons).most_common(1)[0][0]
    return next((what for words, what in _REMEDIES.items() if first.startswith(words)), "loosen gates.*")
