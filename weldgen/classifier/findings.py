"""What a review found: photos ranked by their labels, near-duplicates whose labels differ, and what is too little."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from weldgen.data.dataset import Dataset, Sample
from weldgen.data.split import SplitConfig, find_groups
from weldgen.errors import DataError

if TYPE_CHECKING:
    from weldgen.classifier.noise import Judged

# With fewer groups of a class, what is learned of it says little.
_FEW_GROUPS = 5
_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """What is known of one photo's label.

    Attributes:
        sample: The photo.
        suggested: The class that models which never saw the photo think most probable.
        score: Quality of the label, 0 (surely wrong) to 1 (surely right).
        issue: Whether confident learning counts the label among the wrong ones.
        probabilities: By class.
    """

    sample: Sample
    suggested: str
    score: float
    issue: bool
    probabilities: Mapping[str, float]

    def record(self, rank: int) -> dict[str, Any]:
        """The line of `review.jsonl`."""
        return {
            "rank": rank,
            "file": self.sample.file_name,
            "id": self.sample.id,
            "label": self.sample.label,
            "suggested": self.suggested,
            "score": round(self.score, 6),
            "issue": self.issue,
            "probabilities": {name: round(value, 6) for name, value in self.probabilities.items()},
        }


def group_photos(photos: Dataset, duplicate_bits: int, group_pattern: str) -> tuple[list[str], list[list[Sample]]]:
    """What is held out together, and near-duplicates whose labels differ.

    Args:
        photos: Real photos.
        duplicate_bits: Perceptual hashes at most so many bits apart are near-duplicates; -1: none are.
        group_pattern: How names show the views of one part, as in `SplitConfig`.

    Returns:
        Group of each photo, by metadata, name and likeness together; and the groups of photos that look alike but
        have different labels, byte-identical ones first.
    """
    bare = replace(photos, samples=tuple(replace(sample, group="") for sample in photos.samples))
    alike = find_groups(bare, SplitConfig(duplicate_bits=duplicate_bits))
    named = find_groups(photos, SplitConfig(duplicate_bits=-1, group_pattern=group_pattern))
    # Photos that share either group belong together, and so do those that another photo links.
    joined = dict(named)
    for first, second in alike.items():
        one, other = joined[first], joined[second]
        if one != other:
            joined = {identity: one if group == other else group for identity, group in joined.items()}
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in photos.samples:
        members[alike[sample.id]].append(sample)
    mixed = [rows for rows in members.values() if len({sample.label for sample in rows}) > 1]
    mixed.sort(key=lambda rows: (not identical(rows), rows[0].file_name))
    return [joined[sample.id] for sample in photos.samples], mixed


def identical(samples: Sequence[Sample]) -> bool:
    """Whether all are copies of one file; their ids differ in a number behind the hash."""
    return len({sample.id.partition("-")[0] for sample in samples}) == 1


def rank_findings(samples: Sequence[Sample], labels: Sequence[str], judged: Judged) -> list[Finding]:
    """Findings, worst first."""
    names = [labels[k] for k in judged.classes]
    findings = []
    for row, shares, score, issue in zip(
        judged.rows, judged.probabilities, judged.scores, judged.issues, strict=True
    ):  # fmt: skip
        probabilities = {name: float(share) for name, share in zip(names, shares, strict=True)}
        best = max(names, key=lambda name: probabilities[name])
        findings.append(Finding(samples[row], best, float(score), bool(issue), probabilities))
    return sorted(findings, key=lambda finding: (finding.score, finding.sample.file_name))


def too_few(photos: Dataset, groups: Sequence[str]) -> DataError:
    """The error where no label can be judged; it counts what there is."""
    counts = _group_counts(photos.samples, groups)
    found = ", ".join(f"{label} {counts[label]}" for label in photos.labels)
    return DataError(
        f"{photos.root}: a label is judged by other photos of its class, which takes two classes with at least two "
        f"groups of photos each; groups found: {found or 'none'}",
        "add photos; views of one part (group, group_pattern) and near-duplicates (duplicate_bits) are one group",
    )


def _group_counts(samples: Sequence[Sample], groups: Sequence[str]) -> Counter[str]:
    """Class -> number of groups that hold a photo of it."""
    return Counter(label for label, _ in {(s.label, group) for s, group in zip(samples, groups, strict=True)})


def notes_on(findings: Sequence[Finding], duplicates: Sequence[Sequence[Sample]]) -> list[str]:
    """Sentences on what was found."""
    issues = [finding for finding in findings if finding.issue]
    named = ", ".join(f"{f.sample.file_name} ({f.suggested}?)" for f in issues[:_NAMED])
    notes = [
        f"{len(issues)} of {len(findings)} labels look wrong" + (f", first {named}" if issues else ""),
    ]
    if duplicates:
        files = " and ".join(sample.file_name for sample in duplicates[0][:2])
        notes.append(f"{len(duplicates)} groups of near-duplicates have different labels, e.g. {files}")
    return notes


def notes_on_little(
    samples: Sequence[Sample], groups: Sequence[str], findings: Sequence[Finding], seen: frozenset[str]
) -> list[str]:
    """Sentences on what could not be judged, or only on little."""
    judged = {finding.sample.id for finding in findings}
    counts = _group_counts(samples, groups)
    notes = []
    for label in sorted(counts):
        left = sum(sample.label == label and sample.id not in judged for sample in samples)
        if left:
            notes.append(
                f"class '{label}': {left} of its photos cannot be judged, because no other group of the class "
                f"is left to learn from while they are held out ({counts[label]} in all)"
            )
        elif counts[label] < _FEW_GROUPS:
            notes.append(f"class '{label}' is judged on {counts[label]} groups of photos, which is little")
    learned = len(judged & seen)
    if learned:
        notes.append(
            f"the model was trained with the labels of {learned} of these photos: wrong ones that it learned by heart "
            "stay hidden; without --model none do"
        )
    return notes
