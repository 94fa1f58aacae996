"""Our fingerprint: a volume element as a list of seeds, which a transformer writes and a power diagram reads.

The fingerprint has three parts: the volume averages of the orientation embedding (the texture), as they are; a few numbers
for the whole; and six numbers for each of as many seeds as the rest allows, one at every point of a periodic lattice.
The encoder reads one token an anchor, lets the anchors compare notes and writes the numbers; the decoder makes each
anchor's numbers, after another exchange, into a seed of a soft power diagram: place, sharpness, weight and embedding.
Neither sees voxels, so any resolution goes in and any comes out.

Both begin as what a person would do: a list of grains, place and orientation, drawn as a Voronoi tessellation. What is
learnt is what to change.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microprint.microstructures.periodic import voxel_centres
from microprint.networks.grain_tokens import GrainTokens
from microprint.networks.losses import gaussian_negative_log_likelihood, kl_divergence, sample_posterior
from microprint.networks.power_diagram import soft_power_diagram
from microprint.networks.seed_lattice import differences
from microprint.orientations import EMBEDDING_SIZE, embed, expand, from_rotation_vector

NUMBERS_A_SEED = 6  # as many as the centre and the orientation of a grain
HEAD_WIDTH = 32  # of attention
VOXELS_COMPARED = 16  # along an edge: the loss of a finer volume element is taken on a random sublattice


def seeds_of(latent_dim: int, channels: int) -> int:
    """Seeds that a fingerprint has room for, beside the averages and at least one number for the whole."""
    return max((latent_dim - channels - 1) // NUMBERS_A_SEED, 1)


class LatticeBlock(nn.Module):
    """Attention between the points of a lattice and a dense layer for each (Vaswani et al. 2017), normalised before.

    The attention knows of places only the difference of two, so that a shift of the lattice along itself shifts the
    result.
    """

    def __init__(self, width: int, points: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.before_attention, self.before_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_attention, self.from_attention = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = _dense(width, width, hidden=4 * width)
        self.nearness = nn.Parameter(0.02 * torch.randn(self.heads, points))
        self.register_buffer("difference", differences(points), persistent=False)
        for last in (self.from_attention, self.dense[-1]):
            nn.init.zeros_(last.weight)  # the block begins as the identity

    def forward(self, x: Tensor) -> Tensor:
        """(B, points, width) to the same shape."""
        split = self.to_attention(self.before_attention(x)).unflatten(-1, (3, self.heads, HEAD_WIDTH))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        bias = self.nearness[:, self.difference].to(query.dtype).expand(len(x), -1, -1, -1)
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.from_attention(heard.transpose(1, 2).flatten(2))
        return x + self.dense(self.before_dense(x))


class FingerprintNet(nn.Module):
    """Variational autoencoder: grain ids (B, n, n, n), quaternions (B, G, 4) -> (B, d) -> field (B, k, n, n, n).

    The crystals' symmetry decides the embedding and its size k; encoder and decoder have `blocks` blocks of attention each;
    `average_scale` is the factor that gives the volume averages unit variance over the training set.
    """

    def __init__(self, symmetry: str, latent_dim: int, heads: int, blocks: int, average_scale: float) -> None:
        super().__init__()
        self.symmetry, channels, width = symmetry, EMBEDDING_SIZE[symmetry], heads * HEAD_WIDTH
        seeds = seeds_of(latent_dim, channels)
        self.sizes = [channels, latent_dim - channels - NUMBERS_A_SEED * seeds, NUMBERS_A_SEED * seeds]
        self.average_scale = average_scale
        self.tokens = GrainTokens(seeds, channels)
        self.read = _dense(self.tokens.features, width)
        self.encoder = nn.Sequential(*(LatticeBlock(width, seeds) for _ in range(blocks)), nn.LayerNorm(width))
        self.to_overall = nn.Linear(width, self.sizes[1])
        self.to_seed = _dense(width, NUMBERS_A_SEED, hidden=2 * width)
        self.from_whole = nn.Linear(sum(self.sizes[:2]), width)
        self.from_seed = _dense(NUMBERS_A_SEED, width)
        self.decoder = nn.Sequential(*(LatticeBlock(width, seeds) for _ in range(blocks)), nn.LayerNorm(width))
        self.to_diagram = nn.Linear(width, sum(self._diagram()))
        # From the averages the decoder would first learn to draw one grey field, and be long in forgetting it.
        nn.init.zeros_(self.from_whole.weight)
        for last in (self.to_seed[-1], self.to_diagram):  # changes of the list of grains: none at first
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        # A posterior as wide as the prior would drown the signal at first. All seeds are alike.
        self.log_deviation = nn.Parameter(torch.full((sum(self.sizes[:2]) + NUMBERS_A_SEED,), -4.0))

    def encode(self, grain_id: Tensor, quaternion: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance, (B, d) each; the posterior is equally wide for all volume elements.

        The quaternions (B, G, 4) lie in the fundamental zone.
        """
        tokens, average = self.tokens(grain_id, quaternion, embed(quaternion, self.symmetry))
        hidden = self.encoder(self.read(tokens))
        seeds = tokens[..., :NUMBERS_A_SEED] + self.to_seed(hidden)
        parts = [self.average_scale * average, self.to_overall(hidden.mean(1)), seeds.flatten(1)]
        mean = torch.cat([part.float() for part in parts], 1)
        whole, seed = self.log_deviation.split([sum(self.sizes[:2]), NUMBERS_A_SEED])
        deviation = torch.cat([whole, seed.repeat(self.sizes[2] // NUMBERS_A_SEED)])
        return mean, (2 * deviation).expand_as(mean)

    def decode(self, z: Tensor, axes: Tensor) -> Tensor:
        """Embedding (B, k, n, n, n), of fingerprints (B, d), at voxels of coordinates `axes` (3, n) in edges."""
        return soft_power_diagram(*self.seeds(z), axes)

    def seeds(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centre (B, M, 3), sharpness (B, M, 3), weight (B, M) and embedding (B, M, k) of the seeds of fingerprints (B, d)."""
        whole, numbers = z.split([sum(self.sizes[:2]), self.sizes[2]], 1)
        numbers = numbers.unflatten(1, (-1, NUMBERS_A_SEED))
        hidden = self.decoder(self.from_seed(numbers) + self.from_whole(whole)[:, None])
        changes = self.to_diagram(hidden).float().split(self._diagram(), -1)
        offset, log_sharpness, weight, turn, strength, remainder = changes
        site, rotation = self.tokens.unlisted(numbers)
        scale = len(self.tokens.anchors) ** (1 / 3)  # of lengths, to the distance between anchors
        # Factors that make one step of the optimiser a small change, and the first boundaries a voxel or two wide.
        value = embed(from_rotation_vector(rotation + 0.2 * turn), self.symmetry)
        return (
            site + 0.5 * offset / scale,
            (4 * scale) ** 2 * log_sharpness.exp(),
            4 * weight[..., 0],
            (1 + 0.5 * strength) * value + remainder,
        )

    def _diagram(self) -> list[int]:
        """Numbers by which a seed is changed: offset, sharpness, weight, rotation, strength of its embedding, and the rest."""
        return [3, 3, 1, 3, 1, self.sizes[0]]

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Negative evidence lower bound for each number of the data, in nats, and its two terms."""
        grain_id, quaternion = batch["grain_id"], batch["quaternion"]
        mean, log_variance = self.encode(grain_id, quaternion)
        compared, axes = sublattice(grain_id, generator)
        target = expand(compared, embed(quaternion, self.symmetry))
        reconstruction = self.decode(sample_posterior(mean, log_variance, generator), axes)
        likelihood = gaussian_negative_log_likelihood(reconstruction, target)
        kl = kl_divergence(mean, log_variance).sum() / target.numel()
        square = (reconstruction - target).square().sum(1).mean()
        return {"loss": likelihood + kl, "reconstruction": likelihood, "kl": kl, "square_error": square}


def sublattice(grain_id: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Every s-th voxel of volume elements (B, n, n, n) from a random one on, at most 16 an edge; and its coordinates (3, m)."""
    edge, device = grain_id.shape[-1], grain_id.device
    stride = max(edge // VOXELS_COMPARED, 1)
    first = torch.randint(stride, (3,), generator=generator, device=device)
    places = first[:, None] + stride * torch.arange(edge // stride, device=device)
    x, y, z = places
    return grain_id[:, x[:, None, None], y[:, None], z], voxel_centres(edge, device)[places]


def _dense(features: int, result: int, hidden: int | None = None) -> nn.Sequential:
    hidden = hidden or 2 * result
    return nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, result))
