"""As much of ``docker`` as Lithops calls: it builds with buildah, and pushes to a folder and moto's ECR."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import boto3
from lambda_images import ImageStore

STORE = "BIGLAMBDA_TEST_IMAGES"
"""The variable that names the folder of the images."""


def main(command: str, *arguments: str) -> None:
    """Do what ``docker COMMAND ARGUMENTS`` would."""
    store = ImageStore(Path(os.environ[STORE]))
    if command == "build":
        options = [word for word in arguments if word != "." and not word.startswith("--platform")]
        store.build(options, Path.cwd())
    elif command == "tag":
        store.tag(*arguments)
    elif command == "push":
        push(store, arguments[0])
    elif command == "login":
        sys.stdin.read()
    elif command != "info":
        sys.exit(f"docker {command}: allowed are build, tag, push, login and info")


def push(store: ImageStore, name: str) -> None:
    """Have ECR know an image by the digest with which it is kept."""
    digest, manifest = store.push(name)
    path, _, tag = name.rpartition(":")
    client = boto3.client("ecr")
    repository = path.partition("/")[2]
    with suppress(client.exceptions.ImageAlreadyExistsException):
        client.put_image(repositoryName=repository, imageManifest=manifest, imageTag=tag, imageDigest=digest)


def install(folder: Path) -> None:
    """Put a command called docker into a folder, for a PATH."""
    script = folder / "docker"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n')
    script.chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
