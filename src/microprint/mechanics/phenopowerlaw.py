"""DAMASK's phenomenological power law for slip and twinning, at finite strain, backward Euler in time.

For a voxel with deformation gradient F and the last step's plastic part F_p0, find the second Piola-Kirchhoff stress S
and the resistances xi with (rates at the end of the step)

    tau_s = S : P_s,   P_s = d_s (x) n_s                                          resolved stress
    dgamma_s = dt g0 |tau_s / xi_s|^n                                             slip, both senses
    dgamma_t = dt g0 <tau_t / xi_t>^n (1 - f),  f = sum gamma_t / gamma_char      twins, one sense
    X = I - sum sgn(tau_s) dgamma_s P_s,   F_p^-1 = F_p0^-1 X / det(X)^(1/3)
    S = C : (X^T F_p0^-T F^T F F_p0^-1 X - I) / 2
    dxi_sl = h0 (1 + c_1 f^c_2) sgn(y) |y|^a (h . dgamma_sl) + h_sl-tw . dgamma_tw,   y = 1 - xi / (xi_inf + f_sat sqrt(f))
    dxi_tw = h0_tw-sl (sum gamma_sl)^c_3 (h . dgamma_sl) + h0_tw-tw f^c_4 (h . dgamma_tw)

DAMASK scales F_p to det 1 only after S has been found, and so does this; P = F F_p^-1 S F_p^-T.
Everything lives in the crystal frame, components first and voxels last; S and E are Mandel vectors (6, N).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from microprint.mechanics.elasticity import mandel_from_voigt
from microprint.mechanics.materials import Material
from microprint.mechanics.tensors import apply, determinant, from_mandel, inverse, mandel, mandel_rotation, product, quadratic

# |tau / xi| may grow by this factor in one iteration; more, and the power of 20 overshoots beyond recovery.
RATIO_CAP = 1.12
# Strong latent hardening (Cu) has several solutions. The one that a fixed point from the last step's resistances leads
# to, DAMASK's, is followed until the resistances' relative error is below this; then Newton's method takes over.
COUPLE_BELOW = 0.005
# A tangent gives a direction to search in, for which this is precise enough.
TANGENT_DTYPE = torch.float32
# Where Newton's method on both leads nowhere, a second attempt, this many times as long, goes from the step's beginning
# by fixed-point steps alone.
SECOND_ATTEMPT = 3
# Fixed-point steps shrink slowly: so much of the tolerance is theirs.
FIXED_POINT = 0.1
# A fixed-point step of the resistances waits for tau / xi to change by less than this.
SETTLED = 0.03


@dataclass
class Local:
    """State at the end of a step and how it was reached; N voxels."""

    stress: Tensor  # S (6, N)
    xi: Tensor  # (systems, N)
    increment: Tensor  # accumulated shear of the step (systems, N)
    plastic: Tensor  # X / det(X)^(1/3) (3, 3, N), with F_p^-1 = F_p0^-1 times it
    tangent: Tensor  # dS / dE (6, 6, N)
    coupled: Tensor  # (N,) bool, close to the solution
    converged: Tensor  # (N,) bool, at the solution
    last: Tensor  # fixed-point step of xi (systems, N)
    relaxation: Tensor  # the share of it that was taken (N,)

    def select(self, index: Tensor) -> Local:
        """Some of the voxels."""
        return Local(**{name: value[..., index] for name, value in vars(self).items()})

    def scatter(self, index: Tensor, part: Local) -> None:
        """Overwrite the voxels of an index by another result."""
        for name, value in vars(part).items():
            getattr(self, name)[..., index] = value


@dataclass
class Response:
    """Answer of a law to a deformation gradient, N voxels; sample axes unless said otherwise."""

    P: Tensor  # first Piola-Kirchhoff stress (3, 3, N)
    tangent: Tensor  # symmetric part of dS/dE, pushed forward by F_e (6, 6, N), Mandel
    F_p_inverse: Tensor  # (3, 3, N), sample from crystal axes
    stress: Tensor  # S (6, N), crystal axes
    xi: Tensor  # (systems, N)
    gamma: Tensor  # accumulated shears (systems, N)
    coupled: Tensor  # (N,) bool, as in `Local`
    converged: Tensor


class Law:
    """The law of one material, for any number of voxels, on the material's device.

    A voxel has converged if the last iteration changed tau / xi by less than the tolerance.
    """

    def __init__(self, material: Material, tolerance: float = 1e-4, max_iterations: int = 60):
        self.material, self.tolerance, self.max_iterations = material, tolerance, max_iterations
        self.slips, self.systems = material.slips, len(material.schmid)
        self.stiffness = mandel_from_voigt(material.stiffness)
        self.compliance = torch.linalg.inv(self.stiffness)
        schmid = material.schmid
        self.schmid = schmid.permute(1, 2, 0).reshape(9, -1)
        self.resolve = mandel(schmid.permute(1, 2, 0)).T.contiguous()
        self.dyads = (self.resolve.T[:, None] * self.resolve.T[None]).flatten(0, 1)
        self.exponent = _scalar_if_equal(material.exponent)
        self.rate_0 = material.rate_0[:, None]
        # Whether the factors of the hardening that are mostly 1, or sum gamma_sl itself, take a power.
        self.by_twinning = bool((material.c_1 != 0).any()) and material.twins > 0
        self.by_powers = bool((material.c_3 != 1).any() or (material.c_4 != 0).any())
        if self.systems:
            self._couplings()

    def _couplings(self) -> None:
        """Constant matrices of the hardening.

        Systems that are hardened alike share a driver q_k = (V dgamma)_k: dxi_s = rate_s q_a(s) + spread_s h_0_tw-tw q_b(s).
        With few drivers, xi is eliminated from Newton's equations by small matrices.
        """
        m, slips, twins = self.material, self.slips, self.material.twins
        new = m.schmid.new_zeros
        self.by_slip = torch.cat([torch.cat([m.h_sl_sl, m.h_tw_sl]), new(slips + twins, twins)], 1)
        self.by_twin = torch.cat([new(twins, slips), m.h_tw_tw], 1)
        rows = torch.cat([self.by_slip, self.by_twin])
        self.drivers, driver = torch.unique(rows, dim=0, return_inverse=True)
        hardens = (driver[:, None] == torch.arange(len(self.drivers), device=driver.device)).to(self.drivers)
        slip_first, twin_first = hardens[: self.systems], hardens[self.systems :] * m.h_0_tw_tw[:, None]
        self.slip_first, self.twin_first = slip_first, twin_first
        weights = torch.cat([self.resolve, self.drivers.T], 1)  # (systems, 6 + drivers)
        self.leak_by_slip = _outer(weights, slip_first)
        self.leak_by_twin = _outer(weights[slips:], twin_first)
        self.drive_by_stress = _outer(self.drivers.T, self.resolve)

    def initial(self, voxels: int) -> tuple[Tensor, Tensor]:
        """Resistances and accumulated shears (systems, N) before any load."""
        xi = self.material.xi_0[:, None].expand(-1, voxels).clone()
        return xi, torch.zeros_like(xi)

    def respond(
        self, F: Tensor, F_p_inverse: Tensor, xi_0: Tensor, gamma_0: Tensor, dt: float,
        stress: Tensor, xi: Tensor, coupled: Tensor | None = None, expected: Tensor | None = None,
    ) -> Response:  # fmt: skip
        """One backward-Euler step of N voxels to the deformation gradient F (3, 3, N), which takes dt seconds.

        It begins at F_p_inverse (3, 3, N), xi_0 and gamma_0 (systems, N). Guesses of the result are `stress` (S) and `xi`;
        `coupled` (N,) tells where they are known to be close, and `expected` is a change of S (6, N), Mandel, in sample axes.
        """
        trial = product(F, F_p_inverse)
        if expected is not None:
            stress = stress + mandel(product(trial.transpose(0, 1), product(from_mandel(expected).to(trial), trial)))
        local = self.solve(trial, xi_0, gamma_0, dt, stress, xi, coupled)
        F_e, new = product(trial, local.plastic), product(F_p_inverse, local.plastic)
        symmetric = (0.5 * (local.tangent + local.tangent.transpose(0, 1))).to(TANGENT_DTYPE)
        return Response(
            product(product(F_e, from_mandel(local.stress)), new.transpose(0, 1)),
            quadratic(mandel_rotation(F_e.to(TANGENT_DTYPE)), symmetric),
            new,
            local.stress,
            local.xi,
            gamma_0 + local.increment,
            local.coupled,
            local.converged,
        )

    def solve(
        self, trial: Tensor, xi_0: Tensor, gamma_0: Tensor, dt: float, stress: Tensor, xi: Tensor, coupled: Tensor | None = None
    ) -> Local:
        """The step in crystal axes, for trial = F F_p0^-1 (3, 3, N); the others as in `respond`."""
        cauchy_green = product(trial.transpose(0, 1), trial)
        if not self.systems:
            return self._elastic(cauchy_green, xi_0)
        inputs = (cauchy_green, xi_0, gamma_0)
        coupled = torch.zeros_like(stress[0], dtype=torch.bool) if coupled is None else coupled
        result = self._start(self._admissible(stress, xi), xi, coupled)
        pending = torch.arange(stress.shape[1], device=stress.device)
        for iteration in range((1 + SECOND_ATTEMPT) * self.max_iterations):
            if iteration == 0:
                result = part = self._iterate(*inputs, dt, result)
            else:
                part = result.select(pending)
                if iteration >= self.max_iterations:
                    part.coupled = torch.zeros_like(part.coupled)
                if iteration == self.max_iterations:
                    part = self._start(torch.zeros_like(part.stress), xi_0[:, pending], part.coupled)
                part = self._iterate(*(x[..., pending] for x in inputs), dt, part)
                result.scatter(pending, part)
            pending = pending[~part.converged]
            if len(pending) == 0:
                break
        result.plastic = result.plastic / determinant(result.plastic).pow(1.0 / 3.0)
        return result

    def _start(self, stress: Tensor, xi: Tensor, coupled: Tensor) -> Local:
        """What the first iteration starts from."""
        nothing = stress.new_empty(0, stress.shape[1])
        full, done = torch.ones_like(stress[0]), torch.zeros_like(coupled)
        return Local(stress, xi, nothing, nothing, nothing, coupled, done, torch.zeros_like(xi), full)

    def _elastic(self, cauchy_green: Tensor, xi: Tensor) -> Local:
        """The step of a material without slip systems."""
        strain = mandel(cauchy_green)
        strain[:3] -= 1.0
        identity = torch.eye(3).to(strain)[:, :, None].repeat(1, 1, strain.shape[1])
        done = torch.ones_like(strain[0], dtype=torch.bool)
        tangent = self.stiffness[:, :, None].repeat(1, 1, strain.shape[1])
        return Local(self.stiffness @ (0.5 * strain), xi, xi, identity, tangent, done, done, xi, strain[0])

    def _iterate(self, cauchy_green: Tensor, xi_0: Tensor, gamma_0: Tensor, dt: float, now: Local) -> Local:
        """One capped Newton step on S and xi together, xi eliminated.

        Where the guess is not close yet (`coupled` is false), S moves at fixed xi, and once it has settled xi follows
        by a fixed-point step, which is halved for good whenever it turns back.
        """
        stress, xi, coupled = now.stress, now.xi, now.coupled
        ratio = self.resolve @ stress / xi
        ratio[self.slips :].clamp_(min=0.0)
        size, sign = ratio.abs(), ratio.sign()
        increment, slope = self._shear(size, xi, gamma_0, dt)
        flow = self._flow(sign * increment)
        strain = mandel(product(flow.transpose(0, 1), product(cauchy_green, flow)))
        strain[:3] -= 1.0
        residual = self.compliance @ stress - 0.5 * strain

        rate, drift, damping, spread = self._hardening(xi, increment, xi_0, gamma_0)
        leak = slope * size * (coupled * damping)  # |d|dgamma| / dxi|, hardening accounted for
        into_strain, loop = self._loop(leak, rate, spread, sign)
        from_stress = (self.drive_by_stress @ (slope * sign)).unflatten(0, (-1, 6))
        back = product(into_strain, loop)
        jacobian = (self.dyads @ slope).unflatten(0, (6, 6)) + self.compliance[:, :, None] - product(back, from_stress)
        tangent = inverse(jacobian)
        lag = leak * drift
        lagged = self.drivers @ lag
        step = -apply(tangent, residual + self.resolve.T @ (sign * lag) - apply(back, lagged))
        q = apply(loop, apply(from_stress, step) + lagged)

        change = self.resolve @ step / xi
        settled = _largest(change) < SETTLED
        hardening = rate * (self.slip_first @ q)
        hardening[self.slips :] += spread * (self.twin_first @ q)
        xi_step = hardening - drift
        fixed_point = settled & ~coupled
        relaxation = torch.where(fixed_point & ((xi_step * now.last).sum(0) < 0), 0.5 * now.relaxation, now.relaxation)
        last = torch.where(fixed_point, xi_step, now.last)
        xi_step = xi_step * torch.where(coupled, damping, settled * relaxation)
        relative = xi_step / xi
        change = change - ratio * relative
        error, largest = _largest(relative), _largest(change)
        scale = self._cap(ratio, change, largest)
        tolerance = torch.where(coupled, 1.0, FIXED_POINT) * self.tolerance
        converged = (coupled | settled) & (scale == 1.0) & (torch.maximum(largest, error) < tolerance)
        close = settled & (error < COUPLE_BELOW * relaxation)
        # The last step's own share of the shears, to first order: they are n times as sensitive as S.
        increment = increment + slope * xi * sign * change
        flow = self._flow(sign * increment)
        return Local(stress + scale * step, xi + scale * xi_step, increment, flow, tangent, close, converged, last, relaxation)

    def _loop(self, leak: Tensor, rate: Tensor, spread: Tensor | float, sign: Tensor) -> tuple[Tensor, Tensor]:
        """How drivers act back: on the strain (6, drivers, N), and the inverse of 1 + their action on themselves."""
        by_slip = leak * rate
        drivers = len(self.drivers)
        strain = self.leak_by_slip[: 6 * drivers] @ (by_slip * sign)
        drive = self.leak_by_slip[6 * drivers :] @ by_slip
        if self.material.twins:
            by_twin = leak[self.slips :] * spread
            strain += self.leak_by_twin[: 6 * drivers] @ (by_twin * sign[self.slips :])
            drive += self.leak_by_twin[6 * drivers :] @ by_twin
        drive = drive.unflatten(0, (drivers, drivers))
        drive.diagonal().add_(1.0)
        return strain.unflatten(0, (6, drivers)), _invert(drive)

    def _shear(self, size: Tensor, xi: Tensor, gamma_0: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        """Shear of the step and its derivative by |tau| (systems, N) at |tau / xi| = size."""
        slips = self.slips
        power = _power(size, self.exponent - 1) * (dt * self.rate_0)
        increment = power * size
        if self.material.twins:
            # f at the end of the step, on which the twins' rates depend linearly, is known in closed form.
            share = 1.0 / self.material.gamma_char[:, None]
            untwinned = (1.0 - (gamma_0[slips:] * share).sum(0)) / (1.0 + (increment[slips:] * share).sum(0))
            increment[slips:] *= untwinned
            power[slips:] *= untwinned
        return increment, power.mul_(self.exponent).div_(xi)

    def _flow(self, shear: Tensor) -> Tensor:
        """X of the signed shears."""
        x = -(self.schmid @ shear).unflatten(0, (3, 3))
        x.diagonal().add_(1.0)
        return x

    def _hardening(
        self, xi: Tensor, increment: Tensor, xi_0: Tensor, gamma_0: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | float]:
        """Hardening at xi and its linearisation (systems, N).

        Returns rate and spread (see `_couplings`), drift = xi - xi_0 - dxi, and damping = 1 / (1 - d(dxi)/dxi).
        """
        m, slips = self.material, self.slips
        gamma, spread = gamma_0 + increment, 1.0
        saturation = m.xi_inf[:, None].expand(-1, xi.shape[1])
        if m.twins:
            twinned = (gamma[slips:] / m.gamma_char[:, None]).sum(0).clamp(min=0.0)
            saturation = saturation + m.f_sat[:, None] * twinned.sqrt()
        y = 1.0 - xi[:slips] / saturation
        exponent = m.hardening_exponent[:, None]
        modulus = m.h_0[:, None] * y.sign() * _power(y.abs(), exponent)
        slipped = gamma[:slips].sum(0)
        if self.by_twinning:
            modulus = modulus * (1.0 + m.c_1[:, None] * twinned ** m.c_2[:, None])
        if self.by_powers:
            slipped, spread = slipped.clamp(min=0.0) ** m.c_3[:, None], twinned ** m.c_4[:, None]
        rate = torch.cat([modulus, m.h_0_tw_sl[:, None] * slipped])
        shear = self.by_slip @ increment
        drift = xi - xi_0 - rate * shear
        damping = torch.ones_like(xi)
        # d(modulus)/dxi = -modulus a / (y xi_s), both nil at saturation
        damping[:slips] += exponent * modulus / (torch.where(y == 0.0, 1.0, y) * saturation) * shear[:slips]
        if m.twins:
            drift[slips:] -= spread * (m.h_0_tw_tw[:, None] * (self.by_twin @ increment))
            drift[:slips] -= m.h_sl_tw @ increment[slips:]
        return rate, drift, damping.reciprocal_(), spread

    def _admissible(self, stress: Tensor, xi: Tensor) -> Tensor:
        """A guess of S, shortened where it would make a system run away."""
        ratio = self.resolve @ stress / xi
        ratio[: self.slips].abs_()
        return stress * (RATIO_CAP / ratio.amax(0).clamp(min=RATIO_CAP))

    def _cap(self, ratio: Tensor, change: Tensor, largest: Tensor) -> Tensor:
        """Largest allowed fraction of the step (N,)."""
        if not (largest > RATIO_CAP - 1.0).any():
            return torch.ones_like(largest)
        room = RATIO_CAP * ratio.abs().clamp(min=1.0) - ratio * change.sign()
        return (room / change.abs()).amin(0).clamp(max=1.0)


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """Matrix (i k, systems) of the products a_si b_sk."""
    return (a[:, :, None] * b[:, None]).flatten(1).T.contiguous()


def _largest(values: Tensor) -> Tensor:
    """Largest magnitude (N,) among the systems."""
    return values.abs().amax(0)


def _scalar_if_equal(values: Tensor) -> Tensor | float:
    return float(values[0]) if len(values) and (values == values[0]).all() else values[:, None]


def _power(base: Tensor, exponent: Tensor | float) -> Tensor:
    """Power of a base >= 0; torch's own is several times slower."""
    if isinstance(exponent, Tensor) or exponent != int(exponent) or not 1 <= exponent <= 64:
        return torch.exp(exponent * torch.log(base))
    result, square, bits = None, base, int(exponent)
    while bits:
        if bits & 1:
            result = square if result is None else result * square
        bits >>= 1
        square = square * square if bits else square
    return result


def _invert(matrix: Tensor) -> Tensor:
    """Inverse of (k, k, N); with pivoting where latent hardening may make it far from definite."""
    if len(matrix) <= 3:
        return inverse(matrix)
    return torch.linalg.inv(matrix.permute(2, 0, 1)).permute(1, 2, 0)
