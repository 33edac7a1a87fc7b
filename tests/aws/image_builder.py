"""Builds what takes long of the runtime image while other tests run: the layers in which kernels are compiled."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lambda_images import ImageStore

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = "docker/Dockerfile"
FOLDERS = ("algorithms", "biglambda", "docker", "kernels", "runtime")
FILES = ("LICENSE", "README.md", "pyproject.toml", ".dockerignore")


def copy_repository(folder: Path) -> None:
    """What an image is built from."""
    for name in FOLDERS:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(REPOSITORY / name, folder)


def main(images: Path, context: Path) -> None:
    """Build the first stage, so that whoever builds all of it finds its layers."""
    store = ImageStore(images)
    base = store.make_base()
    arguments = ["--target", "kernels", "--build-arg", f"BASE_IMAGE={base}", "--file", DOCKERFILE]
    store.build(arguments, context)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
