"""The runtimes that tests share: started once, kept for the whole run."""

import os

import pytest

from tests.pipeline import finished, work  # noqa: F401 (fixtures)
from tf2caffe.failure import Failure
from tf2caffe.proof import runtimes


@pytest.fixture(scope="session")
def opencv():
    with runtimes.OpenCV() as runtime:
        yield runtime


@pytest.fixture(scope="session")
def pycaffe():
    """Real Caffe. Where there is none, tests are skipped, or fail if REQUIRE_PYCAFFE is set."""
    try:
        runtime = runtimes.choose("pycaffe")
    except Failure as failure:
        if os.environ.get("REQUIRE_PYCAFFE"):
            pytest.fail(str(failure))
        pytest.skip(str(failure))
    with runtime:
        yield runtime


@pytest.fixture(params=["pycaffe", "opencv"])
def runtime(request):
    """Each of the two in turn."""
    return request.getfixturevalue(request.param)
