# `dir`: the entries of one directory, hidden ones too, sorted by name.
# shellcheck shell=bash

main() {
    local path text
    known_arguments path
    path_argument path
    path=$REPLY
    require_path "$path"
    path_text "$path"
    text=$REPLY
    [[ -d $path ]] || fail E_NOT_A_FILE "$text is not a directory"
    [[ -r $path && -x $path ]] || fail E_ACCESS "$text cannot be listed as uid $EUID"
    # As an absolute path without a slash at its end, so that those of the entries have one slash.
    path=${path%"${path##*[!/]}"}
    read_flags "${path:-/}"
    read_created "$path/"
    while next_entry; do
        if late || ! row; then break; fi
        KEYS+=("$ENTRY_PATH")
    done < <(within find -H "$path/" -mindepth 1 -maxdepth 1 -printf "$ENTRY" 2>/dev/null)
    late || :
    sort_rows
}

begin dir rows "$@"
main
finished
