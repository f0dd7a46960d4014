# `remediate`: looks at one entity (`look`), or takes it away so that `undo` brings it back (`do`).
# Invariant: nothing is changed before every fact is as approved and the record of it is on the disk.
# shellcheck shell=bash

UNDO_ID='' NOTE=''

# --- what the device lives on -----------------------------------------------------------------------------------------

# Ends the script where file $1 (identity $2) is one that the device, Defender or this program lives on.
refuse_protected() {
    local path=$1 id file line
    path_text "$path"
    local text=$REPLY
    case $path in
        /proc/* | /sys/* | /dev/@(null|zero|full|random|urandom|console|tty|ptmx|kmsg|mem) | /etc/@(passwd|shadow|group|gshadow|fstab) | \
            /@(opt|etc/opt|var/opt|var/log)/microsoft/* | /var/lib/live-response/* | /usr/local/bin/live-response | \
            /usr/bin/live-response | */lib*/@(ld-linux*|ld-musl-*|ld-2.*|ld.so*|libc.so*|libc-2.*) | \
            /boot/@(vmlinu[xz]|initr|grub|efi)* | */systemd/systemd)
            fail E_PROTECTED "$text is part of what this device or its protection runs on"
            ;;
        # A merged /usr, and links by which the system's own programs are found.
        /@(bin|sbin|lib|lib32|lib64|libx32|usr|etc|var|tmp|run|home|root|boot) | \
            /@(bin|sbin|lib|lib64|usr/bin|usr/sbin|usr/lib|usr/lib64)/@(sh|bash|dash|init|env|login|su|sudo|mount))
            fail E_PROTECTED "$text is part of what this device runs on"
            ;;
    esac
    local -a files=(/sbin/init /usr/lib/systemd/systemd /lib/systemd/systemd /bin/sh /bin/bash /proc/1/exe /proc/$$/exe)
    while IFS= read -r line; do
        if [[ $line == */* ]]; then files+=("/${line#*/}"); fi
    done 2>/dev/null < <(cat "/proc/$$/maps" /proc/1/maps 2>/dev/null | sort -u -k 6 | head -n 2000)
    while IFS= read -r -d '' id; do
        if [[ $id == "$2" ]]; then fail E_PROTECTED "$text is part of what this device or this script runs on"; fi
    done < <(
        within find -L "${files[@]}" -maxdepth 0 -printf '%D:%i\0' 2>/dev/null
        # The links of that name too: without /bin/sh nothing starts.
        within find -P "${files[@]}" -maxdepth 0 -printf '%D:%i\0' 2>/dev/null
    )
}

# --- files ------------------------------------------------------------------------------------------------------------

