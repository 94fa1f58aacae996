"""VAE-regression: one model from structure to property and back.

Sardeshmukh et al., "Material microstructure design using VAE-regression with multimodal prior", 2024 (S2), after
Zhao et al., "Variational autoencoder for regression", MICCAI 2019. The names follow S2: x is the microstructure,
z its latent vector, c the property.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from microprint.networks.convolutions import convolve_enlarged
from microprint.networks.losses import kl_divergence, sample_posterior
from microprint.networks.random_medium import autocorrelation
from microprint.networks.vgg import VGG19, style_loss

SLOPE = 0.2  # of the leaky ReLU, S2 appendix A
CONTRAST = 8.0  # standard deviation, about, of the logits of a new decoder's fields
DECAY = 3  # of the weight of two-point statistics with distance: every octave of distances then weighs the same
# Generators p(z | c). `single` is the mixture's network with one component: beside the mixture it shows what more than one
# brings, beside `gaussian`, whose mean is linear in c, what a generator that can bend brings.
PRIORS = ("gaussian", "single", "mixture")
UNCONDITIONED = "standard"  # N(0, 1) whatever c is: the prior of a plain VAE, which S2 compares with
# A posterior of the property narrower than exp(-3) of its spread would only say how small the training set is.
LOG_VARIANCE_FLOOR = -6.0


class Mixture(NamedTuple):
    """K diagonal Gaussians p_k with weights pi_k, for each of B samples."""

    log_weight: Tensor  # (B, K) log pi_k
    mean: Tensor  # (B, K, d)
    log_variance: Tensor  # (B, K, d)


def kl_to_mixture(mean: Tensor, log_variance: Tensor, mixture: Mixture) -> Tensor:
    """Variational upper bound (B,) of D_KL(q || sum_k pi_k p_k), nats; S2 eq. (3), Hershey & Olsen 2007. Exact for K = 1.

    ``-log sum_k pi_k exp(-D_KL(q || p_k))``, with mean and log-variance (B, d) of q.
    """
    each = kl_divergence(mean[:, None], log_variance[:, None], (mixture.mean, mixture.log_variance)).sum(-1)
    return -torch.logsumexp(mixture.log_weight - each, dim=1)


def log_density(mixture: Mixture, z: Tensor) -> Tensor:
    """Logarithm (B,) of the density of one mixture (or of B) at vectors (B, d)."""
    distance = (z[:, None] - mixture.mean).square() * (-mixture.log_variance).exp()
    each = -(distance + mixture.log_variance + math.log(2 * math.pi)).sum(-1) / 2
    return torch.logsumexp(mixture.log_weight + each, dim=1)


class GaussianPrior(nn.Module):
    """Generator p(z | c) with one Gaussian: its mean linear in c, one variance for all of z (S2 table 4)."""

    def __init__(self, properties: int, latent_dim: int):
        super().__init__()
        self.mean = nn.Linear(properties, latent_dim)
        self.log_variance = nn.Linear(properties, 1)

    def forward(self, c: Tensor) -> Mixture:
        mean = self.mean(c)[:, None]
        return Mixture(c.new_zeros(len(c), 1), mean, self.log_variance(c)[:, None].expand_as(mean))


class StandardPrior(nn.Module):
    """N(0, 1), whatever c is: the prior of a plain VAE (Kingma & Welling 2013)."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim

    def forward(self, c: Tensor) -> Mixture:
        zeros = c.new_zeros(len(c), 1, self.latent_dim)
        return Mixture(zeros[..., 0], zeros, zeros)


class MixturePrior(nn.Module):
    """Generator p(z | c) with K Gaussians (S2 table 5, whose hidden layer has 8 units)."""

    def __init__(self, properties: int, latent_dim: int, components: int, hidden: int = 8):
        super().__init__()
        self.shape = (components, latent_dim)
        self.dense = nn.Linear(properties, hidden)
        self.weight = nn.Linear(hidden, components)
        self.mean = nn.Linear(hidden, components * latent_dim)
        self.log_variance = nn.Linear(hidden, components * latent_dim)

    def forward(self, c: Tensor) -> Mixture:
        h = torch.tanh(self.dense(c))
        return Mixture(
            F.log_softmax(self.weight(h), 1),
            self.mean(h).unflatten(1, self.shape),
            self.log_variance(h).unflatten(1, self.shape),
        )


