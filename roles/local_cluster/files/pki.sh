#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Make the certificates of the local cluster: pki.sh DIRECTORY DOMAIN NODE_IP SERVICE_IP FILE/USER/GROUP…
# Everything is made in a temporary directory and renamed at the end: half a set is never left behind.
set -eu
umask 077
target=$1 domain=$2 node_ip=$3 service_ip=$4
shift 4
work=$target.tmp
rm -rf "$work"
mkdir -p "$work"
cd "$work"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

# sign FILE SUBJECT EXTENSIONS: a certificate for FILE.key, valid for ten years, from the CA
sign() {
    key "$1"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n%b\n' "$3" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
    rm "$1.csr" "$1.ext"
}

key ca
openssl req -x509 -new -key ca.key -subj "/CN=thinkube-chroma local cluster" -days 3650 \
    -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature -out ca.crt
sign etcd /CN=etcd "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=IP:127.0.0.1,DNS:localhost"
sign apiserver /CN=kube-apiserver "extendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1,IP:$node_ip,IP:$service_ip,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
sign wildcard "/CN=*.$domain" "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:*.$domain,DNS:$domain"
for client in "$@"; do
    file=${client%%/*} rest=${client#*/}
    user=${rest%%/*} group=${rest#*/}
    sign "$file" "${group:+/O=$group}/CN=$user" extendedKeyUsage=clientAuth
done
echo "$domain" > domain
key service-account
openssl ec -in service-account.key -pubout -out service-account.pub 2>/dev/null
rm -rf "$target"
mv "$work" "$target"
