"""Polycrystals on demand: slopes against differences, steps against algebra, designs that are volume elements with what was asked."""

import math

import pytest
import torch

from microprint import orientations
from microprint.analysis import polycrystal_designs as analysis
from microprint.analysis.descriptors import mean_embedding
from microprint.errors import UserError
from microprint.mechanics.deviators import deviator
from microprint.mechanics.load import uniaxial_tension
from microprint.microstructures.polycrystal import generate
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.crystal_law import CrystalEnsemble, CrystalLaw, Increment
from microprint.params import validate
from microprint.steps import Job
from microprint.systems import polycrystal_targets
from microprint.systems.fingerprint import Fingerprint, configuration
from microprint.systems.polycrystal_design import (
    PolycrystalDesign,
    StressProperty,
    learnt,
    least_turn,
    respond,
    root_mean_square_deg,
    turned,
    turned_elements,
)
from microprint.systems.polycrystal_targets import (
    AIMS,
    DesignStudy,
    Made,
    aim_properties,
    random_elements,
    read_designs,
    spread_targets,
)
from microprint.systems.surrogate import StressSurrogate

LOAD = uniaxial_tension(strain=0.004, increments=8)
PROPERTIES = (StressProperty("stress along x", 8), StressProperty("stress along z", 8, turns=1))
SETTINGS = validate({"vae": {"ours_width": 8, "ours_rounds": 1, "latent_dim": 60}}).vae


class Hexagonal(CrystalLaw):
    """An elastic crystal, softer where its basal planes shear, stiffer along c: of the symmetry of the c axis."""

    def __init__(self):
        super().__init__(2)
        self.scale(2e-3, 8e7, 5e9, 35e9)
        along = deviator(torch.diag(torch.tensor([-1.0, -1.0, 2.0])) / 6**0.5)
        basal = torch.diag(torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0]))
        self.moduli = self.two_G * (torch.eye(5) + 0.6 * torch.outer(along, along) - 0.4 * basal)

    def respond(self, trial, resistance, guess, weights):
        return Increment(self.moduli @ trial, resistance, torch.zeros_like(resistance))

    @property
    def compliance(self):
        return torch.linalg.inv(self.moduli)


def toy_surrogate() -> StressSurrogate:
    laws = CrystalEnsemble(0, 1)
    laws.laws.append(Hexagonal())
    return StressSurrogate(laws, LOAD)


def toy_fingerprint() -> Fingerprint:
    torch.manual_seed(1)
    return Fingerprint.build(configuration(SETTINGS, "ours", "hexagonal", 8, 9.0))


@pytest.fixture(scope="module")
def elements() -> VolumeElements:
    return generate(12, 8, "hexagonal", torch.Generator().manual_seed(3), morphology="elongated")


@pytest.fixture(scope="module")
def design(elements) -> PolycrystalDesign:
    return PolycrystalDesign(toy_surrogate(), toy_fingerprint(), elements, PROPERTIES)


def test_slopes_are_those_of_differences(design, elements):
    """All grains turn at random, a little: the march is differentiated, not approximated."""
    element, generator = elements[:1], torch.Generator().manual_seed(0)
    omega = torch.randn(1, element.quaternion.shape[1], 3, generator=generator, dtype=torch.float64)
    slopes = design.sensitivity(element.grain_id.long(), element.quaternion)
    predicted = torch.einsum("brga,bga->br", slopes, omega)
    both = []
    for size in (3e-3, -3e-3):
        q = orientations.multiply(element.quaternion.double(), orientations.from_rotation_vector(size * omega))
        both.append(respond(design.surrogate, VolumeElements(element.grain_id, q, element.grains, "hexagonal"), PROPERTIES))
    torch.testing.assert_close((both[0] - both[1]) / 6e-3, predicted, rtol=1e-3, atol=2e3)


def test_the_least_turn_meets_a_linear_target_and_no_other_is_smaller():
    generator = torch.Generator().manual_seed(0)
    jacobian = torch.randn(2, 9, 3, generator=generator, dtype=torch.float64)
    volume = torch.rand(9, generator=generator, dtype=torch.float64)
    volume[4] = 0  # a seed without a voxel
    jacobian[:, 4] = 0
    residual = torch.tensor([1.0, -2.0], dtype=torch.float64)
    turn = least_turn(residual, jacobian, volume)
    torch.testing.assert_close(torch.einsum("rga,ga->r", jacobian, turn), residual, rtol=2e-3, atol=0)
    assert turn[4].abs().max() == 0
    other = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    rows = jacobian.flatten(1)
    other -= (torch.linalg.pinv(rows) @ (rows @ other.flatten())).unflatten(0, (9, 3))  # changes no property
    assert root_mean_square_deg(turn + 0.1 * other, volume) > root_mean_square_deg(turn, volume)
    assert abs(float((volume[:, None] * turn * other).sum())) < 1e-2


