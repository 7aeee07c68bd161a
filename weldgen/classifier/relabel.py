"""Apply what a person decided on the review page: a corrected copy of the dataset, the original untouched."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset, Sample, check_lineage
from weldgen.data.split import require_labels
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import ConfigError, DataError
from weldgen.receipts import Summary, finished, stage_key, write_receipt
from weldgen.runtime import content_hash, track

KEEP, CHANGE, LEAVE_OUT = "keep", "change", "leave_out"
PAGE = "labels"
# The field of a photo's line that says what a person decided.
REVIEWED = "reviewed"
_HINT = "download it again from the page that weldgen review writes"


@dataclass(frozen=True)
class Decision:
    """What was decided about one photo.

    Attributes:
        file: Path below the dataset's root.
        id: Hash of the photo that was looked at.
        label: The label it had.
        decision: `keep`, `change` or `leave_out`.
        to: The new label where it changes, else empty.
    """

    file: str
    id: str
    label: str
    decision: Literal["keep", "change", "leave_out"]
    to: str = ""


@dataclass(frozen=True)
class Decisions:
    """The file that the page saves.

    Attributes:
        dataset: The dataset that was reviewed, as its path was given.
        by: Who decided, as typed on the page.
        at: When it was saved.
        made: The decisions by file.
    """

    dataset: Path
    by: str
    at: str
    made: Mapping[str, Decision]


def read_decisions(path: Path) -> Decisions:
    """Read `decisions.json`.

    Raises:
        DataError: It is missing, not such a file, or decides twice about one photo.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8-sig"))
        if saved["page"] != PAGE:
            raise DataError(
                f"{path} holds photos to clean again, not decisions about labels", f"weldgen clean --only {path}"
            )
        entries = [Decision(**entry) for entry in saved["decisions"]]
        made = {entry.file: entry for entry in entries}
        decisions = Decisions(Path(saved["dataset"]), str(saved["by"]), str(saved["saved"]), made)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no decisions that weldgen can read: {error}", _HINT) from error
    for entry in entries:
        known = entry.decision in (KEEP, CHANGE, LEAVE_OUT) and bool(entry.to) == (entry.decision == CHANGE)
        if not known or made[entry.file] != entry:
            raise DataError(f"{path}: '{entry.decision}' to '{entry.to}' for {entry.file} is not one decision", _HINT)
    if not entries:
        raise DataError(f"{path} holds no decision", "decide about a photo on the page and download again")
    return decisions


def relabel(decisions: Path, dataset: Path | None, out: Path, config: StageConfig) -> Summary:
    """Write a copy of a dataset with the labels that a person decided on.

    Splits and groups stay. Photos that are left out are missing in the copy, and so are synthetic images that were
    made from a photo whose label changed or that is left out: they show what is no longer true.

    Args:
        decisions: The file that the review page saves.
        dataset: The dataset; None takes the one that was reviewed.
        out: Target folder.
        config: Settings common to all stages; they do not change the result.

    Raises:
        ConfigError: `out` lies in the dataset.
        DataError: A decision is about a photo that is not there or is another one by now, or names an unknown class.
    """
    started = time.monotonic()
    decided = read_decisions(decisions)
    root = dataset or decided.dataset
    if out.resolve().is_relative_to(root.resolve()):
        raise ConfigError(f"--out {out} lies in the dataset, {root}", "choose a folder beside it")
    inputs = {"dataset": root, "decisions": decisions}
    key = stage_key("relabel", config, inputs)
    done = finished(out, key)
    if done:
        return done
    opened = Dataset.open(root)
    require_labels(opened)
    _check(decided, opened, decisions)
    plan, orphans = plan_copy(opened, decided)
    keys = {sample.file_name: _key(sample) for sample, _ in plan}

    def valid(record: Mapping[str, Any]) -> bool:
        return keys.get(record["file_name"]) == record.get(KEY)

    with DatasetWriter(out, valid) as writer:
        todo = [(sample, source) for sample, source in plan if sample.file_name not in writer.done]
        for sample, source in track(todo, total=len(todo), description="relabel"):
            writer.add_file(sample, source, keys[sample.file_name], link=False)
        samples = writer.finish(opened.failures, opened.labels)
    check_lineage(Dataset(out, tuple(samples), opened.labels))
    summary = _summarise(out, samples, decided, orphans, opened)
    summary = replace(summary, seconds=time.monotonic() - started)
    write_receipt(out, key, config, inputs, summary)
    return summary


