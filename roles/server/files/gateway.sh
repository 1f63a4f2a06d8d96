#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs the gateway: turns the mounted Secret into nginx's token map, keeps nginx in the foreground, and loads new tokens
# without a restart. POSIX shell only. Tokens stay in builtins and in one file of mode 0600: no process list shows one.
#
# Secret keys: auth-token (administrator), token.NAME.read, token.NAME.write; each also with .previous, accepted beside
# it. An empty value is no token. A new Secret with a malformed token is not loaded; at the start, only that token is not.

set -u
umask 077
LC_ALL=C
PATH=$PATH:/usr/sbin
export LC_ALL PATH

secrets=${CHROMA_GATEWAY_SECRETS:-/etc/chroma-auth}
config=${CHROMA_GATEWAY_CONFIG:-/etc/chroma-gateway/nginx.conf}
work=${CHROMA_GATEWAY_WORK:-/tmp/gateway}
interval=${CHROMA_GATEWAY_INTERVAL:-5}

log() { # LEVEL MESSAGE
    printf '{"time":"%s","level":"%s","message":"%s"}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$2" >&2
}

# Print the map's line of one token, or a comment that says what is wrong with it.
entry() { # FILE NAME SCOPE
    value=
    IFS= read -r value <"$1"
    size=$(wc -c <"$1")
    case $value in
        *[!!-~]* | *[\"\'\`\\]*) size=0 value='?' ;;
    esac
    case $1 in
        *.previous) age=previous ;;
        *) age= ;;
    esac
    if [ "$size" -ne "${#value}" ] || [ "$size" -gt 1024 ]; then
        printf '# %s: must be 1 to 1024 printable ASCII characters on one line, without space, quote, backtick or backslash\n' "$1"
    elif [ "$size" -gt 0 ]; then
        printf '"~^\\Q%s\\E\\z" "%s:%s:%s";\n' "$value" "$2" "$3" "$age"
    fi
}

# Print the map of all tokens. Fails where the Secret was replaced meanwhile.
tokens() {
    data=$secrets/..data # kubelet replaces this link and so all keys at once
    [ -d "$data" ] || data=$secrets
    cd -P "$data" 2>/dev/null || {
        echo "# $secrets: cannot be read"
        return 0
    }
    [ -e auth-token ] || echo '# auth-token: is missing'
    for key in auth-token auth-token.previous token.*; do
        [ -e "$key" ] || continue
        name=${key#token.}
        name=${name%.previous}
        scope=${name##*.}
        name=${name%.*}
        case $key in
            auth-token*) entry "$key" admin write ;;
            token.[a-zA-Z0-9]*.read | token.[a-zA-Z0-9]*.write | token.[a-zA-Z0-9]*.read.previous | token.[a-zA-Z0-9]*.write.previous)
                if [ "$name" = admin ]; then
                    echo "# $key: the name admin is the administrator's"
                else
                    entry "$key" "$name" "$scope"
                fi
                ;;
            *) echo "# $key: must be token.NAME.read or token.NAME.write" ;;
        esac
    done
    # shellcheck disable=SC3013 # dash and busybox have it
    [ . -ef "$data" ]
}

log_problems() { # MAP
    printf '%s\n' "$1" | sed -n 's/^# //p' | while IFS= read -r problem; do
        log error "$problem"
    done
}

write_map() { # MAP
    printf '%s\n' "$1" >"$work/tokens.new" && mv "$work/tokens.new" "$work/tokens.map"
}

# Follow the Secret for ever; every path ends with the old map or a tested new one.
watch() { # MAP
    loaded=$1
    seen=$1
    while :; do
        # shellcheck disable=SC2217 # so that it holds no file of a stopped gateway open
        sleep "$interval" </dev/null >/dev/null 2>&1
        new=$(tokens) || continue
        [ "$new" != "$seen" ] || continue
        seen=$new
        case $new in
            '# '* | *"
# "*)
                log_problems "$new"
                log error "The new tokens are not loaded; the old ones stay."
                continue
                ;;
        esac
        write_map "$new"
        # Silent, because nginx would quote what it does not understand.
        if nginx -t -q -e stderr -p "$work/" -c "$work/nginx.conf" >/dev/null 2>&1; then
            : >closing # nginx.conf says why
            sleep 1
            kill -HUP "$nginx"
            loaded=$new
            sleep 1
            rm closing
            log info "New tokens are loaded."
        else
            write_map "$loaded"
            log error "nginx does not take the new tokens; the old ones stay."
        fi
    done
}

trap 'exit 143' TERM INT

mkdir -p "$work"
cd "$work" || exit 1
rm -f closing
if [ -s /proc/net/if_inet6 ]; then
    cat "$config"
else
    sed '/listen \[::\]/d' "$config"
fi >"$work/nginx.conf"
until map=$(tokens); do :; done
log_problems "$map"
write_map "$map"

nginx -e stderr -p "$work/" -c "$work/nginx.conf" &
nginx=$!
trap 'kill -QUIT "$nginx"' TERM INT # QUIT: requests in flight are answered first
# Without its watcher a gateway would accept a revoked token for ever: it ends, and is started anew.
(
    trap 'kill -QUIT "$nginx"' EXIT
    watch "$map"
) &
watcher=$!

wait "$nginx"
status=$?
while [ "$status" -gt 128 ] && kill -0 "$nginx" 2>/dev/null; do # a signal ended wait, not nginx
    wait "$nginx"
    status=$?
done
kill "$watcher" 2>/dev/null
exit "$status"
