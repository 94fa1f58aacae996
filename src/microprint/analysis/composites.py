"""Two-phase composites without deep learning: statistics of their structure, and bounds of their property."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from microprint.analysis.regression import mean_normalised_mape
from microprint.mechanics.elasticity import hashin_shtrikman, reuss_average, voigt_average
from microprint.networks.random_medium import autocorrelation

LAGS = (1, 2, 4, 8)  # voxels
FEW = 64  # volumes whose pairs are counted together: they stay in the processor's cache


def volume_fraction(phase_ids: Tensor) -> Tensor:
    """Share (B,) of phase 1 in volumes (B, n, n, n)."""
    return phase_ids.mean((1, 2, 3), dtype=torch.float64)


def two_point(phase_ids: Tensor, lags: Sequence[int] = LAGS) -> Tensor:
    """Probability that two points a lag (in voxels) apart both lie in phase 1, of periodic volumes (B, n, n, n) of 0 and 1.

    (B, 3 len(lags)): along x for all lags, then y, then z.
    """
    shares = []
    for phase in phase_ids.bool().split(FEW):
        pairs = [phase & phase.roll(-lag, axis + 1) for axis in range(3) for lag in lags]
        shares.append(torch.stack([volume_fraction(pair) for pair in pairs], 1))
    return torch.cat(shares)


def mean_chord(phase_ids: Tensor) -> Tensor:
    """Mean length (B, 3) in voxels of the hard phase's runs along x, y and z in periodic volumes (B, n, n, n) of 0 and 1.

    The number of runs is that of steps from soft to hard. A volume without any has the edge, if it is full along the axis, and
    0, if it is empty.
    """
    phase = phase_ids.bool()
    begins = [(phase & ~phase.roll(1, axis + 1)).double().mean((1, 2, 3)) for axis in range(3)]
    lengths = torch.stack([volume_fraction(phase_ids) / begin.clamp_min(1e-12) for begin in begins], 1)
    return lengths.clamp(max=phase_ids.shape[-1])


def by_hard_phase(designs: Sequence[Tensor], stiffness: Sequence[Tensor]) -> Tensor:
    """Share (%) of the hard phase, stiffness (K,) as given and mean run along x over that across it, (T, K, 3), of the designs
    (K, n, n, n) for each of T targets, those with the least of that phase first.
    """
    rows = []
    for ids, values in zip(designs, stiffness, strict=True):
        runs = mean_chord(ids)
        row = torch.stack([100 * volume_fraction(ids), values, runs[:, 0] / runs[:, 1:].mean(1)], 1)
        rows.append(row[row[:, 0].argsort()])
    return torch.stack(rows)


def two_point_distance(phase_ids: Tensor, others: Tensor) -> Tensor:
    """Root mean square difference (B,) of all two-point probabilities of volumes (B, n, n, n) and others."""
    return autocorrelation(phase_ids.double(), less=others.double()).square().mean((1, 2, 3)).sqrt()


def likeness(phase_ids: Tensor, others: Tensor, properties: Tensor, wanted: Tensor) -> list[float]:
    """Errors of composites (B, n, n, n) that should be like others, and of their properties (B, p).

    Volume fraction in points, root mean square of the two-point probabilities in per mille; then in % of the mean value chord
    lengths, the first property, the worst property.
    """
    worst = [mean_normalised_mape(x, y) for x, y in zip(properties.T, wanted.T)]
    return [
        100 * (volume_fraction(phase_ids) - volume_fraction(others)).abs().mean().item(),
        1e3 * two_point_distance(phase_ids, others).mean().item(),
        mean_normalised_mape(mean_chord(phase_ids), mean_chord(others)),
        worst[0],
        max(worst),
    ]


def statistics(phase_ids: Tensor) -> Tensor:
    """Volume fraction and two-point probabilities (B, 1 + 3 len(LAGS)) of volumes (B, n, n, n)."""
    return torch.cat([volume_fraction(phase_ids)[:, None], two_point(phase_ids)], 1)


def sides(targets: Sequence[float], way: Sequence[float], least: float = 10.0) -> str:
    """Sentence on the designs of one Gaussian for each target, GPa, by their way (%) from fibres, 0, to plates, 100.

    Within `least` of an end they are of its kind, and between both else.

    >>> sides([20, 25, 30], [75, 20, 2])
    'One Gaussian gives fibres at 30 GPa; neither fibres nor plates at 20, 25 GPa.'
    """
    kinds = {"fibres": (-inf, least), "neither fibres nor plates": (least, 100 - least), "plates": (100 - least, inf)}
    at = {kind: [f"{t:g}" for t, share in zip(targets, way) if low <= share < high] for kind, (low, high) in kinds.items()}
    return "One Gaussian gives " + "; ".join(f"{kind} at {', '.join(where)} GPa" for kind, where in at.items() if where) + "."


def bounds(fraction: Tensor, stiffnesses: Tensor, entry: tuple[int, int] = (0, 0)) -> dict[str, Tensor]:
    """What the volume fractions (B,) of phase 1 alone say of one entry (row, column) of the effective stiffness, (B,) in Pa.

    ``voigt`` and ``reuss`` (rigorous for any composite), ``hill`` (their mean), and for isotropic composites ``hs_lower``
    and ``hs_upper`` (Hashin & Shtrikman 1963); from the isotropic Voigt stiffnesses (2, 6, 6) of the phases in Pa.
    """
    shares = torch.stack([1 - fraction, fraction], -1).to(stiffnesses)
    row, column = entry
    voigt = voigt_average(stiffnesses, shares)[..., row, column]
    reuss = reuss_average(stiffnesses, shares)[..., row, column]
    shear = stiffnesses[:, 5, 5].tolist()
    bulk = (stiffnesses[:, 0, 0] - 4 / 3 * stiffnesses[:, 5, 5]).tolist()
    # C = K 1 + 2 G (I - 1/3): both entries below rise with K, and off the diagonal C falls with G.
    weight = 4 / 3 if row == column else -2 / 3
    pairs = [hashin_shtrikman(bulk, shear, share) for share in fraction.tolist()]
    entries = torch.tensor([[k[0] + weight * g[row != column], k[1] + weight * g[row == column]] for k, g in pairs])
    lower, upper = entries.T.to(stiffnesses)
    return {"voigt": voigt, "reuss": reuss, "hill": (voigt + reuss) / 2, "hs_lower": lower, "hs_upper": upper}


def novelty(designs: Tensor, training: Tensor) -> Tensor:
    """How far (B,) designs lie from the nearest training composite; 1 is a training composite's distance.

    Both by their `statistics`, (B, f) and (N, f), standardised by the training set; the unit is the median distance of its
    members from their nearest neighbours.
    """
    known, asked = training / training.std(0), designs / training.std(0)
    own = torch.cdist(known, known).fill_diagonal_(torch.inf).amin(1).median()
    # By matrix products, as is faster, a member's distance from itself would not be zero.
    return torch.cdist(asked, known, compute_mode="donot_use_mm_for_euclid_dist").amin(1) / own


def diversity(designs: Tensor, training: Tensor) -> float:
    """Mean distance of designs for one target, over that of training composites; by `statistics`, as for `novelty`."""
    known, asked = training / training.std(0), designs / training.std(0)
    pairs = len(asked) * (len(asked) - 1)
    return float(torch.cdist(asked, asked).sum() / pairs / torch.cdist(known, known).mean()) if pairs else 0.0
