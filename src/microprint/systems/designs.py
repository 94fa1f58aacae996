"""Designs of composites: phases of decoded fields, and the search for a wanted property."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.microstructures.composite import cut


def binarise(field: Tensor, fraction: Tensor | None = None) -> Tensor:
    """Phase ids (B, n, n, n) uint8 of decoded fields in [0, 1]: 1 at the voxels of largest value.

    These are as many as make up the volume fraction (B,), by default the field's mean, which a threshold of 0.5 would not
    keep.
    """
    return cut(field, field.double().mean((1, 2, 3)) if fraction is None else fraction.to(field.device))


def refine_fraction(
    field: Tensor, target: float, evaluate: Callable[[Tensor], Tensor], ends: tuple[float, float], evaluations: int
) -> tuple[Tensor, Tensor]:
    """Move each design's volume fraction until a simulation gives the target.

    A voxel changed from soft to stiff can only stiffen the whole, and phase 1 grows with the fraction by inclusion. So
    the property rises monotonically with the fraction, between those of the pure phases: false position on its
    logarithm (Illinois variant) always closes in.

    Parameters
    ----------
    field : (B, n, n, n) decoded fields, one a design.
    evaluate : simulated property (B,) of phase ids (B, n, n, n).
    ends : property of pure phase 0 and pure phase 1.
    evaluations : of the simulation, a design.

    Returns the phase ids (B, n, n, n) with the smallest error met, and their simulated properties (B,). Raises `UserError`
    if the target lies outside of what the phases can give.
    """
    if not ends[0] < target < ends[1]:
        fault = f"target {target:.3g} lies outside of the pure phases' {ends[0]:.3g} to {ends[1]:.3g}"
        raise UserError(fault, "inverse design")
    goal = torch.tensor(target, dtype=torch.float64).log()
    count = len(field)
    low, high = torch.zeros(count, dtype=torch.float64), torch.ones(count, dtype=torch.float64)
    at_low, at_high = (torch.full((count,), end, dtype=torch.float64).log() - goal for end in ends)
    fraction = field.double().mean((1, 2, 3)).cpu()
    best, reached = binarise(field, fraction), torch.full((count,), torch.inf, dtype=torch.float64)
    before = torch.zeros(count, dtype=torch.float64)
    for _ in range(evaluations):
        phase = binarise(field, fraction)
        value = evaluate(phase).double().cpu()
        error = value.log() - goal
        better = error.abs() < (reached.log() - goal).abs()
        best[better], reached[better] = phase[better], value[better]
        below = error < 0
        # Illinois: an end that stays twice counts half, so that it cannot stay for ever.
        share = torch.where(error * before > 0, 0.5, 1.0)
        at_low, at_high = torch.where(below, error, share * at_low), torch.where(below, share * at_high, error)
        before = error
        low, high = torch.where(below, fraction, low), torch.where(below, high, fraction)
        fraction = (low * at_high - high * at_low) / (at_high - at_low)
    return best, reached


def refine_latent(z: Tensor, objective: Callable[[Tensor], Tensor], steps: int, learning_rate: float = 0.02) -> Tensor:
    """Walk latent vectors (B, d) down the gradient of an objective (B,), each on its own, and return the best met."""
    z = z.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([z], lr=learning_rate)
    best, lowest = z.detach().clone(), torch.full((len(z),), torch.inf, device=z.device)
    for _ in range(steps):
        value = objective(z)
        better = value.detach() < lowest
        best[better], lowest[better] = z.detach()[better], value.detach()[better]
        optimiser.zero_grad()
        value.sum().backward()
        optimiser.step()
    return best


def anneal(
    z: Tensor, objective: Callable[[Tensor], Tensor], steps: int, generator: torch.Generator, width: float = 0.3
) -> tuple[Tensor, Tensor]:
    """Simulated annealing of latent vectors (B, d), each on its own, as S2 searches (section 4, figure 4).

    A step tries a normal change of standard deviation `width`, and takes it with the probability exp(-rise / temperature)
    of the rise of the objective (B,); the temperature falls linearly from the first values' mean to nothing.

    Returns the best vectors met (B, d), and the lowest objective after every evaluation, (steps + 1, B).
    """
    value = objective(z)
    best, lowest, history = z.clone(), value.clone(), [value.clone()]
    hot = value.mean()
    for number in range(steps):
        tried = z + width * torch.randn(z.shape, generator=generator)
        new = objective(tried)
        chance = (-(new - value) / (hot * (1 - number / steps)).clamp_min(1e-12)).exp()
        taken = torch.rand(len(z), generator=generator) < chance
        z, value = torch.where(taken[:, None], tried, z), torch.where(taken, new, value)
        better = value < lowest
        best, lowest = torch.where(better[:, None], z, best), torch.minimum(lowest, value)
        history.append(lowest.clone())
    return best, torch.stack(history)
