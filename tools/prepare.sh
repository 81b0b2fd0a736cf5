#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes .venv with remotec installed in it (editable) and what its tests need; installs a compiler and Python's
# own parts with apt-get where they are missing.  Repeating it is harmless.
#   tools/prepare.sh PYTHON VENV
set -eu
python=$1
venv=$2
here=$(cd "$(dirname "$0")" && pwd)

if ! command -v "$python" >/dev/null; then
	"$here/apt.sh" python3
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || {
	echo "remotec: $python is older than 3.9" >&2
	exit 1
}
wanted=
command -v "${CC:-cc}" >/dev/null && echo '#include <stdio.h>' | "${CC:-cc}" -E - >/dev/null 2>&1 ||
	wanted="gcc libc6-dev"
# Debian splits venv and the C headers from python3.
"$python" -c 'import ensurepip, venv' 2>/dev/null || wanted="$wanted python3-venv"
"$python" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || wanted="$wanted python3-dev"
if [ -n "$wanted" ]; then
	# shellcheck disable=SC2086
	"$here/apt.sh" $wanted
fi

[ -x "$venv/bin/pip" ] || {
	echo "remotec: making $venv"
	rm -rf "$venv"
	"$python" -m venv "$venv"
}
pip="$venv/bin/python -m pip --disable-pip-version-check -q"
echo "remotec: installing remotec and its tests' packages into $venv"
# Debian 11's and Ubuntu 22.04's pip has no --config-settings.
$pip install 'pip>=23' 'setuptools>=77' 'Cython>=3'
# "compat" is a line in a .pth file; else every start of Python in here runs setuptools' finder, for longer than `remotec run`.
$pip install --no-build-isolation --config-settings editable_mode=compat -e "$here/..[test]"
