"""What lies in the folder of a LoRA under training."""

from __future__ import annotations

from weldgen.receipts import FAILURES_NAME, RECEIPT_NAME
from weldgen.runfolder import RUN_NAME, Contents
from weldgen.synthesis.lora.checkpoint import CHECKPOINT
from weldgen.synthesis.lora.data import CACHE
from weldgen.synthesis.sdxl import LORA_RECORD, LORA_WEIGHTS

TENSORBOARD, PREVIEWS = "tensorboard", "previews"
LORA = Contents(
    "lora",
    "LoRA",
    (RUN_NAME, RECEIPT_NAME, LORA_WEIGHTS, LORA_RECORD, CHECKPOINT, CACHE, FAILURES_NAME, TENSORBOARD, PREVIEWS),
    (CHECKPOINT, CACHE),
)
