# `collect`: gathers a forensics package into one archive (`gather`), or removes that archive again (`tidy`).
# Invariants: it writes the archive and a folder beside it, which it removes, and nothing else; never over a file. Keys,
# password hashes and environments of processes are left out.
# shellcheck shell=bash

# All that is copied, and of one file, in KiB.
readonly TOTAL_KIB=$((512 << 10)) FILE_KIB=$((64 << 10))
readonly TOP=live-response-package
STAGE='' OUT='' LEFT_OUT=0 TAKEN_KIB=0 DAYS=2

on_end() { if [[ -n $STAGE ]]; then rm -rf -- "$STAGE"; fi; }

# Notes what is not in the package, and why.
leave_out() {
    LEFT_OUT=$((LEFT_OUT + 1))
    if ((LEFT_OUT <= 10000)); then
        path_text "$1"
        printf '%s\t%s\n' "$2" "${REPLY//$'\n'/?}" >>"$STAGE/$TOP/left-out.txt"
    fi
}

# What a program prints, at most 32 MiB, as file $1 of the package. It has 60 s.
output_of() {
    local name=$1 file=$STAGE/$TOP/$1
    shift
    late && return 1
    if ! type "$1" >/dev/null 2>&1; then
        leave_out "$name" "no $1"
        return
    fi
    mkdir -p -- "${file%/*}"
    if [[ $(type -t "$1") == function ]]; then
        "$@" 2>/dev/null | head -c $((32 << 20)) >"$file"
    else
        local left=$((LIMIT - SECONDS))
        if ((left > 60)); then left=60; fi
        timeout -k 1 "$left" "$@" 2>&1 | head -c $((32 << 20)) >"$file"
    fi
}

# Copies of files, below `files/` under their own paths.
copy() {
    local file size to
    for file in "$@"; do
        late && return 1
        if [[ ! -f $file ]]; then continue; fi
        if [[ ! -r $file ]]; then
            leave_out "$file" "not readable as uid $EUID"
            continue
        fi
        to=$STAGE/$TOP/files$file
        if [[ -e $to ]]; then continue; fi
        size=$(timeout 5 stat -L -c %s -- "$file" 2>/dev/null) || continue
        size=$(((size + 1023) >> 10))
        if ((size > FILE_KIB)); then
            leave_out "$file" "larger than $((FILE_KIB >> 10)) MiB"
            continue
        fi
        if ((TAKEN_KIB + size > TOTAL_KIB)); then
            leave_out "$file" "the package is full"
            partial "the package is full at $((TOTAL_KIB >> 10)) MiB: left-out.txt in it names what is missing"
            continue
        fi
        TAKEN_KIB=$((TAKEN_KIB + size))
        mkdir -p -- "${to%/*}"
        # A log grows while it is read.
        if ! within head -c $((FILE_KIB << 10)) -- "$file" 2>/dev/null >"$to"; then leave_out "$file" 'could not be read whole'; fi
        touch -r "$file" -- "$to" 2>/dev/null
    done
}

# Accounts without the hashes of their passwords: of one its kind alone.
shadow_without_hashes() {
    awk -F: -v OFS=: '{ if ($2 ~ /^[!*]*\$/) { split($2, p, "$"); $2 = "$" p[2] "$..." } else if (length($2) > 2) { $2 = "(set)" } print }' /etc/shadow
}

maps_of_processes() {
    local pid
    for pid in /proc/[1-9]*; do
        late && return
        printf '== %s\n' "${pid#/proc/}"
        head -c $((256 << 10)) "$pid/maps"
    done
}

status_of_processes() {
    local pid
    for pid in /proc/[1-9]*; do
        late && return
        printf '== %s\n' "${pid#/proc/}"
        tr '\000' ' ' <"$pid/cmdline" | head -c 32768
        printf '\n'
        head -c 8192 "$pid/status" "$pid/cgroup"
        readlink "$pid/exe" "$pid/cwd" "$pid/root"
    done
}