def test_slopes_learn_what_a_step_did_and_forget_nothing_across_it():
    generator = torch.Generator().manual_seed(0)
    slopes, turns = torch.randn(1, 2, 5, 3, generator=generator), torch.randn(1, 5, 3, generator=generator)
    volume, change = torch.rand(1, 5, generator=generator), torch.tensor([[1.0, 2.0]])
    after = slopes + learnt(slopes, turns, change, volume)
    torch.testing.assert_close(torch.einsum("brga,bga->br", after, turns), change)
    across = torch.randn(5, 3, generator=generator)
    along = volume[0, :, None] * turns[0]
    across -= turns[0] * (along * across).sum() / (along * turns[0]).sum()
    torch.testing.assert_close((after * across).sum((2, 3)), (slopes * across).sum((2, 3)), rtol=1e-4, atol=1e-5)


def test_a_turned_sample_comes_back_after_three_turns_and_answers_along_another_axis(elements):
    few = elements[:2]
    field = few.orientations().double()
    torch.testing.assert_close(turned(field, 1), turned_elements(few, 1).orientations().double())
    back = turned(field, 3)
    torch.testing.assert_close(back * (back * field).sum(-1, keepdim=True).sign(), field)
    surrogate = toy_surrogate()
    along_z = uniaxial_tension("z", strain=0.004, increments=8)
    there = surrogate.predict_path(along_z, few.grain_id, few.quaternion).P[:, :, 2, 2]
    here = turned_elements(few, 1)
    torch.testing.assert_close(surrogate.predict(here.grain_id, here.quaternion)[0], there, rtol=1e-3, atol=1e4)


def test_designs_have_what_was_asked_for_and_are_volume_elements(design):
    target = design.known.mean(0) + torch.tensor([0.5, -0.5]) * design.known.std(0)
    made = design.propose(target.tolist(), 2, torch.Generator().manual_seed(0))
    assert (made.predicted - target).abs().max() < 1.5e5
    VolumeElements.of(made.elements.grain_id, made.elements.quaternion)  # ids without gaps, unit quaternions
    torch.testing.assert_close(respond(design.surrogate, made.elements, PROPERTIES), made.predicted, rtol=1e-4, atol=2e4)
    decoded = design.fingerprint.decode(made.fingerprints, 8)
    apart = orientations.disorientation(decoded.double(), made.elements.orientations(), "hexagonal")
    assert apart.max() < 1e-3 and (made.turned_deg > 0).all()
    averages = design.fingerprint.network.average_scale * mean_embedding(made.elements)
    torch.testing.assert_close(made.fingerprints[:, design.fingerprint.parts["averages"]].double(), averages, rtol=0, atol=1e-3)
    assert analysis.variety(made.elements, 2, design.elements) > 0.2


def test_a_simulation_s_word_is_taken(design):
    """What simulates 1 MPa more than the surrogate says is asked for 1 MPa less."""
    target = design.known.mean(0)
    z = design.draw(target, 2, torch.Generator().manual_seed(1))
    simulated = design.refine(target, z, steps=0).predicted + 1e6
    made = design.refine(target, z, simulated)
    assert (made.predicted - target).abs().max() < 1.5e5
    plain = respond(design.surrogate, made.elements, PROPERTIES)
    torch.testing.assert_close(plain + 1e6, made.predicted, rtol=1e-4, atol=2e4)


def test_mixtures_lie_about_the_target_and_are_all_different(design):
    target = design.known[:4].mean(0)
    pair, share = design.mixtures(target, 6, torch.Generator().manual_seed(0))
    mixed = share[:, None] * design.known[pair[:, 0]] + (1 - share[:, None]) * design.known[pair[:, 1]]
    assert ((mixed - target) / design.scale).norm(dim=1).max() < 0.5
    assert share.min() >= 0 and share.max() <= 1 and len(pair.unique(dim=0)) == 6
    assert len(design.mixtures(target, 100, torch.Generator().manual_seed(0)).share) == 100  # more than there are pairs


def test_a_texture_is_mixed_of_grains_of_two_elements_by_their_shares(design):
    """Without scatter each seed has the orientation of a grain, and as many as the share says are of the first element."""
    pair, count = torch.tensor([2, 5]), len(design.fingerprint.anchors)
    q = design._textured(pair, 1 / 3, torch.Generator().manual_seed(0))
    of = [orientations.disorientation(q[:, None], design.elements.quaternion[i, : design.elements.grains[i]].double(), "hexagonal")
          .amin(1) for i in pair.tolist()]
    assert q.shape == (count, 4) and abs(int((of[0] < of[1]).sum()) - round(count / 3)) <= 1


@pytest.mark.parametrize("target, message", [
    ([1e8, math.nan], "target"), ([1e8], "1 values for the properties stress along x, stress along z"), ([1e12, 1e8], "MPa of stress along x, far from"),
    ("many", "target"),
])
def test_a_target_that_nobody_can_meet_is_refused(design, target, message):
    with pytest.raises(UserError, match=message):
        design.propose(target, 2, torch.Generator().manual_seed(0))


