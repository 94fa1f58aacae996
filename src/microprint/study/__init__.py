"""The study: its notebooks as a graph, what of it is up to date, running it, sweeps over parameters."""
