# `undo`: brings back what `remediate` took away.
# Invariant: nothing is overwritten, and what is brought back is what was kept.
# shellcheck shell=bash

# The newest record that fits what was named into RECORD.
find_record() {
    local kind=$1 id=$2 folder best='' best_at='' text
    if is_undo_id "$id"; then
        read_record "$id" || fail E_NOT_FOUND "there is no record $id"
    else
        for folder in "$STORE"/u-*; do
            if ! read_record "${folder##*/}" || [[ ${RECORD[kind]-} != "$kind" ]]; then continue; fi
            if [[ ${RECORD[outcome]-} == @(restored|enabled) ]]; then continue; fi
            text=${RECORD[id]-}
            if [[ ($text == "$id" || ${RECORD[path]-} == "$id") && ! ${RECORD[at]-} < $best_at ]]; then
                best=${folder##*/} best_at=${RECORD[at]-}
            fi
        done
        [[ -n $best ]] || fail E_NOT_FOUND "nothing was taken away as $kind $id"
        read_record "$best" || fail E_NOT_FOUND "there is no record $best"
    fi
    [[ ${RECORD[kind]-} == "$kind" ]] || fail E_BAD_ARGS "${RECORD[undo_id]} is a ${RECORD[kind]-}, not a $kind"
    [[ ${RECORD[outcome]-} != @(restored|enabled) ]] || fail E_EXISTS "${RECORD[undo_id]} is brought back already"
}

CONTENT='' HOW='' STATE=''
look() {
    local path
    CONTENT=$STORE/${RECORD[undo_id]}/content
    if [[ -n ${RECORD[unit]-} ]]; then HOW=unit; elif [[ -n ${RECORD[line]-} ]]; then HOW=line; elif [[ ${RECORD[kind]} == process ]]; then HOW=process; else HOW='file'; fi
    fact undo_id "${RECORD[undo_id]}"
    fact kind "${RECORD[kind]}"
    fact id "${RECORD[id]-}"
    fact outcome "${RECORD[outcome]-}"
    fact at "${RECORD[at]-}"
    fact path "${RECORD[path]-}"
    fact target "${RECORD[target]-}"
    fact sha256 "${RECORD[sha256]-}"
    fact size_bytes "${RECORD[size_bytes]-}"
    fact unit "${RECORD[unit]-}"
    fact line "${RECORD[line]-}"
    if [[ -n ${RECORD[content]-} && -n ${RECORD[sha256]-} ]]; then
        [[ -f $CONTENT && ! -L $CONTENT ]] || fail E_NOT_FOUND "what was kept of ${RECORD[undo_id]} is gone"
        hash_files "$CONTENT"
        [[ ${SHA256[$CONTENT]-} == "${RECORD[sha256]}" ]] ||
            fail E_DIGEST_MISMATCH "what was kept of ${RECORD[undo_id]} is not what was taken"
    fi
    case $HOW in
        process) fail E_UNSUPPORTED "a process is not started again; its image is kept as $CONTENT" ;;
        file | line)
            path_bytes "${RECORD[path]-}" || fail E_BAD_ARGS 'the record names no path'
            path=$REPLY
            go_beside "$path" || fail E_NOT_FOUND "the directory of ${RECORD[path]} is gone"
            [[ $REAL_PATH == "$path" ]] || fail E_PATH_ESCAPE "the directory of ${RECORD[path]} is a link by now"
            ;;
    esac
    if [[ $HOW == file ]]; then
        if [[ -e ./$NAME || -L ./$NAME ]]; then fail E_EXISTS "${RECORD[path]} is there: it is not overwritten"; fi
    elif [[ $HOW == line ]]; then
        [[ -f ./$NAME && ! -L ./$NAME ]] || fail E_NOT_FOUND "${RECORD[path]} is gone: the line cannot be put back"
        hash_files "./$NAME"
        STATE=${SHA256[./$NAME]-}
        fact file_sha256 "$STATE"
    fi
}

mark() {
    RECORD[outcome]=$1
    write_record || warn 'the record could not be brought up to date'
    answer_act "$1" "${RECORD[undo_id]}" "$2" ''
}

