import pytest
import torch

from microprint.mechanics.reference import open_reference


@pytest.fixture(scope="session")
def reference():
    with open_reference() as file:
        yield file


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
