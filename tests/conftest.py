"""What tests share: the runtimes, started once and kept for the whole run, and graphs of TF1."""

import os

import pytest

from tests.pipeline import finished, work  # noqa: F401 (fixtures)
from tf2caffe.failure import Failure
from tf2caffe.proof import runtimes

SCRIPTS_HAVE_RUN = {"finished", "scripts", "trained", "two"}  # fixtures


def pytest_collection_modifyitems(items):
    """Tests that need scripts to have run are slow."""
    for item in items:
        if not SCRIPTS_HAVE_RUN.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.slow)


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


@pytest.fixture(params=["ref", "resource"])
def old_graph(request):
    """A graph as TF1 builds it: ref or resource variables, TF1's own conditions."""
    import tensorflow as tf  # here, so that tests without TensorFlow start at once

    v1 = tf.compat.v1
    resource = v1.resource_variables_enabled()
    (v1.enable_resource_variables if request.param == "resource" else
     v1.disable_resource_variables)()  # fmt: skip
    v1.disable_control_flow_v2()
    yield tf.Graph()
    v1.enable_control_flow_v2()
    (v1.enable_resource_variables if resource else v1.disable_resource_variables)()