restore_file() {
    local new=.live-response-${RECORD[undo_id]} verified=false target
    rm -f -- "./$new"
    if [[ -n ${RECORD[target]-} ]]; then
        path_bytes "${RECORD[target]}" || fail E_BAD_ARGS 'the record names no target'
        target=$REPLY
        # It fails where the name is taken.
        ln -sT -- "$target" "./$NAME" 2>/dev/null || fail E_EXISTS "${RECORD[path]} cannot be made"
        chown -h "${RECORD[uid]}:${RECORD[gid]}" -- "./$NAME" 2>/dev/null || :
        if [[ -L ./$NAME ]]; then verified=true; fi
        mark restored "$verified"
        return
    fi
    within cp -aT -- "$CONTENT" "./$new" 2>/dev/null ||
        { rm -f -- "./$new"; fail E_BACKEND "${RECORD[path]} cannot be written"; }
    SHA256=()
    hash_files "./$new"
    if [[ ${SHA256[./$new]-} != "${RECORD[sha256]}" ]]; then
        rm -f -- "./$new"
        fail E_DIGEST_MISMATCH "${RECORD[path]} could not be written as it was"
    fi
    # A link fails where the name is taken, whatever happens at the same time.
    if ln -T -- "./$new" "./$NAME" 2>/dev/null; then
        rm -f -- "./$new"
    else
        mv -nT -- "./$new" "./$NAME" 2>/dev/null
        if [[ -e ./$new ]]; then
            rm -f -- "./$new"
            fail E_EXISTS "${RECORD[path]} is there by now: it is not overwritten"
        fi
    fi
    if [[ -n ${RECORD[flags]-} ]]; then chattr "+${RECORD[flags]//[!ia]/}" -- "./$NAME" 2>/dev/null || :; fi
    SHA256=()
    hash_files "./$NAME"
    if [[ ${SHA256[./$NAME]-} == "${RECORD[sha256]}" ]] && file_facts "./$NAME" -P &&
        [[ $F_BITS == "${RECORD[mode]}" && $F_UID == "${RECORD[uid]}" && $F_GID == "${RECORD[gid]}" ]]; then
        verified=true
        rm -f -- "$CONTENT"
        unset 'RECORD[content]'
    fi
    mark restored "$verified"
}

restore_line() {
    local new=.live-response-${RECORD[undo_id]} verified=false wanted
    rm -f -- "./$new"
    within cp -aT -- "./$NAME" "./$new" 2>/dev/null || fail E_BACKEND "${RECORD[path]} cannot be copied"
    # The text is data for awk, which takes it from its environment as it is.
    TEXT=${RECORD[text]} within awk -v "at=${RECORD[line]}" '
        NR == at { print ENVIRON["TEXT"]; done = 1 }
        { print }
        END { if (!done) print ENVIRON["TEXT"] }' "./$NAME" >"./$new" ||
        { rm -f -- "./$new"; fail E_BACKEND "${RECORD[path]} cannot be written"; }
    if [[ $STATE == "${RECORD[after_sha256]-}" ]]; then
        # Nothing else was changed since: the file is as it was, to the last byte.
        within cat -- "$CONTENT" >"./$new"
    fi
    SHA256=()
    hash_files "./$NAME" "./$new"
    if [[ ${SHA256[./$NAME]-} != "$STATE" ]]; then
        rm -f -- "./$new"
        fail E_ENTITY_DRIFT "file_sha256: ${RECORD[path]} changed: nothing was done"
    fi
    wanted=${SHA256[./$new]-}
    mv -fT -- "./$new" "./$NAME" || { rm -f -- "./$new"; fail E_BACKEND "${RECORD[path]} cannot be written"; }
    SHA256=()
    hash_files "./$NAME"
    if [[ -n $wanted && ${SHA256[./$NAME]-} == "$wanted" ]]; then verified=true; fi
    touch -c . 2>/dev/null || :
    mark restored "$verified"
}

restore_unit() {
    local unit=${RECORD[unit]} verified=true state
    [[ $unit == +([A-Za-z0-9:_.@\\-]) && $unit != -* ]] || fail E_BAD_ARGS 'the record names no unit'
    if [[ ${RECORD[enabled]-} == enabled* ]]; then
        within systemctl enable -- "$unit" >/dev/null 2>&1
        state=$(within systemctl is-enabled -- "$unit" 2>/dev/null)
        if [[ $state != enabled* ]]; then verified=false; fi
    fi
    if [[ ${RECORD[active]-} == active ]]; then
        within systemctl start -- "$unit" >/dev/null 2>&1
        state=$(within systemctl is-active -- "$unit" 2>/dev/null)
        if [[ $state != active ]]; then verified=false; fi
    fi
    mark enabled "$verified"
}

main() {
    known_arguments mode kind id undo_id 'expect_+([a-z0-9_])'
    [[ ${ARG[mode]-} == @(look|do) ]] || fail E_BAD_ARGS 'mode is neither look nor do'
    [[ -n ${ARG[id]-} && -n ${ARG[kind]-} ]] || fail E_BAD_ARGS 'argument id or kind is missing'
    [[ -e $STORE ]] || fail E_NOT_FOUND 'nothing was taken away on this device'
    require_store
    find_record "${ARG[kind]}" "${ARG[id]}"
    look
    if [[ ${ARG[mode]} == look ]]; then
        answer_facts ''
        return
    fi
    require_facts
    "restore_$HOW"
}

begin undo data "$@"
main
finished
