#!/bin/sh
# Makes sure that programs outside Python are there: `needs.sh mosquitto node`.
# Installs them from Debian's packages where it may (root), and says exactly what to type where not.
set -eu

packages_for() {
    case "$1" in
        mosquitto) echo mosquitto ;;
        node) echo nodejs ;;
        npm) echo npm ;;
        strace) echo strace ;;
        systemd-analyze) echo systemd ;;
        systemd-nspawn) echo systemd-container ;;
        dh) echo debhelper ;;
        dpkg-buildpackage) echo dpkg-dev ;;
        readelf) echo binutils ;;
        *) echo "$1" ;;
    esac
}

present() {
    # Debian puts mosquitto in /usr/sbin, which is not on every user's PATH.
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1
}

if [ "$1" = python ]; then
    python=${2:-}
    if [ -z "$python" ]; then
        echo "stoep needs Python 3.11, 3.12 or 3.13 and found none: sudo apt install python3-venv" >&2
        exit 1
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$python has no venv module: sudo apt install python3-venv" >&2
        exit 1
    fi
    exit 0
fi

missing=
for program in "$@"; do
    present "$program" || missing="$missing $(packages_for "$program")"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing from Debian's packages:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # one word per package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "the tests need programs that are not installed; type: sudo apt install$missing" >&2
    exit 1
fi
