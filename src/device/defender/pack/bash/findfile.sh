# `findfile`: the entries below a directory whose names and facts fit.
# shellcheck shell=bash

# A time as find takes it into REPLY.
time_argument() {
    REPLY=${ARG[$1]-}
    if [[ -z $REPLY ]]; then return; fi
    if [[ $REPLY != [0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][Tt][0-9][0-9]:[0-9][0-9]:[0-9][0-9]?(.+([0-9]))@([Zz]|[+-][0-9][0-9]:[0-9][0-9]) ]]; then
        fail E_BAD_ARGS "$1 is no time such as 2026-01-31T12:00:00Z: $REPLY"
    fi
    REPLY=${REPLY//[Tt]/ }
    REPLY=${REPLY/%[Zz]/ +0000}
}

# `{a,b}` is an alternative: the patterns that find takes for $1 into PATTERNS.
declare -a PATTERNS=()
alternatives() {
    local text=$1 head tail part
    if [[ $text != *'{'*'}'* || $text == *\\* || ${#PATTERNS[@]} -gt 100 ]]; then
        PATTERNS+=("$text")
        return
    fi
    tail=${text#*\}}
    head=${text%%\}*}
    part=${head##*\{}
    head=${head%\{*}
    local -a parts=()
    IFS=, read -r -a parts <<<"$part,"
    for part in "${parts[@]}"; do alternatives "$head$part$tail"; done
}

main() {
    local path most name separator=''
    known_arguments name path max_depth min_size max_size modified_after modified_before max_rows
    [[ -n ${ARG[name]-} ]] || fail E_BAD_ARGS 'argument name is missing'
    path_bytes "${ARG[name]}" || fail E_BAD_ARGS "${ARG[name]} is no pattern for a name"
    [[ ${#REPLY} -le 1024 && $REPLY != */* ]] || fail E_BAD_ARGS 'a pattern for a name has no / and at most 1024 bytes'
    alternatives "$REPLY"
    ARG[path]=${ARG[path]-/}
    directory_argument
    path=$REPLY
    skipped_mounts "$path/"

    local -a command=(find -H "$path/" -mindepth 1)
    number_argument max_depth ''
    if [[ $REPLY == 0 ]]; then fail E_BAD_ARGS 'max_depth 0 searches nothing'; fi
    if [[ -n $REPLY ]]; then command+=(-maxdepth "$REPLY"); fi
    prune_skipped
    command+=(${PRUNED[@]+"${PRUNED[@]}"})
    command+=('(')
    for name in "${PATTERNS[@]}"; do
        command+=(${separator:+"$separator"} -name "$name")
        separator=-o
    done
    command+=(')')
    number_argument min_size ''
    if [[ -n $REPLY ]]; then command+=(-type f '(' -size "+${REPLY}c" -o -size "${REPLY}c" ')'); fi
    number_argument max_size ''
    if [[ -n $REPLY ]]; then command+=(-type f '!' -size "+${REPLY}c"); fi
    time_argument modified_after
    if [[ -n $REPLY ]]; then command+=(-newermt "$REPLY"); fi
    time_argument modified_before
    if [[ -n $REPLY ]]; then command+=('!' -newermt "$REPLY"); fi
    number_argument max_rows 50000
    most=$REPLY

    list_entries "$most" "${command[@]}"
    if ((EUID != 0)); then warn "what uid $EUID may not read was not searched: run as root"; fi
}

begin findfile rows "$@"
main
finished
