"""Whatever kind of array a user has, every public function gives what it gives for a plain one, or says why it cannot."""

from functools import cache

import numpy as np
import pytest
import torch
from random_vgg import random_tensors

from microprint import effective_stiffness, orientations, simulate_cp
from microprint.arrays import integers, like, numbers, vectors, whole
from microprint.errors import UserError
from microprint.mechanics.elasticity import isotropic
from microprint.mechanics.load import uniaxial_tension
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.crystal_law import CrystalEnsemble
from microprint.networks.stress_net import StressMLP
from microprint.networks.texture_drawing import TextureDrawing
from microprint.networks.texture_law import TextureLaw
from microprint.networks.vae_regression import VAERegression
from microprint.networks.vgg import VGG19
from microprint.params.sections import FingerprintSettings
from microprint.systems.direct_surrogate import DirectSurrogate
from microprint.systems.fingerprint import Fingerprint, configuration
from microprint.systems.inverse_design import InverseDesign
from microprint.systems.surrogate import StressSurrogate
from microprint.systems.texture import TextureFingerprint, means_of

# --- plain arrays, of values that each type of number holds exactly ---------------------------------------------------

IDS = np.arange(16).reshape(2, 2, 2, 2) % 4
QUATERNIONS = np.array([[[1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, 0.5], [0, 1, 0, 0]]] * 2)
CUBES = np.arange(2 * 8**3).reshape(2, 8, 8, 8) // 3 % 6
SIX = QUATERNIONS[:, [0, 1, 2, 3, 1, 2]]
PHASES = np.arange(2 * 6**3).reshape(2, 6, 6, 6) // 5 % 2
STIFFNESSES = np.stack([isotropic(modulus, 0.25).numpy().round() for modulus in (2.5, 25.0)])
LATENT = np.arange(94).reshape(2, 47) % 7 / 8 - 0.25
IMAGES = np.arange(2 * 32**2).reshape(2, 32, 32) % 16 / 16
TARGET = np.array([40000.0, 48000.0])  # Pa
LOAD = uniaxial_tension(strain=1e-3, increments=2)


@cache
def fingerprint(variant="ours"):
    torch.manual_seed(0)
    settings = FingerprintSettings(latent_dim=38, paper_width=2, paper_hidden=16, ours_width=8, ours_rounds=1)
    return Fingerprint.build(configuration(settings, variant, "cubic", edge=8, grains=6.0))


@cache
def direct():
    torch.manual_seed(0)
    sizes = {"inputs": 47, "points": 5, "hidden": 4}
    config = {"variant": "paper", "strain": [0.0] * 5, "component": [0, 0], "inputs": 47, "network": sizes}
    return DirectSurrogate(StressMLP(**sizes).state_dict() | {"deviation": torch.ones(5, dtype=torch.float64)}, config)


@cache
def surrogate():
    torch.manual_seed(0)
    laws = CrystalEnsemble(1, 4)
    laws.scale(2e-3, 8e7, 17e9, 35e9)
    return StressSurrogate(laws, LOAD)


@cache
def design():
    torch.manual_seed(0)
    sizes = {"edge": 6, "properties": 2, "prior": "mixture", "components": 2, "latent_dim": 47, "width": 2, "hidden": 8}
    return InverseDesign(VAERegression(**sizes), {"model": sizes, "properties": ["C11", "C22"], "log_mean": [10.0] * 2, "log_std": [0.7] * 2})


@cache
def texture():
    torch.manual_seed(0)
    sizes = {"latent_dim": 47, "width": 8, "drawings": 2, "tile": 32}
    vgg = VGG19(random_tensors())
    law = TextureLaw.fit(means_of(vgg, torch.as_tensor(IMAGES).float(), "cpu"), 47)
    return TextureFingerprint(law, TextureDrawing(vgg, **sizes), {"drawing": sizes, "pixels": 32})


def curves(*arrays):
    result = simulate_cp(*arrays, "Cu", LOAD)
    return result.P, result.xi_sl


def read(*arrays):
    elements = VolumeElements.of(*arrays)
    return elements.grain_id, elements.quaternion, elements.grains


# --- what the public functions are given -----------------------------------------------------------------------------

