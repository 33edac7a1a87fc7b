"""Container images without a daemon and without a registry: buildah builds them, umoci unpacks them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from lambda_root import Root

SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""Debian's releases, by their Python: Lithops wants the client's and the function's to be the same."""

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = "localhost/biglambda-base:latest"
TOOLS = ("buildah", "umoci", "mmdebstrap")
BUILD_SECONDS = 900.0
MUCH = 8 << 30  # bytes


class ImageStore:
    """Images in a folder.

    Parameters
    ----------
    folder : Path
        Where everything is kept that buildah and umoci write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._layout = folder / "oci"

    def make_base(self) -> str:
        """Debian with a Python like this one's and nothing else: the name of the image, for ``BASE_IMAGE``."""
        archive = self.folder / "base.tar"
        if not archive.exists():
            packages = "python3,python3-venv,ca-certificates"
            _run("mmdebstrap", "--variant=minbase", f"--include={packages}", SUITES[PYTHON], str(archive))
            container = self._buildah("from", "scratch")
            self._buildah("add", "--quiet", container, str(archive), "/")
            self._buildah("commit", "--quiet", "--rm", container, BASE)
        return BASE

    def build(self, arguments: list[str], context: Path) -> None:
        """Build an image, with the arguments of ``docker build``; pip may use what it may use on this machine.

        Raises
        ------
        RuntimeError
            With the last lines of what was said.
        """
        volumes = [f"--volume={source}:{target}:ro" for source, target in self._pip_settings()]
        self._buildah("build", "--layers", "--force-rm", "--pull-never", *volumes, *arguments, cwd=context)

    def tag(self, name: str, other: str) -> None:
        """Give an image another name, too."""
        self._buildah("tag", name, other)

    def push(self, name: str) -> tuple[str, str]:
        """Write an image as a registry has it: its digest and its manifest."""
        reference = name.replace("/", "_").replace(":", "_")
        self._buildah("push", "--quiet", "--disable-compression", name, f"oci:{self._layout}:{reference}")
        for entry in json.loads((self._layout / "index.json").read_text())["manifests"]:
            if entry["annotations"]["org.opencontainers.image.ref.name"] == reference:
                return entry["digest"], self._blob(entry["digest"])
        raise RuntimeError(f"buildah wrote no image {name}")

    def root(self, digest: str) -> Root:
        """The root of an image that was pushed, unpacked as one who pulls it would."""
        config = json.loads(self._blob(json.loads(self._blob(digest))["config"]["digest"]))["config"]
        bundle = self.folder / "unpacked" / digest.replace(":", "-")
        if not bundle.exists():
            bundle.parent.mkdir(exist_ok=True)
            index = json.loads((self._layout / "index.json").read_text())["manifests"]
            (name,) = {
                entry["annotations"]["org.opencontainers.image.ref.name"]
                for entry in index
                if entry["digest"] == digest
            }
            _run("umoci", "unpack", "--image", f"{self._layout}:{name}", str(bundle))
        return Root(
            rootfs=bundle / "rootfs",
            entrypoint=tuple(config.get("Entrypoint") or ()),
            cmd=tuple(config.get("Cmd") or ()),
            env=dict(variable.split("=", 1) for variable in config.get("Env") or ()),
            cwd=config.get("WorkingDir") or "/",
        )

    def _blob(self, digest: str) -> str:
        return (self._layout / "blobs" / Path(*digest.split(":"))).read_text()

    def _buildah(self, *arguments: str, cwd: Path | None = None) -> str:
        places = [
            f"--root={self.folder / 'storage'}",
            f"--runroot={self.folder / 'run'}",
            "--storage-driver=overlay",
        ]
        # What it mounts goes with it, also when it fails.
        return _run("unshare", "--mount", "buildah", *places, *arguments, cwd=cwd)

    def _pip_settings(self) -> list[tuple[Path, Path]]:
        """Files to see during a build, and where: pip's settings on this machine, and what they name.

        They are mounted, so that none gets into an image.
        """
        listed = _run(sys.executable, "-m", "pip", "config", "list")
        settings = {}
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            settings[key.rpartition(".")[2]] = value.strip("'")
        file = self.folder / "pip.conf"
        file.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in settings.items()), ""]))
        words = [word for value in settings.values() for word in value.replace("\\n", " ").split()]
        named = {Path(urlsplit(word).path) for word in words if word.startswith(("/", "file:///"))}
        # An index that lies in files links to those beside it.
        named = {path.parent if path.name == "simple" else path for path in named}
        return [(file, Path("/etc/pip.conf")), *((path, path) for path in sorted(named) if path.exists())]


def folder_for_images() -> Path | None:
    """Where to keep images for a while: in memory, if there is much of it; None is where temporary files go.

    They have tens of thousands of files, which some disks take a minute to delete.
    """
    memory = Path("/dev/shm")
    if not memory.is_dir():
        return None
    space = os.statvfs(memory)
    may_run = not space.f_flag & os.ST_NOEXEC
    return memory if may_run and space.f_bavail * space.f_frsize > MUCH else None


def why_no_images() -> str | None:
    """Why no image can be built here, or None if one can."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"not installed: {', '.join(missing)}"
    if os.getuid() != 0:
        return "images are built by root only"
    if PYTHON not in SUITES:
        return f"no release of Debian has Python {PYTHON}; those that are known have {', '.join(SUITES)}"
    return None


def _run(*command: str, cwd: Path | None = None) -> str:
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=BUILD_SECONDS,
    )  # fmt: skip
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise RuntimeError(f"{command[0]} failed:\n{said}")
    return done.stdout.strip()
