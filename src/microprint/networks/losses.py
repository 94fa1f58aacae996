"""Loss terms of the variational autoencoders."""

from __future__ import annotations

import torch
from torch import Tensor


def spectral_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared modulus of the difference of the 3D Fourier transforms of two (..., n, n, n) (S1, section 2.2.3).

    With the unnormalised transform, Parseval's theorem makes this the *sum* of squared differences
    over the voxels, averaged over the leading dimensions: it weighs no frequency above another.
    """
    # No Fourier transform exists in bfloat16, the type of mixed precision.
    difference = torch.fft.fftn((prediction - target).float(), dim=(-3, -2, -1))
    return difference.abs().square().mean()


def kl_divergence(mean: Tensor, log_variance: Tensor, prior: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """KL(N(mean, exp(log_variance)) || prior) of each latent number, in nats; same shape (Kingma & Welling 2013, appendix B).

    The prior is mean and log-variance of diagonal Gaussians, by default the standard normal distribution.
    """
    if prior is None:
        return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)
    ratio = (log_variance - prior[1]).exp()
    distance = (mean - prior[0]).square() * (-prior[1]).exp()
    return 0.5 * (ratio + distance - 1 - log_variance + prior[1])


def sample_posterior(mean: Tensor, log_variance: Tensor, generator: torch.Generator, shared: bool = False) -> Tensor:
    """z = mean + exp(log_variance / 2) * noise (B, ...), the reparametrisation; the noise is drawn on the generator's device.

    `shared`: one noise vector for the whole batch, as S1's public code draws it.
    """
    shape = (1, *mean.shape[1:]) if shared else mean.shape
    noise = torch.randn(shape, generator=generator, device=generator.device, dtype=mean.dtype).to(mean.device)
    return mean + torch.exp(0.5 * log_variance) * noise
