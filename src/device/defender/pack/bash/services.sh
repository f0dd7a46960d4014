# `services`: what the system starts by itself, from the running systemd, from unit files, and from SysV scripts.
# shellcheck shell=bash

# What is known of a unit: what its files say, and over it what the manager says.
declare -A ACTIVE=() SUB=() ABOUT=() PID=() MODE=() PATH_OF=() USER_OF=() FILE_OF=() MISSING=() HAS_ROW=()

# The first word of a command line into REPLY, as systemd takes it apart: quotes, escapes.
first_word() {
    local rest=$1 quote='' code
    rest=${rest#"${rest%%[![:blank:]]*}"}
    REPLY=${rest%%[[:blank:]]*}
    if [[ $REPLY != *[\"\'\\]* ]]; then return; fi
    REPLY=''
    while [[ -n $rest ]]; do
        case $rest in
            \\x[0-9A-Fa-f][0-9A-Fa-f]*)
                printf -v code '%b' "${rest:0:4}"
                REPLY+=$code rest=${rest:4}
                ;;
            \\s*) REPLY+=' ' rest=${rest:2} ;;
            \\?*) REPLY+=${rest:1:1} rest=${rest:2} ;;
            \"* | \'*)
                if [[ -z $quote ]]; then
                    quote=${rest:0:1} rest=${rest:1}
                elif [[ $rest == "$quote"* ]]; then
                    quote='' rest=${rest:1}
                else
                    REPLY+=${rest:0:1} rest=${rest:1}
                fi
                ;;
            [[:blank:]]*)
                if [[ -z $quote ]]; then return; fi
                REPLY+=${rest:0:1} rest=${rest:1}
                ;;
            *) REPLY+=${rest:0:1} rest=${rest:1} ;;
        esac
    done
}

# The image of the command line $1 of unit $2 into REPLY: a bare name is looked up as the manager does.
image_of() {
    local folder
    REPLY=''
    if [[ -z $1 ]]; then return; fi
    first_word "$1"
    REPLY=${REPLY##*([-@:+!|])}
    specified "$REPLY" "$2"
    if [[ -z $REPLY || $REPLY == */* ]]; then return; fi
    for folder in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
        if [[ -e $folder/$REPLY ]]; then
            REPLY=$folder/$REPLY
            return
        fi
    done
}

# What the files say of unit $1.
read_unit() {
    local name=$1
    unit_state "$name"
    MODE[$name]=$REPLY
    FILE_OF[$name]=${FRAGMENT[$name]-}
    unit_value "$name" Unit.Description
    specified "$REPLY" "$name"
    ABOUT[$name]=$REPLY
    unit_list "$name" Service.ExecStart
    REPLY=${REPLY#"$VALUE"}
    image_of "${REPLY%%"$VALUE"*}" "$name"
    PATH_OF[$name]=$REPLY
    if [[ -n ${FRAGMENT[$name]-} ]]; then
        unit_value "$name" Service.User
        specified "$REPLY" "$name"
        USER_OF[$name]=${REPLY:-root}
    fi
}

# What the manager says goes before what the files say.
ask_systemd() {
    local line key value name=''
    if [[ ! -d /run/systemd/system ]] || ! type -P systemctl >/dev/null; then
        warn 'systemd does not run here: rows tell what is set up; state and pid are known from pid files alone'
        return 1
    fi
    local -a loaded=()
    local -A modes=()
    while read -r name value; do if [[ $name == *.service ]]; then modes[$name]=${value%% *}; fi; done < <(
        within systemctl list-unit-files --type=service --no-legend --no-pager --plain --full 2>/dev/null)
    while read -r name _; do if [[ $name == *.service ]]; then loaded+=("$name"); fi; done < <(
        within systemctl list-units --all --type=service --no-legend --no-pager --plain --full 2>/dev/null)
    if ((${#loaded[@]} == 0)); then
        warn 'systemd did not answer: rows tell what is set up, not what runs'
        return 1
    fi
    for name in ${modes[@]+"${!modes[@]}"}; do MODE[$name]=${modes[$name]}; done
    name=''
    while IFS= read -r line; do
        key=${line%%=*} value=${line#*=}
        case $key in
            Id) name=$value ;;
            '') name='' ;;
        esac
        [[ -n $name ]] || continue
        case $key in
            Description) if [[ -n $value ]]; then ABOUT[$name]=$value; fi ;;
            ActiveState) ACTIVE[$name]=$value ;;
            SubState) SUB[$name]=$value ;;
            LoadState) if [[ $value == not-found ]]; then MISSING[$name]=1; fi ;;
            MainPID) if [[ $value != 0 ]]; then PID[$name]=$value; fi ;;
            User) USER_OF[$name]=${value:-root} ;;
            FragmentPath) if [[ -n $value ]]; then FILE_OF[$name]=$value; fi ;;
            ExecStart)
                if [[ $value == *path=* ]]; then
                    value=${value#*path=}
                    PATH_OF[$name]=${value%% ;*}
                fi
                ;;
        esac
        if [[ -z ${MODE[$name]+x} ]]; then
            plan_unit "$name"
            unit_state "$name"
            MODE[$name]=$REPLY
        fi
    done < <(
        # The property that is named first comes where the manager has it: the id is asked for by each unit's own block.
        within systemctl show -p Id,Description,LoadState,ActiveState,SubState,MainPID,User,FragmentPath,ExecStart \
            -- "${loaded[@]}" 2>/dev/null | id_first)
}

# Blocks of `KEY=value` with `Id` as their first line.
id_first() {
    awk 'function give(i) { if (id != "") print id; for (i = 1; i <= n; i++) print line[i]; print ""; n = 0; id = "" }
        $0 == "" { give(); next }
        /^Id=/ { id = $0; next }
        { line[++n] = $0 }
        END { give() }'
}

# The pid in one of the files named, where that process lives, into REPLY.
pid_in() {
    local file
    for file in "$@"; do
        if [[ $file == /* && -f $file && -r $file ]]; then
            REPLY=''
            { read -r -n 64 REPLY <"$file"; } 2>/dev/null
            if [[ $REPLY == [1-9]*([0-9]) && ${#REPLY} -lt 11 && -d /proc/$REPLY ]]; then return; fi
        fi
    done
    REPLY=''
}

# The init scripts; where systemd is the manager, those that it makes a unit of.
list_scripts() {
    local file name about pid_file mode line key level has_manager=false
    declare -A started=() seen=()
    if [[ -e /usr/lib/systemd/systemd || -e /lib/systemd/systemd ]]; then has_manager=true; fi
    for level in S 2 3 4 5; do
        for file in "/etc/rc$level.d"/S[0-9][0-9]?* "/etc/rc.d/rc$level.d"/S[0-9][0-9]?*; do
            name=${file##*/}
            started[${name:3}]=1
        done
    done
    for file in /etc/init.d/* /etc/rc.d/init.d/*; do
        name=${file##*/}
        case $name in
            README | skeleton | functions | .* | *.dpkg-* | *.rpm* | *.swp* | *'~'*) continue ;;
        esac
        if [[ ! -f $file || ! -x $file || -n ${seen[$name]+x} ]]; then continue; fi
        seen[$name]=1
        if [[ $has_manager == true && -n ${HAS_ROW[${name%.sh}.service]+x} ]]; then continue; fi
        about='' pid_file=''
        while IFS= read -r line; do
            if [[ $line != '#'* ]]; then continue; fi
            trimmed "${line###}"
            line=$REPLY key=${REPLY%%:*}
            trimmed "${line#*:}"
            case ${key,,} in
                short-description) about=$REPLY ;;
                description) about=${about:-$REPLY} ;;
                pidfile) pid_file=$REPLY ;;
            esac
        done < <(head -c 16384 -- "$file" 2>/dev/null | tr -d '\000')
        pid_in "$pid_file" "/run/$name.pid"
        local pid=$REPLY
        mode=disabled
        if [[ -n ${started[$name]-} ]]; then mode=enabled; fi
        open_object
        put_text name "$name"
        put_text description "$about"
        if [[ -n $pid ]]; then put_text state running; fi
        put_text start_mode "$mode"
        put_path path "$file"
        put_text account root
        put pid "$pid"
        put_path unit_file "$file"
        row || return
        KEYS+=("$name")
    done
}

