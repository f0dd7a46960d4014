# `persistence`: what was set up to come back, one technique at a time. What a package vouches for is marked, not hidden.
# Invariant: no key, password or hash of one is a part of a row.
# shellcheck shell=bash

# Of the lines that run.
readonly COMMAND_LIMIT=2048
readonly FILES_LIMIT=20000
# Lines that are no comments.
readonly ANY='^[[:space:]]*[^#;[:space:]]'
declare -a LOCATIONS=() FIELDS=() NAMES=()
declare -A SUM=() TIMES=() OWNED=() INTACT=()
TECHNIQUE='' ATTACK='' ONLY='' ONLY_USER=''

# Whether the technique is asked for; the files that follow are its.
technique() {
    TECHNIQUE=$1 ATTACK=$2
    late && return 1
    case $ONLY in
        '') return 0 ;;
        [Tt][0-9]* | [0-9]*) [[ ${ATTACK#T} == "${ONLY#[Tt]}" || ${ATTACK#T} == "${ONLY#[Tt]}".* ]] ;;
        *) [[ $TECHNIQUE == "$ONLY"* ]] ;;
    esac
}

# Adds a row of file or place $1: name, command, user, note.
found() {
    if ((${#LOCATIONS[@]} >= FILES_LIMIT)); then
        partial "more than $FILES_LIMIT rows: the rest is not listed"
        return
    fi
    if [[ -n $ONLY_USER && $4 != "$ONLY_USER" ]]; then return; fi
    open_object
    O+=",\"technique\":\"$TECHNIQUE\",\"attack_id\":\"$ATTACK\""
    put_path location "$1"
    put_text name "$2"
    put_text command "${3:0:COMMAND_LIMIT}"
    put_text user "$4"
    put_text note "$5"
    LOCATIONS+=("$1")
    FIELDS+=("$O")
}

# Rows of the files after $3 of which a line fits the expression $1, as user $2, with note $3.
lines() {
    local pattern=$1 user=$2 note=$3 file text
    shift 3
    for file in "$@"; do
        if [[ ! -f $file || -d $file ]]; then continue; fi
        is_readable_file "$file" || continue
        text=$(within head -c $((1 << 20)) -- "$file" 2>/dev/null | tr -d '\000' | grep -aE -m 200 -- "$pattern" | grep -avE '^[[:space:]]*#' |
            head -c $((COMMAND_LIMIT * 2)))
        if [[ -n $text ]]; then found "$file" "${file##*/}" "$text" "$user" "$note"; fi
    done
}

# Rows of files that count whatever is in them, executable ones above all.
files() {
    local user=$1 note=$2 file
    shift 2
    for file in "$@"; do
        if [[ ! -f $file && ! -L $file ]]; then continue; fi
        found "$file" "${file##*/}" '' "$user" "$note"
    done
}

# As `lines`, of scripts: any line counts, and one that cannot be executed is told.
scripts() {
    local user=$1 file
    shift
    for file in "$@"; do
        if [[ ! -f $file ]]; then continue; fi
        if [[ -x $file ]]; then lines "$ANY" "$user" '' "$file"; else lines "$ANY" "$user" 'not executable: it does not run' "$file"; fi
    done
}

# Files $3 and after below each home.
home_lines() {
    local pattern=$1 note=$2 i part
    shift 2
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do
        # shellcheck disable=SC2206
        for part in "$@"; do
            # A pattern below a home, whose own name is none.
            while IFS= read -r -d '' file; do lines "$pattern" "${HOME_USERS[i]}" "$note" "$file"; done < <(expanded "${HOMES[i]}" "$part")
        done
    done
}

# The files below folder $1 that pattern $2 names, each with a NUL after it.
expanded() {
    if [[ $2 != *[*?[]* ]]; then
        if [[ -f $1/$2 ]]; then printf '%s\0' "$1/$2"; fi
        return
    fi
    cd -- "$1" 2>/dev/null || return
    local file
    # shellcheck disable=SC2206
    local -a found_files=($2)
    for file in ${found_files[@]+"${found_files[@]}"}; do printf '%s\0' "$1/$file"; done
}

UNITS='/etc/systemd/system /run/systemd/system /run/systemd/transient /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system'
# Lines of a unit that start something.
readonly EXEC='^[[:space:]]*(Exec[A-Za-z]*|EnvironmentFile|OnFailure|OnSuccess|Environment|User|Unit|OnCalendar|On[A-Za-z]+Sec|Listen[A-Za-z]+|Path[A-Za-z]+|Directory[A-Za-z]+|Service)[[:space:]]*='

look_at_systemd() {
    local folder i home user note
    if technique systemd-services T1543.002; then
        for folder in $UNITS; do lines "$EXEC" root '' "$folder"/*.service "$folder"/*.service.d/*.conf; done
    fi
    if technique systemd-user-services T1543.002; then
        for folder in /etc/systemd/user /run/systemd/user /usr/local/lib/systemd/user /usr/lib/systemd/user; do
            lines "$EXEC" '' '' "$folder"/*.@(service|timer|socket|path) "$folder"/*.d/*.conf
        done
        for i in ${HOMES[@]+"${!HOMES[@]}"}; do
            home=${HOMES[i]} user=${HOME_USERS[i]} note=''
            if [[ -n $user && -e /var/lib/systemd/linger/$user ]]; then note='lingers: it runs without a sign-in'; fi
            for folder in "$home/.config/systemd/user" "$home/.local/share/systemd/user"; do
                lines "$EXEC" "$user" "$note" "$folder"/*.@(service|timer|socket|path) "$folder"/*.d/*.conf
            done
        done
    fi
    if technique systemd-timers T1053.006; then
        for folder in $UNITS; do lines "$EXEC" root '' "$folder"/*.@(timer|socket|path) "$folder"/*.@(timer|socket|path).d/*.conf; done
    fi
    if technique systemd-generators T1543.002; then
        for folder in /etc/systemd /run/systemd /usr/local/lib/systemd /usr/lib/systemd /lib/systemd; do
            files root '' "$folder"/@(system-generators|user-generators|system-environment-generators|user-environment-generators)/*
        done
    fi
    if technique systemd-hooks T1037; then
        for folder in /etc/systemd /usr/local/lib/systemd /usr/lib/systemd /lib/systemd; do
            files root '' "$folder"/@(system-shutdown|system-sleep)/*
        done
        lines "$ANY" root '' /etc/environment.d/* /run/environment.d/* /usr/lib/environment.d/*
        home_lines "$ANY" '' '.config/environment.d/*'
    fi
}

look_at_schedules() {
    local file line number user
    if technique cron-system T1053.003; then
        lines '^[[:space:]]*-?(@|[0-9*A-Za-z])' root '' /etc/crontab /etc/cron.d/* /etc/cron.d/.[!.]* /etc/anacrontab
        scripts root /etc/cron.@(hourly|daily|weekly|monthly|yearly)/!(.placeholder)
    fi
    if technique cron-user T1053.003; then
        for file in /var/spool/cron/crontabs/* /var/spool/cron/tabs/* /var/spool/cron/* /etc/crontabs/*; do
            if [[ ! -L $file ]]; then lines '^[[:space:]]*-?(@|[0-9*A-Za-z])' "${file##*/}" '' "$file"; fi
        done
    fi
    if technique at T1053.002; then
        for file in /var/spool/cron/atjobs/[a-zA-Z=]* /var/spool/at/[a-zA-Z=]*; do
            # The head holds the environment of who made it.
            if [[ -f $file && ! -L $file ]] && is_readable_file "$file"; then
                file_facts "$file" -P || continue
                line=$(within head -c 262144 -- "$file" 2>/dev/null | tr -d '\000' | sed '1,/^}$/d' | head -c "$COMMAND_LIMIT")
                found "$file" "${file##*/}" "$line" "$F_OWNER" ''
            fi
        done
    fi
}

look_at_start_of_system() {
    if technique sysv-init T1037.004; then
        files root '' /etc/init.d/!(README|skeleton|functions|*.dpkg-*) /etc/rc.d/init.d/!(functions)
    fi
    if technique rc-local T1037.004; then
        scripts root /etc/rc.local /etc/rc.d/rc.local /etc/init.d/boot.local /etc/init.d/after.local
    fi
    if technique motd T1037; then scripts root /etc/update-motd.d/* /usr/lib/update-notifier/*; fi
    if technique udev-rules T1546.017; then
        lines 'RUN[{+]|RUN *=|PROGRAM *=|IMPORT\{program\}' root '' /etc/udev/rules.d/*.rules /run/udev/rules.d/*.rules \
            /usr/local/lib/udev/rules.d/*.rules /usr/lib/udev/rules.d/*.rules
    fi
    if technique kernel-modules T1547.006; then
        lines "$ANY" root '' /etc/modules /etc/modules-load.d/* /usr/lib/modules-load.d/* /run/modules-load.d/*
        lines '^[[:space:]]*(install|remove)[[:space:]]' root 'runs a command' /etc/modprobe.d/* /usr/lib/modprobe.d/* /run/modprobe.d/*
        files root 'outside the tree of the kernel' /lib/modules/*/@(extra|updates|weak-updates|misc)/*.ko*
    fi
    if technique dkms T1547.006; then lines "$ANY" root '' /usr/src/*/dkms.conf; fi
    if technique boot-loader T1542; then
        lines '^[[:space:]]*(GRUB_CMDLINE|GRUB_INIT)' root '' /etc/default/grub /etc/default/grub.d/*
        lines '^[[:space:]]*(linux|linux16|linuxefi|options|append|kernel)[[:space:]]' root '' /boot/grub/grub.cfg \
            /boot/grub2/grub.cfg /boot/grub/custom.cfg /boot/extlinux/extlinux.conf /boot/loader/entries/*.conf
        files root '' /etc/grub.d/!(README) /etc/kernel/@(preinst|postinst|prerm|postrm|install).d/*
    fi
    if technique initramfs T1542; then
        files root '' /etc/initramfs-tools/hooks/* /etc/initramfs-tools/scripts/*/* /etc/dracut.conf.d/* \
            /usr/share/initramfs-tools/hooks/* /usr/share/initramfs-tools/scripts/*/*
    fi
    if technique cloud-init T1037; then
        files root '' /var/lib/cloud/scripts/*/*
        lines 'runcmd|bootcmd' root '' /etc/cloud/cloud.cfg.d/* /etc/cloud/cloud.cfg
    fi
}

look_at_sessions() {
    if technique shell-startup-system T1546.004; then
        lines "$ANY" '' '' /etc/profile /etc/bash.bashrc /etc/bashrc /etc/bash.bash_logout /etc/zshenv /etc/zprofile /etc/zshrc \
            /etc/zlogin /etc/zlogout /etc/csh.@(cshrc|login|logout) /etc/ksh.kshrc /etc/mkshrc /etc/fish/config.fish \
            /etc/profile.d/* /etc/zsh/* /etc/fish/conf.d/* /etc/skel/.[!.]*
    fi
    if technique shell-startup-user T1546.004; then
        home_lines "$ANY" '' .bashrc .bash_profile .bash_login .bash_logout .bash_aliases .profile .zshrc .zshenv .zprofile .zlogin \
            .zlogout .kshrc .mkshrc .cshrc .tcshrc .login .logout .config/fish/config.fish .inputrc '.config/fish/conf.d/*' '.bashrc.d/*'
    fi
    if technique environment T1574.006; then
        lines 'LD_|PATH|BASH_ENV|(^|[^A-Z])ENV|PYTHON|PERL5|NODE_OPTIONS|PROMPT_COMMAND|GCONV' '' '' /etc/environment \
            /etc/security/pam_env.conf /etc/default/locale
        home_lines 'LD_|PATH|BASH_ENV|PYTHON|PERL5|NODE_OPTIONS|PROMPT_COMMAND' '' .pam_environment
    fi
    if technique linker-preload T1574.006; then lines "$ANY" root 'every program loads it' /etc/ld.so.preload; fi
    if technique linker-search-path T1574.006; then lines '^[[:space:]]*/' root '' /etc/ld.so.conf /etc/ld.so.conf.d/*; fi
    if technique xdg-autostart T1547.013; then
        lines '^(Exec|Hidden|OnlyShowIn|TryExec)[[:space:]]*=' '' '' /etc/xdg/autostart/*.desktop /usr/share/gnome/autostart/*.desktop \
            /usr/share/autostart/*.desktop
        home_lines '^(Exec|Hidden|OnlyShowIn|TryExec)[[:space:]]*=' '' '.config/autostart/*.desktop' '.config/autostart/.[!.]*' '.kde/Autostart/*'
    fi
    if technique session-scripts T1547.013; then
        lines "$ANY" '' '' /etc/X11/Xsession.d/* /etc/X11/xinit/xinitrc.d/* /etc/X11/Xreset.d/* /etc/xdg/plasma-workspace/@(env|shutdown)/* \
            /etc/gdm3/@(PreSession|PostSession|PostLogin|Init)/* /etc/X11/Xsession /etc/X11/xinit/xinitrc /etc/X11/xinit/xserverrc
        home_lines "$ANY" '' .xprofile .xinitrc .xserverrc .xsession .Xsession .xsessionrc .Xclients .vnc/xstartup \
            '.config/plasma-workspace/@(env|shutdown)/*' '.config/autostart-scripts/*'
    fi
    if technique dbus-services T1543; then
        lines '^(Exec|User|SystemdService)=' '' '' /etc/dbus-1/@(system-services|services)/* /run/dbus-1/@(system-services|services)/* \
            /usr/local/share/dbus-1/@(system-services|services)/* /usr/share/dbus-1/@(system-services|services)/*
        home_lines '^(Exec|User|SystemdService)=' '' '.local/share/dbus-1/services/*'
    fi
    if technique inetd T1543; then
        lines "$ANY" root '' /etc/inetd.conf /etc/inetd.d/*
        lines '^[[:space:]]*(server|server_args|user|port|disable)[[:space:]]*=' root '' /etc/xinetd.conf /etc/xinetd.d/*
    fi
    if technique editor-startup T1546; then
        home_lines '(!|system|autocmd|au |shell|exec|call|run|eval|load|require)' '' .vimrc .viminfo.rc '.vim/plugin/*' .exrc .nanorc .emacs \
            .emacs.d/init.el .config/nvim/init.vim .config/nvim/init.lua .lesskey .tmux.conf .config/tmux/tmux.conf .screenrc
    fi
    if technique interpreter-startup T1546; then
        lines "$ANY" '' '' /usr/@(lib|local/lib)/python3*/@(sitecustomize|usercustomize).py \
            /usr/@(lib|local/lib)/python3*/@(site|dist)-packages/@(sitecustomize|usercustomize).py /etc/perl/sitecustomize.pl /etc/gdb/gdbinit
        lines '^import[[:space:]]' '' 'runs whenever Python starts' /usr/@(lib|local/lib)/python3*/@(site|dist)-packages/*.pth
        lines '^[[:space:]]*(auto_prepend_file|auto_append_file|opcache.preload)[[:space:]]*=[[:space:]]*[^[:space:]]' '' '' \
            /etc/php/*/*/php.ini /etc/php/*/*/conf.d/*.ini /etc/php.ini /etc/php.d/*.ini
        home_lines "$ANY" '' .perldb .pythonrc .pythonrc.py .pythonstartup .pdbrc .irbrc .pryrc .Rprofile .gdbinit .config/gdb/gdbinit .lldbinit
        home_lines '^(script-shell|shell|node-options|git|editor)[[:space:]]*=' '' .npmrc
    fi
    if technique git T1546; then
        lines '(pager|hooksPath|fsmonitor|sshCommand|editor|=[[:space:]]*!)' '' '' /etc/gitconfig
        home_lines '(pager|hooksPath|fsmonitor|sshCommand|editor|=[[:space:]]*!)' '' .gitconfig .config/git/config '*/.git/config'
        home_lines "$ANY" '' '*/.git/hooks/!(*.sample)'
    fi
    if technique desktop-hooks T1546.002; then home_lines 'programs|command|exec' '' .xscreensaver; fi
}

look_at_access() {
    local file i text name id shell home rest line
    if technique ssh-authorized-keys T1098.004; then
        for i in ${HOMES[@]+"${!HOMES[@]}"}; do
            for file in "${HOMES[i]}"/.ssh/authorized_keys "${HOMES[i]}"/.ssh/authorized_keys2; do
                if ! is_readable_file "$file"; then continue; fi
                # Of a key its options, its type and its comment, not itself.
                text=$(within head -c 262144 -- "$file" 2>/dev/null | tr -d '\000' | grep -aE "$ANY" |
                    sed -E 's/(AAAA[A-Za-z0-9+/]{8})[A-Za-z0-9+/=]*/\1…/g' | head -c 4096)
                if [[ -n $text ]]; then found "$file" "${file##*/}" "$text" "${HOME_USERS[i]}" ''; fi
            done
        done
    fi
    if technique sshd-configuration T1556; then
        lines '^[[:space:]]*(AuthorizedKeys|ForceCommand|Permit(Root|Empty|User|TTY|Tunnel)|TrustedUserCAKeys|Subsystem|PasswordAuth|Include|Match|AuthorizedPrincipals|AcceptEnv)' \
            root '' /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf
    fi
    if technique ssh-client T1546; then
        lines "$ANY" '' '' /etc/ssh/sshrc
        lines '(ProxyCommand|LocalCommand|PermitLocalCommand|KnownHostsCommand|Match.*exec|PKCS11Provider)' '' '' /etc/ssh/ssh_config /etc/ssh/ssh_config.d/*
        home_lines "$ANY" '' .ssh/rc
        home_lines '(ProxyCommand|LocalCommand|PermitLocalCommand|KnownHostsCommand|Match.*exec|PKCS11Provider)' '' .ssh/config
    fi
    if technique ssh-private-keys T1552.004; then
        for i in ${HOMES[@]+"${!HOMES[@]}"}; do
            for file in "${HOMES[i]}"/.ssh/!(*.pub|known_hosts*|config|authorized_keys*|rc|environment); do
                if is_readable_file "$file" && head -c 64 -- "$file" | grep -aqE 'PRIVATE KEY|PuTTY-User-Key'; then
                    found "$file" "${file##*/}" '' "${HOME_USERS[i]}" 'a private key'
                fi
            done
        done
    fi
    if [[ -r /etc/passwd && -f /etc/passwd ]]; then
        while IFS=: read -r name rest id _ _ home shell; do
            if technique account-uid-0 T1136.001 && [[ $id == +(0) && $name != root ]]; then
                found /etc/passwd "$name" "$shell" "$name" 'has the rights of root'
            fi
            if technique account-woken T1098 && [[ $rest != @(x|\*|!*) ]]; then
                if [[ -z $rest ]]; then text='has no password'; else text='a password hash stands in /etc/passwd'; fi
                found /etc/passwd "$name" "$shell" "$name" "$text"
            elif technique account-woken T1098 && [[ $id == [1-9]?([0-9])?([0-9]) && $shell == */@(sh|bash|zsh|dash|ksh|fish) ]]; then
                found /etc/passwd "$name" "$shell" "$name" 'an account of the system with a shell'
            fi
            if technique account-shell T1098 && [[ $shell == *[[:space:]]* ]]; then
                found /etc/passwd "$name" "$shell" "$name" 'the shell has blanks in its name'
            fi
        done < <(within head -c $((16 << 20)) /etc/passwd | tr -d '\000')
    fi
    if technique account-shell T1098; then lines '(nologin|false)' root 'a shell that is none is listed as one' /etc/shells; fi
    if technique sudoers T1548.003; then
        lines "$ANY" root '' /etc/sudoers /usr/local/etc/sudoers
        for file in /etc/sudoers.d/*; do
            text=''
            if [[ ${file##*/} == *.* || $file == *'~' ]]; then text='sudo skips a file of this name'; fi
            lines "$ANY" root "$text" "$file"
        done
    fi
    if technique polkit T1556; then
        lines '(Result.YES|addRule|spawn)' root '' /etc/polkit-1/rules.d/*.rules /run/polkit-1/rules.d/*.rules /usr/share/polkit-1/rules.d/*.rules
        lines '^(Identity|Action|Result)' root '' /etc/polkit-1/localauthority/*/*.pkla /var/lib/polkit-1/localauthority/*/*.pkla
    fi
    if technique pam T1556.003; then
        lines '(pam_exec|pam_script|pam_permit|pam_python|/[^[:space:]]*\.so)' root '' /etc/pam.d/*
        files root '' /lib/*/security/*.so /lib64/security/*.so /lib/security/*.so
    fi
    if technique nss T1556; then files root '' /lib/*/libnss_*.so* /lib64/libnss_*.so*; fi
}

