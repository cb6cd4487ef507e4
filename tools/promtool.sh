#!/bin/sh
# Puts promtool into FOLDER out of Debian's package prometheus, whose server nobody wants here:
# `promtool.sh FOLDER`. Where it is not to be had, the tests that need it are skipped and say so.
set -eu

if command -v promtool >/dev/null 2>&1 || [ -x "$1/promtool" ]; then
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
if (cd "$folder" && apt-get download prometheus && dpkg-deb -x prometheus_*.deb .) >/dev/null 2>&1; then
    install -m 755 "$folder/usr/bin/promtool" "$1/promtool"
else
    echo "no promtool: apt-get download prometheus; alert rules are tested without it"
fi
