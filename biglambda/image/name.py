"""The name of a runtime image says what it was built from, so that one that is outdated is seen."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..runtime.info import installed_version

PACKAGES = {
    "biglambda": "biglambda",
    "biglambda.algorithms": "algorithms",
    "biglambda.kernels": "kernels",
    "biglambda.runtime": "runtime",
}
"""What runs in the image, and where it is in the repository."""

RECIPE = ("pyproject.toml", ".dockerignore", "docker")
"""What else the image is built from. It does not run, so that an installed copy comes without it."""

_DIGITS = 10
_TAG = re.compile(rf"(.+)-py(\d+\.\d+)-([0-9a-f]{{{_DIGITS}}})-([0-9a-f]{{{_DIGITS}}})")


@dataclass(frozen=True)
class Origin:
    """What an image is built from.

    Attributes
    ----------
    version : str
        Of biglambda.
    python : str
        Its minor version, as "3.12".
    code : str
        Digest of biglambda's source files.
    recipe : str or None
        Digest of how the image is made of them; None where the repository is not at hand.
    """

    version: str
    python: str
    code: str
    recipe: str | None

    @property
    def tag(self) -> str:
        """The tag of the image."""
        version = re.sub(r"[^A-Za-z0-9_.]", "_", self.version)
        return f"{version}-py{self.python}-{self.code}-{self.recipe}"

    def differences(self, other: Origin) -> list[str]:
        """What is not the same, as words; a recipe that one does not know is no difference."""
        found = []
        if self.python != other.python:
            found.append(f"Python {self.python}, not {other.python}")
        if self.code != other.code:
            found.append(f"biglambda {self.version} ({self.code}), not {other.version} ({other.code})")
        elif None not in (self.recipe, other.recipe) and self.recipe != other.recipe:
            found.append(f"another Dockerfile or other requirements ({self.recipe}, not {other.recipe})")
        return found


def parse(image: str) -> Origin | None:
    """What the name of an image says; None if `Origin.tag` is not its tag."""
    match = _TAG.fullmatch(image.partition(":")[2])
    return Origin(*match.groups()) if match else None


def of_installed() -> Origin:
    """What an image of the biglambda that runs here would be built from."""
    folders = {name: _folder(name) for name in PACKAGES}
    root = folders["biglambda"].parent
    return Origin(
        installed_version(), this_python(), _code(folders), _recipe(root) if is_repository(root) else None
    )


def of_repository(root: Path) -> Origin:
    """What an image built in a repository is built from."""
    folders = {name: root / folder for name, folder in PACKAGES.items()}
    return Origin(installed_version(), this_python(), _code(folders), _recipe(root))


def is_repository(root: Path) -> bool:
    """Whether the image can be built in a folder."""
    try:
        project = (root / "pyproject.toml").read_text(errors="replace")
    except OSError:
        return False
    return 'name = "biglambda"' in project and (root / "docker" / "Dockerfile").is_file()


def this_python() -> str:
    """As "3.12"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def _code(folders: Mapping[str, Path]) -> str:
    """The same for an installed copy and for the repository, where folders have other names."""
    files = {}
    for package, folder in folders.items():
        for path in (*folder.rglob("*.py"), *folder.rglob("*.lua")):
            files["/".join((package.replace(".", "/"), path.relative_to(folder).as_posix()))] = path
    return _digest(files)


def _recipe(root: Path) -> str:
    return _digest({path.relative_to(root).as_posix(): path for path in _files(root)})


def _files(root: Path) -> Iterator[Path]:
    for name in RECIPE:
        path = root / name
        if path.is_dir():
            yield from (one for one in path.iterdir() if one.is_file())
        elif path.exists():
            yield path


def _digest(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        data = files[name].read_bytes()
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()[:_DIGITS]
