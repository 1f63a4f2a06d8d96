#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Take the containers of the local cluster off the machine: remove.sh RUN
# Works on a half-started cluster too: what is absent is passed over. Kubelet and proxy are stopped before.
set -eu
run=$1
socket=$run/containerd.sock

if [ -S "$socket" ]; then
    tasks() { ctr --address "$socket" --namespace k8s.io --connect-timeout 5s tasks "$@"; }
    # A runtime that does not answer lists nothing; what it leaves is found below.
    for id in $(tasks ls -q 2>/dev/null || true); do
        tasks kill --all --signal KILL "$id" 2>/dev/null || true # ended by itself meanwhile
    done
    for id in $(tasks ls -q 2>/dev/null || true); do
        tasks delete --force "$id" > /dev/null 2>&1 || true # deleted by itself meanwhile
    done
fi
# A shim names its containerd on its command line; one that outlived its task would hold mounts.
for directory in /proc/[0-9]*; do
    if tr '\0' ' ' < "$directory/cmdline" 2>/dev/null | grep -q "^/usr/bin/containerd-shim.* -address $socket "; then
        kill -KILL "${directory#/proc/}" 2>/dev/null || true # ended by itself meanwhile
    fi
done
# Containers whose runtime was killed run on without it.
for container in /run/containerd/runc/k8s.io/*; do
    if [ -d "$run/containerd/io.containerd.runtime.v2.task/k8s.io/${container##*/}" ]; then runc --root "${container%/*}" delete --force "${container##*/}"; fi
done