descriptors_of_processes() { find /proc/[1-9]*/fd -mindepth 1 -maxdepth 1 -printf '%p -> %l\n' | head -n 500000; }

images_of_processes() { printf '%s\0' /proc/[1-9]*/exe | xargs -0 sha256sum --; }

sockets_of_kernel() {
    local table
    for table in tcp tcp6 udp udp6 raw raw6 unix packet; do
        printf '== %s\n' "$table"
        cat "/proc/net/$table"
    done
}

timeline() {
    find /etc /usr/local /opt /root /home /tmp /var/tmp /var/spool /var/www /dev/shm -xdev \
        '(' -mtime "-$DAYS" -o -ctime "-$DAYS" ')' -printf '%C+ %T+ %M %u %g %s %p\n' | head -n 200000 | sort
}

set_id_files() { find / -xdev -type f '(' -perm -4000 -o -perm -2000 ')' -printf '%M %u %g %s %T+ %p\n'; }

kernel_state() {
    local file
    for file in /proc/cmdline /proc/version /proc/modules /proc/sys/kernel/tainted /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe \
        /proc/meminfo /proc/cpuinfo /proc/uptime /proc/partitions /proc/swaps /proc/filesystems /proc/mounts /proc/self/mountinfo; do
        printf '== %s\n' "$file"
        head -c $((1 << 20)) "$file"
    done
}

packages() {
    if [[ -d /var/lib/dpkg/info ]] && type -P dpkg-query >/dev/null; then dpkg-query -W; else rpm -qa --last; fi
}

# All of them take minutes: a short search looks at those whose programs intruders replace.
changed_packages() {
    local -a only=() all=(-a)
    if ((DAYS < 7)); then
        all=()
        only=(bash coreutils util-linux login passwd sudo openssh-server openssh-clients openssh-client procps procps-ng psmisc
            iproute iproute2 net-tools findutils grep lsof systemd cron cronie pam libpam-modules libpam-runtime libc6 glibc mdatp)
    fi
    if [[ -d /var/lib/dpkg/info ]] && type -P dpkg >/dev/null; then
        dpkg --verify ${only[@]+"${only[@]}"}
    else
        rpm -V --nomtime ${all[@]+"${all[@]}"} ${only[@]+"${only[@]}"}
    fi
}

gather_outputs() {
    output_of processes/list.txt ps axwwo user,pid,ppid,pgid,sess,lstart,etime,stat,pcpu,pmem,rss,tty,args
    output_of processes/status.txt status_of_processes
    output_of processes/maps.txt maps_of_processes
    output_of processes/descriptors.txt descriptors_of_processes
    output_of processes/images.sha256 images_of_processes
    output_of network/sockets.txt ss -tuapnoe
    output_of network/sockets-kernel.txt sockets_of_kernel
    output_of network/addresses.txt ip -d address
    output_of network/routes.txt ip route show table all
    output_of network/neighbours.txt ip neighbour
    output_of network/nft.txt nft list ruleset
    output_of network/iptables.txt iptables-save
    output_of users/who.txt who -a
    output_of users/last.txt last -Faiwx
    output_of users/lastb.txt lastb -Faiwx
    output_of users/lastlog.txt lastlog
    if [[ -r /etc/shadow ]]; then output_of users/shadow-without-hashes.txt shadow_without_hashes; fi
    output_of system/kernel.txt kernel_state
    output_of system/dmesg.txt dmesg -T
    output_of system/disks.txt df -aTk
    output_of system/blocks.txt lsblk -a
    output_of system/modules.txt lsmod
    output_of system/sysctl.txt sysctl -a
    output_of system/timeline.txt timeline
    output_of persistence/units.txt systemctl list-units --all --no-pager
    output_of persistence/unit-files.txt systemctl list-unit-files --no-pager
    output_of persistence/timers.txt systemctl list-timers --all --no-pager
    output_of packages/installed.txt packages
    output_of logs/journal.txt journalctl --no-pager -o short-iso --since "$DAYS days ago" -n 200000
    output_of defender/health.txt mdatp health
    output_of defender/threats.txt mdatp threat list
    output_of defender/exclusions.txt mdatp exclusion list
}

