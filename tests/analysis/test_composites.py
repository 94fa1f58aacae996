"""Statistics of composites by counting, and how far designs lie from a training set and from each other."""

import itertools

import pytest
import torch

from microprint.analysis import composites
from microprint.microstructures.composite import filters, generate


def volumes(count=3, edge=5, share=0.5):
    return (torch.rand(count, edge, edge, edge, generator=torch.Generator().manual_seed(0)) < share).to(torch.uint8)


def runs(line):
    """Lengths of the runs of ones in a periodic line that is not full."""
    start = line.index(0)
    return [len(list(group)) for value, group in itertools.groupby(line[start:] + line[:start]) if value]


def test_mean_chord_by_counting_runs():
    phase = volumes()
    found = composites.mean_chord(phase)
    for i, axis in itertools.product(range(3), range(3)):
        lines = phase[i].movedim(axis, -1).reshape(-1, 5).tolist()
        full = sum(sum(line) for line in lines if 0 not in line)
        lengths = [n for line in lines if 0 in line for n in runs(line)]
        # A line that is full begins nowhere: its voxels count, a run does not.
        assert found[i, axis].item() == pytest.approx(min(5, (sum(lengths) + full) / len(lengths)))


def test_mean_chord_of_full_empty_and_layered_volumes():
    phase = torch.zeros(3, 6, 6, 6, dtype=torch.uint8)
    phase[0], phase[2, 1:3] = 1, 1
    assert composites.mean_chord(phase).tolist() == [[6, 6, 6], [0, 0, 0], [pytest.approx(2), 6, 6]]


def test_two_point_distance_by_counting():
    one, other = volumes(1, 4)[0], volumes(1, 4, 0.3)[0]
    places, total = list(itertools.product(range(4), repeat=3)), 0.0
    for shift in places:
        pairs = [(x.double() * x.double().roll(tuple(-s for s in shift), (0, 1, 2))).mean().item() for x in (one, other)]
        total += (pairs[0] - pairs[1]) ** 2
    assert composites.two_point_distance(one[None], other[None]).item() == pytest.approx((total / 64) ** 0.5)
    moved = one.roll((1, 2, 3), (0, 1, 2)).flip((0, 1, 2))
    assert composites.two_point_distance(one[None], moved[None]).item() < 1e-12


def test_pairs_counted_a_few_volumes_at_a_time(monkeypatch):
    together = composites.two_point(volumes(5, 9))
    monkeypatch.setattr(composites, "FEW", 2)
    assert torch.equal(composites.two_point(volumes(5, 9)), together)


@pytest.fixture(scope="module")
def training():
    return generate(filters((0.6, 1.5)).repeat(3, 1), 9, torch.Generator().manual_seed(0)).phase


def test_novelty_in_units_of_neighbours(training):
    """A training composite has none; by brute force for others; the median member, left out of the distances, has one."""
    unscaled = composites.statistics(training)
    assert composites.novelty(unscaled[:4], unscaled).tolist() == [0] * 4
    known = unscaled / unscaled.std(0)
    own = sorted(min((a - b).norm().item() for j, b in enumerate(known) if j != i) for i, a in enumerate(known))
    design = torch.ones(1, 9, 9, 9, dtype=torch.uint8)
    design[:, :1] = 0
    asked = composites.statistics(design)[0] / unscaled.std(0)
    nearest = min((asked - b).norm().item() for b in known)
    assert composites.novelty(composites.statistics(design), unscaled).item() == pytest.approx(
        nearest / own[(len(own) - 1) // 2]
    )


def test_diversity_in_units_of_the_training_set(training):
    unscaled = composites.statistics(training)
    assert composites.diversity(unscaled[:1], unscaled) == 0
    assert composites.diversity(unscaled[:1].expand(3, -1), unscaled) == pytest.approx(0, abs=1e-6)
    known = unscaled / unscaled.std(0)
    pairs = [(a - b).norm().item() for a, b in itertools.combinations(known[:3], 2)]
    among = [(a - b).norm().item() for a, b in itertools.product(known, known)]
    assert composites.diversity(unscaled[:3], unscaled) == pytest.approx((sum(pairs) / 3) / (sum(among) / len(among)))


def test_likeness_of_the_same_and_of_another(training):
    same = torch.tensor([[10.0, 5.0]]).expand(6, 2)
    assert composites.likeness(training, training, same, same) == [0, 0, 0, 0, 0]
    more = torch.ones_like(training)
    points, _, chords, first, worst = composites.likeness(more, training, 1.1 * same, same * torch.tensor([1.0, 2.0]))
    assert points == pytest.approx(100 * (1 - training.double().mean()).item()) and chords > 0
    assert (first, worst) == pytest.approx((10, 45))


def test_fibres_have_less_of_the_hard_phase_than_plates_and_are_longer_along_x():
    fibres, plates = torch.zeros(8, 8, 8, dtype=torch.int8), torch.zeros(8, 8, 8, dtype=torch.int8)
    fibres[:, ::4, ::4], plates[::2] = 1, 1  # one voxel wide, through the volume; one voxel thick
    facts_of = composites.by_hard_phase([torch.stack([plates, fibres])], [torch.tensor([3.0, 2.0])])
    assert facts_of.tolist() == [[[pytest.approx(6.25), 2.0, 8.0], [pytest.approx(50), 3.0, pytest.approx(1 / 8)]]]
