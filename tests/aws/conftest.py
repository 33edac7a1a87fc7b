"""Fixtures of the tests that run functions as AWS Lambda does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import image_builder
import pytest
from background import Background, is_wanted
from image_builder import copy_repository
from lambda_images import folder_for_images, why_no_images
from lambda_jail import why_no_jail

from benchmarks.s3_server import S3Server
from biglambda.runtime.channel.server import start_server
from biglambda.runtime.private import PrivateDirectory

if TYPE_CHECKING:
    from aws_account import Account


IMAGES = pytest.StashKey[PrivateDirectory]()
BUILDING = pytest.StashKey[tuple[Background, tempfile.TemporaryDirectory[str]]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: "prepared" in getattr(item, "fixturenames", ()))


def pytest_collection_finish(session: pytest.Session) -> None:
    if is_wanted(session, "account"):
        images = session.config.stash[IMAGES] = PrivateDirectory(folder_for_images()).guard()
        if is_wanted(session, "prepared") and why_no_images() is None:
            context = tempfile.TemporaryDirectory(prefix="biglambda-context-")
            copy_repository(Path(context.name))
            building = Background(image_builder.__file__, str(images.directory), context.name)
            session.config.stash[BUILDING] = building, context


def pytest_sessionfinish(session: pytest.Session) -> None:
    stash = session.config.stash
    if BUILDING in stash:
        building, context = stash[BUILDING]
        building.end()
        context.cleanup()
    if IMAGES in stash:
        stash[IMAGES].stop()


@pytest.fixture(scope="session")
def prepared(request: pytest.FixtureRequest) -> None:
    """What takes long of the runtime image was built; tests that need it come last."""
    if (why := why_no_images()) is not None:
        pytest.skip(why)
    request.config.stash[BUILDING][0].finish()


@pytest.fixture(scope="session")
def account(
    request: pytest.FixtureRequest, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Account]:
    """An account for the whole session, whose runtimes Lithops remembers nowhere else."""
    from aws_account import open_account  # here, because without its packages it skips who imports it

    if (why := why_no_jail()) is not None:
        pytest.skip(why)
    images = request.config.stash[IMAGES].directory
    with open_account(s3_server, images) as account, pytest.MonkeyPatch.context() as patch:
        patch.setattr("lithops.storage.storage.CACHE_DIR", str(tmp_path_factory.mktemp("lithops")))
        yield account


@pytest.fixture(scope="session")
def redis_on_loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server, with a password, on a port: functions share no files with the client."""
    # In a folder whose path is too long for a socket, it listens on loopback.
    with start_server(tmp_path_factory.mktemp("x" * 100)) as server:
        assert server.url.startswith("redis://")
        yield server.url
