"""The starter's operations on a real cluster where something goes wrong: what is lost, what is in doubt, what somebody else does
meanwhile, and what is taken back."""

from __future__ import annotations

import shutil

import pytest
import yaml

from tests.engines.kubernetes import Cluster
from tests.executors.kubernetes.test_operations import STARTER, Place, place  # noqa: F401  the fixture
from uici.catalog import Catalog, UniversalConfigLoader
from uici.model import Status

pytestmark = pytest.mark.engine("kubernetes")


@pytest.fixture(scope="module")
def catalog(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The starter's; what does not come true is waited for half a minute instead of ten."""
    folder = tmp_path_factory.mktemp("mishaps") / "catalog"
    shutil.copytree(STARTER, folder)
    environment = {"executor": "kubernetes", "settings": {"kubeconfig": str(cluster.kubeconfig)}, "autonomy": "change"}
    document = {"version": 1, "environments": {"kubernetes": environment}}
    (folder / "environments.yml").write_text(yaml.safe_dump(document))
    translations = folder / "command_translations/kubernetes.yml"
    translations.write_text(translations.read_text().replace("verify_within: 10m", "verify_within: 30s"))
    return UniversalConfigLoader(folder).load()


async def test_an_undo_that_is_said_to_be_done_is_done(place: Place) -> None:  # noqa: F811
    """An undo sees its parent's `before`: by that, nothing would be left to do."""
    place.workload("web", replicas=2)
    place.up("web")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}}
    place.cluster.apply(quota, namespace=place.namespace)
    result = await place.do("scale_service", service="web", replicas=4)
    assert result.status is Status.UNVERIFIED, result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    assert place.get("deployment", "web")["spec"]["replicas"] == 2, (result.message, result.undo)
