#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Keep one background process: process.sh start|stop RUN_DIRECTORY LOG_DIRECTORY NAME [PROGRAM ARGUMENT…]
# Prints "changed" when it started or stopped something. start-stop-daemon is part of every Debian.
set -eu
action=$1 run=$2 logs=$3 name=$4
shift 4
pidfile=$run/$name.pid

case $action in
start)
    program=$1
    shift
    if pid=$(cat "$pidfile" 2>/dev/null) && ! start-stop-daemon --status --pidfile "$pidfile" --exec "$program"; then
        # The same component, built or installed anew since: the old one goes. Any other program only got its number,
        # and one that has ended has no program any more.
        case $(readlink "/proc/$pid/exe" || true) in
        */tools-*/bin/kubernetes* | "$program (deleted)")
            start-stop-daemon --stop --quiet --oknodo --pidfile "$pidfile" --retry TERM/20/KILL/5 ;;
        esac
    fi
    if start-stop-daemon --start --background --make-pidfile --pidfile "$pidfile" --output "$logs/$name.log" --exec "$program" -- "$@"; then
        # One that dies at once (a port taken, a wrong flag) is reported here and not as a time-out later.
        sleep 0.3
        if ! start-stop-daemon --status --pidfile "$pidfile"; then
            echo "$name ended at once; the end of $logs/$name.log:" >&2
            tail -n 15 "$logs/$name.log" >&2
            exit 1
        fi
        echo changed
    fi
    ;;
stop)
    pid=$(cat "$pidfile" 2>/dev/null) || exit 0
    # After a restart of the machine another program may have its number; one that has ended has no program, which is no failure.
    case $(readlink "/proc/$pid/exe" || true) in
    */tools-*/bin/kubernetes* | /usr/bin/containerd* | /usr/bin/docker-registry*) ;;
    *) rm -f "$pidfile" && exit 0 ;;
    esac
    if start-stop-daemon --stop --quiet --oknodo --remove-pidfile --pidfile "$pidfile" --retry TERM/20/KILL/5; then echo changed; fi
    ;;
esac
