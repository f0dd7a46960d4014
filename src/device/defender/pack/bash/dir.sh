# `dir`: the entries of one directory, hidden ones too, sorted by name.
# shellcheck shell=bash

main() {
    local path
    known_arguments path
    directory_argument
    path=$REPLY
    read_flags "${path:-/}"
    # What fits in the answer is the limit: a row has more bytes than these.
    list_entries $((ROWS_LIMIT / 64)) find -H "$path/" -mindepth 1 -maxdepth 1
}

begin dir rows "$@"
main
finished