def generator_of(prior: str, properties: int, latent_dim: int, components: int) -> nn.Module:
    """New generator p(z | c) by its name, one of `PRIORS` or `UNCONDITIONED`; `components` are those of the mixture."""
    if prior == UNCONDITIONED:
        return StandardPrior(latent_dim)
    if prior == "gaussian":
        return GaussianPrior(properties, latent_dim)
    return MixturePrior(properties, latent_dim, components if prior == "mixture" else 1)


class Trunk(nn.Module):
    """Convolutions that encoder and regressor share (S2 table 2): blocks of 3^3 convolution and max-pooling to 1^3."""

    def __init__(self, edge: int, width: int, hidden: int):
        super().__init__()
        blocks = int(math.log2(edge))
        channels = [1, *(width * 2**i for i in range(blocks))]
        self.convolutions = nn.ModuleList(nn.Conv3d(a, b, 3, padding=1) for a, b in zip(channels, channels[1:]))
        self.dense = nn.Linear(channels[-1], hidden)

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = F.max_pool3d(F.leaky_relu(convolution(x), SLOPE), 2)
        return F.relu(self.dense(x.flatten(1)))


class Head(nn.Module):
    """Mean and log-variance of a Gaussian, each behind a dense layer of its own (S2 table 2, Dense2 to Dense2_3)."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.mean, self.log_variance = dense(inputs, hidden, outputs), dense(inputs, hidden, outputs)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(h), self.log_variance(h)


def dense(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class Decoder(nn.Module):
    """Latent vectors to volumes in (0, 1) (S2 table 3): dense layers, three upsamplings by two, one last convolution.

    51 = 6 * 8 + 3: the transposed convolution at the end has kernel 4 and makes 51 of 48. Other edges likewise start
    from a cube of edge // 8 and leave the remainder to the last kernel.
    """

    def __init__(self, edge: int, latent_dim: int, width: int):
        super().__init__()
        upsamplings = 3 if edge >= 24 else 2
        start, remainder = divmod(edge, 2**upsamplings)
        channels = [4 * width, *(4 * width // 2**i for i in range(upsamplings))]
        self.shape = (channels[0], start, start, start)
        sizes = (latent_dim, 32, 64, channels[0] * start**3)
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.convolutions = nn.ModuleList(nn.Conv3d(a, b, 3, padding=1) for a, b in zip(channels, channels[1:]))
        # Where the remainder is small, a wider kernel and a cut rim give the same size.
        cut = 1 if remainder < 2 else 0
        self.last = nn.ConvTranspose3d(channels[-1], 1, remainder + 1 + 2 * cut, padding=cut)
        for layer in (*self.dense, *self.convolutions):
            nn.init.kaiming_normal_(layer.weight, SLOPE)
        # Statistics of a uniform field are a saddle point, so decoded fields have to begin with contrast.
        nn.init.normal_(self.last.weight, std=CONTRAST / math.sqrt(channels[-1] * self.last.kernel_size[0] ** 3))

    def forward(self, z: Tensor) -> Tensor:
        for dense in self.dense:
            z = F.leaky_relu(dense(z), SLOPE)
        first, *others = self.convolutions
        maps = F.leaky_relu(first(z.unflatten(1, self.shape)), SLOPE)
        for convolution in others:  # each behind an upsampling
            maps = F.leaky_relu(convolve_enlarged(maps, convolution.weight, convolution.bias, 1), SLOPE)
        # A transposed convolution is one with the kernel turned round and the zeros that its own padding leaves.
        kernel, last = self.last.weight.transpose(0, 1).flip(2, 3, 4), self.last
        return torch.sigmoid(convolve_enlarged(maps, kernel, last.bias, kernel.shape[-1] - 1 - last.padding[0]))


class SliceStyle(nn.Module):
    """Style loss between volumes, on slices normal to all three axes (S2 section 2 and appendix A.3).

    The slices are drawn anew for each batch, uniformly and without repetition: each of an axis is as likely as any other, so
    the expectation over draws is the loss on all of them, whatever their number; as many as the volume has voxels an edge
    *are* all of them, as S2 takes. VGG19 is frozen and no part of the state. `axes`: those that slices are normal to.
    """

    def __init__(self, vgg: VGG19, layers: Sequence[str], slices_per_axis: int, axes: Sequence[int] = (0, 1, 2)):
        super().__init__()
        self.vgg, self.layers, self.slices_per_axis, self.axes = vgg, tuple(layers), slices_per_axis, tuple(axes)

    def forward(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Mean style loss (B,) of the slices of x and y, both (B, 1, n, n, n)."""
        chosen = draw_slices(x.shape[-1], self.slices_per_axis, generator)
        with torch.no_grad():
            wanted = self.vgg(take_slices(x, chosen, self.axes), self.layers)
        decoded = self.vgg(take_slices(y, chosen, self.axes), self.layers)
        return style_loss(wanted, decoded).unflatten(0, (len(x), -1)).mean(1)


