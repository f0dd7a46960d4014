# `scheduledtasks`: cron, anacron, at and systemd timers. When each comes next is not worked out.
# shellcheck shell=bash

readonly FILE_LIMIT=$((4 << 20))
declare -A FOLDER_SCHEDULE=()
WANTED=''

# Adds the task in name, kind, schedule, command, user, enabled, source.
add_task() {
    # By its name, by the file that it stands in, or by that file's path.
    # shellcheck disable=SC2053
    if [[ -n $WANTED && $1 != $WANTED && ${1%:*} != $WANTED && $7 != $WANTED ]]; then return; fi
    open_object
    put_text name "$1"
    O+=",\"kind\":\"$2\""
    put_text schedule "$3"
    put_text command "$4"
    put_text user "$5"
    put enabled "$6"
    put_path source "$7"
    put_time next_run "${8-}"
    row
}

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

# The settings that change what a command is or does, before it as a shell would have them.
telling() {
    local name=$1 value=$2 part
    case $name in
        SHELL) [[ $value != @(/bin/sh|/bin/bash|/usr/bin/sh|/usr/bin/bash) ]] ;;
        PATH)
            while [[ -n $value ]]; do
                part=${value%%:*}
                if [[ $part != @(/usr/local/sbin|/usr/local/bin|/sbin|/bin|/usr/sbin|/usr/bin|/snap/bin) ]]; then return 0; fi
                if [[ $value != *:* ]]; then return 1; fi
                value=${value#*:}
            done
            return 1
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
    local -a names=()
    declare -A set_to=()
    is_readable_file "$file" || return
    while IFS= read -r line || [[ -n $line ]]; do
        if late; then return; fi
        number=$((number + 1))
        if ((number > 10000)); then
            warn "$file has more than 10000 lines: the rest is not shown"
            return
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
            add_task "$label:$number" cron "$schedule" "$settings$REST" "$user" "$enabled" "$file" || return
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
                if [[ -z ${set_to[$key]+x} ]]; then names+=("$key"); fi
                set_to[$key]=$value
            fi
        fi
    done < <(within head -c "$FILE_LIMIT" -- "$file" 2>/dev/null | tr -d '\000')
}

