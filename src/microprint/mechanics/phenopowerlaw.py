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

Newton's method goes for S, xi and, of each system, the ratio r = tau / xi at which its rate equation is linearised. Where |r|
rises, it follows the shear that the linear equation gives, where it falls, the stress: either way the power law is gentle,
and no trial stress is too high. (Circuits with diodes are solved like this: L. W. Nagel, SPICE2, UCB/ERL-M520, 1975.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from microprint.mechanics.elasticity import mandel_from_voigt
from microprint.mechanics.materials import Material
from microprint.mechanics.tensors import apply, determinant, from_mandel, inverse, mandel, mandel_rotation, product, quadratic

# A tangent gives a direction to search in, for which this is precise enough.
TANGENT_DTYPE = torch.float32
# In one iteration a shear may fall to this share of itself; none may exceed the trial strain by more than this factor.
LEAST_SHARE, MOST_SHEAR = 0.1, 2.0
# A shear may grow by this share of itself without the power that keeps a larger growth linear.
LITTLE = 0.1
# Strong latent hardening makes Newton's method go to and fro: the longer it takes and the further the resistances are from
# where they should be, or just moved, the more they are held back (pseudo-transient continuation: C. T. Kelley & D. E. Keyes,
# SIAM J. Numer. Anal. 35 (1998) 508-523).
CAUTION = 0.3


@dataclass
class Local:
    """State at the end of a step and how it was reached; N voxels."""

    stress: Tensor  # S (6, N)
    xi: Tensor  # (systems, N)
    ratio: Tensor  # r of the last iteration (systems, N), see above
    change: Tensor  # of r, as its linear equations want it
    moved: Tensor  # largest relative change of xi by the last iteration (N,)
    increment: Tensor  # accumulated shear of the step (systems, N)
    plastic: Tensor  # X / det(X)^(1/3) (3, 3, N), with F_p^-1 = F_p0^-1 times it
    tangent: Tensor  # dS / dE (6, 6, N)
    converged: Tensor  # (N,) bool

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
    converged: Tensor  # (N,) bool


class Law:
    """The law of one material, for any number of voxels, on the material's device.

    A voxel has converged if the last iteration changed tau / xi by less than the tolerance, and xi by less than that share.
    """

    def __init__(self, material: Material, tolerance: float = 1e-4, max_iterations: int = 100):
        self.material, self.tolerance, self.max_iterations = material, tolerance, max_iterations
        self.slips, self.systems = material.slips, len(material.schmid)
        self.stiffness = mandel_from_voigt(material.stiffness)
        self.compliance = torch.linalg.inv(self.stiffness)
        schmid = material.schmid
        self.schmid = schmid.permute(1, 2, 0).reshape(9, -1)
        self.resolve = mandel(schmid.permute(1, 2, 0)).T.contiguous()
        self.coupling = self.resolve @ self.stiffness @ self.resolve.T  # P : C : P
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
        stress: Tensor, xi: Tensor, expected: Tensor | None = None,
    ) -> Response:  # fmt: skip
        """One backward-Euler step of N voxels to the deformation gradient F (3, 3, N), which takes dt seconds.

        It begins at F_p_inverse (3, 3, N), xi_0 and gamma_0 (systems, N). Guesses of the result are `stress` (S) and `xi`;
        `expected` is a change of S (6, N), Mandel, in sample axes, to be added to the guess.
        """
        trial = product(F, F_p_inverse)
        if expected is not None:
            stress = stress + mandel(product(trial.transpose(0, 1), product(from_mandel(expected).to(trial), trial)))
        local = self.solve(trial, xi_0, gamma_0, dt, stress, xi)
        F_e, new = product(trial, local.plastic), product(F_p_inverse, local.plastic)
        symmetric = (0.5 * (local.tangent + local.tangent.transpose(0, 1))).to(TANGENT_DTYPE)
        return Response(
            product(product(F_e, from_mandel(local.stress)), new.transpose(0, 1)),
            quadratic(mandel_rotation(F_e.to(TANGENT_DTYPE)), symmetric),
            new,
            local.stress,
            local.xi,
            gamma_0 + local.increment,
            local.converged,
        )

    def solve(self, trial: Tensor, xi_0: Tensor, gamma_0: Tensor, dt: float, stress: Tensor, xi: Tensor) -> Local:
        """The step in crystal axes, for trial = F F_p0^-1 (3, 3, N); the others as in `respond`."""
        cauchy_green = product(trial.transpose(0, 1), trial)
        if not self.systems:
            return self._elastic(cauchy_green, xi_0)
        critical, whole = self.ratios(dt)
        highest = self._highest(cauchy_green, whole)
        inputs = (cauchy_green, xi_0, gamma_0, highest)
        result = self._start(stress, xi, highest)
        pending = torch.arange(stress.shape[1], device=stress.device)
        for iteration in range(self.max_iterations):
            now = result.select(pending)
            green, xi_then, gamma_then, most = (x[..., pending] for x in inputs)
            if iteration > 0:
                now.ratio = self._tame(now.ratio, now.change, critical, most)
            part = self._iterate(green, xi_then, gamma_then, dt, now, CAUTION * iteration)
            if iteration == 0:
                result = part
            else:
                result.scatter(pending, part)
            pending = pending[~result.converged[pending]]
            if len(pending) == 0:
                break
        result.plastic = result.plastic / determinant(result.plastic).pow(1.0 / 3.0)
        return result

    def _start(self, stress: Tensor, xi: Tensor, highest: Tensor) -> Local:
        """What the first iteration starts from."""
        ratio = torch.maximum(torch.minimum(self.resolve @ stress / xi, highest), -highest)
        ratio[self.slips :].clamp_(min=0.0)
        nothing, none = stress.new_empty(0, stress.shape[1]), torch.zeros_like(stress[0])
        return Local(stress, xi, ratio, ratio, none, nothing, nothing, nothing, none.bool())

    def ratios(self, dt: float) -> tuple[Tensor, Tensor]:
        """|tau / xi| (systems,) at which a system first becomes as compliant as elasticity, and at which it shears by 1."""
        m = self.material
        compliant = m.xi_0 / (m.exponent * self.coupling.diagonal())
        return tuple((shear / (m.rate_0 * dt)) ** (1.0 / m.exponent) for shear in (compliant, torch.ones_like(compliant)))

    def _highest(self, cauchy_green: Tensor, whole: Tensor) -> Tensor:
        """Largest |tau / xi| (systems, N) that makes sense: no system shears much more than the trial strain."""
        strain = (cauchy_green - torch.eye(3).to(cauchy_green)[:, :, None]).square().sum((0, 1)).sqrt()
        return whole[:, None] * (MOST_SHEAR * strain) ** (1.0 / self.exponent)

    def _elastic(self, cauchy_green: Tensor, xi: Tensor) -> Local:
        """The step of a material without slip systems."""
        strain = mandel(cauchy_green)
        strain[:3] -= 1.0
        identity = torch.eye(3).to(strain)[:, :, None].repeat(1, 1, strain.shape[1])
        done = torch.ones_like(strain[0], dtype=torch.bool)
        tangent = self.stiffness[:, :, None].repeat(1, 1, strain.shape[1])
        nothing = torch.zeros_like(strain[0])
        return Local(self.stiffness @ (0.5 * strain), xi, xi, xi, nothing, xi, identity, tangent, done)

    def _iterate(self, cauchy_green: Tensor, xi_0: Tensor, gamma_0: Tensor, dt: float, now: Local, caution: float) -> Local:
        """One Newton step on S, xi and the ratios together, with the drivers of the hardening eliminated."""
        xi, ratio = now.xi, now.ratio
        size, sign = ratio.abs(), ratio.sign()
        increment, slope = self._shear(size, xi, gamma_0, dt)
        flow = self._flow(sign * increment)
        strain = mandel(product(flow.transpose(0, 1), product(cauchy_green, flow)))
        strain[:3] -= 1.0

        rate, drift, softening, spread = self._hardening(xi, increment, xi_0, gamma_0)
        error = (drift / xi).abs().amax(0)
        held = caution * torch.maximum(error / (1.0 + error), now.moved)
        damping = 1.0 / (1.0 + held + softening)
        leak = slope * size * damping  # |d|dgamma| / dxi|, hardening accounted for
        into_strain, loop = self._loop(leak, rate, spread, sign)
        from_stress = (self.drive_by_stress @ (slope * sign)).unflatten(0, (-1, 6))
        back = product(into_strain, loop)
        jacobian = (self.dyads @ slope).unflatten(0, (6, 6)) + self.compliance[:, :, None] - product(back, from_stress)
        tangent = inverse(jacobian)
        against = slope * size * xi - leak * drift  # the shear that the resistances keep off
        driven = self.drivers @ against
        stress = apply(tangent, 0.5 * strain + self.resolve.T @ (sign * against) - apply(back, driven))
        q = apply(loop, apply(from_stress, stress) - driven)

        hardening = rate * (self.slip_first @ q)
        hardening[self.slips :] += spread * (self.twin_first @ q)
        relative = damping * (hardening - drift) / xi
        xi_new = xi * (1.0 + relative.clamp(min=-0.5))
        target = self.resolve @ stress / xi_new
        target[self.slips :].clamp_(min=0.0)
        change = target - ratio
        moved, settled = relative.abs().amax(0), change.abs().amax(0) < self.tolerance
        # The last step's own share of the shears, to first order: they are n times as sensitive as S.
        increment = increment + slope * xi * sign * change
        flow = self._flow(sign * increment)
        converged = settled & ((1.0 + held) * moved < self.tolerance)
        return Local(stress, xi_new, ratio, change, moved.clamp(max=1.0), increment, flow, tangent, converged)

    def _tame(self, ratio: Tensor, change: Tensor, critical: Tensor, highest: Tensor) -> Tensor:
        """The next ratios (systems, N), which linear equations want to change by `change`.

        A shear may not fall by too much at once. Beyond its size, or beyond the critical one where it becomes as compliant as
        elasticity, a ratio is such that the shear is what the linear equation gives.
        """
        n, critical = self.material.exponent[:, None].expand_as(ratio), critical[:, None]
        sign, size = torch.where(ratio > 0, 1.0, -1.0), ratio.abs()
        target, least = size + sign * change, size * LEAST_SHARE ** (1.0 / self.exponent)
        falls = (least > critical) & (target < least)
        base = torch.maximum(torch.where(target < 0, 0.0, size), critical)
        sign, target = torch.where(falls | (target >= 0), sign, -sign), torch.where(falls, least, target.abs())
        grows = n * (target - base) > LITTLE * base
        n, base = n[grows], base[grows]
        grown = base * (1.0 + n * (target[grows] / base - 1.0)) ** (1.0 / n)
        target[grows] = torch.minimum(grown, highest[grows])
        return sign * target

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

        Returns rate and spread (see `_couplings`), drift = xi - xi_0 - dxi, and softening = -d(dxi)/dxi.
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
        if m.twins:
            drift[slips:] -= spread * (m.h_0_tw_tw[:, None] * (self.by_twin @ increment))
            drift[:slips] -= m.h_sl_tw @ increment[slips:]
        softening = torch.zeros_like(xi)
        # d(modulus)/dxi = -modulus a / (y xi_s), both nil at saturation
        softening[:slips] = exponent * modulus / (torch.where(y == 0.0, 1.0, y) * saturation) * shear[:slips]
        return rate, drift, softening, spread


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """Matrix (i k, systems) of the products a_si b_sk."""
    return (a[:, :, None] * b[:, None]).flatten(1).T.contiguous()


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
