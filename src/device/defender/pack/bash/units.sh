# A part of scripts: systemd's units as a manager would load them, from their files alone.
# Invariant: all files are read by one awk, whatever their number; a name that systemd would not load is none.
# shellcheck shell=bash

# Where the manager of the system looks, first wins; before each its place: set up here, until the next boot, started
# without a file, made by a generator, of packages.
readonly -a SYSTEM_UNITS=(config:/etc/systemd/system.control runtime:/run/systemd/system.control transient:/run/systemd/transient
    generated:/run/systemd/generator.early config:/etc/systemd/system config:/etc/systemd/system.attached
    runtime:/run/systemd/system runtime:/run/systemd/system.attached generated:/run/systemd/generator
    vendor:/usr/local/lib/systemd/system vendor:/usr/lib/systemd/system vendor:/lib/systemd/system
    generated:/run/systemd/generator.late)
readonly -a ALL_USERS_UNITS=(config:/etc/xdg/systemd/user config:/etc/systemd/user runtime:/run/systemd/user
    vendor:/usr/local/share/systemd/user vendor:/usr/share/systemd/user vendor:/usr/local/lib/systemd/user
    vendor:/usr/lib/systemd/user vendor:/lib/systemd/user)
# What the state of a unit is told by.
readonly INSTALL_KEYS='Install\.(DefaultInstance|Alias|WantedBy|RequiredBy|UpheldBy|Also)'
# Values of one key, each after this; an assignment of nothing takes back those before it.
readonly VALUE=$'\x1e' RESET=$'\x1d'

declare -A UNIT_AT=() PLACE=() LINK=() ALIASED=() WANTED=() IN_USE=() DROPS=() OF=() FRAGMENT=() PARTS=() STATE=() NUMBER=() VALUES=()
declare -a FOLDERS=() UNIT_FILES=() DROP_FILES=()

# The folders of the user with number $1 and home $2 into REPLIES.
own_units() {
    REPLIES=("config:$2/.config/systemd/user.control" "runtime:/run/user/$1/systemd/user.control"
        "transient:/run/user/$1/systemd/transient" "generated:/run/user/$1/systemd/generator.early"
        "config:$2/.config/systemd/user" "runtime:/run/user/$1/systemd/user" "generated:/run/user/$1/systemd/generator"
        "vendor:$2/.local/share/systemd/user" "generated:/run/user/$1/systemd/generator.late")
}

