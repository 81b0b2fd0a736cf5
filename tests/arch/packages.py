# SPDX-License-Identifier: MIT
"""Real Debian packages of other architectures, unpacked side by side and never installed.

apt runs on lists and a status file of its own under .cache/, with this machine's Debian sources and keys, so
that signatures are checked as always and the machine's own set of architectures stays as it is.
"""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from .architectures import CACHE, Architecture

PROGRAMS = "coreutils findutils grep tar dash bash sed gawk sqlite3".split()
PYTHON = "usr/bin/python3"  # of those that have one, in their directory
EXTRA = {
    "armhf": ["python3"],
    "i386": ["python3"],
    "arm64": ["python3-minimal"],
    "s390x": ["python3", "libpython3-dev"],
}


class Unavailable(Exception):
    """The packages can't be had here; says why."""


def debian_sources() -> "list[Path]":
    """This machine's own apt sources that carry Debian itself."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    debian = re.compile(r"^(deb|URIs:).*/debian/?(\s|$)", re.M)
    return [path for path in files if path.is_file() and debian.search(path.read_text(errors="replace"))]


def prepare(architecture: Architecture) -> Path:
    """Unpacks the architecture's packages once; the directory they are in."""
    home = CACHE / architecture.name
    root = architecture.packages
    wanted = PROGRAMS + EXTRA.get(architecture.name, [])
    stamp = home / "packages"
    text = hashlib.sha256(" ".join(wanted).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == text:
        return root
    if not shutil.which("apt-get") or not debian_sources():
        raise Unavailable("no Debian sources in this machine's apt")
    apt = home / "apt"
    for folder in ("lists/partial", "archives/partial", "sources", "etc"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    for old in (apt / "sources").iterdir():
        old.unlink()
    for source in debian_sources():
        shutil.copy(source, apt / "sources")
    (apt / "status").write_text("")
    options = {
        "APT::Architecture": architecture.debian,
        "APT::Architectures": "",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Dir::State": str(apt),
        "Dir::State::status": str(apt / "status"),
        "Dir::State::lists": str(apt / "lists"),
        "Dir::Cache": str(apt),
        "Dir::Cache::archives": str(apt / "archives"),
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(apt / "sources"),
        "DPkg::Post-Invoke": "",
        "APT::Update::Post-Invoke": "",
        "APT::Update::Post-Invoke-Success": "",
    }
    configuration = apt / "apt.conf"
    lines = [f'{key} "{value}";' for key, value in options.items() if value]
    lines += [f"#clear {key};" for key, value in options.items() if not value]
    lines.append(f'APT::Architectures {{ "{architecture.debian}"; }};')
    configuration.write_text("\n".join(lines) + "\n")
    environment = {**os.environ, "APT_CONFIG": str(configuration), "DEBIAN_FRONTEND": "noninteractive"}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["apt-get", "-qq", *arguments], env=environment, capture_output=True, text=True)

    # A suite that can't be had just now is left out by apt; the others' packages are as good.
    updated = run("update")
    installed = run("-y", "--download-only", "install", *wanted)
    if installed.returncode:
        raise Unavailable((updated.stderr + installed.stderr).strip() or "apt-get failed")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for package in sorted((apt / "archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
    relink(root)
    shutil.rmtree(apt / "archives")
    stamp.write_text(text)
    return root


def relink(root: Path) -> None:
    """Absolute symbolic links would lead out of the sysroot: make them relative."""
    for folder, names, files in os.walk(root):
        for name in names + files:
            path = Path(folder, name)
            if path.is_symlink() and os.path.isabs(os.readlink(path)):
                target = root / os.readlink(path).lstrip("/")
                path.unlink()
                path.symlink_to(os.path.relpath(target, folder))
