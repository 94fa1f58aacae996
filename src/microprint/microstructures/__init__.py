"""Microstructures: polycrystals, two-phase composites, cast iron; readers of real ones; the steps that store them."""
