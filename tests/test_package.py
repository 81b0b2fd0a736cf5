# SPDX-License-Identifier: MIT
"""What is installed: sdist -> wheel -> a venv of its own, with and without a C compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not a source tree")


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        cwd="/",
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked sdist of the tree."""
    scratch = tmp_path_factory.mktemp("sdist")
    tree = scratch / "tree"
    shutil.copytree(
        ROOT,
        tree,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", ".cache", "build", "*.so", "remotec-run", "_fast.c", "__pycache__"
        ),
    )
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(scratch)!r})"
    run("env", "-C", str(tree), sys.executable, "-c", build)
    (archive,) = scratch.glob("remotec-*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(scratch / "unpacked")
    (unpacked,) = (scratch / "unpacked").iterdir()
    return unpacked


def install(source: Path, scratch: Path, **environment: str) -> Path:
    """The bin directory of a new venv with the sdist's wheel; it sees this one's packages too."""
    pip = (sys.executable, "-m", "pip", "-q")
    source = Path(shutil.copytree(source, scratch / "source"))  # an in-tree build leaves its objects behind
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", str(scratch), str(source), **environment)
    (wheel,) = scratch.glob("*.whl")
    home = scratch / "venv"
    venv.create(home, with_pip=True)
    run(str(home / "bin" / "python"), "-m", "pip", "-q", "install", "--no-deps", str(wheel))
    (site,) = home.glob("lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(others))
    return home / "bin"


def test_an_installed_wheel_has_every_part(source: Path, tmp_path: Path) -> None:
    bin = install(source, tmp_path)
    library = run(str(bin / "remotec"), "lib").strip()
    assert library.startswith(str(tmp_path)) and os.path.exists(library)
    assert os.access(os.path.join(os.path.dirname(library), "remotec-run"), os.X_OK)
    said = run(str(bin / "remotec"), "--version", "-v")
    assert "fast path   yes" in said
    assert not list(tmp_path.glob("venv/lib/python*/site-packages/csrc"))


def test_without_a_compiler_the_pure_server_installs_and_says_so(source: Path, tmp_path: Path) -> None:
    bin = install(source, tmp_path, PATH=str(tmp_path), CC="no-compiler")
    said = run(str(bin / "remotec"), "--version", "-v")
    assert "fast path   no" in said and "built without a C compiler" in said
    done = subprocess.run([str(bin / "remotec"), "run", "--", "true"], capture_output=True, text=True)
    assert done.returncode == 125 and "without a C compiler" in done.stderr
