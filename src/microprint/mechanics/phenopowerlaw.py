"""DAMASK's phenomenological power law for slip and twinning, at finite strain, backward Euler in time.

For a voxel with deformation gradient F and the last step's plastic part F_p0, find the second Piola-Kirchhoff stress S
and the resistances xi with (rates at the end of the step)

    tau_s = S : P_s,   P_s = d_s (x) n_s                                          resolved stress
    dgamma_s = dt g0 |tau_s / xi_s|^n                                             slip, both senses
    dgamma_t = dt g0 <tau_t / xi_t>^n (1 - f),  f = sum gamma_t / gamma_char      twins, one sense
    X = I - sum sgn(tau_s) dgamma_s P_s,   F_p^-1 = F_p0^-1 X / det(X)^(1/3)
    S = C : (X^T F_p0^-T F^T F F_p0^-1 X - I) / 2
    dxi_sl = h0 sgn(y) |y|^a (h . dgamma_sl) + h_sl-tw . dgamma_tw,   y = 1 - xi / (xi_inf + f_sat sqrt(f))
    dxi_tw = h0_tw-sl (sum gamma_sl) (h . dgamma_sl) + h0_tw-tw (h . dgamma_tw)

DAMASK scales F_p to det 1 only after S has been found, and so does this; P = F F_p^-1 S F_p^-T.
Everything lives in the crystal frame, components first and voxels last; S and E are Mandel vectors (6, N).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from microprint.mechanics.elasticity import mandel_from_voigt
from microprint.mechanics.materials import Material
from microprint.mechanics.tensors import apply, determinant, inverse, mandel, product

# |tau / xi| may grow by this factor in one iteration; more, and the power of 20 overshoots beyond recovery.
RATIO_CAP = 1.12
# Strong latent hardening (Cu) has several solutions. The one that a fixed point from the last step's resistances leads
# to, DAMASK's, is followed until the resistances' relative error is below this; then Newton's method takes over.
COUPLE_BELOW = 0.005
# A fixed-point step of the resistances waits for tau / xi to change by less than this.
SETTLED = 0.03


@dataclass
class Local:
    """State at the end of a step and how it was reached; N voxels.

    Attributes
    ----------
    stress : S (6, N).   xi, increment : resistances and accumulated shear of the step (systems, N).
    plastic : X / det(X)^(1/3) (3, 3, N), with F_p^-1 = F_p0^-1 times it.
    tangent : dS / dE (6, 6, N).   converged : (N,) bool.
    """

    stress: Tensor
    xi: Tensor
    increment: Tensor
    plastic: Tensor
    tangent: Tensor
    coupled: Tensor
    converged: Tensor

    def scatter(self, index: Tensor, part: Local) -> None:
        """Overwrite the voxels of an index by another result."""
        for name, value in vars(part).items():
            getattr(self, name)[..., index] = value


class Law:
    """The law of one material, for any number of voxels.

    Parameters
    ----------
    material : its parameters, on the device to compute on.
    tolerance : largest change of tau / xi in the last iteration.
    max_iterations : after which a voxel counts as not converged.
    """

    def __init__(self, material: Material, tolerance: float = 1e-5, max_iterations: int = 60):
        self.material, self.tolerance, self.max_iterations = material, tolerance, max_iterations
        self.slips, self.systems = material.slips, len(material.schmid)
        self.stiffness = mandel_from_voigt(material.stiffness)
        self.compliance = torch.linalg.inv(self.stiffness)
        schmid = material.schmid
        self.schmid = schmid.permute(1, 2, 0).reshape(9, -1)
        self.resolve = mandel(schmid.permute(1, 2, 0)).T.contiguous()
        self.dyads = (self.resolve.T[:, None] * self.resolve.T[None]).flatten(0, 1)
        self.exponent = _scalar_if_equal(material.exponent)
        self._hardening_drivers()

    def _hardening_drivers(self) -> None:
        """Split the interactions into few drivers q = V dgamma: systems that are hardened alike share one."""
        m, slips, twins = self.material, self.slips, self.material.twins
        by_slip = torch.cat([m.h_sl_sl, m.h_tw_sl])
        by_slip = torch.cat([by_slip, by_slip.new_zeros(slips + twins, twins)], 1)
        by_twin = torch.cat([m.h_tw_tw.new_zeros(twins, slips), m.h_tw_tw], 1)
        rows, place = torch.unique(torch.cat([by_slip, by_twin]), dim=0, return_inverse=True)
        select = torch.nn.functional.one_hot(place, len(rows)).to(rows)
        self.drivers = rows
        self.select_slip = select[:self.systems, :, None]
        self.select_twin = torch.cat([select.new_zeros(slips, len(rows)), select[self.systems:]])[:, :, None]
        # dxi_twin by twins; slip systems have no such part.
        self.h_0_tw_tw = torch.cat([m.h_0.new_zeros(slips), m.h_0_tw_tw])[:, None]

    def initial(self, voxels: int) -> tuple[Tensor, Tensor]:
        """Resistances and accumulated shears (systems, N) before any load."""
        xi = self.material.xi_0[:, None].expand(-1, voxels).clone()
        return xi, torch.zeros_like(xi)

    def solve(self, trial: Tensor, xi_0: Tensor, gamma_0: Tensor, dt: float, stress: Tensor, xi: Tensor,
              coupled: Tensor | None = None) -> Local:
        """One backward-Euler step of N voxels.

        Parameters
        ----------
        trial : F F_p0^-1 (3, 3, N).
        xi_0, gamma_0 : resistances and accumulated shears at the step's beginning (systems, N).
        dt : s.
        stress, xi : guesses of the result.
        coupled : voxels (N,) whose guess is known to be close.
        """
        cauchy_green = product(trial.transpose(0, 1), trial)
        inputs = (cauchy_green, xi_0, gamma_0)
        coupled = torch.zeros_like(stress[0], dtype=torch.bool) if coupled is None else coupled
        result = self._iterate(*inputs, dt, self._admissible(stress, xi), xi, coupled)
        pending = (~result.converged).nonzero()[:, 0]
        for _ in range(1, self.max_iterations):
            if len(pending) == 0:
                break
            part = self._iterate(*(x[..., pending] for x in inputs), dt, result.stress[..., pending], result.xi[..., pending],
                                 result.coupled[pending])
            result.scatter(pending, part)
            pending = pending[~part.converged]
        result.plastic = result.plastic / determinant(result.plastic).pow(1.0 / 3.0)
        return result

    def _iterate(self, cauchy_green: Tensor, xi_0: Tensor, gamma_0: Tensor, dt: float, stress: Tensor, xi: Tensor,
                 coupled: Tensor) -> Local:
        """One capped Newton step on S and xi together, xi eliminated (its drivers q are few)."""
        slips = self.slips
        ratio = self.resolve @ stress / xi
        ratio[slips:].clamp_(min=0.0)
        increment, slope = self._shear(ratio, xi, gamma_0, dt)
        softening = slope * ratio.abs()                                   # -d|dgamma| / dxi
        signed = ratio.sign()

        flow = self._flow(signed * increment)
        strain = mandel(product(flow.transpose(0, 1), product(cauchy_green, flow)))
        strain[:3] -= 1.0
        residual = self.compliance @ stress - 0.5 * strain

        gain, drift, damping = self._hardening(xi, increment, xi_0, gamma_0)
        leak = coupled * softening * damping                                        # |d|dgamma| / dxi| / (1 - dH/dxi . h dgamma)
        lag = leak * drift
        leaking = leak[:, None] * gain                                    # (systems, drivers, N)
        into_strain = torch.einsum("si,srn->irn", self.resolve, signed[:, None] * leaking)
        from_stress = torch.einsum("ks,si,sn->kin", self.drivers, self.resolve, slope * signed)
        drive = torch.einsum("ks,srn->krn", self.drivers, leaking)
        drive.diagonal().add_(1.0)
        loop = _invert(drive)

        back = product(into_strain, loop)
        jacobian = (self.dyads @ slope).unflatten(0, (6, 6)) + self.compliance[:, :, None] - product(back, from_stress)
        tangent = inverse(jacobian)
        lagged = self.drivers @ lag
        step = -apply(tangent, residual + self.resolve.T @ (signed * lag) - apply(back, lagged))
        q = apply(loop, apply(from_stress, step) + lagged)
        change = self.resolve @ step / xi
        settled = self._largest(ratio, change) < SETTLED
        xi_step = (apply(gain, q) - drift) * torch.where(coupled, damping, settled)
        error = (xi_step / xi).abs().amax(0) if self.systems else torch.zeros_like(settled)
        change -= ratio * xi_step / xi
        scale = self._cap(ratio, change)
        converged = (coupled | settled) & (scale == 1.0) & (self._largest(ratio, change) < self.tolerance) & (error < self.tolerance)
        return Local(stress + scale * step, xi + scale * xi_step, increment, flow, tangent, settled & (error < COUPLE_BELOW), converged)

    def _shear(self, ratio: Tensor, xi: Tensor, gamma_0: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        """Shear of the step and its derivative by tau (systems, N)."""
        m, slips, size = self.material, self.slips, ratio.abs()
        power = size.pow(self.exponent - 1) * (dt * m.rate_0[:, None])
        increment = power * size
        if m.twins:
            # f at the end of the step, of which the twins' rates depend linearly, is known in closed form.
            share = 1.0 / m.gamma_char[:, None]
            rest = (1.0 - (gamma_0[slips:] * share).sum(0)) / (1.0 + (increment[slips:] * share).sum(0))
            increment[slips:] *= rest
            power[slips:] *= rest
        return increment, power * self.exponent / xi

    def _flow(self, shear: Tensor) -> Tensor:
        """X of the signed shears."""
        x = -(self.schmid @ shear).unflatten(0, (3, 3))
        x.diagonal().add_(1.0)
        return x

    def _hardening(self, xi: Tensor, increment: Tensor, xi_0: Tensor, gamma_0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Linearised hardening: dxi = damping (gain dq - drift).

        Returns gain (systems, drivers, N), drift = xi - xi_0 - gain q (systems, N) and damping (systems, N).
        """
        m, slips = self.material, self.slips
        gamma = gamma_0 + increment
        twinned = (gamma[slips:] / m.gamma_char[:, None]).sum(0).clamp(min=0.0)
        saturation = m.xi_inf[:, None] + m.f_sat[:, None] * twinned.sqrt()
        y = 1.0 - xi[:slips] / saturation
        exponent = m.hardening_exponent[:, None]
        modulus = m.h_0[:, None] * y.sign() * y.abs().pow(exponent)
        rate = torch.cat([modulus, m.h_0_tw_sl[:, None] * gamma[:slips].sum(0)])
        gain = rate[:, None] * self.select_slip + self.h_0_tw_tw[:, None] * self.select_twin
        q = self.drivers @ increment
        drift = xi - xi_0 - apply(gain, q)
        drift[:slips] -= m.h_sl_tw @ increment[slips:]
        damping = torch.ones_like(xi)
        # d(modulus)/dxi = -modulus a / (y xi_s)
        damping[:slips] = 1.0 / (1.0 + exponent * modulus / (y * saturation) * (m.h_sl_sl @ increment[:slips]))
        return gain, drift, damping

    def _admissible(self, stress: Tensor, xi: Tensor) -> Tensor:
        """A guess of S, shortened where it would make a system run away."""
        if not self.systems:
            return stress
        ratio = self.resolve @ stress / xi
        ratio[:self.slips].abs_()
        return stress * (RATIO_CAP / ratio.amax(0).clamp(min=RATIO_CAP))

    def _largest(self, ratio: Tensor, change: Tensor) -> Tensor:
        """Largest change of tau / xi among the systems (N,); a twin's sense that cannot act does not count."""
        moved = ratio + change
        moved[self.slips:].clamp_(min=0.0)
        return (moved - ratio).abs().amax(0) if self.systems else torch.zeros_like(ratio.sum(0))

    def _cap(self, ratio: Tensor, change: Tensor) -> Tensor:
        """Largest allowed fraction of the step (N,)."""
        if not self.systems:
            return torch.ones_like(ratio.sum(0))
        limit = RATIO_CAP * ratio.abs().clamp(min=1.0)
        target = ratio + change
        target[self.slips:].clamp_(min=0.0)
        return torch.where(target.abs() > limit, (limit - ratio * change.sign()) / change.abs(), 1.0).amin(0)


def _scalar_if_equal(values: Tensor) -> Tensor | float:
    if len(values) and (values == values[0]).all():
        return float(values[0])
    return values[:, None]


def _invert(matrix: Tensor) -> Tensor:
    """Inverse of (k, k, N); with pivoting where it is not close to the identity by its size."""
    if len(matrix) <= 3:
        return inverse(matrix)
    return torch.linalg.inv(matrix.permute(2, 0, 1)).permute(1, 2, 0)