DOORS = {
    "simulate_cp": (curves, {"grain_ids": IDS, "quaternions": QUATERNIONS}),
    "effective_stiffness": (effective_stiffness, {"phase_ids": PHASES, "stiffnesses": STIFFNESSES}),
    "VolumeElements.of": (read, {"grain_ids": IDS, "quaternions": QUATERNIONS}),
    "Fingerprint.encode": (lambda i, q: fingerprint().encode(i, q), {"grain_ids": CUBES, "quaternions": SIX}),
    "Fingerprint.encode, paper": (lambda i, q: fingerprint("paper").encode(i, q), {"grain_ids": CUBES, "quaternions": SIX}),
    "Fingerprint.posterior": (lambda i, q: fingerprint().posterior(i, q), {"grain_ids": CUBES, "quaternions": SIX}),
    "Fingerprint.decode": (lambda z: fingerprint().decode(z, 4), {"z": LATENT}),
    "Fingerprint.seeds": (lambda z: fingerprint().seeds(z), {"z": LATENT}),
    "StressSurrogate.predict": (lambda i, q: surrogate().predict(i, q), {"grain_ids": IDS, "quaternions": QUATERNIONS}),
    "DirectSurrogate.predict": (lambda z: direct().predict(z), {"z": LATENT}),
    "InverseDesign.predict": (lambda i: design().predict(i), {"phase_ids": PHASES}),
    "InverseDesign.encode": (lambda i: design().encode(i), {"phase_ids": PHASES}),
    "InverseDesign.decode": (lambda z: design().decode(z), {"z": LATENT}),
    "InverseDesign.propose": (lambda c: design().propose(c, 2), {"target": TARGET}),
    "InverseDesign.refine": (lambda z, c: design().refine(z, c, 1), {"z": LATENT, "target": TARGET}),
    "TextureFingerprint.encode": (lambda x: texture().encode(x), {"images": IMAGES}),
    "TextureFingerprint.encode_image": (lambda x: texture().encode_image(x)[:2], {"image": IMAGES[0]}),
    "TextureFingerprint.decode": (lambda z: texture().decode(z), {"z": LATENT}),
}
KEEPING = ("Fingerprint.encode", "Fingerprint.posterior", "Fingerprint.decode", "DirectSurrogate.predict",
           "TextureFingerprint.encode", "TextureFingerprint.encode_image", "TextureFingerprint.decode")  # the kind of array  # fmt: skip
ARGUMENTS = [(door, name) for door, (_, plain) in DOORS.items() for name in plain]


