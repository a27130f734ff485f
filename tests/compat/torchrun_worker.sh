#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A program for --no-python: writes down its arguments and what it inherited, says a line, exits
# with $TRW_EXIT.
{
    printf 'argument %s\n' "$0" "$@"
    printf 'fds'
    for fd in 0 1 2 3 4 5 6 7 8 9; do
        [ -e "/proc/$$/fd/$fd" ] && printf ' %s' "$fd"
    done
    printf '\n'
    # Without 32 and 33, the C library's own: whoever started the tests may ignore them, nobody can change it.
    ignored=$(awk '/^SigIgn/ { print $2 }' "/proc/$$/status")
    printf 'SigIgn %016x\n' $((0x$ignored & ~0x180000000))
} 3>&- >"$TRW_DIR/program.$RANK"
echo "#w $RANK program"
exit "${TRW_EXIT:-0}"
