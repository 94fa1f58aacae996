"""All steps of the study, by the notebook that does them, and which of them makes an artifact."""

import inspect
import re
from collections.abc import Iterable, Mapping

from microprint.errors import UserError
from microprint.mechanics.campaign import generate_textured_polycrystals, simulate_campaign
from microprint.mechanics.datasets import simulate_cp_dataset
from microprint.microstructures.datasets import (
    generate_composites,
    generate_micrographs,
    generate_polycrystals,
    split_composites,
)
from microprint.steps import Step
from microprint.systems.composite_laws import train_composite_design
from microprint.systems.composite_set import write_composite_set
from microprint.systems.crystal_laws import train_crystal_law
from microprint.systems.direct_surrogate import encode_simulated, train_direct_surrogate
from microprint.systems.field_rivals import train_field_rival
from microprint.systems.fingerprint import train_fingerprint
from microprint.systems.inverse_design import train_forward_cnn, train_inverse_design, train_vae
from microprint.systems.micrograph_properties import simulate_micrographs
from microprint.systems.path_rival import train_path_rival
from microprint.systems.polycrystal_targets import design_polycrystals
from microprint.systems.stiffness import label_stiffness
from microprint.systems.stiffness_surrogate import estimate_composites, fit_stiffness_surrogate
from microprint.systems.surrogate import correct_surrogate
from microprint.systems.texture import measure_texture, train_texture_fingerprint
from microprint.systems.texture_rivals import train_texture_vae, view_patches

CATALOGUE: Mapping[str, tuple[Step, ...]] = {
    "01": (generate_polycrystals, generate_composites, generate_micrographs),
    "02": (split_composites,),
    "03": (train_fingerprint,),
    "05": (simulate_cp_dataset, generate_textured_polycrystals, simulate_campaign),
    "06": (
        train_crystal_law, correct_surrogate, encode_simulated, train_direct_surrogate, train_field_rival, train_path_rival,
    ),
    "07": (
        label_stiffness, estimate_composites, train_forward_cnn, train_inverse_design, fit_stiffness_surrogate,
        train_composite_design, write_composite_set, train_vae,
    ),
    "08": (simulate_micrographs, measure_texture, train_texture_fingerprint, view_patches, train_texture_vae),
    "09": (design_polycrystals,),
}  # fmt: skip
STEPS = {step.name: step for steps in CATALOGUE.values() for step in steps}


def find_step(name: str) -> Step:
    """A step by its name; raises `UserError` naming the known ones."""
    if name not in STEPS:
        raise UserError(f"no step is called {name}", remedy=f"Steps: {', '.join(sorted(STEPS))}")
    return STEPS[name]


def maker(artifact: str) -> tuple[Step, dict[str, str]] | None:
    """The step that makes an artifact, with its arguments; None where they do not follow from the artifact's name.

    >>> step, arguments = maker("fingerprint_ours.safetensors")
    >>> step.name, arguments
    ('train_fingerprint', {'variant': 'ours'})
    """
    for step in STEPS.values():
        wanted = list(inspect.signature(step.function).parameters)[1:]
        for template in step.outputs:
            match = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(template)), artifact)
            if match and sorted(match.groupdict()) == sorted(wanted):
                return step, match.groupdict()
    return None


def steps_behind(step: Step) -> set[Step]:
    """A step, and all steps whose artifacts it depends on."""
    return {step}.union(*map(steps_behind, _makers([step])))


def notebooks_behind(step: Step) -> list[str]:
    """Numbers of the notebooks that make what a step makes: its own, and all that make what those read, in order.

    >>> notebooks_behind(STEPS["train_fingerprint"])
    ['01', '03']
    """
    number = next(number for number, steps in CATALOGUE.items() if step in steps)
    earlier = _makers(CATALOGUE[number]).difference(CATALOGUE[number])
    return sorted({number}.union(*map(notebooks_behind, earlier)))


def _makers(steps: Iterable[Step]) -> set[Step]:
    """Steps that make the inputs of some steps, whatever their arguments."""
    known = (maker(re.sub(r"{\w+}", "x", name)) for step in steps for name in step.inputs)
    return {step for step, _ in filter(None, known)}
