# `processes`: what runs on the device now. A process that ends while it is read is left out.
# shellcheck shell=bash

readonly KERNEL_THREAD=$((0x00200000))
BOOT_MS=0 TICKS=100 PAGE=4096

read_clock() {
    local now up
    now=$(date +%s%N) || now=0
    read_line /proc/uptime || return
    up=${REPLY%% *}
    up=${up/./}0
    # A tick's grain makes every look give the same answer.
    BOOT_MS=$(((now / 1000000 - 10#$up + 5) / 10 * 10))
    TICKS=$(getconf CLK_TCK 2>/dev/null) || TICKS=100
    PAGE=$(getconf PAGESIZE 2>/dev/null) || PAGE=4096
}

is_container_id() { [[ ${#1} -ge 12 && $1 != *[!0-9a-f]* ]]; }

# The innermost container that process $1 is in, told by its cgroup, into REPLY.
container_of() {
    local line path part parent unit name i
    local -a parts
    while IFS= read -r line; do
        path=${line#*:*:}
        if [[ $path != /?* ]]; then continue; fi
        IFS=/ read -r -a parts <<<"$path"
        for ((i = ${#parts[@]} - 1; i >= 0; i--)); do
            part=${parts[i]} parent=''
            if ((i > 0)); then parent=${parts[i - 1]}; fi
            unit=${part%.scope}
            if [[ $unit == "$part" ]]; then unit=${part%.service}; fi
            name=${unit##*:}
            REPLY=${name#@(docker|libpod|cri-containerd|containerd|nerdctl|crio)-}
            if [[ $REPLY != "$name" ]] && is_container_id "$REPLY"; then return; fi
            REPLY=$name
            if is_container_id "$name"; then
                if ((${#name} == 64 || ${#name} < ${#unit})) || [[ $parent == @(docker|libpod|pod*) ]]; then return; fi
            fi
            REPLY=$unit
            if [[ -n $unit && $parent == @(lxc|lxc.payload) ]]; then return; fi
            case $unit in
                lxc.payload.?*)
                    REPLY=${unit#lxc.payload.}
                    return
                    ;;
                systemd-nspawn@?*)
                    unescaped "${unit#systemd-nspawn@}"
                    return
                    ;;
                machine-?*)
                    unescaped "${unit#machine-}"
                    if [[ $REPLY != qemu-* ]]; then return; fi
                    ;;
            esac
        done
    done 2>/dev/null <"/proc/$1/cgroup"
    REPLY=''
}

name_matches() {
    # A glob: `*` and `?` match, all else is itself.
    # shellcheck disable=SC2053
    [[ $1 == $PATTERN ]]
}

declare -A EXE=() CWD=() UID_OF=() IMAGE_KEY=() OBJECT=() PARENT=() CHILDREN=() ORDERED=()
declare -a PIDS=()
HIDDEN=0 WANTED='' PATTERN=''

# Links and owners of all processes at once: no program is started for each.
look_at_links() {
    local kind path a b pid
    local -a places=()
    if [[ -n $WANTED ]]; then places=("/proc/$WANTED"); else places=(/proc/[1-9]*([0-9])); fi
    if ((${#places[@]} == 0)); then return; fi
    while IFS= read -r -d '' path && IFS= read -r -d '' a; do
        pid=${path#/proc/}
        kind=${pid#*/}
        pid=${pid%%/*}
        case $kind in
            exe) EXE[$pid]=$a ;;
            cwd) CWD[$pid]=$a ;;
            *) UID_OF[$pid]=$a ;;
        esac
    done < <(
        within find "${places[@]}" -maxdepth 0 -printf '%p\0%U\0' 2>/dev/null
        within find "${places[@]/%//exe}" "${places[@]/%//cwd}" -maxdepth 0 -printf '%p\0%l\0' 2>/dev/null
    )
    if [[ ${ARG[sha256]-false} == true ]]; then
        while IFS= read -r -d '' path && IFS= read -r -d '' b; do
            pid=${path#/proc/}
            IMAGE_KEY[${pid%%/*}]=$b
        done < <(within find -L "${places[@]/%//exe}" -maxdepth 0 -type f -printf '%p\0%D:%i:%s:%T@\0' 2>/dev/null)
    fi
}

# The row of process $1 as far as its hash into OBJECT; nothing where it is gone or has another name.
read_process() {
    local pid=$1 stat='' comm first image deleted='' lives=true named=false
    { IFS= read -r -d '' stat <"/proc/$pid/stat"; } 2>/dev/null
    # The name may hold parentheses, spaces and new lines: it ends at the last `)`.
    if [[ $stat != *'('*')'* ]]; then return; fi
    comm=${stat#*\(}
    comm=${comm%)*}
    local -a f
    read -r -a f <<<"${stat##*) }"
    if ((${#f[@]} < 22)); then return; fi
    if ((f[6] & KERNEL_THREAD)) || [[ ${f[0]} == [ZXx] ]]; then lives=false; fi
    if [[ -z $PATTERN ]] || name_matches "$comm"; then named=true; fi
    image=${EXE[$pid]-}
    if [[ $lives == true ]]; then
        command_line "$pid"
        local line=$REPLY
        if [[ -n $image ]]; then
            deleted=false
            if [[ $image == *' (deleted)' && ! /proc/$pid/exe -ef /proc/$pid/root$image ]]; then
                deleted=true image=${image% (deleted)}
            elif [[ $image == /memfd:* ]]; then
                deleted=true
            fi
        else
            HIDDEN=$((HIDDEN + 1))
        fi
        if [[ $named == false ]]; then
            first=''
            { IFS= read -r -d '' first <"/proc/$pid/cmdline"; } 2>/dev/null
            if name_matches "${image##*/}" || { [[ -n $first ]] && name_matches "${first##*/}"; }; then named=true; fi
        fi
    fi
    if [[ $named == false ]]; then return; fi
    open_object
    put pid "$pid"
    put ppid "${f[1]}"
    js "$comm"
    O+=",\"name\":$REPLY"
    if [[ $lives == true ]]; then
        put_path path "$image"
        put_text command_line "$line"
        put deleted_image "$deleted"
        put_path cwd "${CWD[$pid]-}"
    fi
    user_name "${UID_OF[$pid]-0}"
    put_text user "$REPLY"
    time_of_ms $((BOOT_MS + f[19] * 1000 / TICKS))
    put_time started "$REPLY"
    container_of "$pid"
    put_text container "$REPLY"
    put cpu_ms $(((f[11] + f[12]) * 1000 / TICKS))
    put rss_bytes $((f[21] * PAGE))
    OBJECT[$pid]=$O
    PARENT[$pid]=${f[1]}
    PIDS+=("$pid")
}

# Hashes each image once, however many processes run it.
add_hashes() {
    local pid key missed=0
    local -a files=()
    declare -A file_of=()
    for pid in ${PIDS[@]+"${PIDS[@]}"}; do
        key=${IMAGE_KEY[$pid]-}
        if [[ -n $key && -z ${file_of[$key]+x} ]]; then
            file_of[$key]=/proc/$pid/exe
            files+=("/proc/$pid/exe")
        fi
    done
    hash_files ${files[@]+"${files[@]}"}
    for pid in ${PIDS[@]+"${PIDS[@]}"}; do
        key=${IMAGE_KEY[$pid]-}
        if [[ -z $key ]]; then continue; fi
        key=${SHA256[${file_of[$key]}]-}
        if [[ -n $key ]]; then OBJECT[$pid]+=",\"sha256\":\"$key\""; else missed=$((missed + 1)); fi
    done
    if ((missed > 0)); then warn "the images of $missed processes could not be hashed"; fi
}

# Depth first, children by pid; a process whose parent is not listed is a root.
list_tree() {
    local pid depth child start
    local -a stack starts=() below
    for pid in ${PIDS[@]+"${PIDS[@]}"}; do
        if [[ ${PARENT[$pid]} != "$pid" && -n ${OBJECT[${PARENT[$pid]}]+x} ]]; then
            CHILDREN[${PARENT[$pid]}]+=" $pid"
        else
            starts+=("$pid")
        fi
    done
    # After the roots everything once more: pids that were used again while we looked can make a ring.
    for start in ${starts[@]+"${starts[@]}"} ${PIDS[@]+"${PIDS[@]}"}; do
        stack=("$start:0")
        while ((${#stack[@]} > 0)); do
            pid=${stack[${#stack[@]} - 1]}
            unset "stack[$((${#stack[@]} - 1))]"
            depth=${pid#*:} pid=${pid%:*}
            if [[ -n ${ORDERED[$pid]+x} ]]; then continue; fi
            ORDERED[$pid]=1
            O="${OBJECT[$pid]},\"depth\":$depth"
            row || return
            read -r -a below <<<"${CHILDREN[$pid]-}"
            for ((child = ${#below[@]} - 1; child >= 0; child--)); do stack+=("${below[child]}:$((depth + 1))"); done
        done
    done
}

main() {
    local pid
    known_arguments pid name tree sha256
    if [[ -n ${ARG[pid]-} ]]; then
        [[ ${ARG[pid]} == [1-9]*([0-9]) && ${#ARG[pid]} -le 10 ]] || fail E_BAD_ARGS "pid ${ARG[pid]} is none"
        WANTED=${ARG[pid]}
        [[ -d /proc/$WANTED ]] || fail E_NOT_FOUND "no process $WANTED: it never was, or it has ended"
        local key value
        while read -r key value; do
            if [[ $key == Tgid: && $value != "$WANTED" ]]; then
                fail E_NOT_FOUND "no process $WANTED: it is a thread of process $value"
            fi
        done 2>/dev/null <"/proc/$WANTED/status"
    fi
    if [[ -n ${ARG[name]+x} ]]; then
        PATTERN=${ARG[name]}
        [[ -n $PATTERN && ${#PATTERN} -le 1024 ]] || fail E_BAD_ARGS 'name is empty or longer than 1024 bytes'
        PATTERN=${PATTERN//\\/\\\\}
        PATTERN=${PATTERN//\[/\\[}
        PATTERN=${PATTERN//\]/\\]}
        PATTERN=${PATTERN//(/\\(}
        PATTERN=${PATTERN//+(\*)/*}
    fi
    read_clock
    read_users
    look_at_links
    local -a all=()
    if [[ -n $WANTED ]]; then
        all=("$WANTED")
    else
        for pid in /proc/[1-9]*([0-9]); do all[${pid#/proc/}]=${pid#/proc/}; done
    fi
    for pid in ${all[@]+"${all[@]}"}; do
        if late; then break; fi
        read_process "$pid"
    done
    if ((HIDDEN > 0 && EUID != 0)); then
        warn "the image and the working directory of $HIDDEN processes cannot be seen as uid $EUID: run as root"
    fi
    if [[ ${ARG[sha256]-false} == true ]]; then add_hashes; fi
    if [[ ${ARG[tree]-false} == true ]]; then
        list_tree
    else
        for pid in ${PIDS[@]+"${PIDS[@]}"}; do
            O=${OBJECT[$pid]}
            row || break
        done
    fi
}

begin processes rows "$@"
main
finished