def test_what_has_no_seeds_or_another_symmetry_is_refused(elements):
    surrogate = toy_surrogate()
    paper = Fingerprint.build(configuration(SETTINGS, "paper", "hexagonal", 8, 9.0))
    with pytest.raises(UserError, match="has no seeds"):
        PolycrystalDesign(surrogate, paper, elements, PROPERTIES)
    cubic = Fingerprint.build(configuration(SETTINGS, "ours", "cubic", 8, 9.0))
    with pytest.raises(UserError, match="hexagonal crystals, the fingerprint's are cubic"):
        PolycrystalDesign(surrogate, cubic, elements, PROPERTIES)
    with pytest.raises(UserError, match="no textures to mix"):
        PolycrystalDesign(surrogate, toy_fingerprint(), elements[:1], PROPERTIES)


def test_targets_lie_inside_between_and_beyond():
    known = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.1, 0.1]]).double()
    held_out = torch.tensor([[0.45, 0.5], [0.9, 0.9]]).double()
    targets, kinds = spread_targets(known, held_out, (2, 1, 1), torch.Generator().manual_seed(0))
    assert kinds == ["inside", "inside", "between", "beyond"]
    torch.testing.assert_close(targets[:2], held_out)
    assert torch.cdist(targets[2:3], known).amin() > 0.4  # about the middle
    assert targets[3].amax() > 1  # a tenth beyond a corner


def test_aims_and_random_rivals(elements):
    assert [p.name for p in aim_properties("anisotropy", 8, 0)] == ["stress along x", "stress along z"]
    hardening = aim_properties("random", 8, 1)[1]
    assert (hardening.late, hardening.early) == (8, 4)
    curves = torch.arange(9.0)[None]
    assert hardening.of(curves).tolist() == [4.0]
    many = random_elements(3, elements, ("random", "basal"), torch.Generator().manual_seed(0))
    assert len(many) == 3 and many.edge == 8 and many.symmetry == "hexagonal"


def test_errors_of_a_study_by_hand():
    simulated = torch.tensor([[1e6, 0.0], [3e6, 0.0], [0.0, math.nan], [0.0, 2e6]]).double()
    made = Made(None, simulated, simulated, torch.zeros(4))
    known = torch.tensor([[-4e6, 0.0], [4e6, 1e6]]).double()
    study = DesignStudy(["a", "b"], torch.zeros(2, 2).double(), ["inside", "beyond"], known, {"ours": made})
    assert analysis.errors_mpa(study, "ours") == {"all": [1.0, pytest.approx(2 / 3)], "inside": [2.0, 0.0], "beyond": [0.0, 2.0]}
    assert analysis.errors_at_random_mpa(study)["all"] == [4.0, 0.5]
    assert analysis.within_half_spread(study, "ours", ("inside",)) == 0.5  # half the spread is 2.8 MPa of a


def test_known_textures_are_not_new_and_alike_ones_have_no_variety(elements):
    assert analysis.novelty(elements[:3], elements) < 1e-3
    alike = elements[torch.tensor([0, 0, 1, 1])]
    assert analysis.variety(alike, 2, elements) < 1e-3 < 0.5 < analysis.variety(elements, 12, elements)


def test_an_unknown_aim_is_refused(tmp_path):
    job = Job(polycrystal_targets.design_polycrystals, validate({}), tmp_path, {"aim": "x", "material": "Mg"}, "key")
    with pytest.raises(UserError, match=f"Choose among {', '.join(AIMS)}"):
        polycrystal_targets.design_polycrystals.function(job, aim="x", material="Mg")


def test_what_is_written_is_read(tmp_path, design, elements, monkeypatch):
    """The step from its targets on, with the surrogate in place of the simulation."""
    monkeypatch.setattr(polycrystal_targets, "_simulated", lambda design, some, *_: respond(design.surrogate, some, design.properties))
    monkeypatch.setattr(polycrystal_targets.StressSurrogate, "load", lambda *_: design.surrogate)
    monkeypatch.setattr(polycrystal_targets.Fingerprint, "load", lambda *_, **__: design.fingerprint)
    train = polycrystal_targets.Known(elements, None)
    monkeypatch.setattr(polycrystal_targets, "_known", lambda *_: (train, train, None))
    params = validate({"polycrystal_design": {"rivals": 2}})
    job = Job(polycrystal_targets.design_polycrystals, params, tmp_path, {"aim": "anisotropy", "material": "Mg"}, "key")
    polycrystal_targets.design_polycrystals.function(job, aim="anisotropy", material="Mg")
    from microprint.store import open_hdf5

    with open_hdf5(tmp_path / "polycrystal_designs_anisotropy.h5") as file:
        study = read_designs(file)
    assert study.kinds == ["inside", "between"] and set(study.made) == {"nearest", "best_of_n", "drawn", "ours", "corrected"}
    assert study.error("ours").shape == (2, 2, 2) and study.error("ours").max() < 2e5 < study.error("drawn").max()
    torch.testing.assert_close(respond(design.surrogate, study.made["ours"].elements, PROPERTIES), study.made["ours"].predicted, rtol=1e-3, atol=5e4)
