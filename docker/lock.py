"""Writes requirements.txt: what the image holds, as pinned versions with the hashes of their wheels for Linux.

    pip install uv && python docker/lock.py https://INDEX/simple

Asks a package index that speaks JSON. Resolves the dependencies in pyproject.toml, and what only the image needs,
for all Pythons that biglambda supports.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
ONLY_HERE = ["awslambdaric>=4", "setuptools>=77"]
PYTHON = r"(cp31[1-4]-cp31[1-4]|cp3\d+-abi3|(py2\.)?py3-none)"
WHEEL = re.compile(rf"-{PYTHON}-(any|manylinux\S*(x86_64|aarch64))\.whl$")


def wheels(index: str, name: str, version: str) -> list[str]:
    """Hashes of the wheels that the image may take."""
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    with urllib.request.urlopen(urllib.request.Request(f"{index}/{name}/", headers=accept), timeout=60) as reply:
        files = json.load(reply)["files"]
    start = re.compile(re.escape(name).replace(r"\-", "[-_.]") + f"-{re.escape(version)}-", re.I)
    found = [f["hashes"]["sha256"] for f in files if start.match(f["filename"]) and WHEEL.search(f["filename"])]
    assert found, f"{name} {version} has no wheel for Linux"
    return sorted(found)


def main(index: str) -> None:
    """Write the file."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text("\n".join([*project["dependencies"], *ONLY_HERE]))
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--no-annotate"]
        command += ["--no-header", "--no-emit-index-url", "--default-index", index, str(wanted)]
        resolved = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = ["# Written by lock.py; what may change it is pyproject.toml, or time."]
    for line in resolved.splitlines():
        if "win32" in line:
            continue
        name, version = line.split(" ")[0].split("==")
        lines += [f"{line} \\", *(f"    --hash=sha256:{one} \\" for one in wheels(index, name, version))]
        lines[-1] = lines[-1].removesuffix(" \\")
    (HERE / "requirements.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
