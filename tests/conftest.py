"""The tests are a batch run: progress comes in lines."""

import os

os.environ["MICROPRINT_BATCH"] = "1"
