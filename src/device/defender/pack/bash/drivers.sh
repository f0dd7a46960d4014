# `drivers`: the modules of the kernel, loaded and on disk, and those that one of the kernel's lists hides.
# shellcheck shell=bash

declare -A IN_LIST=() IN_FOLDER=() USED_BY=() TAINT=() VERSION=() HAS_FILE=()
readonly OPENED=1000

# `OE` as `OE: out of tree, unsigned` into REPLY.
taints() {
    local meanings=''
    local -A known=([P]=proprietary [F]='loaded by force' [R]='unloaded by force' [C]=staging [O]='out of tree' [E]=unsigned
        [K]='live patch' [T]=test)
    local flag
    for flag in P F R C O E K T; do
        if [[ $1 == *"$flag"* ]]; then meanings+="${meanings:+, }${known[$flag]}"; fi
    done
    REPLY=$1${meanings:+: $meanings}
}

read_loaded() {
    local name users rest folder
    while read -r name _ _ users rest; do
        if [[ -z $name ]]; then continue; fi
        IN_LIST[$name]=1
        USED_BY[$name]=$users
        if [[ $rest == *'('*')' ]]; then
            rest=${rest##*'('}
            TAINT[$name]=${rest//[-+)]/}
        fi
    done 2>/dev/null < <(head -c $((4 << 20)) /proc/modules 2>/dev/null)
    for folder in /sys/module/*/; do
        if [[ ! -e ${folder}initstate ]]; then continue; fi
        name=${folder%/}
        name=${name##*/}
        IN_FOLDER[$name]=1
        if read_line "${folder}version"; then VERSION[$name]=$REPLY; fi
        if [[ -z ${TAINT[$name]-} ]] && read_line "${folder}taint"; then TAINT[$name]=$REPLY; fi
    done
    if [[ ! -e /proc/modules && ${#IN_FOLDER[@]} -eq 0 ]]; then
        warn 'this kernel tells of no modules: it is built without them, or /proc and /sys are not there'
    fi
}

# What there is to say of the loaded module $1 into the object.
add_loaded() {
    local name=$1 told='' user used=''
    local -a users
    if [[ -n ${IN_LIST[$name]-} && -z ${IN_FOLDER[$name]-} ]]; then
        told='hidden: in /proc/modules, not in /sys/module'
    elif [[ -z ${IN_LIST[$name]-} ]]; then told='hidden: in /sys/module, not in /proc/modules'; fi
    IFS=, read -r -a users <<<"${USED_BY[$name]-}"
    for user in ${users[@]+"${users[@]}"}; do
        if [[ -n $user && $user != - && $user != '[permanent]' ]]; then
            js "$user"
            used+=",$REPLY"
        fi
    done
    if [[ -n ${TAINT[$name]-} ]]; then
        taints "${TAINT[$name]}"
        told+="${told:+; }$REPLY"
    fi
    put loaded true
    O+=",\"used_by\":[${used:1}]"
    put_text tainted "$told"
}

main() {
    local release tree path size name opened=0 line version signer file key
    known_arguments
    read_loaded
    release=$(uname -r)
    tree=/lib/modules/$release
    if [[ ! -d $tree ]]; then tree=/usr/lib/modules/$release; fi
    while IFS= read -r -d '' path && IFS= read -r -d '' size; do
        if late; then break; fi
        name=${path##*/}
        name=${name%.ko*}
        name=${name//-/_}
        HAS_FILE[$name]=1
        version='' signer=''
        open_object
        put_text name "$name"
        if [[ -n ${IN_LIST[$name]-}${IN_FOLDER[$name]-} || $path != "$tree"/kernel/* ]] && ((opened++ < OPENED)) && type -P modinfo >/dev/null; then
            file=$(within modinfo -- "$path" 2>/dev/null | head -c 65536)
            key=''
            while IFS= read -r line; do
                key=${line%%:*}
                trimmed "${line#*:}"
                case $key in
                    version) version=$REPLY ;;
                    signer) signer=$REPLY ;;
                esac
            done <<<"$file"
            put_text version "${version:-${VERSION[$name]-}}"
            if [[ -n $file ]]; then
                put_text signer "$signer"
                if [[ -n $signer ]]; then put signed true; else put signed false; fi
            fi
        else
            put_text version "${VERSION[$name]-}"
        fi
        put_path path "$path"
        put size_bytes "$size"
        if [[ -n ${IN_LIST[$name]-}${IN_FOLDER[$name]-} ]]; then
            add_loaded "$name"
            KEYS+=("0$name")
        else
            put loaded false
            KEYS+=("1$name")
        fi
        row || break
    done < <(within find "$tree/" -maxdepth 16 '(' -type f -o -type l ')' '(' -name '*.ko' -o -name '*.ko.xz' -o -name '*.ko.zst' -o -name '*.ko.gz' ')' \
        -printf '%p\0%s\0' 2>/dev/null)
    for name in ${IN_LIST[@]+"${!IN_LIST[@]}"} ${IN_FOLDER[@]+"${!IN_FOLDER[@]}"}; do
        if [[ -n ${HAS_FILE[$name]-} ]]; then continue; fi
        HAS_FILE[$name]=1
        open_object
        put_text name "$name"
        put_text version "${VERSION[$name]-}"
        add_loaded "$name"
        row || break
        KEYS+=("0$name")
    done
    if ((opened > OPENED)); then warn "versions and signers of the first $OPENED modules were read"; fi
    sort_rows
}

begin drivers rows "$@"
main
finished
