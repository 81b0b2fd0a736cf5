# SPDX-License-Identifier: MIT
"""The architectures that remotec is tried on, and what each one needs here."""

import platform
import shutil
from pathlib import Path
from typing import NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "arch"  # git-ignored: packages, sysroots, builds


class Architecture(NamedTuple):
    name: str
    triplet: str  # of Debian's cross toolchain
    qemu: str  # qemu-user's name; "" where this machine runs the programs itself
    debian: str  # Debian 12's name of it; "" where Debian 12 has no such port
    bits: int
    order: str  # "little" or "big"

    @property
    def compiler(self) -> str:
        return f"{self.triplet}-gcc"

    @property
    def sysroot(self) -> Path:
        """Where the dynamic linker and libc of its programs are: its packages' once unpacked, or the toolchain's."""
        return self.packages if self.packages.exists() else Path("/usr") / self.triplet

    @property
    def packages(self) -> Path:
        return CACHE / self.name / "root"

    @property
    def emulator(self) -> "list[str]":
        """The command that goes before a program of this architecture."""
        if self.qemu:
            return [f"qemu-{self.qemu}", "-L", str(self.sysroot)]
        if self.name == "i386" and self.packages.exists():
            folders = [self.packages / "lib" / "i386-linux-gnu", self.packages / "usr/lib/i386-linux-gnu"]
            return [str(folders[0] / "ld-linux.so.2"), "--library-path", ":".join(map(str, folders))]
        return []

    def missing(self) -> "Optional[str]":
        """Why nothing can be run for it here."""
        if self.name != "x86_64" and platform.libc_ver() < ("glibc", "2.33"):
            return "its libc and qemu, of this machine's age, cut times off"
        wanted = [self.compiler, *([f"qemu-{self.qemu}"] if self.qemu else [])]
        return next((f"no {command}" for command in wanted if not shutil.which(command)), None)


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture("x86_64", "x86_64-linux-gnu", "", "amd64", 64, "little"),
        Architecture("i386", "i686-linux-gnu", "", "i386", 32, "little"),
        Architecture("armhf", "arm-linux-gnueabihf", "arm", "armhf", 32, "little"),
        Architecture("arm64", "aarch64-linux-gnu", "aarch64", "arm64", 64, "little"),
        Architecture("riscv64", "riscv64-linux-gnu", "riscv64", "", 64, "little"),
        Architecture("ppc64el", "powerpc64le-linux-gnu", "ppc64le", "ppc64el", 64, "little"),
        Architecture("mips64el", "mips64el-linux-gnuabi64", "mips64el", "mips64el", 64, "little"),
        Architecture("s390x", "s390x-linux-gnu", "s390x", "s390x", 64, "big"),
        Architecture("mips", "mips-linux-gnu", "mips", "", 32, "big"),
        Architecture("powerpc", "powerpc-linux-gnu", "ppc", "", 32, "big"),
    )
}
CLIENTS = [name for name in ARCHITECTURES if name != "x86_64"]
