# A part of scripts: cron, anacron and at, as their own daemons would read them.
# Invariant: each task is handed to `task`, which the script defines: name, kind, schedule, command, user, enabled,
# source, next run; the reading ends where it fails.
# shellcheck shell=bash

readonly TASK_FILE_LIMIT=$((4 << 20))
declare -A FOLDER_SCHEDULE=()

# Cuts the first word of REST off into WORD; fails where there is none.
take_word() {
    WORD=${REST%%[[:blank:]]*}
    [[ -n $WORD ]] || return 1
    REST=${REST#"$WORD"}
    REST=${REST#"${REST%%[![:blank:]]*}"}
}

unquoted() {
    trimmed "$1"
    case $REPLY in
        '"'*'"') REPLY=${REPLY:1:${#REPLY}-2} ;;
        "'"*"'") REPLY=${REPLY:1:${#REPLY}-2} ;;
    esac
}

# Whether setting $1=$2 changes what a command is or does.
telling() {
    local name=$1 value=$2 part
    case $name in
        SHELL) [[ $value != @(/bin/sh|/bin/bash|/usr/bin/sh|/usr/bin/bash) ]] ;;
        PATH)
            while :; do
                part=${value%%:*}
                if [[ $part != @(/usr/local/sbin|/usr/local/bin|/sbin|/bin|/usr/sbin|/usr/bin|/snap/bin) ]]; then return 0; fi
                if [[ $value != *:* ]]; then return 1; fi
                value=${value#*:}
            done
            ;;
        MAILTO) [[ $value != @(|root) ]] ;;
        HOME) [[ $value != @(/|/root) ]] ;;
        LANG | LC_ALL | LOGNAME | MAILFROM | CRON_TZ | RANDOM_DELAY | START_HOURS_RANGE) return 1 ;;
    esac
}

