r"""The law of a texture: a linear variational autoencoder of what VGG19 sees on average, which has a closed form.

A texture has no places: what two pieces of it share are means over space, here of VGG19's feature maps at two
magnifications. Some causes add to these means (more graphite), some multiply them (another exposure). Their square roots x,
half way between, are nearly linear in the causes and scatter alike for weak and strong channels: a linear decoder suffices::

    p(x | z) = N(m + W z, s^2 I),    p(z) = N(0, I).

The evidence lower bound of such an autoencoder has no other maxima than the global one (Lucas et al., "Don't blame the
ELBO!", NeurIPS 2019), and that is probabilistic principal components (Tipping & Bishop, J. R. Stat. Soc. B 61 (1999) 611,
eqs. 7, 8, 12). No training is needed, and the posterior is exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from microprint.networks.vgg import CHANNELS, STYLE_LAYERS, VGG19, gram

FEATURES = 2 * sum(CHANNELS[name] for name in STYLE_LAYERS)


def channel_means(vgg: VGG19, patches: Tensor) -> Tensor:
    """Mean of each channel of VGG19's `STYLE_LAYERS` for patches (B, 1, n, n), as they are and at half their pixels: (B, k)."""
    return torch.cat(
        [m.float().mean((2, 3)) for view in (patches, halved(patches)) for m in vgg(view, STYLE_LAYERS).values()], 1
    )


def halved(patches: Tensor) -> Tensor:
    """Patches (B, 1, n, n) at half their pixels an edge, by area."""
    return F.avg_pool2d(patches, 2)


class TextureLaw(nn.Module):
    """Latent vector of a texture from the means (B, k) of `channel_means`, and the means that it stands for.

    Each layer counts alike at each magnification: its roots are divided by the root of their total variance.
    """

    def __init__(self, latent_dim: int):
        super().__init__()
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.register_buffer("directions", torch.zeros(FEATURES, latent_dim))  # orthonormal
        self.register_buffer("variances", torch.ones(latent_dim))  # along them, of x
        self.register_buffer("residual", torch.tensor(0.5))  # s^2

    @classmethod
    def fit(cls, means: Tensor, latent_dim: int) -> TextureLaw:
        """Law of patches' means (N, k); components beyond N - 1 have no variance and are never used."""
        law = cls(latent_dim)
        sizes = [CHANNELS[name] for name in STYLE_LAYERS] * 2
        roots = means.sqrt().double()
        centred = roots - roots.mean(0)
        spread = [part.square().sum(1).mean().sqrt().clamp_min(1e-9).expand(part.shape[1]) for part in centred.split(sizes, 1)]
        law.centre.copy_(roots.mean(0))
        law.scale.copy_(torch.cat(spread))
        _, singular, directions = torch.linalg.svd(centred / torch.cat(spread), full_matrices=False)
        variances, used = singular.square() / len(means), min(latent_dim, len(singular))
        law.directions[:, :used] = directions[:used].T.float()
        # s^2: the mean of the variances that are left (Tipping & Bishop, eq. 8), never quite zero.
        law.residual.copy_((variances[used:].sum() / (means.shape[1] - used)).clamp_min(1e-9))
        law.variances.fill_(law.residual)
        law.variances[:used] = torch.maximum(variances[:used], law.residual.double()).float()
        return law

    def scaled(self, means: Tensor) -> Tensor:
        """Centred and scaled roots x (B, k) of channel means (B, k)."""
        return (means.sqrt() - self.centre) / self.scale

    def posterior(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, d) of q(z | x), exact, from channel means (B, k)."""
        x = self.scaled(means)
        loading = (self.variances - self.residual).clamp_min(0).sqrt()
        mean = x @ self.directions * (loading / self.variances)
        return mean, (self.residual / self.variances).log().expand_as(mean)

    def decode(self, z: Tensor) -> Tensor:
        """Channel means (B, k) that latent vectors (B, d) stand for."""
        x = (z * (self.variances - self.residual).clamp_min(0).sqrt()) @ self.directions.T
        return (x * self.scale + self.centre).clamp_min(0).square()

    def explained(self) -> float:
        """Share of the variance of the scaled roots that the latent vector keeps."""
        left = self.residual * (FEATURES - len(self.variances))
        return float(self.variances.sum() / (self.variances.sum() + left))


def tiles(patches: Tensor) -> Tensor:
    """Squares (B, T, 1, t, t) of coarse patches (B, 1, n, n), in which drawings are compared with them; see `tile_edge`."""
    edge = tile_edge(patches.shape[-1])
    return patches.unfold(2, edge, edge).unfold(3, edge, edge).flatten(2, 3).transpose(1, 2)


def tile_edge(coarse: int) -> int:
    """Pixels an edge of what is drawn in training: half a coarse patch's, a multiple of 16, 32 at least."""
    return max(32, coarse // 32 * 16)


def mean_grams(vgg: VGG19, patches: Tensor) -> Mapping[str, Tensor]:
    """Gram matrices (B, C, C) by layer, half precision, main memory: means over the tiles of patches (B, 1, n, n) halved."""
    cut = tiles(halved(patches))
    maps = vgg(cut.flatten(0, 1), STYLE_LAYERS)
    return {name: gram(m).unflatten(0, cut.shape[:2]).mean(1).half().cpu() for name, m in maps.items()}
