"""The tests are a batch run: progress comes in lines. Two processes share the machine, so each computes on one thread."""

import os

os.environ["MICROPRINT_BATCH"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
