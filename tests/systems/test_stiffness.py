"""Stiffness labels: what is written, what resumes, what is left out."""

import dataclasses

import numpy as np
import pytest
import torch

from microprint.errors import UserError
from microprint.microstructures.composite import cut
from microprint.params import validate
from microprint.params.sections import ComputeSettings, ElasticitySettings, Params
from microprint.steps import run_step
from microprint.store import create_hdf5, open_hdf5
from microprint.systems import stiffness
from microprint.systems.stiffness import components, entry, label_stiffness, labelled, simulate

PARAMS = Params(compute=ComputeSettings(device="cpu", workers=1), elasticity=ElasticitySettings(chunk_voxels=3 * 6**3))
PARTS = {"train": [0, 1, 2, 3, 4], "validation": [5, 6], "test": [7, 8]}


def composites(count=9, edge=6):
    generator = torch.Generator().manual_seed(0)
    return cut(torch.rand(count, edge, edge, edge, generator=generator), torch.linspace(0.3, 0.7, count))


@pytest.fixture
def folder(tmp_path):
    with create_hdf5(tmp_path / "composites.h5", "composites", {"key": "a"}) as file:
        file["phase"] = composites().numpy()
    return tmp_path


def labels_in(folder) -> np.ndarray:
    with open_hdf5(folder / "stiffness.h5", "stiffness") as file:
        return file["stiffness"][:]


def test_labels_resume_where_they_stopped(folder, monkeypatch):
    done, real = [], stiffness.simulate

    def failing(ids, **keywords):
        if len(done) == 2:
            raise RuntimeError
        done.append(len(ids))
        return real(ids, **keywords)

    monkeypatch.setattr(stiffness, "simulate", failing)
    with pytest.raises(RuntimeError):
        run_step(label_stiffness, PARAMS, folder, {})
    assert not (folder / "stiffness.h5").exists()
    done.clear()
    run_step(label_stiffness, PARAMS, folder, {})
    assert done == [3]
    labels = labels_in(folder)
    np.testing.assert_allclose(labels[:, :3, :3], real(composites()).numpy()[:, :3, :3], rtol=1e-5)
    assert np.isnan(labels[:, 3:, 3:]).all()
    with open_hdf5(folder / "stiffness.h5") as file:
        assert file["stiffness"].attrs["unit"] == "Pa" and file["converged"][:].all() and not any(file["reason"].asstr()[:])


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_every_engine_gives_the_same_bits(folder, engine):
    run_step(label_stiffness, PARAMS, folder, {})
    expected = labels_in(folder)
    (folder / "stiffness.h5").unlink()
    run_step(label_stiffness, dataclasses.replace(PARAMS, compute=ComputeSettings(engine=engine, device="cpu", workers=2)), folder, {})
    np.testing.assert_array_equal(labels_in(folder), expected)


def test_all_cases_give_the_full_matrix(folder):
    run_step(label_stiffness, dataclasses.replace(PARAMS, elasticity=ElasticitySettings(cases="all")), folder, {})
    labels = torch.from_numpy(labels_in(folder))
    assert labels.isfinite().all() and torch.equal(labels, labels.mT) and (torch.linalg.eigvalsh(labels) > 0).all()
    torch.testing.assert_close(components(labels, ("C44", "C12")), torch.stack([labels[:, 3, 3], labels[:, 0, 1]], -1))


def test_what_does_not_converge_is_recorded_and_left_out(folder, monkeypatch):
    real, bad = stiffness.simulate, composites()[4]

    def failing(ids, **keywords):
        if any(torch.equal(one, bad) for one in ids):
            raise UserError("no equilibrium after 500 iterations", "volume element 1")
        return real(ids, **keywords)

    monkeypatch.setattr(stiffness, "simulate", failing)
    run_step(label_stiffness, PARAMS, folder, {})
    with open_hdf5(folder / "composites.h5") as file, open_hdf5(folder / "stiffness.h5", "stiffness") as labels:
        assert labels["converged"][:].tolist() == [i != 4 for i in range(9)]
        assert labels["reason"].asstr()[4] == "no equilibrium after 500 iterations" and np.isnan(labels["stiffness"][4]).all()
        phase, values, parts = labelled(file, labels, PARTS)
        assert len(phase) == len(values) == 8 and parts == {"train": [0, 1, 2, 3], "validation": [4, 5], "test": [6, 7]}
        assert components(values, ("C11", "C23")).isfinite().all()
        assert torch.equal(phase[parts["test"]], torch.from_numpy(file["phase"][7:]))
        with pytest.raises(UserError, match="no label for the test set: no equilibrium"):
            labelled(file, labels, {"test": [4]})


def test_components_by_name():
    assert entry("C12") == (0, 1) and entry("C66") == (5, 5)
    for name in ("C71", "K11", "C1"):
        with pytest.raises(UserError, match=name):
            validate({"vae_regression": {"properties": [name]}})
    labels = simulate(composites(2))
    assert components(labels, ("C11", "C23")).shape == (2, 2) and components(labels[0], ("C11",)).shape == (1,)
    with pytest.raises(UserError, match="C44 was not simulated.*elasticity.cases"):
        components(labels, ("C11", "C44"))
    labels[1] = torch.nan  # a composite that failed is another matter
    assert components(labels, ("C11",))[:, 0].isnan().tolist() == [False, True]