def plan_copy(dataset: Dataset, decided: Decisions) -> tuple[list[tuple[Sample, Path]], list[Sample]]:
    """Every sample of the copy under its new name, with the file it comes from; and the synthetic images that go."""
    touched = {d.id for d in decided.made.values() if d.decision != KEEP}
    kept, orphans = [], []
    for sample in dataset.samples:
        decision = decided.made.get(sample.file_name)
        if decision is not None and decision.decision == LEAVE_OUT:
            continue
        if touched.intersection(sample.parents):
            orphans.append(sample)
            continue
        kept.append((sample, _relabelled(sample, decision, decided)))
    taken = {described.file_name for sample, described in kept if described.file_name == sample.file_name}
    plan = []
    for sample, described in kept:
        name = described.file_name
        if name != sample.file_name:
            if name in taken:
                path = PurePosixPath(name)
                name = str(path.with_name(f"{sample.id[:8]}_{path.name}"))
            taken.add(name)
        plan.append((replace(described, file_name=name), dataset.path(sample)))
    return plan, orphans


def _relabelled(sample: Sample, decision: Decision | None, decided: Decisions) -> Sample:
    """The sample as the copy describes it; every line has all fields."""
    said = {
        "decision": decision.decision if decision else "",
        "from": sample.label if decision else "",
        "by": decided.by if decision else "",
        "at": decided.at if decision else "",
    }
    extra = {name: value for name, value in sample.extra.items() if name != KEY} | {REVIEWED: said}
    if decision is None or decision.decision == KEEP:
        return replace(sample, extra=extra)
    parts = list(PurePosixPath(sample.file_name).parts)
    if sample.label in parts[:-1]:
        parts[parts.index(sample.label)] = decision.to
    else:  # metadata names classes that are no folders
        parts.insert(len(parts) - 1, decision.to)
    return replace(sample, file_name="/".join(parts), label=decision.to, extra=extra)


def _check(decided: Decisions, dataset: Dataset, path: Path) -> None:
    known = {sample.file_name: sample for sample in dataset.samples}
    for decision in decided.made.values():
        sample = known.get(decision.file)
        if sample is None:
            raise DataError(f"{path} decides about {decision.file}, which is not in {dataset.root}", _HINT)
        if (sample.id, sample.label) != (decision.id, decision.label):
            raise DataError(
                f"{dataset.path(sample)} is not what it was when {path} was saved (class '{sample.label}', then "
                f"'{decision.label}')",
                "run weldgen review again and decide on its new page",
            )
        if decision.to and decision.to not in dataset.labels:
            raise DataError(
                f"{path} changes {decision.file} to '{decision.to}'; {dataset.root} has the classes "
                f"{', '.join(dataset.labels)}",
                f"make the folder {dataset.root / decision.to} first, or correct the name",
            )


def _key(sample: Sample) -> str:
    parts = [sample.id, sample.label, sample.split, sample.group, sample.extra[REVIEWED]]
    return content_hash(json.dumps(parts, sort_keys=True).encode())


def _summarise(
    out: Path, samples: Sequence[Sample], decided: Decisions, orphans: Sequence[Sample], before: Dataset
) -> Summary:
    made = list(decided.made.values())
    totals: Counter[str] = Counter(decision.decision for decision in made)
    changes = [decision for decision in made if decision.decision != KEEP]
    moves = Counter((d.label, d.to) for d in made if d.decision == CHANGE)
    notes = [f"{count} from {old} to {new}" for (old, new), count in sorted(moves.items())]
    if orphans:
        notes.append(
            f"{len(orphans)} synthetic images go too: they were made from photos that were changed or left out"
        )
    present = {sample.label for sample in samples}
    empty = [label for label in before.labels if label not in present and before.select(label=label)]
    if empty:
        notes.append(f"no photo is left of {', '.join(empty)}")
    counts = {
        "images": len(samples),
        "kept": totals[KEEP],
        "changed": totals[CHANGE],
        "left out": totals[LEAVE_OUT],
    }
    details = {
        "by": decided.by,
        "at": decided.at,
        "changes": [asdict(decision) for decision in changes],
        "synthetic_left_out": [sample.file_name for sample in orphans],
    }
    return Summary("relabel", out, counts, len(before.failures), tuple(notes), details=details)