# The tasks of crontab $1, called $2; $3 is the user whose it is, or nothing where lines name one; $4 tells whether
# cron reads it.
read_crontab() {
    local file=$1 label=$2 owner=$3 enabled=$4 line number=0 user schedule count name value settings='' folder key
    local -a names=() kept
    declare -A set_to=()
    is_readable_file "$file" || return 0
    while IFS= read -r line || [[ -n $line ]]; do
        if late; then return 1; fi
        number=$((number + 1))
        if ((number > 10000)); then
            warn "$file has more than 10000 lines: the rest is not shown"
            return 0
        fi
        trimmed "$line"
        if [[ -z $REPLY || $REPLY == '#'* ]]; then continue; fi
        line=$REPLY REST=${REPLY#-}
        schedule='' count=5
        if [[ $REST == @* ]]; then count=1; fi
        while ((count > 0)) && take_word && [[ $WORD == @+([A-Za-z0-9]) || $WORD == [A-Za-z]*([A-Za-z0-9,/-]) || $WORD == +([A-Za-z0-9*,/~?-]) ]]; do
            schedule+="${schedule:+ }$WORD" count=$((count - 1))
        done
        user=$owner
        if ((count == 0)) && { [[ -n $owner ]] || { take_word && user=$WORD; }; } && [[ -n $REST ]]; then
            settings=''
            for name in ${names[@]+"${names[@]}"}; do
                if telling "$name" "${set_to[$name]}"; then settings+="$name=${set_to[$name]} "; fi
            done
            task "$label:$number" cron "$schedule" "$settings$REST" "$user" "$enabled" "$file" '' || return
            for folder in hourly daily weekly monthly yearly; do
                if [[ $REST == */etc/cron.$folder* && -z $owner ]]; then
                    FOLDER_SCHEDULE[$folder]=${FOLDER_SCHEDULE[$folder]-$schedule}
                fi
            done
        elif [[ $line == *=* ]]; then
            unquoted "${line%%=*}"
            key=$REPLY
            if [[ $key == +([A-Za-z0-9_]) ]] && ((${#names[@]} < 256)); then
                unquoted "${line#*=}"
                value=$REPLY
                # Of several the last counts, where it stands.
                if [[ -n ${set_to[$key]+x} ]]; then
                    kept=()
                    for name in "${names[@]}"; do if [[ $name != "$key" ]]; then kept+=("$name"); fi; done
                    names=(${kept[@]+"${kept[@]}"})
                fi
                names+=("$key")
                set_to[$key]=$value
            fi
        fi
    done < <(within head -c "$TASK_FILE_LIMIT" -- "$file" 2>/dev/null | tr -d '\000')
}

# Whether cron reads a file of this name into REPLY: Debian's asks for the names of run-parts, cronie is less strict.
may_run() {
    REPLY=false
    if [[ $2 == true ]]; then
        case $1 in
            .* | *'~' | *, | *.rpmsave | *.rpmorig | *.rpmnew | *.swp | *,v | *.cfsaved) ;;
            *) REPLY=true ;;
        esac
    elif [[ $1 == +([A-Za-z0-9_-]) ]]; then
        REPLY=true
    fi
}

# The crontabs of the system and of users, and what `run-parts` runs; with `system` or `users` those alone.
list_cron() {
    local file name folder is_cronie=false which=${1-all} enabled
    if [[ -e /usr/sbin/crond ]]; then is_cronie=true; fi
    if [[ $which != users ]]; then
        read_crontab /etc/crontab crontab '' true || return
        entries_of /etc/cron.d
        for file in ${REPLIES[@]+"${REPLIES[@]}"}; do
            name=${file##*/}
            may_run "$name" "$is_cronie"
            read_crontab "$file" "cron.d/$name" '' "$REPLY" || return
        done
    fi
    if [[ $which != system ]]; then list_crontabs || return; fi
    if [[ $which == users ]]; then return; fi
    for folder in hourly daily weekly monthly yearly; do
        entries_of "/etc/cron.$folder"
        for file in ${REPLIES[@]+"${REPLIES[@]}"}; do
            name=${file##*/}
            if [[ $name == .placeholder ]] || [[ ! -f $file && ! -L $file ]]; then continue; fi
            may_run "$name" "$is_cronie"
            enabled=$REPLY
            if [[ ! -f $file || ! -x $file ]]; then enabled=false; fi
            task "cron.$folder/$name" cron "${FOLDER_SCHEDULE[$folder]-$folder}" "$file" root "$enabled" "$file" '' || return
        done
    done
}

list_crontabs() {
    local spool known file name enabled
    local -a spools=()
    for spool in /var/spool/cron/crontabs /var/spool/cron/tabs /var/spool/cron /etc/crontabs; do
        if [[ ! -d $spool ]]; then continue; fi
        for known in ${spools[@]+"${spools[@]}"}; do if [[ $spool -ef $known ]]; then continue 2; fi; done
        spools+=("$spool")
        if [[ ! -r $spool ]]; then
            warn "$spool cannot be listed as uid $EUID: the crontabs of users are missing"
            continue
        fi
        entries_of "$spool"
        for file in ${REPLIES[@]+"${REPLIES[@]}"}; do
            name=${file##*/}
            if [[ ! -f $file || -L $file ]]; then continue; fi
            enabled=false
            if [[ ${#USER_IDS[@]} -eq 0 || -n ${USER_IDS[$name]+x} ]]; then enabled=true; fi
            read_crontab "$file" "crontabs/$name" "$name" "$enabled" || return
        done
    done
}

list_anacron() {
    local line period delay name
    is_readable_file /etc/anacrontab || return 0
    while IFS= read -r line || [[ -n $line ]]; do
        trimmed "$line"
        REST=$REPLY
        if [[ $REST == '#'* ]]; then continue; fi
        take_word && period=$WORD && take_word && delay=$WORD && take_word && name=$WORD && [[ -n $REST ]] || continue
        [[ $period == @* || $period == +([0-9]) ]] && [[ $delay == +([0-9]) && ${#delay} -le 7 ]] || continue
        if [[ $period != @* ]]; then period="every $period days"; fi
        task "anacron/$name" anacron "$period, $((10#$delay)) minutes after" "$REST" root true /etc/anacrontab '' || return
    done < <(within head -c $((1 << 20)) /etc/anacrontab 2>/dev/null | tr -d '\000')
}

# The commands of job $1 of at into JOB_TEXT, and the number of whose it is into REPLY: what stands behind the head that
# at writes, which ends in a change of directory; without such a head all lines.
read_job() {
    local line uid='' count=0 at=-1 end=-1
    local -a lines=()
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ -z $uid && $line == '# atrun uid='[0-9]* ]] && ((count < 16)); then
            uid=${line#'# atrun uid='}
            uid=${uid%%[!0-9]*}
        fi
        if ((at < 0)) && [[ $line == 'cd '*'|| {' ]]; then at=$count; fi
        if ((at >= 0 && end < 0)) && [[ $line == '}' ]]; then end=$count; fi
        lines+=("$line") count=$((count + 1))
    done < <(within head -c $((256 << 10)) -- "$1" 2>/dev/null | tr -d '\000')
    if [[ -z $uid ]]; then end=-1; fi
    JOB_TEXT=''
    for line in ${lines[@]+"${lines[@]:end+1}"}; do
        trimmed "$line"
        if [[ -n $REPLY && $REPLY != '#'* ]]; then JOB_TEXT+="${JOB_TEXT:+$'\n'}$REPLY"; fi
    done
    if ((${#JOB_TEXT} > 4096)); then JOB_TEXT="${JOB_TEXT:0:4096} …"; fi
    REPLY=$uid
}

list_at() {
    local spool known file name number at enabled
    local -a spools=()
    for spool in /var/spool/cron/atjobs /var/spool/at /var/spool/atjobs /var/spool/at/spool; do
        if [[ ! -d $spool ]]; then continue; fi
        for known in ${spools[@]+"${spools[@]}"}; do if [[ $spool -ef $known ]]; then continue 2; fi; done
        spools+=("$spool")
        for file in "$spool"/*; do
            if late; then return 1; fi
            name=${file##*/}
            if [[ $name != [A-Za-z=]* || ${name:1} == *[!0-9A-Fa-f]* || ${#name} -ne 14 || ! -f $file || -L $file ]]; then continue; fi
            is_readable_file "$file" || continue
            number=$((16#${name:1:5}))
            time_of_ms $((16#${name:6:8} * 60000))
            at=$REPLY
            file_facts "$file" -P || continue
            read_job "$file"
            user_name "${REPLY:-$F_UID}"
            enabled=false
            if [[ $F_MODE == ???[xs]* ]]; then enabled=true; fi
            task "at/$number" at "queue ${name:0:1}, once at $at" "$JOB_TEXT" "$REPLY" "$enabled" "$file" "$at" || return
        done
    done
}
