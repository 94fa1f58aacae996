"""Inverse design of composites: media of wanted stiffness, drawn in any number and size, and refined by the solver.

Our VAE-regression (`networks.medium_vae`) says which laws have a property, noise says which drawing of the law, a few
iterations of the equilibrium say how stiff the drawing is, and the solver's own gradient takes the last steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microprint import store
from microprint.arrays import Array, integers, whole
from microprint.errors import UserError
from microprint.machine import choose_device
from microprint.mechanics.effective import strain_fields
from microprint.mechanics.sensitivity import change_of_phase
from microprint.microstructures.composite import cut
from microprint.networks.losses import sample_posterior
from microprint.networks.medium_vae import MediumVAE
from microprint.networks.random_medium import draw
from microprint.networks.vae_regression import Mixture, MixturePrior
from microprint.systems.composite_laws import ASKED, AT_ONCE, statistics_of
from microprint.systems.inverse_design import LogScale
from microprint.systems.stiffness import components, entry, phase_stiffnesses
from microprint.systems.stiffness_surrogate import COMPONENTS, StiffnessSurrogate

CANDIDATES = 64  # latent vectors from the prior for each that is proposed
SOFTNESS = 0.3  # of the cut, in standard deviations of the field, where its gradient is taken
DAMPING = 1e-3  # of a step, relative to the mean of the Gram matrix's diagonal
LONGEST = 2.0  # step in latent space and noise, in standard deviations of the prior of z


@dataclass(frozen=True)
class Drawings:
    """Designs, each the drawing of a law: with the same noise a law that changes a little is drawn a little differently."""

    z: Tensor  # (B, d) latent vectors
    noise: Tensor  # (B, n, n, n) whose phases set the drawing
    phase_ids: Tensor  # (B, n, n, n) uint8, 1 the hard phase
    expected: Tensor  # (B, 6) of `COMPONENTS`, Pa, by the forward model
    deviation: Tensor  # (B, 6) its standard deviation, Pa

    def probability(self, target: Mapping[str, float], within: float) -> Tensor:
        """Probability (B,) that all wanted components lie within a relative distance of the target, by the forward model."""
        normal, total = torch.distributions.Normal(0.0, 1.0), torch.ones(len(self.z), dtype=torch.float64)
        for name, value in target.items():
            mean, std = (x[:, COMPONENTS.index(name)] for x in (self.expected, self.deviation))
            ends = [normal.cdf((value * (1 + side * within) - mean) / std) for side in (-1, 1)]
            total = total * (ends[1] - ends[0])
        return total


class CompositeDesign:
    """Two-phase composites of wanted stiffness: what a composite's law is, and composites of laws that meet a target.

    Targets are given as ``{"C11": 35e9}``, in Pa, with the names of one of `ASKED`. Volumes may be of any kind that
    `microprint.arrays` reads; what comes back are tensors in main memory.

    >>> design = CompositeDesign.load("composite_design.safetensors", "stiffness_surrogate.safetensors")   # doctest: +SKIP
    >>> proposed = design.propose({"C11": 35e9}, count=4)       # doctest: +SKIP
    >>> refined, errors = design.refine(proposed, {"C11": 35e9}, evaluations=5)         # doctest: +SKIP
    """

    def __init__(
        self, model: MediumVAE, priors: Mapping[str, MixturePrior], surrogate: StiffnessSurrogate, config: Mapping[str, Any]
    ):
        self.model, self.surrogate, self.config = model.eval(), surrogate, dict(config)
        self.priors = {name: prior.eval() for name, prior in priors.items()}
        self.scale, self.edge = LogScale(config["log_mean"], config["log_std"]), config["model"]["edge"]

    @classmethod
    def load(cls, path: str | Path, surrogate: str | Path, device: torch.device | str = "cpu") -> CompositeDesign:
        """Read a model and the forward model that ranks its drawings.

        Raises `UserError` if a file is missing, damaged or another model, or there is no such device.
        """
        device = choose_device(device, "device")
        state, metadata = store.load_tensors(path)
        config = metadata.get("config", {})
        if config.get("kind") != "composite_design":
            raise UserError("is no composite-design model", path, "Give composite_design.safetensors that notebook 07 made")
        model = MediumVAE(**config["model"])
        model.load_state_dict(_part(state, "model."), strict=False)
        priors = {name: MixturePrior(**sizes) for name, sizes in config["priors"].items()}
        for name, prior in priors.items():
            prior.load_state_dict(_part(state, f"{name}."))
            prior.to(device)
        return cls(model.to(device), priors, StiffnessSurrogate.load(surrogate, device), config)

    @torch.no_grad()
    def encode(self, phase_ids: Array) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, d) of q(z | x) of composites (B, n, n, n) of 0 and 1, of the edge trained on.

        Raises `UserError` for others.
        """
        ids = integers(phase_ids, "phase_ids", ("B", "n", "n", "n"), small=True)
        if ids.shape[-1] != self.edge or not ((ids == 0) | (ids == 1)).all():
            fault = f"volumes of edge {ids.shape[-1]} with ids from {ids.min()} to {ids.max()}"
            raise UserError(fault, "phase_ids", f"Give 0 (soft) and 1 (hard) on {self.edge} voxels an edge")
        statistics = torch.cat([statistics_of(part)[0] for part in ids.split(AT_ONCE)])
        return tuple(x.cpu() for x in self.model.posterior(statistics.to(self._device)))

    @torch.no_grad()
    def draw(self, z: Tensor, generator: torch.Generator, edge: int | None = None) -> Drawings:
        """A drawing of each of the laws (B, d), with the forward model's expectation; of the edge trained on unless given."""
        edge = self.edge if edge is None else whole(edge, "edge")
        noise = torch.randn(len(z), edge, edge, edge, generator=generator)
        return self._drawn(z, noise)

    def prior(self, target: Mapping[str, float], modes: str = "mixture") -> Mixture:
        """Conditional prior p(z | c): ``"mixture"``, or ``"gaussian"``, a single Gaussian of the same network.

        With ``"two mixture"`` or ``"two gaussian"`` that of fibres and plates alone, see `two_morphologies`. Raises `UserError`
        for a target that no prior was trained for.
        """
        names, c = self._standardised(target)
        key = f"{modes} {' '.join(names)}"
        if key not in self.priors:
            raise UserError(f"no prior is called {key}", "target", f"There are: {', '.join(self.priors)}")
        with torch.no_grad():
            return self.priors[key](c)

    def propose(
        self, target: Mapping[str, float], count: int, *, drawings: int = 8, modes: str = "mixture",
        generator: torch.Generator | None = None,
    ) -> Drawings:  # fmt: skip
        """Designs for a target, without a simulation: `count`, each the best of so many `drawings`, each of a law of its own.

        The prior proposes `CANDIDATES` latent vectors for each law, which are drawn again with the weight p(c* | z): where the
        prior has not learnt the property exactly, the regressor corrects it (importance resampling). What a law and its
        drawing really give, to within some 5 %, the forward model says, and the nearest to the target is taken.
        """
        generator = generator or torch.Generator().manual_seed(0)
        count, drawings = whole(count, "count"), whole(drawings, "drawings")
        drawn = self.draw(self._laws(target, count * drawings, modes, generator), generator)
        misfit = _misfit(drawn.expected, target).unflatten(0, (count, drawings))
        return _some(drawn, misfit.argmin(1) + torch.arange(count) * drawings)

    @torch.no_grad()
    def means(self, target: Mapping[str, float], modes: str, generator: torch.Generator) -> Drawings:
        """One drawing of the mean of each component of the prior, the likeliest first: inference as S2 does it."""
        prior = self.prior(target, modes)
        order = prior.log_weight[0].argsort(descending=True)
        return self.draw(prior.mean[0, order].cpu(), generator)

    @torch.no_grad()
    def _laws(self, target: Mapping[str, float], count: int, modes: str, generator: torch.Generator) -> Tensor:
        prior = self.prior(target, modes)
        chosen = torch.multinomial(prior.log_weight[0].exp().cpu(), count * CANDIDATES, replacement=True, generator=generator)
        z = sample_posterior(prior.mean[0, chosen].cpu(), prior.log_variance[0, chosen].cpu(), generator)
        names, c = self._standardised(target)
        index = [COMPONENTS.index(name) for name in names]
        mean, log_variance = (x[:, index].cpu() for x in self.model.properties(z.to(self._device)))
        log_weight = -((c.cpu() - mean).square() * (-log_variance).exp() + log_variance).sum(1) / 2
        return z[torch.multinomial(log_weight.softmax(0), count, generator=generator)]

    def refine(self, drawings: Drawings, target: Mapping[str, float], evaluations: int) -> tuple[Drawings, Tensor]:
        """Meet a target by simulations: the best design of each within so many `evaluations`, and the errors on the way.

        After each simulation, the least change of law and drawing (in standard deviations of their priors) is made that
        meets the target to first order: a Gauss-Newton step of minimum norm, whose derivative comes from the strain fields
        of the simulation itself (`mechanics.sensitivity`). How the last step succeeded sets the length of the next.

        Returns the designs, whose `expected` is what the simulation says, and the largest relative error of the wanted
        components of the best design so far, (evaluations, B).
        """
        whole(evaluations, "evaluations")
        names, _ = self._standardised(target)
        index, wanted = (
            [COMPONENTS.index(name) for name in names],
            torch.tensor(list(target.values()), dtype=torch.float64).log(),
        )
        now, best, lowest, errors = drawings, drawings, torch.full((len(drawings.z),), inf, dtype=torch.float64), []
        gain, before = torch.ones(len(drawings.z), dtype=torch.float64), None
        for number in range(evaluations):
            fields = strain_fields(now.phase_ids, phase_stiffnesses(), device=self._device)
            simulated = components(fields.stiffness, COMPONENTS)
            now = replace(now, expected=simulated, deviation=torch.zeros_like(simulated))
            misfit, value = _misfit(simulated, target), simulated[:, index].log()
            best, lowest = _better(now, best, misfit < lowest), torch.minimum(lowest, misfit)
            errors.append(lowest.expm1())
            if number + 1 == evaluations:
                break
            if before is not None:  # what the last step has brought, of what it promised
                old, promised = before
                share = ((value - old) * promised).sum(1) / promised.square().sum(1).clamp_min(1e-12)
                gain = (gain * share).clamp(0.3, 3.0)
            effect = change_of_phase(fields, phase_stiffnesses(), now.phase_ids)
            effect = torch.stack(
                [effect[:, i, j] / fields.stiffness[:, i, j, None, None, None] for i, j in map(entry, names)], 1
            )
            now, promised = self._step(now, effect, wanted - value, gain)
            before = value, promised
        return best, torch.stack(errors)

    def _step(self, now: Drawings, effect: Tensor, residual: Tensor, gain: Tensor) -> tuple[Drawings, Tensor]:
        """Minimum-norm step for residuals (B, p) of log-properties, and the change (B, p) that it promises.

        `effect` (B, p, n, n, n) is the relative change of each property by each voxel, `gain` (B,) a factor of all of it.
        """
        z, noise = now.z.clone().requires_grad_(), now.noise.clone().requires_grad_()
        share = self._soft(z, noise, now.phase_ids)
        rows = []
        for part in effect.to(share).unbind(1):
            rows.append(torch.autograd.grad((part * share).sum(), (z, noise), retain_graph=True))
        law, drawing = (torch.stack(part, 1).flatten(2).double() for part in zip(*rows))
        gram = law @ law.mT + drawing @ drawing.mT
        gram = gram + DAMPING * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(gram.shape[1])
        weight = torch.linalg.solve(gram, residual / gain[:, None])
        steps = [(part.mT @ weight[..., None])[..., 0] for part in (law, drawing)]
        length = sum(part.square().sum(1) for part in steps).sqrt()
        scale = (LONGEST / length.clamp_min(1e-9)).clamp(max=1.0)
        with torch.no_grad():
            moved = self._drawn(
                now.z + (scale[:, None] * steps[0]).float(),
                now.noise + (scale[:, None] * steps[1]).float().view_as(now.noise),
                forward=False,
            )
        return moved, residual * scale[:, None]

    def _field(self, z: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Gaussian fields (B, n, n, n) and volume fractions (B,) of laws with noise."""
        level, rho = self.model.law(z.to(self._device), noise.shape[-1])
        return draw(rho, noise.to(self._device)), torch.special.ndtr(level)

    def _drawn(self, z: Tensor, noise: Tensor, forward: bool = True) -> Drawings:
        field, fraction = self._field(z, noise)
        ids = cut(field, fraction).cpu()
        if forward:
            return Drawings(z, noise, ids, *self.surrogate.predict(ids))
        unknown = torch.full((len(z), len(COMPONENTS)), torch.nan, dtype=torch.float64)
        return Drawings(z, noise, ids, unknown, unknown)

    def _soft(self, z: Tensor, noise: Tensor, ids: Tensor) -> Tensor:
        """Phases as a function with a gradient: 1 far above the level, 0 far below, and as many voxels of 1 as it wants."""
        field, fraction = self._field(z, noise)
        ids = ids.to(field.device)
        # The level lies between the lowest voxel of the hard phase and the highest of the soft one.
        hard, soft = torch.where(ids == 1, field, inf).detach(), torch.where(ids == 0, field, -inf).detach()
        level = (hard.amin((1, 2, 3)) + soft.amax((1, 2, 3))) / 2
        distance = (field - level[:, None, None, None]) / SOFTNESS
        slope = (-distance.detach().square() / 2).exp()
        total, voxels = slope.sum((1, 2, 3)), field[0].numel()
        # The level moves so that the sum over all voxels is the law's volume fraction.
        drift = (slope * field).sum((1, 2, 3)) / total - fraction * voxels * SOFTNESS * 2.5066 / total
        moving = (drift - drift.detach())[:, None, None, None]
        return (slope * (field - moving) / (SOFTNESS * 2.5066)).cpu()

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _standardised(self, target: Mapping[str, float]) -> tuple[tuple[str, ...], Tensor]:
        """Names and standardised values (1, p) of a checked target."""
        names = tuple(target)
        if names not in ASKED:
            known = "; ".join(", ".join(some) for some in ASKED)
            raise UserError(f"no prior was trained for {', '.join(names) or 'nothing'}", "target", f"Ask for one of: {known}")
        ends = {name: [float(C[entry(name)]) for C in phase_stiffnesses()] for name in names}
        for name, value in target.items():
            if not ends[name][0] < value < ends[name][1]:
                fault = f"{name} = {value:g} Pa lies outside of the pure phases' {ends[name][0]:.3g} to {ends[name][1]:.3g}"
                raise UserError(fault, "target", "Ask for values between them")
        index = [COMPONENTS.index(name) for name in names]
        logs = torch.tensor(list(target.values()), dtype=torch.float64).log()
        return names, ((logs.float() - self.scale.mean[index]) / self.scale.std[index])[None].to(self._device)


def _misfit(stiffness: Tensor, target: Mapping[str, float]) -> Tensor:
    """Largest distance (B,) of wanted components from the target, as the logarithm of their ratio."""
    index = [COMPONENTS.index(name) for name in target]
    wanted = torch.tensor(list(target.values()), dtype=torch.float64)
    return (stiffness[:, index] / wanted).log().abs().amax(1)


def _some(drawings: Drawings, index: Tensor) -> Drawings:
    return Drawings(*(x[index] for x in vars(drawings).values()))


def _better(new: Drawings, old: Drawings, chosen: Tensor) -> Drawings:
    """The new drawings where they are chosen, (B,), and the old ones elsewhere."""
    pairs = zip(vars(new).values(), vars(old).values())
    return Drawings(*(torch.where(chosen.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)}
