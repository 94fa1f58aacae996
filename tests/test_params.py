"""A parameter file is checked before anything runs, and every fault is named with its remedy."""

from pathlib import Path

import pytest
import yaml

from microprint.errors import UserError
from microprint.params import as_dict, load, validate
from microprint.params.manual import manual
from microprint.params.sections import Params

FILES = sorted((Path(__file__).parents[1] / "params").glob("*.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_profile_is_valid(path):
    assert load(path).run.name == path.stem


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_profile_states_only_what_differs_from_the_defaults(path):
    defaults = as_dict(Params())
    for section, values in yaml.safe_load(path.read_text()).items():
        assert values and not [key for key, value in values.items() if value == defaults[section][key]], section


def test_the_manual_states_and_explains_every_parameter():
    text = manual()
    assert validate(yaml.safe_load(text)) == Params()
    assert "# workers: chunks of a data set computed at once" in text


@pytest.mark.parametrize("sections, message", [
    ({"texture_vae": {"paper_edge": 50}}, "texture_vae.paper_edge = 50 is no multiple of 32"),
    ({"texture_vae": {"paper_latent_dims": []}}, "texture_vae.paper_latent_dims is empty"),
    ({"cp": {"edge": 5}}, "cp.edge = 5 does not divide polycrystals.edge = 16"),
    ({"cp": {"strain": 0.0}}, "cp.strain = 0 is no load"),
    ({"composites": {"fraction_low": 0.9, "fraction_high": 0.1}}, "fraction_low = 0.9 is not below fraction_high = 0.1"),
    ({"composites": {"widths": []}}, "widths is empty"),
    ({"micrographs": {"edge": 600}}, "micrographs.edge = 600 is more than the 512 x 512"),
    ({"texture_vae": {"paper_edge": 288}}, "texture_vae.paper_edge = 288 is more than the micrographs.edge = 256 pixels of a patch"),
    ({"texture_vae": {"drawings": 1}}, "texture_vae.drawings = 1"),
    ({"micrographs": {"edge": 48}, "texture_vae": {"paper_edge": 32}}, "micrographs.edge = 48 is no patch that notebook 08 can read"),
    ({"micrographs": {"edge": 255}}, "Choose an even number of pixels, 64 at least"),
    ({"vae_regression": {"properties": ["C44"]}}, "C44 is not simulated"),
    ({"vae_regression": {"properties": ["C12"]}}, "begins with C12"),
    ({"composites": {"edge": 7}, "vae_regression": {"style_layers": ["pool3"]}}, "Choose layers of earlier blocks, or 8 voxels at least"),
    ({"vae_regression": {"properties": ["C11", "C11"]}}, "Name each property once"),
    ({"vae_regression": {"targets_gpa": []}}, "targets_gpa is empty"),
    ({"preprocessing": {"train_share": 0.9}}, "leave no test set"),
])
def test_relations_between_parameters(sections, message):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        validate(sections)


def test_a_notebook_s_sections_are_held_to_relations_among_themselves_alone():
    """Its parameters cell does not say how large the patches of the run are."""
    assert validate({"texture_vae": {"paper_edge": 288}}, whole=False).texture_vae.paper_edge == 288
    with pytest.raises(UserError):
        validate({"texture_vae": {"paper_edge": 50}}, whole=False)


@pytest.mark.parametrize("sections, message", [
    ({"vae": {"latent_dimm": 8}}, "unknown parameter vae.latent_dimm. The nearest known one is vae.latent_dim"),
    ({"vea": {}}, "The nearest known one is vae"),
    ({"vae": {"latent_dim": "many"}}, "vae.latent_dim = 'many'"),
    ({"vae": {"latent_dim": 0}}, "greater than or equal to 1"),
    ({"compute": {"engine": "cloud"}}, "'local' or 'dask'"),
    ({"vae": 8}, "is not a section"),
])
def test_a_fault_is_named(sections, message):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        validate(sections)


def test_overrides_are_typed_like_yaml():
    assert load(FILES[0], {"run.seed": "7"}).run.seed == 7
    with pytest.raises(UserError, match="nearest known one is vae.latent_dim"):
        load(FILES[0], {"vae.latent_dimm": "8"})


def test_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "none.yml")
    bad = tmp_path / "bad.yml"
    bad.write_text("vae: [1, 2\n")
    with pytest.raises(UserError, match="not valid YML"):
        load(bad)
    bad.write_text("just text")
    with pytest.raises(UserError, match="holds no sections"):
        load(bad)


def test_without_pydantic_checked_sections_give_the_same_parameters(monkeypatch):
    """A machine that only trains reads `params.json`, which the runner has checked."""
    plain = as_dict(load(FILES[0]))
    expected = validate(plain)
    monkeypatch.setitem(__import__("sys").modules, "pydantic", None)
    assert validate(plain) == expected
