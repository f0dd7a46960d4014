# `connections`: TCP and UDP sockets of every network namespace that a visible process is in, with their holders.
# shellcheck shell=bash

declare -A HOLDER=() NAMES=() CONTAINERS=()
UNOWNED=0

# An IPv4 address from eight hexadecimal digits, as the kernel has it in memory, into REPLY.
ipv4() {
    if [[ $ORDER == little ]]; then
        printf -v REPLY '%d.%d.%d.%d' "0x${1:6:2}" "0x${1:4:2}" "0x${1:2:2}" "0x${1:0:2}"
    else
        printf -v REPLY '%d.%d.%d.%d' "0x${1:0:2}" "0x${1:2:2}" "0x${1:4:2}" "0x${1:6:2}"
    fi
}

# An IPv6 address as RFC 5952 writes it from 32 digits into REPLY.
ipv6() {
    local hex='' i word run=0 at=-1 best=0 best_at=-1 out=''
    for ((i = 0; i < 32; i += 8)); do
        word=${1:i:8}
        if [[ $ORDER == little ]]; then word=${word:6:2}${word:4:2}${word:2:2}${word:0:2}; fi
        hex+=$word
    done
    if [[ $hex == 00000000000000000000[Ff][Ff][Ff][Ff]* ]]; then
        printf -v REPLY '::ffff:%d.%d.%d.%d' "0x${hex:24:2}" "0x${hex:26:2}" "0x${hex:28:2}" "0x${hex:30:2}"
        return
    fi
    for ((i = 0; i < 8; i++)); do
        if [[ ${hex:i*4:4} == 0000 ]]; then
            if ((run == 0)); then at=$i; fi
            run=$((run + 1))
            if ((run > best)); then best=$run best_at=$at; fi
        else
            run=0
        fi
    done
    if ((best < 2)); then best_at=-1; fi
    for ((i = 0; i < 8; i++)); do
        if ((i == best_at)); then
            out+=:: i=$((i + best - 1))
            continue
        fi
        if [[ -n $out && $out != *: ]]; then out+=:; fi
        printf -v word '%x' "0x${hex:i*4:4}"
        out+=$word
    done
    REPLY=$out
}

