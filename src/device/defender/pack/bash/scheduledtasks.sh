# `scheduledtasks`: cron, anacron, at and systemd timers. When each comes next is not worked out.
# shellcheck shell=bash

WANTED_NAME=''

# Adds a task.
task() {
    # By its name, by the file that it stands in, or by that file's path.
    # shellcheck disable=SC2053
    if [[ -n $WANTED_NAME && $1 != $WANTED_NAME && ${1%:*} != $WANTED_NAME && $7 != $WANTED_NAME ]]; then return 0; fi
    open_object
    put_text name "$1"
    O+=",\"kind\":\"$2\""
    put_text schedule "$3"
    put_text command "$4"
    put_text user "$5"
    put enabled "$6"
    put_path source "$7"
    put_time next_run "$8"
    row
}

# Timers in the folders of a manager; $1 is the user whose they are, nothing for the system.
list_timers() {
    local user=$1 name service schedule key value enabled account
    local -a names
    shift
    find_units "$@"
    unit_names timer
    if ((${#REPLIES[@]} == 0)); then return; fi
    names=("${REPLIES[@]}")
    # What they start is known only when they have been read.
    for name in "${names[@]}"; do plan_unit "$name"; done
    unit_names service
    for name in ${REPLIES[@]+"${REPLIES[@]}"}; do plan_unit "$name"; done
    read_planned 'Timer\.(On[A-Za-z]+|Unit)|Service\.(ExecStart|User)'
    while IFS= read -r name; do
        if late; then return; fi
        unit_state "$name"
        enabled=false
        case $REPLY in
            alias) continue ;;
            enabled | enabled-runtime | generated | transient) enabled=true ;;
            masked* | not-found) ;;
            *) if [[ " ${WANTED[$name]-} " == *' vendor '* ]]; then enabled=true; fi ;;
        esac
        schedule=''
        for key in OnCalendar OnActiveSec OnBootSec OnStartupSec OnUnitActiveSec OnUnitInactiveSec OnClockChange OnTimezoneChange; do
            unit_list "$name" "Timer.$key"
            schedule+=${REPLY//"$VALUE"/; $key=}
        done
        started_by "$name"
        service=$REPLY
        plan_unit "$service"
        unit_list "$service" Service.ExecStart
        value=${REPLY//"$VALUE"/; }
        unit_value "$service" Service.User
        account=${user:-${REPLY:-root}}
        task "$name" timer "${schedule#; }" "${value#; }" "$account" "$enabled" "${FRAGMENT[$name]-}" '' || return
    done < <(printf '%s\n' "${names[@]}" | sort)
}

main() {
    local i
    known_arguments name
    WANTED_NAME=${ARG[name]-}
    if [[ $WANTED_NAME == *[[:cntrl:]]* || ${#WANTED_NAME} -gt 1024 ]]; then fail E_BAD_ARGS 'name is no name of a task'; fi
    WANTED_NAME=${WANTED_NAME//\\/\\\\}
    WANTED_NAME=${WANTED_NAME//\[/\\[}
    WANTED_NAME=${WANTED_NAME//(/\\(}
    read_users
    list_cron && list_anacron && list_at && list_timers '' "${SYSTEM_UNITS[@]}"
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do
        own_units "${USER_IDS[${HOME_USERS[i]}]}" "${HOMES[i]}"
        list_timers "${HOME_USERS[i]}" "${REPLIES[@]}"
    done
}

begin scheduledtasks rows "$@"
main
finished
