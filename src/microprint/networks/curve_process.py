"""Curves from fingerprints by Gaussian processes: a few modes of the curves, each a smooth function of a few features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from microprint.networks.gaussian_process import GaussianProcess


class CurveProcess:
    """Mean curve plus modes; the amplitude of each mode is a Gaussian process on features of the fingerprint.

    `state` holds ``mean`` (T,), ``modes`` (m, T), ``rest`` (T,) variance that the modes leave out, ``calibration`` (), and
    the processes' tensors under ``0.``, ``1.``, ...
    """

    def __init__(self, state: Mapping[str, Tensor]):
        self.state = dict(state)
        self.processes = [
            GaussianProcess({key.removeprefix(f"{i}."): value for key, value in state.items() if key.startswith(f"{i}.")})
            for i in range(len(state["modes"]))
        ]

    @classmethod
    def fit(cls, features: Tensor, curves: Tensor, modes: int, generator: torch.Generator, points: int = 1000) -> CurveProcess:
        """Fit `modes` principal components of curves (N, T) to features (N, k); for `points` see `GaussianProcess.fit`."""
        curves = curves.double()
        mean = curves.mean(0)
        left, singular, right = torch.linalg.svd(curves - mean, full_matrices=False)
        modes = min(modes, int((singular > 1e-9 * singular[0].clamp_min(1e-300)).sum()))
        amplitudes = left[:, :modes] * singular[:modes]
        remainder = (curves - mean - amplitudes @ right[:modes]).square().mean(0)
        state = {"mean": mean, "modes": right[:modes], "rest": remainder, "calibration": torch.ones((), dtype=torch.float64)}
        for i, amplitude in enumerate(amplitudes.T):
            process = GaussianProcess.fit(features, amplitude, generator, points)
            state |= {f"{i}.{key}": value for key, value in process.state.items()}
        return cls(state)

    def calibrate(self, features: Tensor, curves: Tensor) -> None:
        """Scale the standard deviations so that errors on other data (N, k), (N, T) have the predicted mean square."""
        mean, std = self.predict(features)
        used = std > 0
        ratio = (((curves.double() - mean) / std.clamp_min(1e-300)).square() * used).sum() / used.sum().clamp_min(1)
        self.state["calibration"] = self.state["calibration"] * ratio.sqrt()

    def predict(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (B, T) of the curves at features (B, k)."""
        mean = self.state["mean"].expand(len(features), -1)
        variance = self.state["rest"].expand(len(features), -1)
        for mode, process in zip(self.state["modes"], self.processes):
            amplitude, deviation = process.predict(features)
            mean = mean + amplitude[:, None] * mode
            variance = variance + deviation.square()[:, None] * mode.square()
        return mean, self.state["calibration"] * variance.sqrt()
