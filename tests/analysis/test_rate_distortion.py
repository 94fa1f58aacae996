"""Rate and distortion: rounding, the lists' codes, and what no other beats."""

import pytest
import torch

from microprint.analysis.codes import ListCode
from microprint.analysis.rate_distortion import FingerprintCode, Point, bytes_for, envelope, points, quantised
from microprint.errors import UserError
from microprint.microstructures.polycrystal import generate
from microprint.params.sections import FingerprintSettings
from microprint.systems.fingerprint import Fingerprint, configuration


@pytest.fixture(scope="module")
def elements():
    return generate(3, 16, "cubic", torch.Generator().manual_seed(1))


def test_rounding_is_by_half_a_step_at_most():
    values = torch.linspace(-5.9, 5.9, 1001)
    for bits in (2, 5, 12):
        levels = quantised(values, bits)
        assert float((levels - values).abs().max()) <= 6 / (2**bits - 1) + 1e-6 and len(levels.unique()) <= 2**bits
    assert torch.equal(quantised(values, 32), values)
    assert float(quantised(torch.tensor([100.0]), 8)) == pytest.approx(6)
    with pytest.raises(UserError, match="1 bits a number"):
        quantised(values, 1)


def test_a_weighted_list_is_nearly_exact_and_a_short_one_is_not(elements):
    long, short = (points(ListCode("weighted", 7 * count), elements, [32, 12])[:2] for count in (48, 20))
    assert long[0].numbers == 336 and long[1].bytes == 504
    assert long[0].disorientation_deg < 1 and abs(long[1].disorientation_deg - long[0].disorientation_deg) < 0.2
    assert short[0].disorientation_deg > 8


@pytest.mark.parametrize("morphology", ["large", "wide"])
def test_rounding_clips_no_weight_of_grains_of_other_sizes(morphology):
    torch.manual_seed(0)
    settings = FingerprintSettings(latent_dim=341, ours_width=8, ours_rounds=1)
    ours = Fingerprint.build(configuration(settings, "ours", "cubic", 16, 39.0))
    assert ours.network.free
    elements = generate(2, 16, "cubic", torch.Generator().manual_seed(4), morphology=morphology)
    for code in (ListCode("weighted", 341), FingerprintCode(ours)):
        exact, rounded = points(code, elements, [32, 12])
        assert rounded.disorientation_deg < exact.disorientation_deg + 0.1


def test_lists_longer_than_the_grains_are_many_repeat_the_largest(elements):
    code = ListCode("fitted", 600)
    numbers = code.encode(elements).unflatten(1, (100, 6))
    assert torch.equal(numbers[:, -1], numbers[:, 0])
    assert torch.equal(code.decode(code.encode(elements), 16), ListCode("fitted", 6 * 60).reconstruct(elements))


def test_the_averages_of_ours_are_not_stored(elements):
    torch.manual_seed(0)
    settings = FingerprintSettings(ours_width=8, ours_rounds=1)
    fingerprint = Fingerprint.build(configuration(settings, "ours", "cubic", 16, 39.0))
    (point,) = points(FingerprintCode(fingerprint), elements, [32])
    assert point.numbers == fingerprint.size - 9
    whole = fingerprint.decode(fingerprint.encode_set(elements))
    code = FingerprintCode(fingerprint)
    assert torch.equal(code.decode(code.encode(elements), 16), whole)


def test_the_envelope_is_what_no_other_beats():
    every = [Point(*numbers, 0, 0) for numbers in ((8, 8, 3.0), (8, 16, 4.0), (16, 8, 2.0), (16, 16, 2.5), (8, 4, 9.0))]
    assert [(point.bytes, point.disorientation_deg) for point in envelope(every)] == [(4, 9.0), (8, 3.0), (16, 2.0)]
    assert bytes_for(every, 2.7) == 16 and bytes_for(every, 1.0) == float("inf")