list_cron() {
    local file name enabled folder is_cronie=false spool id
    declare -A seen=()
    if [[ -e /usr/sbin/crond ]]; then is_cronie=true; fi
    read_crontab /etc/crontab crontab '' true
    for file in /etc/cron.d/* /etc/cron.d/.[!.]*; do
        name=${file##*/}
        may_run "$name" "$is_cronie"
        if [[ -f $file ]]; then read_crontab "$file" "cron.d/$name" '' "$REPLY"; fi
    done
    for spool in /var/spool/cron/crontabs /var/spool/cron/tabs /var/spool/cron /etc/crontabs; do
        id=$(find -L "$spool" -maxdepth 0 -printf '%D:%i' 2>/dev/null)
        if [[ -z $id || -n ${seen[$id]+x} ]]; then continue; fi
        seen[$id]=1
        if [[ ! -r $spool ]]; then
            warn "$spool cannot be listed as uid $EUID: the crontabs of users are missing"
            continue
        fi
        for file in "$spool"/* "$spool"/.[!.]*; do
            name=${file##*/}
            if [[ ! -f $file || -L $file ]]; then continue; fi
            enabled=false
            if [[ ${#USER_IDS[@]} -eq 0 || -n ${USER_IDS[$name]+x} ]]; then enabled=true; fi
            read_crontab "$file" "crontabs/$name" "$name" "$enabled"
        done
    done
    for folder in hourly daily weekly monthly yearly; do
        for file in "/etc/cron.$folder"/* "/etc/cron.$folder"/.[!.]*; do
            name=${file##*/}
            if [[ $name == .placeholder ]] || [[ ! -f $file && ! -L $file ]]; then continue; fi
            may_run "$name" "$is_cronie"
            enabled=$REPLY
            if [[ ! -f $file || ! -x $file ]]; then enabled=false; fi
            add_task "cron.$folder/$name" cron "${FOLDER_SCHEDULE[$folder]-$folder}" "$file" root "$enabled" "$file" || return
        done
    done
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

list_anacron() {
    local line period delay name
    is_readable_file /etc/anacrontab || return
    while IFS= read -r line || [[ -n $line ]]; do
        trimmed "$line"
        REST=$REPLY
        if [[ $REST == '#'* ]]; then continue; fi
        take_word && period=$WORD && take_word && delay=$WORD && take_word && name=$WORD && [[ -n $REST ]] || continue
        [[ $period == @* || $period == +([0-9]) ]] && [[ $delay == +([0-9]) ]] || continue
        if [[ $period != @* ]]; then period="every $period days"; fi
        add_task "anacron/$name" anacron "$period, $delay minutes after" "$REST" root true /etc/anacrontab || return
    done < <(within head -c $((1 << 20)) /etc/anacrontab 2>/dev/null | tr -d '\000')
}

list_at() {
    local spool file name number at line uid commands in_body has_head enabled id
    declare -A seen=()
    for spool in /var/spool/cron/atjobs /var/spool/at /var/spool/atjobs /var/spool/at/spool; do
        id=$(find -L "$spool" -maxdepth 0 -printf '%D:%i' 2>/dev/null)
        if [[ -z $id || -n ${seen[$id]+x} ]]; then continue; fi
        seen[$id]=1
        for file in "$spool"/*; do
            name=${file##*/}
            if [[ $name != [A-Za-z=]* || ${name:1} == *[!0-9A-Fa-f]* || ${#name} -ne 14 || ! -f $file || -L $file ]]; then continue; fi
            is_readable_file "$file" || continue
            number=$((16#${name:1:5}))
            time_of_ms $((16#${name:6:8} * 60000))
            at=$REPLY
            uid='' commands='' in_body=false has_head=false
            while IFS= read -r line || [[ -n $line ]]; do
                trimmed "$line"
                if [[ $line == '# atrun uid='[0-9]* && -z $uid ]]; then
                    uid=${line#'# atrun uid='}
                    uid=${uid%%[!0-9]*}
                    has_head=true
                elif [[ $has_head == true && $in_body == false ]]; then
                    # The head ends with the change of directory that it checks.
                    if [[ $line == '}' ]]; then in_body=true; fi
                elif [[ -n $REPLY && $REPLY != '#'* ]]; then
                    commands+="${commands:+$'\n'}$REPLY"
                fi
            done < <(within head -c $((256 << 10)) -- "$file" 2>/dev/null | tr -d '\000')
            file_facts "$file" -P || continue
            user_name "${uid:-$F_UID}"
            enabled=false
            if [[ $F_MODE == ???x* ]]; then enabled=true; fi
            add_task "at/$number" at "queue ${name:0:1}, once at $at" "${commands:0:4096}" "$REPLY" "$enabled" "$file" "$at" || return
        done
    done
}

# All values of key $3 in section $2 of a unit's file, joined by `; `, each after $4, into REPLY.
unit_values() {
    REPLY=$(head -c $((1 << 20)) -- "$1" 2>/dev/null | tr -d '\000' | awk -v "section=$2" -v "key=$3" -v "before=$4" '
        { sub(/\r$/, "") }
        joined != "" { $0 = joined " " $0; joined = "" }
        /\\$/ { joined = substr($0, 1, length($0) - 1); next }
        /^[ \t]*[#;]/ { next }
        /^[ \t]*\[/ { here = ($0 ~ "^[ \t]*\\[" section "\\]"); next }
        here {
            at = index($0, "=")
            name = substr($0, 1, at - 1); gsub(/[ \t]/, "", name)
            if (at && name == key) {
                value = substr($0, at + 1); sub(/^[ \t]+/, "", value); sub(/[ \t]+$/, "", value)
                if (value == "") { out = "" } else { out = out (out == "" ? "" : "; ") before value }
            }
        }
        END { print out }')
}

# Timers of the system, or of the user $1 in the folders after it.
list_timers() {
    local user=$1 folder file name schedule key service command account enabled service_file
    shift
    declare -A seen=()
    for folder in "$@"; do
        for file in "$folder"/*.timer; do
            if late; then return; fi
            name=${file##*/}
            if [[ -n ${seen[$name]+x} ]]; then continue; fi
            seen[$name]=1
            schedule='' command='' account=${user:-root} enabled=false
            if [[ -L $file && $(readlink -- "$file") == /dev/null ]]; then
                add_task "$name" timer '' '' "$account" false "$file"
                continue
            fi
            is_readable_file "$file" || continue
            for key in OnCalendar OnActiveSec OnBootSec OnStartupSec OnUnitActiveSec OnUnitInactiveSec OnClockChange OnTimezoneChange; do
                unit_values "$file" Timer "$key" "$key="
                if [[ -n $REPLY ]]; then schedule+="${schedule:+; }$REPLY"; fi
            done
            unit_values "$file" Timer Unit ''
            service=${REPLY:-${name%.timer}.service}
            service=${service##*; }
            if [[ $service == */* ]]; then service=''; fi
            for service_file in "${@/%//$service}"; do
                if [[ -n $service && -f $service_file ]]; then
                    unit_values "$service_file" Service ExecStart ''
                    command=$REPLY
                    if [[ -z $user ]]; then
                        unit_values "$service_file" Service User ''
                        account=${REPLY:-root}
                    fi
                    break
                fi
            done
            for service_file in "$@"; do
                for key in "$service_file"/*.@(wants|requires)/"$name"; do enabled=true; done
            done
            add_task "$name" timer "$schedule" "$command" "$account" "$enabled" "$file" || return
        done
    done
}

main() {
    local i home
    known_arguments name
    WANTED=${ARG[name]-}
    if [[ $WANTED == *[[:cntrl:]]* || ${#WANTED} -gt 1024 ]]; then fail E_BAD_ARGS 'name is no name of a task'; fi
    WANTED=${WANTED//\\/\\\\}
    WANTED=${WANTED//\[/\\[}
    WANTED=${WANTED//(/\\(}
    read_homes
    list_cron
    list_anacron
    list_at
    list_timers '' /etc/systemd/system /run/systemd/system /run/systemd/transient /run/systemd/generator /usr/local/lib/systemd/system \
        /usr/lib/systemd/system /lib/systemd/system
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do
        home=${HOMES[i]}
        if [[ -n ${HOME_USERS[i]} ]]; then
            list_timers "${HOME_USERS[i]}" "$home/.config/systemd/user" "$home/.local/share/systemd/user"
        fi
    done
}

begin scheduledtasks rows "$@"
main
finished
