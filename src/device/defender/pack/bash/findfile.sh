# `findfile`: the entries below a directory whose names and facts fit.
# shellcheck shell=bash

# Kinds of file system that are not searched unless they are named: of the network, or made up by the kernel.
readonly SKIPPED='nfs|nfs4|cifs|smb3|smbfs|fuse|fuse.*|fuseblk.*|autofs|afs|ceph|9p|glusterfs|lustre|ncpfs|coda|proc|sysfs|cgroup|cgroup2|devpts|debugfs|tracefs|securityfs|pstore|bpf|configfs|fusectl|binfmt_misc|efivarfs|mqueue|hugetlbfs|rpc_pipefs|nsfs|selinuxfs'

# Mount points below $1 that are skipped into SKIP.
declare -a SKIP=()
skipped_mounts() {
    local at type line names=''
    while read -r _ _ _ _ at line; do
        type=${line##* - }
        type=${type%% *}
        # shellcheck disable=SC2053
        if [[ $type != @($SKIPPED) ]]; then continue; fi
        unescaped "$at"
        if [[ $REPLY == "${1%/}"/?* ]]; then
            SKIP+=("$REPLY")
            if ((${#SKIP[@]} <= 10)); then names+=" $REPLY"; fi
        fi
    done 2>/dev/null < <(within head -c $((4 << 20)) /proc/self/mountinfo)
    if ((${#SKIP[@]} > 0)); then warn "not searched, since they are of the network or of the kernel:$names"; fi
}

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
    local path text most name separator=''
    known_arguments name path max_depth min_size max_size modified_after modified_before max_rows
    [[ -n ${ARG[name]-} ]] || fail E_BAD_ARGS 'argument name is missing'
    path_bytes "${ARG[name]}" || fail E_BAD_ARGS "${ARG[name]} is no pattern for a name"
    [[ ${#REPLY} -le 1024 && $REPLY != */* ]] || fail E_BAD_ARGS 'a pattern for a name has no / and at most 1024 bytes'
    alternatives "$REPLY"
    ARG[path]=${ARG[path]-/}
    path_argument path
    path=$REPLY
    require_path "$path"
    path_text "$path"
    text=$REPLY
    [[ -d $path ]] || fail E_NOT_A_FILE "$text is not a directory"
    [[ -r $path && -x $path ]] || fail E_ACCESS "$text cannot be listed as uid $EUID"
    path=${path%"${path##*[!/]}"}
    skipped_mounts "$path/"

    local -a command=(find -H "$path/" -mindepth 1)
    number_argument max_depth ''
    if [[ $REPLY == 0 ]]; then fail E_BAD_ARGS 'max_depth 0 searches nothing'; fi
    if [[ -n $REPLY ]]; then command+=(-maxdepth "$REPLY"); fi
    for name in ${SKIP[@]+"${SKIP[@]}"}; do
        # As a pattern that fits this path alone.
        name=${name//\\/\\\\}
        name=${name//\*/\\*}
        name=${name//\?/\\?}
        command+=(-path "${name//\[/\\[}" -prune -o)
    done
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

    while next_entry; do
        if late; then break; fi
        if ((${#ROWS[@]} >= most)); then
            partial "more than $most entries fit: narrow the search"
            break
        fi
        row || break
        KEYS+=("$ENTRY_PATH")
    done < <(within "${command[@]}" -printf "$ENTRY" 2>/dev/null)
    late || :
    if ((EUID != 0)); then warn "what uid $EUID may not read was not searched: run as root"; fi
    sort_rows
}

begin findfile rows "$@"
main
finished
