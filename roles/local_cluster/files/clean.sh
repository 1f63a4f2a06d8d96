#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Remove what the local cluster leaves when all its processes are gone: clean.sh CACHE DIRECTORY…
# The directories go with all that is mounted in them.
set -eu
cache=$1
shift

# Deepest first; a mount may be listed more than once.
for base in "$@" "$cache/buildah" "$cache/tmp"; do
    grep -F " $base" /proc/mounts | cut -d ' ' -f 2 | sort -r | while read -r mount; do
        case $mount in "$base"*) umount -l "$mount" 2>/dev/null || true ;; esac # gone with the one above it
    done
done
for controller in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if [ -d "$controller/kubepods" ]; then find "$controller/kubepods" -depth -type d -exec rmdir {} \; ; fi
done
rm -rf "$@" "$cache/tmp"
# Directories that the kubelet, CNI and containerd make at fixed places: only if nobody else has something in them.
find /var/log/containers -xtype l -delete 2>/dev/null || true # there is no such directory
# A shim that was killed has left its socket: one that nobody listens on.
for socket in /run/containerd/s/*; do
    if [ -S "$socket" ] && ! grep -qF " $socket" /proc/net/unix; then rm -f "$socket"; fi
done
for result in /var/lib/cni/results/thinkube-chroma-* /var/lib/cni/cache/results/thinkube-chroma-*; do
    # What was noted of a container's network, and of its loopback: NETWORK-CONTAINER-INTERFACE
    container=${result##*thinkube-chroma-}
    rm -f "$result" "${result%/*}/cni-loopback-${container%-*}-lo"
done
rm -f /var/lib/kubelet/device-plugins/kubelet.sock /var/lib/kubelet/device-plugins/kubelet_internal_checkpoint
for directory in /var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet /run/containerd/s \
    /run/containerd/runc/k8s.io /run/containerd/runc /run/containerd \
    /var/lib/cni/results /var/lib/cni/cache/results /var/lib/cni/cache /var/lib/cni; do
    rmdir "$directory" 2>/dev/null || true # absent, or somebody else's
done
