"""The compiled solution, held to torch's."""

import pytest
import torch

from microprint.networks.compiled_law import LANES
from microprint.networks.crystal_law import CrystalLaw, Increment, Weights, solved


def state(law, count, size):
    fresh = law.fresh(count)
    return size * torch.randn(5, count), fresh.resistance * (1 + torch.rand(len(law.P), count)), fresh


@pytest.mark.parametrize("size", [0.1, 3.0, 30.0])  # elastic, flowing, far beyond
def test_without_derivatives_a_cpu_computes_the_same(size):
    torch.manual_seed(5)
    law = CrystalLaw(21)  # no whole blocks of rows, nor of columns
    for count in (3, 3 * LANES + 5):
        with torch.no_grad():
            law.log_n.fill_(3.0)
            (trial, resistance, guess), weights = state(law, count, size), law.weights()
            fast = solved(trial, resistance, guess, weights)
            guess, weights = Increment(*(x.double() for x in guess)), Weights(*(x.double() for x in weights))
            slow = solved(trial.double(), resistance.double(), guess, weights)
        for quick, exact in zip(fast, slow):
            torch.testing.assert_close(quick.double(), exact, rtol=1e-3, atol=2e-3 * float(exact.abs().max()))


def test_no_number_is_so_small_that_a_processor_is_slow():
    torch.manual_seed(5)
    law = CrystalLaw(21)
    with torch.no_grad():
        trial, resistance, guess = state(law, 40, 0.1)
        flow = law.respond(trial, resistance, guess).flow
    assert flow.abs().min() > 1e-30  # denormal ones, which far from flowing they would be, take four times as long


def test_what_is_no_number_stays_none():
    law = CrystalLaw(9)
    with torch.no_grad():
        trial, resistance, guess = state(law, 40, 1.0)
        trial[2, 7] = torch.nan
        stress = law.respond(trial, resistance, guess).stress
    assert stress[:, 7].isnan().all() and stress[:, :7].isfinite().all() and stress[:, 8:].isfinite().all()
