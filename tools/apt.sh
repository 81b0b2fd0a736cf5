#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs those of the named Debian packages that are missing, and says so first.  Status 1 where it can't.
#   tools/apt.sh PACKAGE...    tools/apt.sh -f FILE    (a package a line, # starts a comment)
set -eu

if [ "${1:-}" = -f ]; then
	# shellcheck disable=SC2046
	set -- $(sed 's/#.*//' "$2")
fi
if ! command -v apt-get >/dev/null; then
	echo "remotec: no apt-get here; please install what provides: $*" >&2
	exit 1
fi
missing=
for package; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "remotec: please install, as root:$missing" >&2
		exit 1
	fi
	# Where nobody can type a password, sudo must not wait for one.
	[ -t 0 ] && as_root=sudo || as_root="sudo -n"
fi
export DEBIAN_FRONTEND=noninteractive
install_all() {
	# shellcheck disable=SC2086
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}
echo "remotec: installing with apt-get:$missing"
# shellcheck disable=SC2086
install_all $missing 2>/dev/null && exit 0
$as_root apt-get update -qq || true
# shellcheck disable=SC2086
install_all $missing && exit 0
# One package that this release doesn't have must not keep the others away.
failed=
for package in $missing; do
	install_all "$package" 2>/dev/null || failed="$failed $package"
done
[ -z "$failed" ] && exit 0
echo "remotec: could not install:$failed" >&2
exit 1
