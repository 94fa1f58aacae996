"""The compiled gradient, held to torch's."""

import torch

from microprint.networks.compiled_law import LANES
from microprint.networks.crystal_law import CrystalLaw


def test_without_derivatives_a_cpu_computes_the_same():
    torch.manual_seed(5)
    law = CrystalLaw(21, 34, 6)  # no whole blocks of rows, nor of columns
    for size, digits in ((0.1, 1e-5), (3.0, 1e-5), (100.0, 1e-3)):  # units hardly bent, bent, and one plane alone, or a tie
        trial, memory = size * torch.randn(5, 3 * LANES + 5), size * torch.rand(6, 3 * LANES + 5)
        with torch.no_grad():
            fast = law.stress(trial, memory)
        slow = law.stress(trial, memory).detach()
        torch.testing.assert_close(fast, slow, rtol=digits, atol=digits * float(slow.abs().max()))


def test_what_is_no_number_stays_none():
    law, trial = CrystalLaw(9, 7, 3), torch.zeros(5, 40)
    trial[2, 7] = torch.nan
    with torch.no_grad():
        stress = law.stress(trial, torch.zeros(3, 40))
    assert stress[:, 7].isnan().all() and stress[:, :7].isfinite().all() and stress[:, 8:].isfinite().all()
