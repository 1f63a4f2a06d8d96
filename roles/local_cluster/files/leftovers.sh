#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Before a start, remove what a cluster whose processes were killed has left on this machine: leftovers.sh CACHE RUN STATE BRIDGE
# Its containers, mounts, addresses, and the rules of its ports: one that leads to a pod that is gone takes the requests to the
# new one. What is stored (etcd, volumes, images) stays. Does nothing while the container runtime is alive.
set -eu
cache=$1 run=$2 state=$3 bridge=$4
here=$(dirname "$0")

[ -e "$run" ] || ip link show "$bridge" > /dev/null 2>&1 || exit 0
if pid=$(cat "$run/containerd.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = containerd ]; then exit 0; fi
for pidfile in "$run"/*.pid; do
    name=${pidfile##*/}
    "$here/process.sh" stop "$run" "$run" "${name%.pid}"
done
"$here/remove.sh" "$run"
"$here/network.sh" clear "$state" "$bridge"
"$here/clean.sh" "$cache" "$run"
