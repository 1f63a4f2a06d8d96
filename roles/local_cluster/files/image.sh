#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Build an image without a container engine and push it: image.sh CACHE MARKER REFERENCE DIRECTORY CONTEXT [OPTION-OF-BUILDAH…]
# DIRECTORY holds the Containerfile; "debootstrap" in its place makes Debian's base from the machine's own mirror.
# MARKER is written last, so that an interrupted build is made again.
set -eu
cache=$1 marker=$2 reference=$3 directory=$4 context=$5
shift 5
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=overlay TMPDIR="$cache/tmp"
mkdir -p "$TMPDIR" "$(dirname "$marker")"
policy=$TMPDIR/policy.json
echo '{"default": [{"type": "insecureAcceptAnything"}]}' > "$policy"
image() { buildah --root "$cache/buildah" --runroot /run/thinkube-chroma/buildah "$@"; }

if [ "$directory" = debootstrap ]; then
    context=$TMPDIR/debootstrap
    # One that was killed has left its /proc and /sys mounted there.
    clear() {
        grep -F " $context/" /proc/mounts | cut -d ' ' -f 2 | sort -r | xargs -r umount -l
        rm -rf "$context"
    }
    trap clear EXIT
    clear
    # The machine's own mirror: the first URI of its sources, in either of Debian's two formats.
    mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list \
        2>/dev/null | head -n 1)
    env -u TMPDIR debootstrap --variant=minbase --include=ca-certificates bookworm "$context" ${mirror:+"$mirror"}
    # What the machine trusts, its containers trust: a proxy that re-signs TLS is common in companies.
    cp /usr/local/share/ca-certificates/*.crt "$context/usr/local/share/ca-certificates/" 2>/dev/null || :
    env -u TMPDIR chroot "$context" update-ca-certificates
    rm -rf "$context"/var/cache/apt/archives/*.deb "$context"/var/lib/apt/lists/*
    containerfile=$TMPDIR/Containerfile.base
    printf 'FROM scratch\nCOPY . /\nCMD ["/bin/bash"]\n' > "$containerfile"
else
    containerfile=$directory/Containerfile
fi

image build --signature-policy "$policy" --tls-verify=false --layers=false --format oci "$@" --tag "$reference" --file "$containerfile" "$context"
image push --signature-policy "$policy" --tls-verify=false --disable-compression --quiet "$reference" "docker://$reference"
case $reference in
*/chroma-operations-base:*) ;; # the next one is made of it, and to fetch it again would take longer than to build
*/chroma-operations:*) image rmi --force "$reference" > /dev/null ;;
*) image rmi --all --force > /dev/null ;;
esac
# A node that has another image of this name would keep it.
socket=/run/thinkube-chroma/containerd.sock
if [ -S $socket ]; then ctr --address $socket --namespace k8s.io images rm "$reference" > /dev/null 2>&1 || true; fi # it has none
touch "$marker"