# The number of holders' sockets by inode into HOLDER: the lowest pid that has one open.
find_holders() {
    local path inode pid
    while IFS= read -r -d '' path && IFS= read -r -d '' inode; do
        pid=${path#/proc/} inode=${inode#socket:[}
        pid=${pid%%/*} inode=${inode%]}
        if [[ -z ${HOLDER[$inode]-} ]] || ((pid < HOLDER[$inode])); then HOLDER[$inode]=$pid; fi
    done < <(within find /proc/[1-9]*/fd -mindepth 1 -maxdepth 1 -lname 'socket:*' -printf '%h\0%l\0' 2>/dev/null)
}

# What holds the socket: its name and its container.
holder_facts() {
    local pid=$1 stat='' line id
    if [[ -n ${NAMES[$pid]+x} ]]; then return; fi
    NAMES[$pid]='' CONTAINERS[$pid]=''
    { IFS= read -r -d '' stat <"/proc/$pid/stat"; } 2>/dev/null
    if [[ $stat != *'('*')'* ]]; then return; fi
    stat=${stat#*\(}
    NAMES[$pid]=${stat%)*}
    while IFS= read -r line; do
        id=${line##*/}
        id=${id%.scope}
        id=${id##*:}
        id=${id#@(docker|libpod|cri-containerd|containerd|nerdctl|crio)-}
        if [[ ${#id} -ge 12 && $id != *[!0-9a-f]* ]]; then
            if [[ $line == *-"$id".scope || ${#id} -eq 64 || $line == */@(docker|libpod|pod*)/"$id" ]]; then
                CONTAINERS[$pid]=$id
            fi
        fi
    done 2>/dev/null <"/proc/$pid/cgroup"
}

# The sockets in one table of /proc: its path, the protocol, the namespace's inode.
read_table() {
    local protocol=$2 netns=$3 local_end remote_end state uid inode pid code
    [[ -r $1 ]] || return 1
    while read -r _ local_end remote_end state _ _ _ uid _ inode _; do
        if [[ $local_end != +([0-9A-F]):* || $uid != +([0-9]) ]]; then continue; fi
        if late; then return; fi
        open_object
        O+=",\"protocol\":\"$protocol\""
        code=$state
        if [[ $protocol == *6 ]]; then ipv6 "${local_end%:*}"; else ipv4 "${local_end%:*}"; fi
        O+=",\"local_address\":\"$REPLY\",\"local_port\":$((16#${local_end#*:}))"
        if [[ ${remote_end%:*} == *[!0]* || ${remote_end#*:} != 0000 ]]; then
            if [[ $protocol == *6 ]]; then ipv6 "${remote_end%:*}"; else ipv4 "${remote_end%:*}"; fi
            O+=",\"remote_address\":\"$REPLY\",\"remote_port\":$((16#${remote_end#*:}))"
        fi
        case $code in
            01) state=ESTABLISHED ;; 02) state=SYN_SENT ;; 03 | 0C) state=SYN_RECV ;; 04) state=FIN_WAIT1 ;;
            05) state=FIN_WAIT2 ;; 06) state=TIME_WAIT ;; 08) state=CLOSE_WAIT ;; 09) state=LAST_ACK ;;
            07) if [[ $protocol == tcp* ]]; then state=CLOSED; else state=UNCONNECTED; fi ;;
            0A) state=LISTEN ;; 0B) state=CLOSING ;; *) state=UNKNOWN ;;
        esac
        O+=",\"state\":\"$state\""
        pid=${HOLDER[$inode]-}
        if [[ -n $pid ]]; then
            holder_facts "$pid"
            O+=",\"pid\":$pid"
            put_text process "${NAMES[$pid]}"
        fi
        if [[ $inode != 0 ]]; then
            if [[ -z $pid ]]; then UNOWNED=$((UNOWNED + 1)); fi
            user_name "$uid"
            put_text user "$REPLY"
        fi
        put netns "$netns"
        if [[ -n $pid ]]; then put_text container "${CONTAINERS[$pid]}"; fi
        row || return 0
    done 2>/dev/null <"$1"
}

main() {
    local own path link pid inode unread=0 protocol
    declare -A namespaces=()
    known_arguments
    ORDER=little
    if [[ $(printf '\1\0' | od -An -tu2) == *256* ]]; then ORDER=big; fi
    read_users
    find_holders
    own=$(readlink /proc/self/ns/net 2>/dev/null) || own=''
    own=${own#net:[}
    own=${own%]}
    namespaces[${own:-0}]=self
    local -a order=("${own:-0}")
    while IFS= read -r -d '' path && IFS= read -r -d '' link; do
        pid=${path#/proc/} inode=${link#net:[}
        pid=${pid%%/*} inode=${inode%]}
        if [[ $inode == +([0-9]) && -z ${namespaces[$inode]+x} ]]; then
            namespaces[$inode]=$pid
            order+=("$inode")
        fi
    done < <(within find /proc/[1-9]*/ns/net -maxdepth 0 -printf '%p\0%l\0' 2>/dev/null)
    for inode in "${order[@]}"; do
        for protocol in tcp tcp6 udp udp6; do
            if late; then return; fi
            # A kernel without IPv6 has no tables for it.
            if ! read_table "/proc/${namespaces[$inode]}/net/$protocol" "$protocol" "${inode/#0/}" && [[ $protocol == tcp ]]; then
                unread=$((unread + 1))
            fi
        done
    done
    if ((unread > 0)); then warn "the sockets of $unread network namespaces could not be read as uid $EUID"; fi
    if ((UNOWNED > 0 && EUID != 0)); then
        warn "$UNOWNED sockets have no pid: the descriptors of other users' processes cannot be seen as uid $EUID: run as root"
    fi
}

begin connections rows "$@"
main
finished
