"""Mechanics: spectral elasticity and crystal plasticity of periodic volume elements."""

from microprint.mechanics.effective import effective_stiffness
from microprint.mechanics.load import LoadStep, uniaxial_tension
from microprint.mechanics.simulate import CPResult, simulate_cp

__all__ = ["CPResult", "LoadStep", "effective_stiffness", "simulate_cp", "uniaxial_tension"]
