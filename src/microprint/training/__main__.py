"""One of several processes of a training; started by `microprint.training.parallel`."""

import os
import sys
import threading
from pathlib import Path

import torch

from microprint import store
from microprint.errors import UserError
from microprint.training.loop import train
from microprint.training.parallel import FAILURE


def main(path: Path, gpu: int) -> int:
    """Load the task (`path`), whose tensors lay on `gpu`, to this process's GPU and train."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    own = f"cuda:{os.environ['LOCAL_RANK']}"
    if torch.cuda.is_available():
        torch.cuda.set_device(own)
    # A pickle, but one that the process which started this one has just written.
    task, setting = torch.load(path, map_location={f"cuda:{gpu}": own}, weights_only=False)
    try:
        train(task, setting)
    except UserError as error:
        store.save_json(path.parent / FAILURE, {"what": error.what, "where": str(error.where), "remedy": error.remedy})
        return 1
    return 0


def _end_with_parent() -> None:
    """The parent holds the other end of the pipe: when it dies, even by SIGKILL, so does this process."""
    os.read(sys.stdin.fileno(), 1)  # unbuffered: a lock on sys.stdin would be in the way at the end of the process
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
