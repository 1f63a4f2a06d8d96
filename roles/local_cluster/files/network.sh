#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The kernel settings and the bridge of the local cluster: network.sh up|clear|down STATE BRIDGE [ADDRESS/PREFIX]
# STATE keeps the settings that were there before, the kubelet's among them; "down" puts them back. "clear" removes the pods' rules only.
set -eu
action=$1 state=$2 bridge=$3
settings="net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops"

case $action in
up)
    if [ ! -e "$state" ] && ! ip link show "$bridge" > /dev/null 2>&1 && iptables-save 2>/dev/null | grep -q KUBE-; then
        echo "Another Kubernetes has its rules on this machine (iptables-save | grep KUBE-). Use that one: set KUBECONFIG." >&2
        exit 1
    fi
    modprobe -q br_netfilter overlay 2>/dev/null || true # built into the kernel, or loaded already
    if [ ! -e "$state" ]; then
        # shellcheck disable=SC2086 # a list of names
        sysctl -e $settings > "$state.tmp"
        mv "$state.tmp" "$state"
    fi
    if [ "$(sysctl -n net.ipv4.ip_forward)" != 1 ]; then
        sysctl -q -w net.ipv4.ip_forward=1
        echo changed
    fi
    # Without it, an answer between two pods of the bridge would not pass the Service's address translation back.
    if [ "$(sysctl -n net.bridge.bridge-nf-call-iptables)" != 1 ]; then
        sysctl -q -w net.bridge.bridge-nf-call-iptables=1
        echo changed
    fi
    if ! ip link show "$bridge" > /dev/null 2>&1; then
        ip link add "$bridge" type bridge
        echo changed
    fi
    if ! ip -4 addr show dev "$bridge" | grep -q "inet $4 "; then
        ip addr add "$4" dev "$bridge"
        ip link set "$bridge" up
        echo changed
    fi
    ;;
clear | down)
    if [ "$action" = down ] && ip link show "$bridge" > /dev/null 2>&1; then ip link del "$bridge"; fi
    # Kubernetes' rules are ours, because "up" starts beside no other. Of CNI's, which others use too, ours are those of the chains
    # whose rules name our network; what all networks share goes with the last of them. Every other rule is loaded as it was.
    if [ "$action" = down ]; then kubernetes='KUBE-|'; else kubernetes=''; fi
    for command in iptables ip6tables; do
        ours=$("$command-save" 2>/dev/null | grep -F thinkube-chroma | grep -oE 'CNI-(DN-|SN-)?[0-9a-f]{20,}' | sort -u | tr '\n' '|')
        "$command-save" 2>/dev/null | grep -E "${kubernetes}${ours}thinkube-chroma" > /dev/null || continue
        rest=$("$command-save" | grep -vE "${kubernetes}${ours}thinkube-chroma")
        printf '%s\n' "$rest" | grep -qE 'CNI-DN-' || rest=$(printf '%s\n' "$rest" | grep -v CNI-HOSTPORT-)
        printf '%s\n' "$rest" | "$command-restore"
    done
    if [ "$action" = down ] && [ -e "$state" ]; then
        sysctl -q -e -p "$state"
        rm "$state"
    fi
    ;;
esac
