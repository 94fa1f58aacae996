"""Mechanics: spectral elasticity and crystal plasticity of periodic volume elements."""
