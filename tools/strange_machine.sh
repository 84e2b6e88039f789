#!/bin/sh
# Runs a command as on a machine that is unlike ours: from a script in the background, whose SIGINT is ignored and
# whose stdin is closed, without a terminal; few file descriptors, a strict umask, no HOME, no locale, a time zone a
# day ahead, and a temporary directory with a path that is too long for Unix sockets.
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap '' INT
umask 077
ulimit -n 1024
unset HOME LANG LANGUAGE
export LC_ALL=C TZ=Pacific/Kiritimati PYTHONHASHSEED=1
export TMPDIR="$place/a-directory-with-a-name-as-long-as-some-build-systems-make-them/and-another-one-in-it"
mkdir -p "$TMPDIR"
{ "$@" <&- 2>&1; echo $? >"$place/status"; } | cat
exit "$(cat "$place/status")"