look_at_file() {
    local path
    path_bytes "$1" || fail E_BAD_ARGS 'id is no path'
    path=$REPLY
    [[ $path == /* ]] || fail E_BAD_ARGS 'id is not an absolute path'
    require_path "$path"
    go_beside "$path" || fail E_NOT_A_FILE "$1 is not in a directory that can be entered"
    file_facts "./$NAME" -P || fail E_NOT_FOUND "there is no $1"
    refuse_protected "$REAL_PATH" "$F_ID"
    [[ $F_KIND == [fl] ]] || fail E_NOT_A_FILE "$1 is neither a file nor a link"
    path_text "$REAL_PATH"
    fact path "$REPLY"
    if [[ $F_KIND == l ]]; then
        path_text "$F_TARGET"
        fact target "$REPLY"
        NOTE='the link itself goes, and not what it leads to'
    else
        fact size_bytes "$F_SIZE"
    fi
    time_of_find "$F_MODIFIED"
    fact modified "$REPLY"
    MD5='' SHA1='' DIGEST=''
    if [[ $F_KIND == f ]]; then
        three_hashes "./$NAME" || fail E_ACCESS "$1 cannot be read whole"
        fact sha256 "$DIGEST"
        fact sha1 "$SHA1"
    fi
    fact owner "$F_OWNER"
    fact mode "$F_MODE"
    fact flags "${F_FLAGS//[-e]/}"
    fact identity "$F_ID"
    fact links "$F_LINKS"
    if [[ $F_KIND == f ]]; then
        package_of "$REAL_PATH" "$MD5" "$DIGEST"
        fact package "$PACKAGE${PACKAGE_VERSION:+ $PACKAGE_VERSION}"
        fact package_unmodified "$UNMODIFIED"
        if ((F_LINKS > 1)); then NOTE="the file has $F_LINKS names, and only this one goes"; fi
    fi
}

# Opens the record with what every kind has.
open_record() {
    UNDO_ID=${ARG[undo_id]-}
    is_undo_id "$UNDO_ID" || fail E_BAD_ARGS 'undo_id is not u- and 32 hexadecimal digits'
    require_store make
    mkdir -m 0700 -- "$STORE/$UNDO_ID" 2>/dev/null || fail E_EXISTS "$UNDO_ID is used already"
    local at
    printf -v at '%(%Y-%m-%dT%H:%M:%SZ)T' -1
    RECORD=([undo_id]=$UNDO_ID [kind]=$KIND [id]=$ID [outcome]=planned [at]=$at)
}

# Ends the script before anything was changed, and leaves no record.
give_up() {
    rm -rf -- "${STORE:?}/${UNDO_ID:?}"
    fail "$1" "$2"
}

# Keeps file ./NAME and takes it away.
take_file() {
    local taken=.live-response-$UNDO_ID id=$F_ID
    RECORD[path]=${FACT[path]} RECORD[mode]=$F_BITS RECORD[uid]=$F_UID RECORD[gid]=$F_GID
    RECORD[flags]=${FACT[flags]-}
    if [[ $F_KIND == l ]]; then
        RECORD[target]=${FACT[target]}
    else
        RECORD[sha256]=$DIGEST RECORD[sha1]=$SHA1 RECORD[size_bytes]=$F_SIZE RECORD[content]=content
        if ! within cp -aT --no-dereference -- "./$NAME" "$STORE/$UNDO_ID/content" 2>/dev/null; then
            give_up E_STORE_UNAVAILABLE "a copy of $ID cannot be kept in $STORE: nothing was done"
        fi
        hash_files "$STORE/$UNDO_ID/content"
        [[ ${SHA256[$STORE/$UNDO_ID/content]-} == "$DIGEST" ]] ||
            give_up E_ENTITY_DRIFT "sha256 changed while $ID was copied: nothing was done"
        sync -- "$STORE/$UNDO_ID/content" 2>/dev/null || sync
    fi
    write_record || give_up E_STORE_UNAVAILABLE "no record can be written in $STORE: nothing was done"
    if [[ -n ${RECORD[flags]} ]]; then chattr -ia -- "./$NAME" 2>/dev/null || :; fi
    # Under another name first: what has the name by now may be another file.
    if ! mv -nT -- "./$NAME" "./$taken" 2>/dev/null || [[ ! -e ./$taken && ! -L ./$taken ]]; then
        if [[ -n ${RECORD[flags]} ]]; then chattr "+${RECORD[flags]}" -- "./$NAME" 2>/dev/null || :; fi
        give_up E_ACCESS "$ID cannot be moved"
    fi
    file_facts "./$taken" -P
    if [[ $F_ID != "$id" ]]; then
        mv -nT -- "./$taken" "./$NAME" 2>/dev/null
        give_up E_ENTITY_DRIFT "identity of $ID changed: nothing was done"
    fi
    rm -f -- "./$taken"
    local verified=false
    if [[ ! -e ./$taken && ! -L ./$taken ]] && [[ ! -e ./$NAME && ! -L ./$NAME ]]; then verified=true; fi
    RECORD[outcome]=quarantined
    if [[ -n ${RECORD[target]-} ]]; then RECORD[outcome]=unlinked; fi
    write_record || warn 'the record could not be brought up to date'
    answer_act "${RECORD[outcome]}" "$UNDO_ID" "$verified" "$NOTE"
}

# --- processes --------------------------------------------------------------------------------------------------------

look_at_process() {
    local pid=$1 line boot above image deleted=''
    [[ $pid == [1-9]*([0-9]) && ${#pid} -le 10 ]] || fail E_BAD_ARGS "$pid is no pid"
    process_stat "$pid" || fail E_NOT_FOUND "no process $pid: it never was, or it has ended"
    while read -r line above; do
        if [[ $line == Tgid: && $above != "$pid" ]]; then fail E_NOT_FOUND "$pid is a thread of process $above"; fi
    done 2>/dev/null <"/proc/$pid/status"
    [[ $P_STATE != [ZXx] ]] || fail E_NOT_FOUND "process $pid has ended already"
    if ((pid <= 2 || P_FLAGS & 0x00200000)); then fail E_PROTECTED "process $pid is the system's first or the kernel's"; fi
    image=$(readlink -- "/proc/$pid/exe" 2>/dev/null && printf x) || image=''
    image=${image%$'\nx'}
    case $P_NAME in
        systemd | systemd-@(journal|udevd|logind)* | init | dbus-daemon | dbus-broker* | mdatp* | wdavdaemon* | live-response*)
            fail E_PROTECTED "process $pid, $P_NAME, is one that the device or its protection lives on"
            ;;
    esac
    case $image in
        /opt/microsoft/* | */live-response) fail E_PROTECTED "process $pid belongs to Defender or to live-response" ;;
    esac
    local name=$P_NAME state=$P_STATE ticks=$P_TICKS
    above=$$
    while ((above > 1)); do
        if ((above == pid)); then fail E_PROTECTED "process $pid is the one that runs this script"; fi
        process_stat "$above" || break
        above=$P_PARENT
    done
    P_NAME=$name P_STATE=$state P_TICKS=$ticks
    read_line /proc/sys/kernel/random/boot_id
    boot=$REPLY
    fact pid "$pid"
    fact started "$ticks ticks after boot $boot"
    fact name "$name"
    file_facts "/proc/$pid" -P || fail E_NOT_FOUND "process $pid has ended"
    user_name "$F_UID"
    fact user "$REPLY"
    command_line "$pid"
    fact command_line "$REPLY"
    path_text "$image"
    fact path "$REPLY"
    if [[ -n $image ]] && file_facts "/proc/$pid/exe" -L && three_hashes "/proc/$pid/exe"; then
        fact sha256 "$DIGEST"
        fact size_bytes "$F_SIZE"
    fi
    NOTE='the image is kept; a process that was stopped cannot be started again as it was'
}

# Whether process $1 is still the one that started at tick $2.
is_running() { process_stat "$1" && [[ $P_TICKS == "$2" && $P_STATE != [ZXx] ]]; }

take_process() {
    local pid=$ID ticks=$P_TICKS verified=false turn
    RECORD[path]=${FACT[path]-}
    kill -STOP "$pid" 2>/dev/null || give_up E_ACCESS "process $pid cannot be stopped as uid $EUID"
    if ! is_running "$pid" "$ticks"; then
        kill -CONT "$pid" 2>/dev/null
        give_up E_ENTITY_DRIFT "started: process $pid is another by now: nothing was done"
    fi
    if [[ -n ${FACT[sha256]-} ]]; then
        if ! within cp -T -- "/proc/$pid/exe" "$STORE/$UNDO_ID/content" 2>/dev/null; then
            kill -CONT "$pid" 2>/dev/null
            give_up E_STORE_UNAVAILABLE "the image of process $pid cannot be kept in $STORE: nothing was done"
        fi
        hash_files "$STORE/$UNDO_ID/content"
        if [[ ${SHA256[$STORE/$UNDO_ID/content]-} != "${FACT[sha256]}" ]]; then
            kill -CONT "$pid" 2>/dev/null
            give_up E_ENTITY_DRIFT "sha256 of the image of process $pid changed: nothing was done"
        fi
        RECORD[content]=content RECORD[sha256]=${FACT[sha256]} RECORD[size_bytes]=${FACT[size_bytes]}
    fi
    RECORD[text]=${FACT[command_line]-}
    if ! write_record; then
        kill -CONT "$pid" 2>/dev/null
        give_up E_STORE_UNAVAILABLE "no record can be written in $STORE: nothing was done"
    fi
    kill -KILL "$pid" 2>/dev/null
    for ((turn = 0; turn < 100; turn++)); do
        if ! is_running "$pid" "$ticks"; then
            verified=true
            break
        fi
        sleep 0.05
    done
    RECORD[outcome]=stopped
    write_record || warn 'the record could not be brought up to date'
    answer_act stopped "$UNDO_ID" "$verified" "$NOTE"
}

# --- services and timers ----------------------------------------------------------------------------------------------

declare -A UNIT=()
look_at_unit() {
    local unit=$1 line path
    [[ $unit == +([A-Za-z0-9:_.@\\-]) && ${#unit} -le 255 && $unit != -* ]] || fail E_BAD_ARGS 'id is no name of a unit'
    if [[ ! -d /run/systemd/system ]] || ! type -P systemctl >/dev/null; then
        fail E_UNSUPPORTED 'systemd does not run here, and only its units can be stopped'
    fi
    while IFS= read -r line; do if [[ $line == [A-Z]*=* ]]; then UNIT[${line%%=*}]=${line#*=}; fi; done < <(
        within systemctl show -p Id,Description,LoadState,ActiveState,SubState,UnitFileState,User,FragmentPath,MainPID,ExecStart \
            -- "$unit" 2>/dev/null
    )
    [[ -n ${UNIT[LoadState]-} && ${UNIT[LoadState]} != not-found ]] || fail E_NOT_FOUND "there is no unit $unit"
    case ${UNIT[Id]} in
        systemd-* | dbus* | init.* | -.* | mdatp* | live-response* | sshd.service | ssh.service | NetworkManager.service)
            fail E_PROTECTED "${UNIT[Id]} is one that the device or its protection lives on, or is reached by"
            ;;
    esac
    fact name "${UNIT[Id]}"
    fact display_name "${UNIT[Description]-}"
    fact state "${UNIT[ActiveState]-}"
    fact start_mode "${UNIT[UnitFileState]-}"
    fact account "${UNIT[User]:-root}"
    path=${UNIT[ExecStart]-}
    if [[ $path == *path=* ]]; then
        path=${path#*path=}
        path=${path%% ;*}
        fact path "$path"
        if [[ -f $path ]] && three_hashes "$path"; then fact sha256 "$DIGEST"; fi
    fi
    path=${UNIT[FragmentPath]-}
    fact unit_file "$path"
    if [[ -f $path ]] && three_hashes "$path"; then fact unit_sha256 "$DIGEST"; fi
    if [[ ${UNIT[UnitFileState]-} == static ]]; then NOTE='nothing enables the unit by itself: what needs it can start it again'; fi
}

take_unit() {
    local unit=${UNIT[Id]} verified=false state file
    RECORD[unit]=$unit RECORD[active]=${UNIT[ActiveState]-} RECORD[enabled]=${UNIT[UnitFileState]-}
    RECORD[path]=${FACT[unit_file]-} RECORD[sha256]=${FACT[unit_sha256]-}
    if [[ -n ${FACT[unit_sha256]-} ]]; then
        within cp -aT -- "${FACT[unit_file]}" "$STORE/$UNDO_ID/content" 2>/dev/null ||
            give_up E_STORE_UNAVAILABLE "the unit's file cannot be kept in $STORE: nothing was done"
        RECORD[content]=content
    fi
    file=$(within systemctl cat -- "$unit" 2>/dev/null | head -c 65536) || file=''
    RECORD[text]=${file:0:16384}
    write_record || give_up E_STORE_UNAVAILABLE "no record can be written in $STORE: nothing was done"
    within systemctl stop -- "$unit" >/dev/null 2>&1
    if [[ ${RECORD[enabled]} == enabled* ]]; then within systemctl disable -- "$unit" >/dev/null 2>&1; fi
    state=$(within systemctl is-active -- "$unit" 2>/dev/null)
    if [[ $state != active && $state != activating && $state != reloading ]]; then verified=true; fi
    state=$(within systemctl is-enabled -- "$unit" 2>/dev/null)
    if [[ ${RECORD[enabled]} == enabled* && $state == enabled* ]]; then verified=false; fi
    RECORD[outcome]=stopped
    write_record || warn 'the record could not be brought up to date'
    answer_act stopped "$UNDO_ID" "$verified" "$NOTE"
}

# --- lines of crontabs ------------------------------------------------------------------------------------------------

TABLE='' LINE_NUMBER=0 LINE=''
look_at_line() {
    local label=${1%:*} number=${1##*:} schedule='' user='' rest count=5
    case $label in
        crontab) TABLE=/etc/crontab ;;
        cron.d/+([!/])) TABLE=/etc/$label ;;
        crontabs/+([!/]))
            user=${label#crontabs/}
            for TABLE in "/var/spool/cron/crontabs/$user" "/var/spool/cron/tabs/$user" "/var/spool/cron/$user"; do
                if [[ -f $TABLE ]]; then break; fi
            done
            ;;
        *) fail E_BAD_ARGS "$1 is no task's name as scheduledtasks lists it" ;;
    esac
    [[ ${label##*/} != @(.|..) ]] || fail E_BAD_ARGS "$1 is no task's name"
    [[ -f $TABLE && ! -L $TABLE ]] || fail E_NOT_FOUND "there is no crontab $TABLE"
    [[ $number == [1-9]*([0-9]) && ${#number} -le 6 ]] || fail E_BAD_ARGS "$number is no number of a line"
    go_beside "$TABLE" && file_facts "./$NAME" -P || fail E_NOT_FOUND "there is no $TABLE"
    ((F_SIZE <= 4 << 20)) || fail E_TOO_LARGE "$TABLE is larger than 4 MiB"
    LINE_NUMBER=$number
    LINE=$(within sed -n "${number}p" -- "./$NAME" 2>/dev/null | tr '\000' '\001')
    three_hashes "./$NAME" || fail E_ACCESS "$TABLE cannot be read"
    trimmed "$LINE"
    [[ -n $REPLY && $REPLY != '#'* && $REPLY != [A-Za-z_]*([A-Za-z_0-9])*([[:blank:]])=* ]] ||
        fail E_NOT_FOUND "$TABLE has no task at line $number"
    rest=$REPLY
    if [[ $rest == @* ]]; then count=1; fi
    for ((; count > 0; count--)); do
        schedule+="${schedule:+ }${rest%%[[:blank:]]*}"
        rest=${rest#"${rest%%[[:blank:]]*}"}
        rest=${rest#"${rest%%[![:blank:]]*}"}
    done
    if [[ $label != crontabs/* ]]; then
        user=${rest%%[[:blank:]]*}
        rest=${rest#"$user"}
        rest=${rest#"${rest%%[![:blank:]]*}"}
    fi
    fact name "$1"
    fact source "$TABLE"
    fact line "$number"
    fact schedule "$schedule"
    fact command "$rest"
    fact user "$user"
    fact definition_sha256 "$(printf '%s\n' "$LINE" | sha256sum | cut -c 1-64)"
    fact sha256 "$DIGEST"
    NOTE='the line is cut from its file, and kept'
}

take_line() {
    local new=.live-response-$UNDO_ID verified=false
    js "$LINE"
    [[ $HAD_BAD_BYTES == false && ${#LINE} -lt $TEXT_LIMIT ]] || give_up E_UNSUPPORTED 'the line is no text: a person cuts it by hand'
    RECORD[path]=$TABLE RECORD[line]=$LINE_NUMBER RECORD[text]=$LINE RECORD[content]=content RECORD[sha256]=$DIGEST
    within cp -aT -- "./$NAME" "$STORE/$UNDO_ID/content" 2>/dev/null &&
        within cp -aT -- "./$NAME" "./$new" 2>/dev/null &&
        within sed "${LINE_NUMBER}d" -- "$STORE/$UNDO_ID/content" >"./$new" ||
        { rm -f -- "./$new"; give_up E_STORE_UNAVAILABLE "$TABLE cannot be copied: nothing was done"; }
    hash_files "$STORE/$UNDO_ID/content" "./$new" "./$NAME"
    RECORD[after_sha256]=${SHA256[./$new]-}
    if [[ ${SHA256[$STORE/$UNDO_ID/content]-} != "$DIGEST" || ${SHA256[./$NAME]-} != "$DIGEST" ]]; then
        rm -f -- "./$new"
        give_up E_ENTITY_DRIFT "sha256 of $TABLE changed: nothing was done"
    fi
    if ! write_record || ! mv -fT -- "./$new" "./$NAME"; then
        rm -f -- "./$new"
        give_up E_STORE_UNAVAILABLE "$TABLE cannot be written: nothing was done"
    fi
    SHA256=()
    hash_files "./$NAME"
    if [[ ${SHA256[./$NAME]-} == "${RECORD[after_sha256]}" ]]; then verified=true; fi
    # cron looks at the folder's time.
    touch -c . 2>/dev/null || :
    RECORD[outcome]='cut'
    write_record || warn 'the record could not be brought up to date'
    answer_act cut "$UNDO_ID" "$verified" "$NOTE"
}

# --------------------------------------------------------------------------------------------------------------------

main() {
    local by
    known_arguments mode kind id undo_id 'expect_+([a-z0-9_])'
    KIND=${ARG[kind]-} ID=${ARG[id]-}
    [[ ${ARG[mode]-} == @(look|do) ]] || fail E_BAD_ARGS 'mode is neither look nor do'
    [[ -n $ID ]] || fail E_BAD_ARGS 'argument id is missing'
    case $KIND in
        file | startup) by='file' ;;
        process) by=process ;;
        service) by=unit ;;
        scheduledtask)
            case $ID in
                *.timer | timer/*) by=unit ID=${ID#timer/} ;;
                /*) by='file' ;;
                cron.@(hourly|daily|weekly|monthly|yearly)/+([!/])) by='file' ID=/etc/$ID ;;
                *) by=line ;;
            esac
            ;;
        registry) fail E_UNSUPPORTED 'there is no registry on Linux' ;;
        *) fail E_BAD_ARGS "kind $KIND is none" ;;
    esac
    "look_at_$by" "$ID"
    if [[ ${ARG[mode]} == look ]]; then
        answer_facts "$NOTE"
        return
    fi
    require_facts
    open_record
    if [[ $by == file ]]; then file_facts "./$NAME" -P || give_up E_ENTITY_DRIFT 'the file is gone'; fi
    if [[ $by == process ]]; then process_stat "$ID" || give_up E_ENTITY_DRIFT "process $ID has ended"; fi
    if [[ $by == process && $P_TICKS != "${FACT[started]%% *}" ]]; then give_up E_ENTITY_DRIFT 'started changed'; fi
    "take_$by"
}

begin remediate data "$@"
main
finished
