"""weldgen: from a few marked-up weld photos to a classifier that can be trusted on the shop floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weldgen.serving.predictor import WeldClassifierInference

__version__ = "0.1.0"
__all__ = ["WeldClassifierInference", "__version__"]


def __getattr__(name: str) -> object:
    # Imported on first use, so that `weldgen --help` loads neither NumPy nor a runtime.
    if name == "WeldClassifierInference":
        from weldgen.serving.predictor import WeldClassifierInference

        return WeldClassifierInference
    raise AttributeError(f"module 'weldgen' has no attribute {name!r}")