class Dataset:
    """What numpy reads as an array, such as a dataset of h5py."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def typed(whole_type, real_type):
    return lambda array: array.astype(whole_type if array.dtype.kind == "i" else real_type)


def tensor(array):
    return torch.from_numpy(array.copy())


KINDS = {
    "backwards": lambda a: a[::-1, ..., ::-1].copy()[::-1, ..., ::-1] if a.ndim > 1 else a[::-1].copy()[::-1],
    "Fortran's order": np.asfortranarray,
    "every second": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "read-only": read_only,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "big-endian, 4 bytes": typed(">i4", ">f4"),
    "1 byte": typed("i1", "f4"),
    "uint8": typed("u1", "f8"),
    "uint16, half": typed("u2", "f2"),
    "uint32": typed("u4", "f8"),
    "uint64, long double": typed("u8", "g"),
    "whole numbers as floats": lambda a: a.astype("f4"),
    "list": lambda a: a.tolist(),
    "tuple of arrays": tuple,
    "list of tensors": lambda a: list(tensor(a)),
    "masked array without a mask": np.ma.array,
    "dataset": Dataset,
    "tensor": tensor,
    "tensor with a gradient": lambda a: tensor(a).double().requires_grad_(),
    "strided tensor": lambda a: tensor(np.repeat(a, 2, -1))[..., ::2],
    "sparse tensor": lambda a: tensor(a).to_sparse(),
    "tensor of uint16, of half": lambda a: tensor(a).to(torch.uint16 if a.dtype.kind == "i" else torch.half),
}


def tuple_of(result):
    return tuple(result) if isinstance(result, tuple) else (result,)


@cache
def expected(door):
    function, plain = DOORS[door]
    return tuple_of(function(*plain.values()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", DOORS)
def test_every_kind_of_array_gives_what_a_plain_one_gives(door, kind):
    function, plain = DOORS[door]
    given = [KINDS[kind](array) for array in plain.values()]
    for result, wanted in zip(tuple_of(function(*given)), expected(door), strict=True):
        np.testing.assert_array_equal(np.asarray(result), np.asarray(wanted))
        assert not (isinstance(result, torch.Tensor) and result.requires_grad)
        if door in KEEPING:
            assert isinstance(result, torch.Tensor) == isinstance(given[0], torch.Tensor)


# --- what they refuse --------------------------------------------------------------------------------------------------


def with_a_truth_value(array):
    values = array.tolist()
    row = values
    while isinstance(row[0], list):
        row = row[0]
    row[0] = True
    return values


REFUSED = {
    "truth values": lambda a: a > 0,
    "a tensor of truth values": lambda a: tensor(a > 0),
    "a truth value in a list": with_a_truth_value,
    "complex numbers": lambda a: a + 0j,
    "texts": lambda a: a.astype(str),
    "objects": lambda a: np.where(a == a.flat[0], None, a),
    "dates": lambda a: np.zeros(a.shape, "M8[s]"),
    "records": lambda a: np.zeros(a.shape, [("x", float)]),
    "ragged lists": lambda a: [a.tolist(), [a.tolist()]],
    "None": lambda a: None,
    "a text": lambda a: "grains.npy",
    "a set": lambda a: {1, 2},
    "a function": lambda a: len,
    "no entry": lambda a: a[:0],
    "an empty list": lambda a: [],
    "seven axes": lambda a: np.ones((1,) * 7),
    "masked entries": lambda a: np.ma.array(a, mask=True),
    "a tensor without data": lambda a: torch.empty(a.shape, device="meta"),
}
NO_INTEGERS = {
    "halves": lambda a: a + 0.5,
    "NaN": lambda a: a * np.nan,
    "infinity": lambda a: a + np.inf,
    "beyond the whole numbers of a float": lambda a: a + 2.0**60,
    "beyond int64": lambda a: np.full(a.shape, 2**64 - 1, np.uint64),
    "beyond any integer": lambda a: np.full(a.shape, 2**70, object).tolist(),
}


def call(door, name, value):
    function, plain = DOORS[door]
    return function(*(plain | {name: value}).values())


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.parametrize("door, name", ARGUMENTS)
def test_what_is_no_array_of_numbers_is_refused_by_name(door, name, fault):
    with pytest.raises(UserError, match=f"^{name}: .*(Give|Fill)"):
        call(door, name, REFUSED[fault](DOORS[door][1][name]))


@pytest.mark.parametrize("fault", NO_INTEGERS)
@pytest.mark.parametrize("door, name", [(door, name) for door, name in ARGUMENTS if name.endswith("_ids")])
def test_what_is_no_integer_is_refused_by_name(door, name, fault):
    with pytest.raises(UserError, match=rf"^{name}: holds .*Give"):
        call(door, name, NO_INTEGERS[fault](DOORS[door][1][name]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("door, name", [(door, name) for door, name in ARGUMENTS if not name.endswith("_ids")])
def test_numbers_that_are_not_finite_are_refused(door, name, value):
    spoilt = DOORS[door][1][name].copy()
    spoilt.flat[-1] = value
    with pytest.raises(UserError, match="nan|inf|not finite"):
        call(door, name, spoilt)


@pytest.mark.parametrize("door, name", [(door, name) for door, name in ARGUMENTS if name == "z"])
def test_latent_vectors_of_another_width_are_refused(door, name):
    with pytest.raises(UserError, match=r"z: is of shape \(2, 46\)\. Give finite numbers \(B, 47\)"):
        call(door, name, LATENT[:, 1:])


# --- numbers that stand alone, devices -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [4, 4.0, np.uint8(4), torch.tensor(4), np.array(4)], ids=repr)
def test_a_whole_number_may_be_of_any_type(value):
    assert whole(value, "n") == 4 and fingerprint().decode(LATENT, value).shape == (2, 4, 4, 4, 4)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "4", np.nan, [4, 4]], ids=repr)
def test_what_is_no_count_is_refused_by_name(value):
    for name, use in {
        "n": lambda: fingerprint().decode(LATENT, value),
        "count": lambda: design().propose(TARGET, value),
        "edge": lambda: texture().decode(LATENT, edge=value),
        "steps": lambda: design().refine(LATENT, TARGET, value),
        "chunk_voxels": lambda: simulate_cp(IDS, QUATERNIONS, "Cu", LOAD, chunk_voxels=value),
        "max_iterations": lambda: effective_stiffness(PHASES, STIFFNESSES, max_iterations=value),
    }.items():
        with pytest.raises(UserError, match=f"^{name}: .*Give"):
            use()


@pytest.mark.parametrize("options, text", [({"cases": 0}, "cases: is of shape"), ({"cases": [True]}, "cases: holds truth"),
                                           ({"tolerance": "tight"}, "tolerance: is of type str"), ({"tolerance": None}, "tolerance: "),
                                           ({"dtype": np.float32}, "dtype = "), ({"dtype": torch.half}, "dtype = torch.float16")])
def test_options_are_read_in_the_same_way(options, text):
    with pytest.raises(UserError, match=text):
        effective_stiffness(PHASES, STIFFNESSES, **options)


def test_cases_may_be_an_array():
    wanted = effective_stiffness(PHASES, STIFFNESSES, cases=(0, 3))
    for cases in (np.array([0, 3], np.uint8), torch.tensor([0, 3]), [0.0, 3.0]):
        np.testing.assert_array_equal(effective_stiffness(PHASES, STIFFNESSES, cases=cases), wanted)


@pytest.mark.parametrize("device", ["gpu", "meta", "", "cpu:x", None, 3.5, "cuda:99", *["cuda"] * (not torch.cuda.is_available())], ids=repr)
@pytest.mark.parametrize("use", [
    lambda device: simulate_cp(IDS, QUATERNIONS, "Cu", LOAD, device=device),
    lambda device: effective_stiffness(PHASES, STIFFNESSES, device=device),
    lambda device: Fingerprint.load("fingerprint.safetensors", device),
    lambda device: InverseDesign.load("inverse_design.safetensors", device),
    lambda device: TextureFingerprint.load("texture.safetensors", device),
], ids=["simulate_cp", "effective_stiffness", "Fingerprint", "InverseDesign", "TextureFingerprint"])
def test_a_device_that_is_not_there_is_a_sentence(use, device):
    with pytest.raises(UserError, match="^device = .*Use auto, cpu or cuda"):
        use(device)


def test_a_device_may_be_chosen_by_the_machine():
    for device in ("auto", torch.device("cpu")):
        assert effective_stiffness(PHASES, STIFFNESSES, device=device).shape == (2, 6, 6)


# --- orientations ----------------------------------------------------------------------------------------------------

ROTATIONS = np.array([[[0.875, 0.25, -0.375, 0.125], [0.5, -0.625, 0.125, 0.375]], [[0.25, 0.125, 0.75, -0.5], [-0.375, 0.25, 0.5, 0.875]]])
ANGLES = np.array([[0.25, 0.5, 0.75], [1.0, 1.5, 2.0]])
EMBEDDED = np.arange(18).reshape(2, 9) % 5 / 4 - 0.5
OF_ORIENTATIONS = {
    **{name: (getattr(orientations, name), ROTATIONS) for name in ("conjugate", "euler_channels", "rotation_angle", "standardize", "to_euler",
                                                                     "to_matrix", "to_rotation_vector")},
    **{name: (getattr(orientations, name), ANGLES) for name in ("from_euler", "from_euler_channels", "from_rotation_vector")},
    **{name: (lambda q, name=name: getattr(orientations, name)(q, "hexagonal"), ROTATIONS) for name in ("embed", "equivalents", "reduce")},
    "project": (lambda e: orientations.project(e, "cubic"), EMBEDDED),
    "multiply": (lambda q: orientations.multiply(q, ROTATIONS), ROTATIONS),
    "one_minus_abs_dot": (lambda q: orientations.one_minus_abs_dot(ROTATIONS[:, :1], q), ROTATIONS),
    "disorientation": (lambda q: orientations.disorientation(q, ROTATIONS[:, :1], "cubic"), ROTATIONS),
}  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tensor of uint16, of half"])  # a tensor of half stays one
@pytest.mark.parametrize("name", OF_ORIENTATIONS)
def test_functions_of_orientations_take_every_kind_of_array(name, kind):
    function, plain = OF_ORIENTATIONS[name]
    result = function(KINDS[kind](plain))
    assert isinstance(result, torch.Tensor)
    np.testing.assert_allclose(result.detach(), function(torch.from_numpy(plain)), atol=1e-5)


@pytest.mark.parametrize("fault", [fault for fault in REFUSED if fault not in ("no entry", "a tensor without data")])
@pytest.mark.parametrize("name", OF_ORIENTATIONS)
def test_functions_of_orientations_refuse_the_same_by_name(name, fault):
    function, plain = OF_ORIENTATIONS[name]
    with pytest.raises(UserError, match="^(p|q|e|angles|channels|vector): .*(Give|Fill)"):
        function(REFUSED[fault](plain))


@pytest.mark.parametrize("name", OF_ORIENTATIONS)
def test_functions_of_orientations_keep_type_shape_and_gradient(name):
    function, plain = OF_ORIENTATIONS[name]
    single = torch.from_numpy(plain).float().requires_grad_()
    if name not in ("multiply", "one_minus_abs_dot", "disorientation"):
        assert function(single).dtype == function(plain.astype(np.float32)).dtype == torch.float32
    assert function(single).requires_grad
    assert 0 in function(np.zeros((0, 1, 1, plain.shape[-1]))).shape


def test_orientations_that_do_not_pair_are_refused():
    for function in (orientations.multiply, orientations.one_minus_abs_dot, lambda p, q: orientations.disorientation(p, q, "cubic")):
        with pytest.raises(UserError, match=r"p, q: shapes \(2, 4, 4\) and \(3, 1, 4\) do not fit"):
            function(QUATERNIONS, np.ones((3, 1, 4)))


def test_rotations_of_damask_are_read():
    damask = pytest.importorskip("damask")
    rotation = damask.Rotation.from_random(4, rng_seed=0)
    wanted = VolumeElements.of(IDS[0], rotation.quaternion)
    assert torch.equal(VolumeElements.of(IDS[0], rotation).quaternion, wanted.quaternion)
    assert torch.equal(VolumeElements.of(IDS, [rotation, rotation]).quaternion[1:], wanted.quaternion)
    np.testing.assert_allclose(orientations.to_matrix(rotation), rotation.as_matrix(), atol=1e-12)


# --- the intake itself -------------------------------------------------------------------------------------------------


def test_types_are_known_and_no_memory_is_shared():
    ids, values = np.arange(6).reshape(2, 3), np.ones((2, 3))
    for array in (ids, torch.from_numpy(ids)):
        read = integers(array, "ids", ("B", "n"))
        read += 1
        assert read.dtype == torch.int64 and ids[0, 0] == 0
    for array in (values, torch.from_numpy(values)):
        read = numbers(array, "x", ("B", "n"))
        read += 1
        assert read.dtype == torch.float64 and values[0, 0] == 1
    assert numbers(values, "x", ("B", "n"), dtype=torch.float32).dtype == torch.float32
    assert integers(ids.astype(np.uint8), "ids", ("B", "n"), small=True).dtype == torch.uint8


def test_a_form_says_what_fits():
    assert integers(IDS[0], "ids", ("B", "n", "n", "n"), single=True).shape == (1, 2, 2, 2)
    assert numbers(3.0, "target", ("p",), single=True).tolist() == [3.0]
    for shape in ((2, 3, 4), (3, 4), (2,), ()):
        with pytest.raises(UserError, match=r"x: is of shape .*Give finite numbers \(B, n, n\) or \(n, n\)"):
            numbers(np.ones(shape), "x", ("B", "n", "n"), single=True)


def test_what_is_too_large_for_a_type_is_refused():
    with pytest.raises(UserError, match=r"x: holds 1e\+300 at \[1\], not finite in float32"):
        numbers([0.0, 1e300], "x", ("p",), dtype=torch.float32)


def test_vectors_stay_the_tensor_that_they_are():
    x = torch.ones(2, 4, dtype=torch.half)
    assert vectors(x, "q", 4) is x and vectors(torch.ones(2, 4, dtype=torch.int32), "q", 4).dtype == torch.float64
    with pytest.raises(UserError, match=r"q: is of shape \(2, 4\). Give numbers \(\.\.\., 3\)"):
        vectors(x, "q", 3)


def test_results_come_back_in_the_kind_that_went_in():
    assert isinstance(like(torch.ones(2), torch.ones(3)), torch.Tensor) and isinstance(like(torch.ones(2), [1.0]), np.ndarray)
