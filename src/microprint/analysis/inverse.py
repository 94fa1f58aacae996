"""Structure and property of two-phase composites without deep learning, errors, and the refinement of designs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.mechanics.elasticity import hashin_shtrikman, reuss_average, voigt_average
from microprint.microstructures.composite import cut

LAGS = (1, 2, 4, 8)  # voxels


def volume_fraction(phase_ids: Tensor) -> Tensor:
    """Share (B,) of phase 1 in volumes (B, n, n, n)."""
    return phase_ids.double().mean((1, 2, 3))


def two_point(phase_ids: Tensor, lags: Sequence[int] = LAGS) -> Tensor:
    """Probability that two points a lag apart along x, y or z both lie in phase 1; periodic.

    Parameters
    ----------
    phase_ids : (B, n, n, n) of 0 and 1.
    lags : distances, voxels.

    Returns
    -------
    (B, 3 len(lags)): along x for all lags, then y, then z.
    """
    phase = phase_ids.double()
    pairs = [(phase * phase.roll(-lag, axis + 1)).mean((1, 2, 3)) for axis in range(3) for lag in lags]
    return torch.stack(pairs, 1)


def statistics(phase_ids: Tensor, lags: Sequence[int] = LAGS) -> Tensor:
    """Volume fraction and two-point probabilities (B, 1 + 3 len(lags)) of volumes (B, n, n, n)."""
    return torch.cat([volume_fraction(phase_ids)[:, None], two_point(phase_ids, lags)], 1)


def bounds(fraction: Tensor, stiffnesses: Tensor, entry: tuple[int, int] = (0, 0)) -> dict[str, Tensor]:
    """What the volume fraction alone says of one entry of the effective stiffness.

    Parameters
    ----------
    fraction : (B,) of phase 1.
    stiffnesses : (2, 6, 6) isotropic stiffnesses of the phases, Voigt, Pa.
    entry : row and column of the 6 x 6 matrix.

    Returns
    -------
    dict of (B,) Pa: ``voigt`` and ``reuss`` (rigorous for any composite), ``hill`` (their mean), and for isotropic
    composites ``hs_lower`` and ``hs_upper`` (Hashin & Shtrikman 1963).
    """
    shares = torch.stack([1 - fraction, fraction], -1).to(stiffnesses)
    row, column = entry
    voigt = voigt_average(stiffnesses, shares)[..., row, column]
    reuss = reuss_average(stiffnesses, shares)[..., row, column]
    lower, upper = _hashin_shtrikman_entries(fraction, stiffnesses, entry)
    return {"voigt": voigt, "reuss": reuss, "hill": (voigt + reuss) / 2, "hs_lower": lower, "hs_upper": upper}


def _hashin_shtrikman_entries(fraction: Tensor, stiffnesses: Tensor, entry: tuple[int, int]) -> tuple[Tensor, Tensor]:
    row, column = entry
    shear = stiffnesses[:, 5, 5].tolist()
    bulk = (stiffnesses[:, 0, 0] - 4 / 3 * stiffnesses[:, 5, 5]).tolist()
    # C = K 1 + 2 G (I - 1/3): both entries below rise with K, and off the diagonal C falls with G.
    weight = 4 / 3 if row == column else -2 / 3
    pairs = [hashin_shtrikman(bulk, shear, share) for share in fraction.tolist()]
    entries = torch.tensor([[k[0] + weight * g[row != column], k[1] + weight * g[row == column]] for k, g in pairs])
    return entries[:, 0].to(stiffnesses), entries[:, 1].to(stiffnesses)


# --- errors ----------------------------------------------------------------------------------------------------------

def mape(predicted: Tensor, observed: Tensor) -> float:
    """Mean of |error| / |observed|, percent."""
    return 100 * ((predicted - observed).abs() / observed.abs()).mean().item()


def mean_normalised_mape(predicted: Tensor, observed: Tensor) -> float:
    """Mean |error| over the mean observed value, percent: what S2 calls mean absolute percentage error."""
    return 100 * ((predicted - observed).abs().mean() / observed.mean()).item()


def r2(predicted: Tensor, observed: Tensor) -> float:
    """Coefficient of determination."""
    return 1 - ((predicted - observed).square().sum() / (observed - observed.mean()).square().sum()).item()


# --- refinement of designs -------------------------------------------------------------------------------------------

def binarise(field: Tensor, fraction: Tensor | None = None) -> Tensor:
    """Phase ids of decoded fields: the voxels of largest value, as many as make up the volume fraction.

    Parameters
    ----------
    field : (B, n, n, n) in [0, 1].
    fraction : (B,) of phase 1; by default the field's mean, which a threshold of 0.5 would not keep.

    Returns
    -------
    (B, n, n, n) uint8
    """
    return cut(field, field.double().mean((1, 2, 3)) if fraction is None else fraction.to(field.device))


def refine_fraction(field: Tensor, target: float, evaluate: Callable[[Tensor], Tensor], ends: tuple[float, float],
                    evaluations: int) -> tuple[Tensor, Tensor]:
    """Move each design's volume fraction until a simulation gives the target.

    A voxel changed from soft to stiff can only stiffen the whole, and phase 1 grows with the fraction by inclusion. So
    the property rises monotonically with the fraction, between those of the pure phases: false position on its
    logarithm (Illinois variant) always closes in.

    Parameters
    ----------
    field : (B, n, n, n) decoded fields, one a design.
    target : wanted property.
    evaluate : simulated property (B,) of phase ids (B, n, n, n).
    ends : property of pure phase 0 and pure phase 1.
    evaluations : of the simulation, a design.

    Returns
    -------
    Phase ids (B, n, n, n) with the smallest error met, and their simulated properties (B,).

    Raises
    ------
    UserError
        If the target lies outside of what the phases can give.
    """
    if not ends[0] < target < ends[1]:
        raise UserError(f"target {target:.3g} lies outside of the pure phases' {ends[0]:.3g} to {ends[1]:.3g}",
                        "inverse design")
    goal = torch.tensor(target, dtype=torch.float64).log()
    count = len(field)
    low, high = torch.zeros(count, dtype=torch.float64), torch.ones(count, dtype=torch.float64)
    at_low, at_high = (torch.full((count,), end, dtype=torch.float64).log() - goal for end in ends)
    fraction = field.double().mean((1, 2, 3)).cpu()
    best, found = binarise(field, fraction), torch.full((count,), torch.inf, dtype=torch.float64)
    before = torch.zeros(count, dtype=torch.float64)
    for _ in range(evaluations):
        phase = binarise(field, fraction)
        value = evaluate(phase).double().cpu()
        error = value.log() - goal
        better = error.abs() < (found.log() - goal).abs()
        best[better], found[better] = phase[better], value[better]
        below = error < 0
        # Illinois: an end that stays twice counts half, so that it cannot stay for ever.
        share = torch.where(error * before > 0, 0.5, 1.0)
        at_low, at_high = torch.where(below, error, share * at_low), torch.where(below, share * at_high, error)
        before = error
        low, high = torch.where(below, fraction, low), torch.where(below, high, fraction)
        fraction = (low * at_high - high * at_low) / (at_high - at_low)
    return best, found


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
