"""A parameter file is checked before anything runs, and every fault is named with its remedy."""

from pathlib import Path

import pytest
import yaml

from microprint import params
from microprint.errors import UserError
from microprint.params import Params, as_dict, load, validate

FILES = sorted((Path(__file__).parents[1] / "params").glob("*.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_profile_is_valid(path):
    assert load(path).run.name == path.stem


def test_quick_file_states_every_default():
    quick = yaml.safe_load((FILES[0].parent / "quick.yml").read_text())
    assert {s: set(keys) for s, keys in quick.items() if s != "run"} == {s: set(keys) for s, keys in as_dict(Params()).items() if s != "run"}
    assert validate({k: v for k, v in quick.items() if k != "run"}) == Params()


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
    assert params.validate(plain) == expected
