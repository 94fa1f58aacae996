"""The law of `phenopowerlaw` compiled for the CPU: the same equations, many times faster."""

from microprint.mechanics.compiled.law import CompiledLaw

__all__ = ["CompiledLaw"]
