#!/bin/sh
# Runs as root in the new system's root folder ($1, `/` in a Dockerfile): the user, no set-uid file, nothing that differs between builds.
set -eu
root=${1:-/}
chroot_do() { if [ "$root" = / ]; then "$@"; else chroot "$root" "$@"; fi; }
chroot_do groupadd --gid 10001 agent
chroot_do useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /bin/bash agent
install -d -o 10001 -g 10001 -m 0755 "$root/workspace"
install -d -m 0755 "$root/opt/env" "$root/run/shopfloor"
chown 10001:10001 "$root/opt/env"
find "$root" -xdev -type f -perm /6000 -exec chmod ug-s {} +
ln -sf python3 "$root/usr/bin/python"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/doc/* "$root"/usr/share/man/*
rm -f "$root"/etc/machine-id
# A Docker build mounts files of its own over these two; they don't get into the image and can't be removed.
rm -f "$root"/etc/hostname "$root"/etc/resolv.conf 2>/dev/null || [ "$root" = / ]
