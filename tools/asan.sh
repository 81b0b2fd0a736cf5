#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs tests on an ASan and UBSan build of libremotec.so and remotec-run, made in a copy of the tree so that the
# ordinary build stays as it is.
#   tools/asan.sh VENV_BIN TEST...
set -eu
bin=$(cd "$1" && pwd)
shift
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
cd "$copy"
REMOTEC_SANITIZE=1 "$bin/python" setup.py -q build_ext --inplace
# The programs under test aren't instrumented, so the runtime can't come first in them.
export ASAN_OPTIONS="detect_leaks=0:verify_asan_link_order=0:handle_segv=0:handle_sigbus=0:exitcode=99"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
export PYTHONPATH="$copy"
"$bin/python" -m pytest -q "$@"