look_at_hooks() {
    if technique network-hooks T1546; then
        files root '' /etc/NetworkManager/dispatcher.d/* /etc/NetworkManager/dispatcher.d/*/* /usr/lib/NetworkManager/dispatcher.d/* \
            /etc/networkd-dispatcher/*/* /usr/lib/networkd-dispatcher/*/* /etc/network/if-@(up|down|pre-up|post-down).d/* \
            /etc/dhcp/dhclient-@(enter|exit)-hooks.d/* /lib/dhcpcd/dhcpcd-hooks/* /etc/ppp/ip-@(up|down|pre-up).d/*
        lines '^[[:space:]]*(up|pre-up|post-up|down|pre-down|post-down)[[:space:]]' root '' /etc/network/interfaces /etc/network/interfaces.d/*
    fi
    if technique package-manager-hooks T1546.016; then
        lines '(-[Ii]nvoke|Pre-Install-Pkgs|DPkg::Options|Dir::Bin|Proxy-Auto-Detect|::[Ss]olver)' root '' /etc/apt/apt.conf /etc/apt/apt.conf.d/*
        lines '(pre-invoke|post-invoke|status-logger|instdir|admindir)' root '' /etc/dpkg/dpkg.cfg /etc/dpkg/dpkg.cfg.d/*
        files root '' /usr/lib/yum-plugins/*.py /usr/lib/python3*/site-packages/dnf-plugins/*.py /etc/pacman.d/hooks/*.hook /etc/zypp/plugins/*
    fi
    if technique containers T1610; then
        lines '(Exec|Image|Volume|Privileged|image:|hostPath|privileged)' root '' /etc/containers/systemd/* /etc/kubernetes/manifests/*
        files root '' /var/lib/docker/containers/*/config.v2.json
    fi
    if technique log-and-mail-hooks T1546; then
        lines '(omprog|\^/|binary=)' root '' /etc/rsyslog.conf /etc/rsyslog.d/*
        lines '\|' root '' /etc/aliases
        lines '(postrotate|prerotate|firstaction|lastaction)' root '' /etc/logrotate.conf /etc/logrotate.d/*
        home_lines '(\||^\*|^:)' '' .forward .procmailrc
    fi
    if technique binfmt T1546; then
        lines '^:' root '' /etc/binfmt.d/*.conf /run/binfmt.d/*.conf /usr/lib/binfmt.d/*.conf
        lines '^interpreter' root '' /proc/sys/fs/binfmt_misc/!(register|status)
    fi
    if technique kernel-helpers T1546; then
        lines '^\|' root 'runs when a process crashes' /proc/sys/kernel/core_pattern
        if read_line /proc/sys/kernel/modprobe && [[ $REPLY != @(/sbin/modprobe|/usr/sbin/modprobe) ]]; then
            found /proc/sys/kernel/modprobe modprobe "$REPLY" root ''
        fi
        lines '^[[:space:]]*kernel\.(core_pattern|modprobe|hotplug|poweroff_cmd)' root '' /etc/sysctl.conf /etc/sysctl.d/* /usr/lib/sysctl.d/*
    fi
    if technique bpf T1014; then
        while IFS= read -r -d '' REPLY; do found "$REPLY" "${REPLY##*/}" '' root 'pinned in the BPF file system'; done < <(
            within find /sys/fs/bpf -maxdepth 8 -type f -print0 2>/dev/null)
    fi
}