def draw_slices(edge: int, per_axis: int, generator: torch.Generator) -> Tensor:
    """Positions (3, min(per_axis, edge)) of slices along each axis, without repetition."""
    order = torch.rand(3, edge, generator=generator, device=generator.device).argsort(1)
    return order[:, :per_axis]


def take_slices(x: Tensor, chosen: Tensor, axes: Sequence[int] = (0, 1, 2)) -> Tensor:
    """Slices of volumes (B, 1, n, n, n) at positions (3, s) along each of the axes, a volume's together.

    (B * len(axes) * s, 1, n, n); `chosen` has a row for each of the three axes, whichever are taken.
    """
    slices = [x[:, 0].index_select(axis + 1, chosen[axis]).movedim(axis + 1, 1) for axis in axes]
    return torch.cat(slices, 1).flatten(0, 1)[:, None]


class TwoPointLoss(nn.Module):
    """Squared difference of the two-point statistics: a reconstruction term in three dimensions that needs no VGG19.

    S2(r) = mean of x(s) x(s + r) over a periodic volume, for all vectors r by the FFT (Wiener-Khinchin). With the mean
    of x beside it, S2(0) can only agree where the decoded field is 0 or 1. Short vectors weigh most: 1 / (1 + |r|)^3.
    """

    def forward(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Loss (B,) between volumes x and y (B, 1, n, n, n)."""
        square = torch.fft.fftfreq(x.shape[-1], 1 / x.shape[-1], device=x.device).square()
        weight = (1 + (square[:, None, None] + square[:, None] + square).sqrt()) ** -DECAY
        difference = autocorrelation(x[:, 0], less=y[:, 0]).square() * weight / weight.sum()
        return difference.sum((1, 2, 3)) + (x - y).mean((1, 2, 3, 4)).square()


class VAERegression(nn.Module):
    """Encoder and regressor on one trunk, decoder, and generator p(z | c); S2 fig. 1 and appendix A.

    Layers, widths and activations are those of S2's tables 2 to 5. What these leave open is read so: kernels of 3^3; a
    convolution comes before its upsampling (the order of S3's text); the last one is transposed, of kernel 4, which makes
    51 of 48; table 4's log-variance is one number, as in Zhao et al. (the table gives it the size of c, which does not
    fit 16 numbers); the regression loss is the Gaussian's whole log-likelihood, as the regressor's log-variance in table 2
    asks for, not the squared error alone that the text mentions. Ours are: c is the standardised logarithm of a property,
    phases go in as -0.5 and 0.5, a new decoder's fields have contrast, and a floor under the regressor's log-variance.

    Parameters
    ----------
    edge : of the volumes, voxels; S2: 51.
    properties : number of entries of c; S2: 1 or 6.
    prior : one of `PRIORS`, or `UNCONDITIONED`.
    components : of the mixture; S2: 2.
    latent_dim : S2: 16.
    width : channels of the first convolution; S2: 16.
    hidden : size of the first dense layer, the heads have half of it; S2: 2048.
    """

    def __init__(self, *, edge: int, properties: int, prior: str, components: int, latent_dim: int, width: int, hidden: int):
        super().__init__()
        self.trunk = Trunk(edge, width, hidden)
        self.encoder = Head(hidden, hidden // 2, latent_dim)
        self.regressor = Head(hidden, hidden // 2, properties)
        self.decoder = Decoder(edge, latent_dim, width)
        self.generator = generator_of(prior, properties, latent_dim, components)

    def posteriors(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means and log-variances of q(z | x), both (B, d), and q(c | x), both (B, properties)."""
        h = self.trunk(x - 0.5)
        c_mean, c_log_variance = self.regressor(h)
        return *self.encoder(h), c_mean, c_log_variance.clamp_min(LOG_VARIANCE_FLOOR)


class Weights(NamedTuple):
    """Factors of the terms of S2 eq. (4): a multiplier for the scale times a weight for the importance."""

    reconstruction: float
    regression: float
    kl: float


class Objective(nn.Module):
    """What S2 minimises, eq. (4), around a `VAERegression`, whose weights are all that is trained.

    The reconstruction is `SliceStyle`, as S2, or `TwoPointLoss`.
    """

    def __init__(self, model: VAERegression, reconstruction: nn.Module, weights: Weights):
        super().__init__()
        self.model, self.reconstruction, self.weights = model, reconstruction, weights

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Terms of eq. (4), means over the batch: ``regression`` is -log q(c | x), nats less its constant; ``kl`` in nats.

        `batch` holds ``phase`` (B, 1, n, n, n) in {0, 1} and ``property`` (B, p), standardised.
        """
        x, c = batch["phase"], batch["property"]
        z_mean, z_log_variance, c_mean, c_log_variance = self.model.posteriors(x)
        regression = ((c - c_mean).square() * (-c_log_variance).exp() + c_log_variance).sum(1).mean() / 2
        decoded = self.model.decoder(sample_posterior(z_mean, z_log_variance, generator))
        reconstruction = self.reconstruction(x, decoded, generator).mean()
        # The expectation over q(c | x) by one sample, as S2 and Zhao et al. do.
        prior = self.model.generator(sample_posterior(c_mean, c_log_variance, generator))
        kl = kl_to_mixture(z_mean, z_log_variance, prior).mean()
        loss = self.weights.reconstruction * reconstruction + self.weights.regression * regression + self.weights.kl * kl
        return {"loss": loss, "regression": regression, "reconstruction": reconstruction, "kl": kl}


class CNN3D(nn.Module):
    """Trunk and regressor alone: the forward-only 3D CNN that S2 compares with; for `microprint.training.fit`."""

    def __init__(self, *, edge: int, properties: int, width: int, hidden: int):
        super().__init__()
        self.trunk = Trunk(edge, width, hidden)
        self.mean = dense(hidden, hidden // 2, properties)

    def forward(self, x: Tensor) -> Tensor:
        """Standardised properties (B, p) of volumes (B, 1, n, n, n)."""
        return self.mean(self.trunk(x - 0.5))

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Mean squared error of the standardised properties, as ``loss``."""
        return {"loss": F.mse_loss(self(batch["phase"]), batch["property"])}


class Posteriors(NamedTuple):
    """Gaussians q(z | x) of N volumes, and what is known of their properties."""

    mean: Tensor  # (N, d)
    log_variance: Tensor  # (N, d)
    c: Tensor  # (N, p) standardised properties


def fit_generator(generator: nn.Module, posteriors: Posteriors, steps: int) -> list[float]:
    """Train a generator alone on posteriors that no longer change; the divergence (S2 eq. (3)), nats, at every step."""
    optimiser = torch.optim.Adam(generator.parameters(), lr=0.01, fused=True)
    history = []
    for _ in range(steps):
        optimiser.zero_grad()
        kl = kl_to_mixture(posteriors.mean, posteriors.log_variance, generator(posteriors.c)).mean()
        kl.backward()
        optimiser.step()
        history.append(kl.item())
    return history
