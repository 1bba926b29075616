"""Fixtures of the tests of workflows."""

from tests.pipelines.conftest import repo as repo
from tests.pipelines.conftest import staged as staged
