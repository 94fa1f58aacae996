"""Our fingerprint: a volume element as the list of seeds of a power diagram, with the weights that a network expects.

Six numbers for each seed, site and orientation: as many as for a grain in a list. But grains are not the cells of their
sites alone (a Voronoi tessellation); some are larger than their sites let expect, and a power diagram needs a seventh
number, a weight, to draw them. Grains that have grown side by side share out space by rules, though, and a network that
has seen many can tell the weights from the sites. The encoder in turn chooses, by a few steps down the gradient, sites
that make the decoder draw the volume element: what the sites are free to say, they say about the weights.

Neither sees voxels, so any resolution goes in and any comes out; and as the weights know neither crystal symmetry nor the
number of seeds, one trained network serves all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from microprint.microstructures.periodic import fitted_cells, voxel_centres, wrap
from microprint.networks.losses import kl_divergence, sample_posterior
from microprint.networks.power_diagram import assignment_loss, owners
from microprint.networks.seed_list import (
    TURN,
    Cells,
    SeedList,
    Seeds,
    cell_orientations,
    metric_numbers,
    metric_of,
    orientation,
    rotation_numbers,
)
from microprint.networks.weight_net import WeightNet
from microprint.orientations import EMBEDDING_SIZE, embed

NUMBERS_A_SEED = 6  # site and orientation of a cell; one more is its weight
METRIC_NUMBERS = 2
STEPS, TRAINING_STEPS = 60, 24  # of the encoder down the gradient
STEP, SOFTEST = 0.1, 0.5  # their size at first, in numbers of the fingerprint; their sharpness then, of that at the end
CALIBRATION_RATE, CALIBRATION_BATCH = 4e-3, 32
COVERED = 0.02  # by how much, in squared distances between anchors, a waiting seed begins below its grain's
TOLERANCE = 0.02  # standard deviation of orientations within a grain in radians: about what is measured
# Volume averages follow from the seeds, so they count neither as numbers of the fingerprint nor in the bound. That leaves their
# scale free: it is such that of all directions in which random volume elements differ those of the texture come first.
AVERAGE_SPREAD, AVERAGE_LOG_DEVIATION = 3.0, -6.0


def seeds_of(latent_dim: int, grains: float) -> tuple[int, int]:
    """Seeds that a fingerprint has room for, beside the metric, and the numbers of each.

    Seeds have a weight where there are then as many as `grains`.
    """
    room = latent_dim - METRIC_NUMBERS
    numbers = NUMBERS_A_SEED + (room // (NUMBERS_A_SEED + 1) >= grains)
    return max(room // numbers, 1), numbers


class FingerprintNet(nn.Module):
    """Variational autoencoder: grain ids (B, n, n, n), quaternions (B, G, 4) -> (B, d) -> field (B, n, n, n, 4).

    The crystals' symmetry decides how many volume averages of the embedding there are; the network of the weights has
    `rounds` rounds of messages of size `width`; `grains` is the mean number of grains of the training set. The decoder
    reads at most `latent_dim` numbers, as many as whole seeds fill; the averages, which follow from these, come first.
    """

    def __init__(self, symmetry: str, latent_dim: int, width: int, rounds: int, grains: float) -> None:
        super().__init__()
        self.symmetry, channels = symmetry, EMBEDDING_SIZE[symmetry]
        self.count, self.numbers = seeds_of(latent_dim, grains)
        self.free = self.numbers > NUMBERS_A_SEED  # weights have a number of their own
        self.sizes = [channels, METRIC_NUMBERS, self.numbers * self.count]
        # The mean of g random unit vectors in k dimensions has components of variance 1 / (g k).
        self.average_scale = AVERAGE_SPREAD * math.sqrt(channels * grains)
        self.seed_list, self.weigh = SeedList(self.count), WeightNet(width, rounds)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(60.0)))  # of squared distances in those between anchors
        # Of a metric's numbers, an offset, a rotation and a weight; all seeds are alike.
        self.log_deviation = nn.Parameter(torch.full((4,), -5.5))

    def calibrate(self, batches: Iterable[Tensor], generator: torch.Generator, steps: int) -> None:
        """Begin with the weights that the cells of volume elements have where nothing keeps them from it.

        These are known (`fitted_cells`), so that a step of this regression costs a fraction of one of training. The
        batches are grain ids (B, n, n, n); the generator draws those of each step.
        """
        known = [self._natural(grain_id) for grain_id in batches]
        site, metric, weight = (torch.cat(parts) for parts in zip(*known, strict=True))
        optimizer = torch.optim.AdamW(self.weigh.parameters(), CALIBRATION_RATE, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            drawn = torch.randint(len(site), (CALIBRATION_BATCH,), generator=generator, device=generator.device)
            loss = (self.weigh(site[drawn], metric[drawn]) - weight[drawn]).square().mean() / weight.var()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    @torch.no_grad()
    def _natural(self, grain_id: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sites (B, M, 3), metric (B, 3) and weights (B, M) of a power diagram whose cells are those of grain ids."""
        alike = torch.ones(len(grain_id), int(grain_id.max()) + 1, 1, device=grain_id.device)
        cells = self.seed_list.cells(grain_id, alike)
        edge = cells.grain_id.shape[-1]
        site, weight = fitted_cells(cells.centre, cells.volume, edge, cells.metric.sqrt())
        return site, cells.metric, weight

    @property
    def sharpness(self) -> Tensor:
        return self.log_sharpness.exp() * self.count ** (2 / 3)

    def encode(self, grain_id: Tensor, quaternion: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance, (B, d) each; the posterior is equally wide for all volume elements.

        The quaternions (B, G, 4) lie in the fundamental zone.
        """
        return self._posterior(grain_id, quaternion)[:2]

    def _posterior(self, grain_id: Tensor, quaternion: Tensor) -> tuple[Tensor, Tensor, Cells]:
        embedding = embed(quaternion, self.symmetry)
        cells = self.seed_list.cells(grain_id, embedding)
        stretch, offset, weight = self._refined(*self._fitted(cells), cells)
        site, metric = self.seed_list.site(offset), metric_of(stretch)
        expected = self.weigh(site, metric)
        weight = weight if self.free else expected.detach()
        owner = owners(site, metric, weight, voxel_centres(cells.grain_id.shape[-1], site.device).expand(3, -1))
        own = cell_orientations(owner, self.count, cells.grain_id, quaternion, embedding, self.symmetry)
        seeds = [
            self.seed_list.offset(site + cells.shift),
            rotation_numbers(own),
            self.seed_list.height * (weight - expected)[..., None],
        ]
        drawn = owner.flatten(1)
        volume = torch.zeros_like(weight).scatter_add_(1, drawn, torch.ones_like(drawn, dtype=weight.dtype)) / drawn.shape[1]
        average = (volume[..., None] * embed(own, self.symmetry)).sum(1)
        mean = torch.cat([self.average_scale * average, stretch, torch.cat(seeds, -1)[..., : self.numbers].flatten(1)], 1)
        return mean, self._log_variance().expand_as(mean), cells

    def _log_variance(self) -> Tensor:
        metric, *seed = self.log_deviation
        seed = torch.stack([seed[0]] * 3 + [seed[1]] * 3 + [seed[2]] * self.free)
        averages = torch.full_like(metric, AVERAGE_LOG_DEVIATION).expand(self.sizes[0])
        return 2 * torch.cat([averages, metric.expand(METRIC_NUMBERS), seed.repeat(self.count)])

    @torch.no_grad()
    def _fitted(self, cells: Cells) -> tuple[Tensor, Tensor]:
        """Sites (B, M, 3) and weights (B, M) with which the steps down the gradient begin."""
        edge, stretch = cells.grain_id.shape[-1], cells.metric.sqrt()
        if not self.free:
            return fitted_cells(cells.centre, cells.volume, edge, stretch, lambda sites: self.weigh(sites, cells.metric))
        starts = fitted_cells(cells.centre, cells.volume, edge, stretch), self._waiting(cells)
        wrong = [
            assignment_loss(site, cells.metric, weight, self.sharpness, cells.grain_id, cells.member) for site, weight in starts
        ]
        better = (wrong[1] < wrong[0])[:, None]
        return tuple(torch.where(better[..., None] if a.ndim == 3 else better, b, a) for a, b in zip(*starts, strict=True))

    def _waiting(self, cells: Cells) -> tuple[Tensor, Tensor]:
        """Sites and weights where the first seed of a grain draws all of it, and its others wait in their parts.

        These are covered by a little, so that the gradient can call them up. It is the better start where grains are cells of
        a power diagram and no seed but the first is needed.
        """
        each, edge = torch.arange(len(cells.first), device=cells.first.device)[:, None], cells.grain_id.shape[-1]
        spare = cells.first != torch.arange(self.count, device=cells.first.device)
        volume = torch.zeros_like(cells.volume).scatter_add_(1, cells.first, cells.volume)
        # The centre of a grain is that of its parts, from the first of them.
        way = wrap(cells.centre - cells.centre[each, cells.first]) * cells.volume[..., None]
        moment = torch.zeros_like(way).scatter_add_(1, cells.first[..., None].expand_as(way), way)
        centre = cells.centre + moment / volume[..., None].clamp_min(1e-9)
        site, weight = fitted_cells(centre.masked_fill(spare[..., None], torch.inf), volume, edge, cells.metric.sqrt())
        away = (cells.metric[:, None] * wrap(cells.centre - site[each, cells.first]).square()).sum(-1)
        waiting = weight[each, cells.first] - away - COVERED / self.count ** (2 / 3)
        return torch.where(spare[..., None], cells.centre, site), torch.where(spare, waiting, weight)

    @torch.enable_grad()
    def _refined(self, site: Tensor, weight: Tensor, cells: Cells) -> tuple[Tensor, Tensor, Tensor]:
        """Metric numbers (B, 2), offsets (B, M, 3) and weights (B, M) after some steps of Adam down the gradient of
        `assignment_loss`, from soft to sharp."""
        height = self.seed_list.height
        stretch, offset, number = metric_numbers(cells.metric), self.seed_list.offset(site), height * weight
        changed = [tensor.requires_grad_() for tensor in (stretch, offset, number)[: 2 + self.free]]
        frozen = {name: parameter.detach() for name, parameter in self.weigh.named_parameters()}
        optimizer, steps = torch.optim.Adam(changed, STEP, fused=True), TRAINING_STEPS if self.training else STEPS
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = STEP * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            sharpness = self.sharpness.detach() * SOFTEST ** (1 - step / steps)
            sites, metric = self.seed_list.site(offset), metric_of(stretch)
            weights = number / height if self.free else functional_call(self.weigh, frozen, (sites, metric))
            loss = assignment_loss(sites, metric, weights, sharpness, cells.grain_id, cells.member).sum()
            for tensor, gradient in zip(changed, torch.autograd.grad(loss, changed), strict=True):
                tensor.grad = gradient
            optimizer.step()
        return stretch.detach(), offset.detach(), number.detach() / height

    def decode(self, z: Tensor, axes: Tensor) -> Tensor:
        """Orientations (B, n, n, n, 4), of fingerprints (B, d), at voxels of coordinates `axes` (3, n) in edges."""
        seeds = self.seeds(z)
        owner = owners(*seeds[:3], axes).flatten(1)
        return seeds.quaternion.gather(1, owner[..., None].expand(-1, -1, 4)).unflatten(1, 3 * (axes.shape[1],))

    def seeds(self, z: Tensor) -> Seeds:
        """The power diagram of fingerprints (B, d)."""
        _, stretch, numbers = z.split(self.sizes, 1)
        numbers, metric = numbers.unflatten(1, (-1, self.numbers)), metric_of(stretch)
        site = self.seed_list.site(numbers[..., :3])
        weight = self.weigh(site, metric) + numbers[..., 6:].sum(-1) / self.seed_list.height
        return Seeds(site, metric, weight, orientation(numbers[..., 3:6]))

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Negative evidence lower bound for each voxel, in nats, and its terms.

        A voxel belongs to its grain with the probability of the cells that are (parts of) it, and has the grain's orientation
        but for `TOLERANCE`. The noise of a rotation thus costs its variance, which needs no sample.
        """
        with torch.autocast(batch["quaternion"].device.type, enabled=False):  # bfloat16 knows two digits of a site
            mean, log_variance, cells = self._posterior(batch["grain_id"], batch["quaternion"])
            seeds = self.seeds(sample_posterior(mean, log_variance, generator))
            site = seeds.site - cells.shift
            wrong = assignment_loss(site, *seeds[1:3], self.sharpness, cells.grain_id, cells.member).mean()
        turned = 1.5 * (2 * self.log_deviation[2]).exp() / (TURN * TOLERANCE) ** 2
        coded = slice(self.sizes[0], None)
        kl = kl_divergence(mean[:, coded], log_variance[:, coded]).sum() / cells.grain_id.numel()
        return {"loss": wrong + turned + kl, "assignment": wrong, "orientation": turned, "kl": kl}