gather_files() {
    local home file
    copy /etc/passwd /etc/group /etc/login.defs /etc/hosts /etc/hostname /etc/resolv.conf /etc/nsswitch.conf /etc/os-release \
        /etc/fstab /etc/crontab /etc/anacrontab /etc/rc.local /etc/environment /etc/profile /etc/bash.bashrc /etc/bashrc /etc/shells \
        /etc/ld.so.preload /etc/ld.so.conf /etc/ld.so.conf.d/* /etc/sudoers /etc/sudoers.d/* /etc/ssh/sshd_config /etc/ssh/sshd_config.d/* \
        /etc/ssh/ssh_config /etc/ssh/sshrc /etc/pam.d/* /etc/security/*.conf /etc/cron.d/* /etc/cron.@(hourly|daily|weekly|monthly)/* \
        /etc/profile.d/* /etc/init.d/* /etc/systemd/system/* /etc/systemd/system/*/* /run/systemd/system/* /usr/local/lib/systemd/system/* \
        /etc/modules /etc/modules-load.d/* /etc/modprobe.d/* /etc/udev/rules.d/* /etc/xdg/autostart/* /etc/update-motd.d/* \
        /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/* /etc/yum.repos.d/* /etc/NetworkManager/dispatcher.d/* \
        /etc/rsyslog.conf /etc/rsyslog.d/* /etc/audit/*.conf /etc/audit/rules.d/*
    copy /var/spool/cron/* /var/spool/cron/crontabs/* /var/spool/cron/atjobs/* /var/spool/at/*
    for home in ${HOMES[@]+"${HOMES[@]}"}; do
        copy "$home"/.@(bash|zsh|sh|ash|python|mysql|psql|sqlite|node_repl|rediscli|lftp)_history "$home"/.local/share/fish/fish_history \
            "$home"/.lesshst "$home"/.viminfo "$home"/.wget-hsts "$home"/.bashrc "$home"/.bash_profile "$home"/.bash_login "$home"/.bash_logout \
            "$home"/.profile "$home"/.zshrc "$home"/.zshenv "$home"/.zprofile "$home"/.ssh/authorized_keys "$home"/.ssh/authorized_keys2 \
            "$home"/.ssh/known_hosts "$home"/.ssh/config "$home"/.ssh/rc "$home"/.config/autostart/* "$home"/.config/systemd/user/* \
            "$home"/.local/share/recently-used.xbel "$home"/.gitconfig
    done
    while IFS= read -r -d '' file; do copy "$file"; done < <(
        within find /var/log -xdev -type f -mtime "-$((DAYS + 30))" '!' -path '*/journal/*' -size "-${FILE_KIB}k" -print0 2>/dev/null)
    copy /var/run/utmp /var/log/wtmp /var/log/btmp /var/log/lastlog
}

gather() {
    local folder=${OUT%/*} name=${OUT##*/} files=0
    if [[ -e $OUT || -L $OUT ]]; then fail E_EXISTS 'the archive is there already: it is not overwritten'; fi
    cd -P -- "${folder:-/}" 2>/dev/null || fail E_NOT_FOUND "there is no folder $folder"
    [[ -w . ]] || fail E_ACCESS "$folder cannot be written as uid $EUID"
    local room
    room=$(df -Pk . 2>/dev/null | awk 'NR == 2 { print $4 }')
    if [[ $room == +([0-9]) ]] && ((room < TOTAL_KIB * 2)); then
        fail E_STORE_UNAVAILABLE "there are $room KiB of room in $folder, and up to $((TOTAL_KIB * 2)) are needed"
    fi
    mkdir -m 0700 -- "./$name.parts" 2>/dev/null || fail E_EXISTS "$OUT.parts is there already"
    STAGE=$PWD/$name.parts
    mkdir -- "$STAGE/$TOP"
    # What is left of the time packs.
    local whole=$LIMIT
    LIMIT=$((LIMIT - LIMIT / 5))
    read_homes
    gather_outputs
    gather_files
    # What goes through whole disks comes last.
    output_of persistence/set-id.txt set_id_files
    output_of packages/changed.txt changed_packages
    LIMIT=$whole
    {
        printf 'host\t%s\n' "$(uname -n)"
        printf 'kernel\t%s\n' "$(uname -srvm)"
        printf 'account\t%s\n' "$EUID"
        printf 'days\t%s\n' "$DAYS"
        printf 'complete\t%s\n' "$COMPLETE"
        printf 'left out\t%s\n' "$LEFT_OUT"
        printf 'made\t%(%Y-%m-%dT%H:%M:%SZ)T\n' -1
    } >"$STAGE/$TOP/about.txt"
    # The sums of all files, those of the sums and of their own list apart.
    (cd -- "$STAGE/$TOP" && find . -type f '!' -name manifest.sha256 -print0 | sort -z | xargs -0 sha256sum -- >"$STAGE/manifest") || :
    mv -- "$STAGE/manifest" "$STAGE/$TOP/manifest.sha256"
    files=$(wc -l <"$STAGE/$TOP/manifest.sha256")
    if ! timeout -k 1 60 tar -C "$STAGE" -czf "$STAGE/archive" -- "$TOP" 2>/dev/null; then
        fail E_BACKEND 'the archive could not be made within the time and room there is'
    fi
    chmod 0600 -- "$STAGE/archive"
    ln -T -- "$STAGE/archive" "./$name" 2>/dev/null || mv -nT -- "$STAGE/archive" "./$name" 2>/dev/null
    file_facts "./$name" -P && [[ $F_KIND == f ]] || fail E_EXISTS 'the archive could not be put in its place'
    hash_files "./$name"
    open_object
    put_path path "$OUT"
    put size_bytes "$F_SIZE"
    put_text sha256 "${SHA256[./$name]-}"
    put files "$files"
    put left_out "$LEFT_OUT"
    DATA="{${O:1}}"
}

