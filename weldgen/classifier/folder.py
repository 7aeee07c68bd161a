"""What lies in the folder of a model under training."""

from __future__ import annotations

from weldgen.classifier.keeper import HISTORY, LAST
from weldgen.classifier.local_weights import OWN_RECORD, OWN_WEIGHTS
from weldgen.classifier.memory import BATCH
from weldgen.classifier.model_file import CARD_NAME, JUDGE_NAME, WEIGHTS_NAME
from weldgen.classifier.names import CONFUSION, CONFUSION_NORMALISED, PREDICTIONS
from weldgen.classifier.operating_point import OPERATING_NAME
from weldgen.classifier.settings import MAX_FOLDS
from weldgen.classifier.top import BEST, TOP
from weldgen.receipts import FAILURES_NAME, RECEIPT_NAME
from weldgen.runfolder import RUN_NAME, Contents

# Of a cross-validation: its figures, and the folds' datasets; hidden, so that they are no part of the model's identity.
FOLDS, FOLD_DATA = "folds.json", ".folds"
TENSORBOARD, WANDB, MLFLOW = "tensorboard", "wandb", "mlflow"
MODEL = Contents(
    "train",
    "model",
    (
        RUN_NAME, RECEIPT_NAME, BEST, TOP, LAST, BATCH, HISTORY, CARD_NAME, WEIGHTS_NAME, JUDGE_NAME, FAILURES_NAME,
        TENSORBOARD, WANDB, MLFLOW, OWN_RECORD, OWN_WEIGHTS, OPERATING_NAME, "report.html", FOLDS, FOLD_DATA,
        PREDICTIONS, CONFUSION, CONFUSION_NORMALISED, *(f"fold-{number}" for number in range(1, MAX_FOLDS + 1)),
    ),
    (LAST, BATCH),
)  # fmt: skip
