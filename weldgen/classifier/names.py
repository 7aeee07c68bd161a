"""Names of the files in which stages of the classifier keep what they found."""

from __future__ import annotations

METRICS, PREDICTIONS, EVIDENCE = "metrics.json", "predictions.jsonl", "evidence.jsonl"
CONFUSION, CONFUSION_NORMALISED = "confusion.png", "confusion_normalised.png"
ROC, PRECISION_RECALL, RELIABILITY = "roc.png", "precision_recall.png", "reliability.png"
