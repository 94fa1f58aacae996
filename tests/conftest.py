"""The tests are a batch run: progress comes in lines. Two processes share the machine, so each computes on one thread."""

import os

import pytest

os.environ["MICROPRINT_BATCH"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items):
    """The file that takes longest comes first, and the others fill the second process's time."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


@pytest.fixture(scope="module", autouse=True)
def _no_cluster_outlives_its_module():
    yield
    from microprint import cluster
    cluster.disconnect()