main() {
    local name has_systemd=false state
    known_arguments
    find_units "${SYSTEM_UNITS[@]}"
    unit_names service
    for name in ${REPLIES[@]+"${REPLIES[@]}"}; do plan_unit "$name"; done
    read_planned 'Unit\.Description|Service\.(ExecStart|User|PIDFile)'
    for name in ${REPLIES[@]+"${REPLIES[@]}"}; do
        if late; then break; fi
        read_unit "$name"
    done
    if ask_systemd; then has_systemd=true; fi
    for name in ${MODE[@]+"${!MODE[@]}"}; do
        if late; then break; fi
        if [[ -n ${MISSING[$name]-} && ${ACTIVE[$name]-} != active ]]; then
            # What something names and nobody has runs nothing; what the files name is a row all the same.
            if [[ -z ${OF[$name]+x} || ${STATE[$name]} == not-found ]]; then continue; fi
        fi
        state=''
        if [[ -n ${ACTIVE[$name]-} && -z ${MISSING[$name]-} ]]; then
            state=${ACTIVE[$name]}
            if [[ $state == active ]]; then state=${SUB[$name]-active}; fi
        elif [[ $has_systemd == true ]]; then
            unit_state "$name"
            if [[ $name != *@.service && $REPLY != alias ]]; then state=inactive; fi
        else
            unit_value "$name" Service.PIDFile
            specified "$REPLY" "$name"
            local prefix=${name%.service}
            pid_in "$REPLY" "/run/${prefix%%@*}.pid"
            if [[ -n $REPLY ]]; then PID[$name]=$REPLY state=running; fi
        fi
        HAS_ROW[$name]=1
        open_object
        put_text name "$name"
        put_text description "${ABOUT[$name]-}"
        put_text state "$state"
        put_text start_mode "${MODE[$name]-}"
        put_path path "${PATH_OF[$name]-}"
        put_text account "${USER_OF[$name]-}"
        put pid "${PID[$name]-}"
        put_path unit_file "${FILE_OF[$name]-}"
        row || break
        KEYS+=("$name")
    done
    list_scripts
    sort_rows
}

begin services rows "$@"
main
finished