look_at_running() {
    local pid fd0 fd1 image
    technique running-shells T1059.004 || return
    while IFS= read -r -d '' pid && IFS= read -r -d '' image; do
        pid=${pid#/proc/}
        pid=${pid%%/*}
        case $image in
            */memfd:* | /dev/shm/* | /tmp/* | /var/tmp/* | *' (deleted)')
                process_stat "$pid" || continue
                command_line "$pid"
                found "/proc/$pid/exe" "$P_NAME" "$REPLY" '' "process $pid runs ${image:0:200}"
                ;;
            */@(sh|bash|dash|zsh|ksh|fish|busybox) | */@(python|perl|php|ruby|node)*([0-9.]))
                fd0=$(readlink "/proc/$pid/fd/0" 2>/dev/null)
                fd1=$(readlink "/proc/$pid/fd/1" 2>/dev/null)
                if [[ $fd0 == socket:* && $fd1 == socket:* ]]; then
                    process_stat "$pid" || continue
                    command_line "$pid"
                    found "/proc/$pid/exe" "$P_NAME" "$REPLY" '' "process $pid reads and writes a socket"
                fi
                ;;
        esac
    done < <(within find /proc/[1-9]*/exe -maxdepth 0 -printf '%p\0%l\0' 2>/dev/null)
}

look_at_programs() {
    local file mode owner
    if technique suid T1548.001; then
        while IFS= read -r -d '' file && IFS= read -r -d '' mode && IFS= read -r -d '' owner; do
            found "$file" "${file##*/}" '' "$owner" "mode $mode"
        done < <(within find / -xdev -type f '(' -perm -4000 -o -perm -2000 ')' -printf '%p\0%M\0%u\0' 2>/dev/null)
    fi
    if technique file-capabilities T1548 && type -P getcap >/dev/null; then
        while IFS= read -r file; do
            if [[ $file == /* ]]; then found "${file% *}" "${file##*/}" '' root "${file##* }"; fi
        done < <(within getcap -r /bin /sbin /usr /opt /home /tmp /var/tmp 2>/dev/null)
    fi
    if technique web-shells T1505.003; then
        while IFS= read -r -d '' file; do
            lines '(eval|system|passthru|shell_exec|proc_open|popen|base64_decode|Runtime\.getRuntime|ProcessBuilder)[[:space:](]' '' '' "$file"
        done < <(within find /var/www /srv/www /usr/share/nginx/html -xdev -type f -size -1024k \
            '(' -name '*.php*' -o -name '*.phtml' -o -name '*.jsp*' -o -name '*.cgi' -o -name '*.pl' -o -name '*.asp*' ')' -print0 2>/dev/null |
            head -z -n 5000)
    fi
}

# Hashes, times and packages of all that was found, at once.
look_up() {
    local file sum list line path
    local -a unique=() lists=(/var/lib/dpkg/info/*.list)
    declare -A seen=() owner=()
    for file in ${LOCATIONS[@]+"${LOCATIONS[@]}"}; do
        if [[ -z ${seen[$file]+x} && -f $file ]]; then
            seen[$file]=1
            unique+=("$file")
        fi
    done
    if ((${#unique[@]} == 0)); then return; fi
    hash_files "${unique[@]}"
    while IFS= read -r -d '' path && IFS= read -r -d '' sum; do TIMES[$path]=$sum; done < <(
        printf '%s\0' "${unique[@]}" | within xargs -0 sh -c 'exec find -L "$@" -maxdepth 0 -printf "%p\0%T+\0"' sh 2>/dev/null)
    if ((${#lists[@]} == 0)); then return; fi
    while read -r sum path; do if [[ $sum != \\* ]]; then SUM[$path]=$sum; fi; done < <(
        printf '%s\0' "${unique[@]}" | within xargs -0 md5sum -- 2>/dev/null)
    # Either name of a file where /bin is a link to /usr/bin.
    while IFS= read -r line; do
        path=${line#*.list:} list=${line%%.list:*}
        owner[$path]=$list
    done < <(printf '%s\0' "${lists[@]}" | within xargs -0 grep -HFx -f <(
        for file in "${unique[@]}"; do
            if [[ $file != *$'\n'* ]]; then printf '%s\n/usr%s\n%s\n' "$file" "$file" "${file#/usr}"; fi
        done | grep -v '^$') -- 2>/dev/null)
    declare -A wanted=()
    for file in "${unique[@]}"; do
        for path in "$file" "/usr$file" "${file#/usr}"; do
            if [[ -n ${owner[$path]-} ]]; then
                OWNED[$file]=$path
                wanted[${owner[$path]}]=1
                break
            fi
        done
    done
    declare -A known=()
    local -a sums=()
    for list in ${wanted[@]+"${!wanted[@]}"}; do if [[ -f $list.md5sums ]]; then sums+=("$list.md5sums"); fi; done
    if ((${#sums[@]} > 0)); then
        # Only those of the files found.
        while read -r sum path; do known[/$path]=$sum; done < <(
            printf '%s\0' "${sums[@]}" | within xargs -0 grep -hF -f <(for file in "${OWNED[@]}"; do printf '%s\n' "  ${file#/}"; done) -- 2>/dev/null)
    fi
    # Configuration files have their sums in the status.
    while read -r path sum _; do if [[ $path == /* && ${#sum} == 32 ]]; then known[$path]=$sum; fi; done < <(
        within grep -E '^ /' /var/lib/dpkg/status 2>/dev/null)
    for file in ${OWNED[@]+"${!OWNED[@]}"}; do
        sum=${known[${OWNED[$file]}]-}
        if [[ -n $sum && $sum == "${SUM[$file]-}" ]]; then INTACT[$file]=1; fi
    done
}

main() {
    local i file
    known_arguments technique user
    ONLY=${ARG[technique]-} ONLY_USER=${ARG[user]-}
    if [[ -n $ONLY && $ONLY == *[!A-Za-z0-9.-]* ]]; then fail E_BAD_ARGS "$ONLY is no technique that is looked for"; fi
    if [[ $ONLY != [Tt][0-9]* ]]; then ONLY=${ONLY,,}; fi
    read_homes
    look_at_systemd
    look_at_schedules
    look_at_start_of_system
    look_at_sessions
    look_at_access
    look_at_hooks
    look_at_running
    look_at_programs
    late || look_up
    for i in ${LOCATIONS[@]+"${!LOCATIONS[@]}"}; do
        file=${LOCATIONS[i]}
        O=${FIELDS[i]}
        if [[ $file != /proc/* ]]; then
            time_of_find "${TIMES[$file]-}"
            put_time modified "$REPLY"
            put_text sha256 "${SHA256[$file]-}"
            if [[ -n ${INTACT[$file]-} ]]; then put packaged true; elif [[ -f $file ]]; then put packaged false; fi
        fi
        row || break
    done
    if [[ -z $ONLY ]]; then
        warn 'not looked for by this script: account-added, maintainer-scripts, replaced-programs; rpm databases do not mark what is packaged'
    fi
}

begin persistence rows "$@"
main
finished
