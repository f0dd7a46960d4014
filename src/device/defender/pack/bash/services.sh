# `services`: what the system starts by itself, from the running systemd, from unit files, and from SysV scripts.
# shellcheck shell=bash

readonly UNIT_FOLDERS='/etc/systemd/system.control /run/systemd/system.control /run/systemd/transient /etc/systemd/system /run/systemd/system /run/systemd/generator /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system /run/systemd/generator.late'
declare -A UNIT_FILE=() ACTIVE=() SUB=() ABOUT=() PID=() MODE=() PATH_OF=() USER_OF=() LINKED=() HAS_ROW=()

# The unit files by name, the first folder's first; and what links of `.wants` and the like start.
find_units() {
    local folder file name
    for folder in $UNIT_FOLDERS; do
        for file in "$folder"/*.service; do
            name=${file##*/}
            if [[ -z ${UNIT_FILE[$name]+x} ]]; then UNIT_FILE[$name]=$file; fi
        done
        for file in "$folder"/*.@(wants|requires|upholds)/*.service; do LINKED[${file##*/}]=1; done
    done
}

# What a unit's file says into the arrays; comments and other sections are skipped.
read_unit() {
    local name=$1 file=$2 section='' line key value before=''
    if [[ -L $file && $(readlink -- "$file") == /dev/null ]]; then
        MODE[$name]=masked
        return
    fi
    [[ -f $file && -r $file ]] || return 0
    if [[ -L $file ]]; then
        line=$(readlink -f -- "$file")
        if [[ ${line##*/} != "$name" && ${line##*/} == *.service ]]; then MODE[$name]='alias'; fi
    fi
    local has_install=false
    while IFS= read -r line || [[ -n $line ]]; do
        line=$before${line%$'\r'}
        before=''
        if [[ $line == *\\ ]]; then
            before="${line%\\} "
            continue
        fi
        trimmed "$line"
        line=$REPLY
        case $line in
            '' | '#'* | ';'*) continue ;;
            '['*']')
                section=${line:1:${#line}-2}
                if [[ $section == Install ]]; then has_install=true; fi
                continue
                ;;
        esac
        key=${line%%=*}
        trimmed "$key"
        key=$REPLY
        trimmed "${line#*=}"
        value=${REPLY//%n/$name}
        value=${value//%p/${name%%@(@*|.service)}}
        case $section.$key in
            Unit.Description) ABOUT[$name]=$value ;;
            Service.ExecStart)
                value=${value##*([-@:+!|])}
                value=${value%%[[:blank:]]*}
                value=${value#[\"\']}
                value=${value%[\"\']}
                if [[ -n $value && -z ${PATH_OF[$name]-} ]]; then
                    if [[ $value != */* ]]; then
                        for key in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
                            if [[ -e $key/$value ]]; then
                                value=$key/$value
                                break
                            fi
                        done
                    fi
                    PATH_OF[$name]=$value
                fi
                ;;
            Service.User) if [[ -n $value ]]; then USER_OF[$name]=$value; fi ;;
            Service.PIDFile) PID[$name]=$value ;;
        esac
    done < <(head -c $((1 << 20)) -- "$file" 2>/dev/null | tr -d '\000')
    USER_OF[$name]=${USER_OF[$name]:-root}
    if [[ -z ${MODE[$name]-} ]]; then
        if [[ -n ${LINKED[$name]-} ]]; then
            MODE[$name]=enabled
        elif [[ $has_install == true ]]; then MODE[$name]=disabled; else MODE[$name]=static; fi
    fi
}

# A drop-in can replace what runs and as whom.
read_drop_in() {
    local mode=${MODE[$1]-} path=${PATH_OF[$1]-}
    PATH_OF[$1]=''
    read_unit "$1" "$2"
    PATH_OF[$1]=${PATH_OF[$1]:-$path}
    MODE[$1]=$mode
}

# What the manager says goes before what the files say.
ask_systemd() {
    local line key value name=''
    if [[ ! -d /run/systemd/system ]] || ! type -P systemctl >/dev/null; then
        warn 'systemd does not run here: rows tell what is set up; state and pid are known from pid files alone'
        return 1
    fi
    local -a loaded=()
    while read -r name value; do if [[ $name == *.service ]]; then MODE[$name]=${value%% *}; fi; done < <(
        within systemctl list-unit-files --type=service --no-legend --no-pager --plain 2>/dev/null)
    while read -r name _; do if [[ $name == *.service ]]; then loaded+=("$name"); fi; done < <(
        within systemctl list-units --all --type=service --no-legend --no-pager --plain 2>/dev/null)
    if ((${#loaded[@]} == 0)); then
        warn 'systemd did not answer: rows tell what is set up, not what runs'
        return 1
    fi
    name=''
    while IFS= read -r line; do
        key=${line%%=*} value=${line#*=}
        case $key in
            Id) name=$value ;;
            '') name='' ;;
        esac
        [[ -n $name ]] || continue
        case $key in
            Description) ABOUT[$name]=$value ;;
            ActiveState) ACTIVE[$name]=$value ;;
            SubState) SUB[$name]=$value ;;
            LoadState) if [[ $value == not-found ]]; then HAS_ROW[$name]=1; fi ;;
            MainPID) if [[ $value != 0 ]]; then PID[$name]=$value; fi ;;
            User) USER_OF[$name]=${value:-root} ;;
            FragmentPath) if [[ -n $value ]]; then UNIT_FILE[$name]=$value; fi ;;
            ExecStart)
                if [[ $value == *path=* ]]; then
                    value=${value#*path=}
                    PATH_OF[$name]=${value%% ;*}
                fi
                ;;
        esac
        if [[ -z ${UNIT_FILE[$name]+x} ]]; then UNIT_FILE[$name]=''; fi
    done < <(within systemctl show -p Id,Description,LoadState,ActiveState,SubState,MainPID,User,FragmentPath,ExecStart \
        -- "${loaded[@]}" 2>/dev/null)
}

# The pid in one of the files named, where that process lives, into REPLY.
pid_in() {
    local file
    for file in "$@"; do
        if [[ $file == /* && -f $file && -r $file ]]; then
            { read -r REPLY _ <"$file"; } 2>/dev/null
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
        if [[ $has_manager == true && -n ${UNIT_FILE[${name%.sh}.service]+x} ]]; then continue; fi
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
    local name file folder has_systemd=false state
    known_arguments
    find_units
    for name in ${UNIT_FILE[@]+"${!UNIT_FILE[@]}"}; do
        if late; then return; fi
        read_unit "$name" "${UNIT_FILE[$name]}"
        for folder in /usr/lib/systemd/system /run/systemd/system /etc/systemd/system; do
            for file in "$folder/$name.d"/*.conf; do read_drop_in "$name" "$file"; done
        done
    done
    local -A named=()
    for name in ${PID[@]+"${!PID[@]}"}; do named[$name]=${PID[$name]}; done
    PID=()
    if ask_systemd; then has_systemd=true; fi
    for name in ${UNIT_FILE[@]+"${!UNIT_FILE[@]}"}; do
        if late; then break; fi
        if [[ -n ${HAS_ROW[$name]-} ]]; then continue; fi
        state=''
        if [[ -n ${ACTIVE[$name]-} ]]; then
            state=${ACTIVE[$name]}
            if [[ $state == active ]]; then state=${SUB[$name]-active}; fi
        elif [[ $has_systemd == true && $name != *@.service && ${MODE[$name]-} != alias ]]; then
            state=inactive
        elif [[ $has_systemd == false ]]; then
            pid_in "${named[$name]-}" "/run/${name%.service}.pid"
            if [[ -n $REPLY ]]; then PID[$name]=$REPLY state=running; fi
        fi
        open_object
        put_text name "$name"
        put_text description "${ABOUT[$name]-}"
        put_text state "$state"
        put_text start_mode "${MODE[$name]-}"
        put_path path "${PATH_OF[$name]-}"
        put_text account "${USER_OF[$name]-}"
        put pid "${PID[$name]-}"
        put_path unit_file "${UNIT_FILE[$name]}"
        row || break
        KEYS+=("$name")
    done
    list_scripts
    sort_rows
}

begin services rows "$@"
main
finished