is_unit_name() {
    case $1 in
        *[!A-Za-z0-9:_.\\@-]* | @* | .service | .timer | .socket | .path) return 1 ;;
        *.@(service|timer|socket|path|target|mount|automount|swap|slice|scope|device)) ((${#1} <= 255)) ;;
        *) return 1 ;;
    esac
}

# What lies in the folders `PLACE:FOLDER`: each is read once, whatever names lead to it.
find_units() {
    local spec folder known type size start below target name place parent
    local -a starts=()
    local -A place_of=()
    UNIT_AT=() PLACE=() LINK=() ALIASED=() WANTED=() IN_USE=() DROPS=() OF=() FRAGMENT=() PARTS=() STATE=() FOLDERS=() DROP_FILES=()
    NUMBER=() UNIT_FILES=()
    for spec in "$@"; do
        folder=${spec#*:}
        if [[ ! -d $folder ]]; then continue; fi
        for known in ${FOLDERS[@]+"${FOLDERS[@]}"}; do if [[ $folder -ef $known ]]; then continue 2; fi; done
        FOLDERS+=("$folder")
        starts+=("$folder/")
        place_of[$folder/]=${spec%%:*}
    done
    if ((${#starts[@]} == 0)); then return; fi
    while IFS= read -r -d '' type && IFS= read -r -d '' size && IFS= read -r -d '' start && IFS= read -r -d '' below &&
        IFS= read -r -d '' target; do
        if [[ $type != [fl] ]]; then continue; fi
        place=${place_of[$start]} name=${below##*/}
        if [[ $below != */* ]]; then
            is_unit_name "$name" || continue
            if [[ $type == l ]]; then
                LINK[$start$below]=$target
                target=${target##*/}
                if [[ $target != "$name" ]] && is_unit_name "$target"; then ALIASED[$target]+=" $name:$place"; fi
            fi
            if [[ -z ${UNIT_AT[$name]+x} ]]; then UNIT_AT[$name]=$start$below PLACE[$name]=$place; fi
            continue
        fi
        parent=${below%%/*}
        case $parent in
            *.d)
                if [[ $name == *.conf ]]; then
                    DROPS[${parent%.d}]+=" ${#DROP_FILES[@]}"
                    DROP_FILES+=("$start$below")
                fi
                ;;
            *.wants | *.requires | *.upholds)
                if is_unit_name "$name" && is_unit_name "${parent%.*}"; then
                    WANTED[$name]+=" $place"
                    if [[ $name == ?*@?*.* && $place != vendor ]]; then IN_USE[${name%%@*}@.${name##*.}]=1; fi
                fi
                ;;
        esac
    done < <(within find "${starts[@]}" -mindepth 1 -maxdepth 2 -printf '%y\0%s\0%H\0%P\0%l\0' 2>/dev/null)
}

# The names of type $1 that have a file or a link, and the instances that something wants, into REPLIES.
unit_names() {
    local name
    REPLIES=()
    for name in ${UNIT_AT[@]+"${!UNIT_AT[@]}"}; do if [[ $name == *."$1" ]]; then REPLIES+=("$name"); fi; done
    for name in ${WANTED[@]+"${!WANTED[@]}"}; do
        if [[ $name == *."$1" && $name != *@.* && -z ${UNIT_AT[$name]+x} ]]; then REPLIES+=("$name"); fi
    done
}

# Whether the link $1 to $2 leads into one of the folders.
is_searched() {
    local parent=${1%/*} folder
    if [[ $2 == /* ]]; then parent=${2%/*}; elif [[ $2 == */* ]]; then parent+=/${2%/*}; fi
    for folder in "${FOLDERS[@]}"; do if [[ ${parent:-/} -ef $folder ]]; then return 0; fi; done
    return 1
}

# The number of file $1 among those that are to be read into REPLY.
number_of() {
    if [[ -z ${NUMBER[$1]+x} ]]; then
        NUMBER[$1]=${#UNIT_FILES[@]}
        UNIT_FILES+=("$1")
    fi
    REPLY=${NUMBER[$1]}
}

# Which files unit $1 is made of: OF, FRAGMENT, PARTS, and STATE as far as the links tell it.
plan_unit() {
    local name=$1 at=$1 entry='' target other hops=0 linked=false
    if [[ -n ${OF[$name]+x} ]]; then return; fi
    OF[$name]=$name STATE[$name]='not-found' PARTS[$name]=''
    while ((hops++ < 8)); do
        if [[ -z ${UNIT_AT[$at]+x} && $at == ?*@?*.* && -n ${UNIT_AT[${at%%@*}@.${at##*.}]+x} ]]; then at=${at%%@*}@.${at##*.}; fi
        entry=${UNIT_AT[$at]-}
        if [[ -z $entry ]]; then break; fi
        if [[ -z ${LINK[$entry]+x} ]]; then break; fi
        target=${LINK[$entry]}
        if [[ $target == /dev/null || $target == *../dev/null ]]; then
            if [[ ${PLACE[$at]} == runtime ]]; then STATE[$name]='masked-runtime'; else STATE[$name]=masked; fi
            return
        fi
        other=${target##*/}
        if [[ $other != "$at" && -n ${UNIT_AT[$other]+x} ]]; then
            at=$other entry=''
            continue
        fi
        if ! is_searched "$entry" "$target"; then linked=true; fi
        break
    done
    if [[ -n $entry && -f $entry ]]; then
        if [[ ! -s $entry ]]; then
            if [[ ${PLACE[$at]} == runtime ]]; then STATE[$name]='masked-runtime'; else STATE[$name]=masked; fi
            return
        fi
        FRAGMENT[$name]=$entry
        number_of "$entry"
        PARTS[$name]=$REPLY
    fi
    if [[ -n $entry ]]; then
        OF[$name]=$at STATE[$name]=${PLACE[$at]}:$linked
    fi
    plan_drop_ins "$name" "$at"
}

# The drop-ins of unit $1, whose file is that of $2: sorted by name, of several the first of the search path.
plan_drop_ins() {
    local unit key number file prefix tail cut
    local -a keys=()
    local -A chosen=()
    for unit in "$1" "$2"; do
        keys+=("$unit")
        if [[ $unit == ?*@?*.* ]]; then keys+=("${unit%%@*}@.${unit##*.}"); fi
        prefix=${unit%.*} tail=.${unit##*.}
        if [[ $prefix == *@* ]]; then tail=@${prefix#*@}$tail prefix=${prefix%%@*}; fi
        cut=${prefix%-}
        while [[ $cut == ?*-* ]]; do
            cut=${cut%-*}
            if [[ -n $cut ]]; then keys+=("$cut-$tail"); fi
        done
        if [[ $1 == "$2" ]]; then break; fi
    done
    keys+=("${1##*.}")
    for key in "${keys[@]}"; do
        for number in ${DROPS[$key]-}; do
            file=${DROP_FILES[number]}
            if [[ -z ${chosen[${file##*/}]+x} ]]; then chosen[${file##*/}]=$file; fi
        done
    done
    if ((${#chosen[@]} == 0)); then return; fi
    while IFS= read -r -d '' key; do
        number_of "${chosen[$key]}"
        PARTS[$1]+=" $REPLY"
    done < <(printf '%s\0' "${!chosen[@]}" | sort -z)
}

readonly UNIT_AWK='
    function trim(s) { sub(/^[ \t\f\r]+/, "", s); sub(/[ \t\f\r]+$/, "", s); return s }
    function logical(line, at, key, value) {
        line = trim(line)
        if (line ~ /^\[/) { within = (line ~ /\]$/); section = substr(line, 2, length(line) - 2); return }
        at = index(line, "=")
        if (!within || !at) return
        key = section "." trim(substr(line, 1, at - 1))
        if (key !~ keys) return
        value = trim(substr(line, at + 1)); gsub(/[\035\036\037]/, "", value)
        print number "\037" key "\037" value
    }
    # The system takes a carriage return for the end of a line too.
    function physical(line, end) {
        sub(/^[ \t\f]+/, "", line)
        if (line ~ /^[#;]/ || (line == "" && !pending)) return
        whole = pending ? whole line : line
        end = line; sub(/^.*[^\\]/, "", end)
        pending = length(end) % 2
        if (pending) whole = substr(whole, 1, length(whole) - 1) " "; else logical(whole)
    }
    NR == 1 { keys = $0; next }
    {
        at = index($0, "\t"); number = substr($0, 1, at - 1); path = substr($0, at + 1)
        gsub(/\001n/, "\n", path); gsub(/\001a/, "\001", path)
        within = 0; pending = 0; size = 0
        while (size < 1048576 && (getline line < path) > 0) {
            size += length(line) + 1
            if (index(line, "\r")) { n = split(line, parts, "\r"); for (i = 1; i <= n; i++) physical(parts[i]) }
            else physical(line)
        }
        if (pending) logical(whole)
        close(path)
    }'

# A path on a line of its own, for awk, into REPLY.
one_line() {
    REPLY=$1
    if [[ $1 == *[$'\x01\n']* ]]; then
        REPLY=${REPLY//$'\x01'/$'\x01a'}
        REPLY=${REPLY//$'\n'/$'\x01n'}
    fi
}

# Reads the files of all units that were planned: the assignments whose `Section.Key` fits $1. With $2 those are told in
# SHOWN too, by the file's number, as they stand.
declare -A SHOWN=()
read_planned() {
    local number key value at
    VALUES=() SHOWN=()
    while IFS=$'\x1f' read -r number key value; do
        if [[ -n ${2-} && $key != @(Install.*|Socket.Accept) ]]; then SHOWN[$number]+="${SHOWN[$number]:+; }${key##*.}=$value"; fi
        at=$number.$key
        if [[ -z $value ]]; then VALUES[$at]=$RESET; else VALUES[$at]+=$VALUE$value; fi
    done < <(
        {
            printf '^(%s|%s)$\n' "$INSTALL_KEYS" "$1"
            for at in ${UNIT_FILES[@]+"${!UNIT_FILES[@]}"}; do
                # A FIFO would block.
                if [[ -f ${UNIT_FILES[at]} && -r ${UNIT_FILES[at]} ]]; then
                    one_line "${UNIT_FILES[at]}"
                    printf '%s\t%s\n' "$at" "$REPLY"
                fi
            done
        } | within awk "$UNIT_AWK" 2>/dev/null | tr -d '\000'
    )
}

# The values in force of `Section.Key` $2 of unit $1, each after VALUE, into REPLY.
unit_list() {
    local part more
    REPLY=''
    for part in ${PARTS[$1]-}; do
        more=${VALUES[$part.$2]-}
        if [[ $more == "$RESET"* ]]; then REPLY=${more#"$RESET"}; else REPLY+=$more; fi
    done
}

# The last of them.
unit_value() {
    unit_list "$1" "$2"
    REPLY=${REPLY##*"$VALUE"}
}

# How unit $1 is set up to start, in systemd's words, into REPLY; as systemd itself decides it.
unit_state() {
    local name=$1 place linked is_instance=false default='' other place_of places='' asked
    REPLY=${STATE[$name]}
    case $REPLY in *:*) ;; *) return ;; esac
    place=${REPLY%:*} linked=${REPLY#*:}
    if [[ $name == ?*@?*.* ]]; then is_instance=true; fi
    if [[ $name != "${OF[$name]}" && $is_instance == false ]]; then
        REPLY='alias'
        return
    fi
    case $place in generated | transient)
        REPLY=$place
        return
        ;;
    esac
    # A template is enabled by its default instance; by any other it is only in use.
    if [[ $name == *@.* ]]; then
        unit_value "$name" Install.DefaultInstance
        if [[ -n $REPLY ]]; then default=${name%@.*}@$REPLY.${name##*.}; fi
    fi
    places=${WANTED[$name]-}
    if [[ -n $default ]]; then places+=${WANTED[$default]-}; fi
    unit_list "$name" Install.Alias
    asked=" ${REPLY//"$VALUE"/ } "
    for other in ${ALIASED[$name]-}; do
        if [[ $asked == *" ${other%:*} "* ]]; then places+=" ${other##*:}"; fi
    done
    if [[ " $places " == *' config '* ]]; then
        REPLY=enabled
    elif [[ " $places " == *' runtime '* ]]; then
        REPLY='enabled-runtime'
    elif [[ -n $places && $is_instance == true ]]; then
        REPLY=static
    elif [[ $linked == true ]]; then
        REPLY=linked
        if [[ $place == runtime ]]; then REPLY='linked-runtime'; fi
    else
        place_of=${IN_USE[$name]-}
        for other in ${ALIASED[$name]-}; do if [[ $other != *:vendor ]]; then place_of=1; fi; done
        if [[ -n $place_of ]]; then
            REPLY=indirect
            return
        fi
        for other in WantedBy RequiredBy UpheldBy Alias; do
            unit_list "$name" "Install.$other"
            if [[ -n $REPLY ]]; then
                REPLY=disabled
                return
            fi
        done
        unit_list "$name" Install.Also
        if [[ -n $REPLY ]]; then REPLY=indirect; else REPLY=static; fi
    fi
}

# The unit that timer, socket or path $1 starts into REPLY.
started_by() {
    local name=$1 kind=${1##*.} key=Unit section
    case $kind in
        timer) section=Timer ;;
        path) section=Path ;;
        *) section=Socket key=Service ;;
    esac
    unit_value "$name" "$section.$key"
    specified "$REPLY" "$name"
    if is_unit_name "$REPLY"; then return; fi
    if [[ $kind == socket && $name != *@* ]]; then
        unit_value "$name" Socket.Accept
        case ${REPLY,,} in 1 | yes | y | true | t | on)
            REPLY=${name%.*}@.service
            return
            ;;
        esac
    fi
    REPLY=${name%.*}.service
}

# `-` is `/`, `\xNN` a byte, as systemd escapes names, into REPLY.
unit_unescaped() { unescaped "${1//-//}"; }

# $1 with the specifiers that a file alone tells, for unit $2, into REPLY.
specified() {
    local rest=$1 out='' prefix=${2%.*} instance='' value
    REPLY=$1
    if [[ $1 != *%* ]]; then return; fi
    if [[ $prefix == *@* ]]; then instance=${prefix#*@} prefix=${prefix%%@*}; fi
    while [[ $rest == *%* ]]; do
        out+=${rest%%\%*}
        rest=${rest#*%}
        value=''
        case $rest in
            %*) value=% ;;
            n*) value=$2 ;;
            N*) value=${2%.*} ;;
            p*) value=$prefix ;;
            P*) unit_unescaped "$prefix" && value=$REPLY ;;
            j*) value=${prefix##*-} ;;
            J*) unit_unescaped "${prefix##*-}" && value=$REPLY ;;
            i*) value=$instance ;;
            I*) if [[ -n $instance ]]; then unit_unescaped "$instance" && value=$REPLY; fi ;;
            f*) unit_unescaped "${instance:-$prefix}" && value=/$REPLY ;;
            t*) value=/run ;;
            S*) value=/var/lib ;;
            C*) value=/var/cache ;;
            L*) value=/var/log ;;
            E*) value=/etc ;;
            T*) value=/tmp ;;
            V*) value=/var/tmp ;;
        esac
        if [[ -n $value ]]; then out+=$value rest=${rest:1}; else out+=%; fi
    done
    REPLY=$out$rest
}