tidy() {
    local folder=${OUT%/*} name=${OUT##*/} first
    cd -P -- "${folder:-/}" 2>/dev/null || fail E_NOT_FOUND "there is no folder $folder"
    # Of a run that was ended in its middle.
    if file_facts "./$name.parts" -P && [[ $F_KIND == d && $F_UID == "$EUID" && $F_BITS == 700 ]]; then rm -rf -- "./$name.parts"; fi
    [[ -e ./$name || -L ./$name ]] || fail E_NOT_FOUND 'there is no such archive'
    file_facts "./$name" -P || fail E_NOT_FOUND 'there is no such archive'
    first=$(timeout 20 tar -tzf "./$name" 2>/dev/null | head -n 1)
    # Nothing but what `gather` made.
    if [[ $F_KIND != f || $F_UID != "$EUID" || $F_BITS != 600 || $first != "$TOP/" ]]; then
        fail E_PROTECTED 'the file is no package of this script: it is left alone'
    fi
    rm -f -- "./$name"
    if [[ -e ./$name ]]; then fail E_ACCESS 'the archive cannot be removed'; fi
    open_object
    put_path path "$OUT"
    put removed true
    DATA="{${O:1}}"
}

main() {
    known_arguments mode out days
    path_argument out
    OUT=$REPLY
    [[ $OUT == *.tar.gz && ${OUT##*/} != .tar.gz ]] || fail E_BAD_ARGS 'out does not end in .tar.gz'
    number_argument days 2
    DAYS=$REPLY
    if ((DAYS < 1 || DAYS > 3650)); then fail E_BAD_ARGS 'days is not between 1 and 3650'; fi
    case ${ARG[mode]-} in
        gather) gather ;;
        tidy) tidy ;;
        *) fail E_BAD_ARGS 'mode is neither gather nor tidy' ;;
    esac
}

begin collect data "$@"
main
finished
