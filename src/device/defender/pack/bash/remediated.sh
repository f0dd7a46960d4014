# `remediated`: what was taken away on this device and can be brought back.
# shellcheck shell=bash

main() {
    local folder id unread=0
    known_arguments kind
    if [[ ! -e $STORE && ! -L $STORE ]]; then return; fi
    require_store
    for folder in "$STORE"/u-*; do
        if late; then break; fi
        id=${folder##*/}
        if ! read_record "$id"; then
            unread=$((unread + 1))
            continue
        fi
        if [[ -n ${ARG[kind]-} && ${RECORD[kind]-} != "${ARG[kind]}" ]]; then continue; fi
        open_object
        put_text type "${RECORD[kind]-}"
        put_text id "${RECORD[id]-}"
        put_text outcome "${RECORD[outcome]-}"
        put_text undo_id "$id"
        put_text path "${RECORD[path]-}"
        put_text sha256 "${RECORD[sha256]-}"
        put size_bytes "${RECORD[size_bytes]-}"
        put_text at "${RECORD[at]-}"
        put_text note "${RECORD[note]-}"
        row || break
    done
    if ((unread > 0)); then warn "$unread records in $STORE cannot be read"; fi
}

begin remediated rows "$@"
main
finished
