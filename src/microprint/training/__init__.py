"""Training of any network of the study, through Lightning.

A model says what its losses are, a data set says how a batch is made on the device; everything else (order of the
samples, optimiser, decay of the learning rate, precision, several GPUs, checkpoints, early stopping, resuming, logs) is
the same for all and lives here.
"""

from microprint.training.fitting import fit
from microprint.training.logs import History
from microprint.training.schedule import Schedule
from microprint.training.streams import seeded

__all__ = ["History", "Schedule", "fit", "seeded"]
