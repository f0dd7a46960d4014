# A part of `persistence`: what runs when something else happens: a network, a package, a log, a program that starts, a
# request; and what runs now from nowhere.
# shellcheck shell=bash

look_at_hooks() {
    local file top
    local -a some=()
    if technique network-hooks T1546; then
        files_below 3 '*' /etc/NetworkManager/dispatcher.d /usr/lib/NetworkManager/dispatcher.d /usr/local/lib/NetworkManager/dispatcher.d \
            /etc/networkd-dispatcher /usr/lib/networkd-dispatcher /etc/wpa_supplicant
        some=(${REPLIES[@]+"${REPLIES[@]}"})
        files_in /etc/network/if-@(up|down|pre-up|post-down).d /etc/dhcp/dhclient-@(enter|exit)-hooks.d /etc/dhcp/dhclient.d \
            /lib/dhcpcd/dhcpcd-hooks /etc/ppp/ip-@(up|down|pre-up).d /etc/ppp/ipv6-@(up|down).d
        for file in ${some[@]+"${some[@]}"} ${REPLIES[@]+"${REPLIES[@]}"}; do
            if [[ $file != *.conf ]]; then lines script root '?not executable: does not run' "$file"; fi
        done
        lines script root '?not executable: does not run' /etc/dhcp/dhclient-@(enter|exit)-hooks /etc/dhcpcd.@(enter|exit)-hook \
            /etc/ppp/ip-@(up|down)?(.local)
        lines up-and-down root '' /etc/network/interfaces
        lines_in up-and-down root '' /etc/network/interfaces.d
    fi
    if technique package-manager-hooks T1546.016; then
        lines apt root '' /etc/apt/apt.conf
        lines_in apt root '' /etc/apt/apt.conf.d
        lines dpkg root '' /etc/dpkg/dpkg.cfg
        lines_in dpkg root '' /etc/dpkg/dpkg.cfg.d
        files_below 3 '*' /usr/lib/yum-plugins /usr/share/yum-plugins /etc/zypp/plugins /usr/lib/zypp/plugins
        some=(${REPLIES[@]+"${REPLIES[@]}"})
        files_below 2 '*' /usr/{lib,local/lib,lib64}/python3*/@(site|dist)-packages/dnf-plugins
        for file in ${some[@]+"${some[@]}"} ${REPLIES[@]+"${REPLIES[@]}"}; do
            if [[ $file != *.pyc ]]; then lines script root '' "$file"; fi
        done
        lines_in enabled root '' /etc/yum/pluginconf.d /etc/dnf/plugins
        lines_in pacman root '' /etc/pacman.d/hooks /usr/share/libalpm/hooks
    fi
    if technique containers T1610; then look_at_containers; fi
    if technique log-and-mail-hooks T1546; then
        lines logrotate root '' /etc/logrotate.conf
        lines_in logrotate root '' /etc/logrotate.d
        lines syslog root '' /etc/rsyslog.conf /etc/syslog-ng/syslog-ng.conf /etc/syslog.conf
        lines_in syslog root '' /etc/rsyslog.d /etc/syslog-ng/conf.d
        lines aliases root '' /etc/aliases /etc/mail/aliases /etc/postfix/aliases
        lines script root '' /etc/procmailrc
        lines postfix root '' /etc/postfix/main.cf /etc/postfix/master.cf
        home_lines pipes '' .forward
        home_lines script '' .procmailrc .mailfilter
    fi
    if technique binfmt T1546; then
        lines_in binfmt root '' /etc/binfmt.d /run/binfmt.d /usr/local/lib/binfmt.d /usr/lib/binfmt.d
        for file in /proc/sys/fs/binfmt_misc/!(register|status); do look_at_format "$file"; done
    fi
    if technique kernel-helpers T1546; then look_at_kernel_helpers; fi
    if technique bpf T1014; then
        while IFS= read -r -d '' file && IFS= read -r -d '' top; do
            TIMES[$file]=$top
            found "$file" "${file##*/}" '' root 'pinned in the BPF file system' time
        done < <(within find /sys/fs/bpf -mindepth 1 -maxdepth 8 '!' -type d -printf '%p\0%T+\0' 2>/dev/null)
    fi
    if technique web-shells T1505.003; then look_at_web_roots; fi
}

look_at_format() {
    local file=$1 line program='' note=''
    while IFS= read -r line; do
        case $line in
            'interpreter '*) program=${line#interpreter } ;;
            disabled) note=disabled ;;
            flags:*C*) note+="${note:+; }flag C: runs with the rights of the file" ;;
        esac
    done 2>/dev/null <"$file"
    helper "$file" "$program" "$program" "$note"
}

# The row of what the kernel has set, vouched for where the program is a package's: place, command, program, note.
helper() {
    if [[ $3 == /* && -f $3 ]]; then
        found "$1" "${1##*/}" "$2" root "$4" "of $3"
    else
        found "$1" "${1##*/}" "$2" root "$4${4:+; }the program is not there" false
    fi
}

look_at_kernel_helpers() {
    local file usual program
    lines sysctl root '' /etc/sysctl.conf
    lines_in sysctl root '' /etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d /lib/sysctl.d
    for file in core_pattern modprobe hotplug poweroff_cmd; do
        read_line "/proc/sys/kernel/$file" || continue
        trimmed "$REPLY"
        if [[ $file == core_pattern && $REPLY != '|'* ]]; then continue; fi
        program=${REPLY#'|'}
        program=${program#"${program%%[![:blank:]]*}"}
        program=${program%%[[:blank:]]*}
        case $file in
            modprobe) usual='@(/sbin/modprobe|/usr/sbin/modprobe)' ;;
            hotplug) usual=/sbin/hotplug ;;
            poweroff_cmd) usual=/sbin/poweroff ;;
            *) usual='' ;;
        esac
        # shellcheck disable=SC2053
        if [[ $program != $usual ]]; then helper "/proc/sys/kernel/$file" "$REPLY" "$program" ''; fi
    done
}

# Of docker's and podman's own files only which containers there are: their JSON is not read here.
look_at_containers() {
    local file i
    for file in /var/lib/docker/containers/*/config.v2.json /var/snap/docker/common/var-lib-docker/containers/*/config.v2.json; do
        i=$(within head -c "$LOOK_LIMIT" -- "$file" 2>/dev/null | grep -aoE '"Name":"/?[^"]*"' | head -n 1)
        i=${i#'"Name":"'}
        i=${i#/}
        found "$file" "${i%\"}" '' root 'its configuration is not read here'
    done
    for file in /var/lib/containers/storage/@(overlay|vfs)-containers/containers.json; do
        found "$file" "${file##*/}" '' root 'the containers in it are not told apart here'
    done
    lines_below quadlet root '' 4 '*' /etc/containers/systemd /run/containers/systemd /usr/share/containers/systemd
    home_lines_below quadlet 4 '*' .config/containers/systemd
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do
        for file in "${HOMES[i]}"/.local/share/containers/storage/@(overlay|vfs)-containers/containers.json; do
            found "$file" "${file##*/}" '' "${HOME_USERS[i]}" 'the containers in it are not told apart here'
        done
    done
    lines_below manifest root '' 3 '*' /etc/kubernetes/manifests /var/lib/rancher/k3s/server/manifests \
        /var/lib/rancher/k3s/agent/pod-manifests
}

# The folders that web servers give out, those of their configuration too, into REPLIES.
web_roots() {
    local root other line
    local -a roots=(/var/www /srv/www /srv/http /usr/share/nginx/html /usr/local/apache2/htdocs /usr/local/www /opt/lampp/htdocs
        /usr/lib/cgi-bin /var/lib/tomcat9/webapps /var/lib/tomcat10/webapps) kept=()
    files_below 4 '*' /etc/nginx /etc/apache2 /etc/httpd /etc/lighttpd /usr/local/etc/nginx /usr/local/nginx/conf
    if ((${#REPLIES[@]} > 0)); then
        while IFS= read -r line; do
            line=${line#*[[:blank:]=]}
            line=${line//[\"\';=]/}
            trimmed "$line"
            # The whole file system, or a part of it that no one serves, is no web root.
            if [[ $REPLY == /*/* && $REPLY != *'$'* ]]; then roots+=("${REPLY%/}"); fi
        done < <(printf '%s\0' "${REPLIES[@]}" | within xargs -0 grep -haiE '^[[:space:]]*(root|documentroot|server\.document-root)[[:space:]=]' -- \
            2>/dev/null | sed 's/^[[:space:]]*//' | head -n 200 | tr -d '\000')
    fi
    for root in "${roots[@]}"; do
        if [[ ! -d $root ]]; then continue; fi
        # What lies below another is walked with it.
        for other in "${roots[@]}"; do if [[ -d $other && $root == "$other"/* ]]; then continue 2; fi; done
        for other in ${kept[@]+"${kept[@]}"}; do if [[ $root -ef $other ]]; then continue 2; fi; done
        kept+=("$root")
    done
    REPLIES=(${kept[@]+"${kept[@]}"})
}

look_at_web_roots() {
    local file name style user='' mode
    for name in www-data apache nginx http www; do
        if [[ -n ${USER_IDS[$name]+x} ]]; then
            user=$name
            break
        fi
    done
    web_roots
    if ((${#REPLIES[@]} == 0)); then return; fi
    while IFS= read -r -d '' file && IFS= read -r -d '' mode; do
        name=${file##*/}
        style='' name=${name,,}
        case $name in
            .htaccess | .user.ini | web.config) style=web-settings ;;
            *.@(php|php[34578]|phtml|phar|pht|phps|inc)) style=php ;;
            *.@(jsp|jspx|jspf|jsw)) style=java ;;
            *.@(asp|aspx|ashx|asmx|cfm)) style=asp ;;
            *.@(cgi|pl|fcgi)) style=web-script ;;
            *.@(py|sh|rb|lua)) if [[ $file == */?(f)cgi-bin/* ]] || ((8#$mode & 8#111)); then style=web-script; fi ;;
            # A picture or a text that is PHP all the same, for an include or a handler.
            *.@(jpg|jpeg|png|gif|ico|txt|html|htm|log|bak)) if [[ $file != */?(f)cgi-bin/* ]]; then style='hidden-php'; elif ((8#$mode & 8#111)); then style=web-script; fi ;;
            *) if [[ $file == */?(f)cgi-bin/* ]] && ((8#$mode & 8#111)); then style=web-script; fi ;;
        esac
        if [[ -n $style ]]; then lines "$style" "$user" '' "$file"; fi
    done < <(within find "${REPLIES[@]/%//}" -mindepth 1 -maxdepth 24 -xtype f -printf '%p\0%m\0' 2>/dev/null | tr -s '/' | head -z -n 40000)
}

# What interpreters, editors, terminals and desktops run when they start.
look_at_tools() {
    local file i
    local -a home
    if technique editor-startup T1546; then
        lines vim root '' /etc/vim/vimrc /etc/vim/vimrc.local /etc/vimrc /usr/share/vim/vimrc
        lines_below vim root '' 4 '*' /usr/share/vim/vimfiles
        lines_below lua root '' 4 '*' /etc/xdg/nvim
        lines_in lisp root '' /etc/emacs/site-start.d /etc/emacs
        lines tmux root '' /etc/tmux.conf
        lines screen root '' /etc/screenrc
        home_lines vim '' .vimrc .exrc .gvimrc .vim/vimrc
        home_lines lisp '' .emacs .emacs.el .emacs.d/init.el .emacs.d/early-init.el .config/emacs/init.el
        home_lines tmux '' .tmux.conf .config/tmux/tmux.conf
        home_lines screen '' .screenrc
        home_lines script '' .lessfilter .mailcap
        home_lines less '' .lesskey .config/lesskey .less
        for i in vim lua py; do
            home_lines_below vim 8 "*.$i" .vim/plugin .vim/ftplugin .vim/autoload .vim/after .vim/pack .vim/ftdetect
        done
        for i in vim lua; do home_lines_below lua 8 "*.$i" .config/nvim .local/share/nvim/site; done
    fi
    if technique interpreter-startup T1546; then
        walk
        for file in ${START_FILES[@]+"${START_FILES[@]}"}; do
            if [[ $file == *.pth ]]; then lines pth '' '' "$file"; else lines script '' '' "$file"; fi
        done
        home_lines script '' .perldb .pythonrc .pythonrc.py .pythonstartup .pdbrc .irbrc .pryrc .Rprofile .gdbinit \
            .config/gdb/gdbinit .lldbinit .octaverc .guile .luarc .sqliterc .psqlrc
        home_lines_in script .ipython/profile_default/startup
        lines script '' '' /etc/perl/sitecustomize.pl /etc/gdb/gdbinit /etc/R/Rprofile.site /etc/irbrc
        home_lines npm '' .npmrc
        lines npm '' '' /etc/npmrc /usr/etc/npmrc /usr/local/etc/npmrc
        lines_below php-ini '' '' 5 '*.ini' /etc/php /etc/php.d /usr/local/etc/php
        lines php-ini '' '' /etc/php.ini
    fi
    if technique git T1546; then look_at_git; fi
    if technique desktop-hooks T1546.002; then
        lines_below js '' '' 2 extension.js /usr/share/gnome-shell/extensions /usr/local/share/gnome-shell/extensions
        lines_in exec '' '' /usr/share/dbus-1/accessibility-services /usr/share/thumbnailers /usr/local/share/thumbnailers
        lines udisks root '' /etc/udisks2/udisks2.conf /etc/udisks2/mount_options.conf
        home_lines saver '' .xscreensaver
        home_lines_below js 2 extension.js .local/share/gnome-shell/extensions
        home_lines_below xfce 5 '*.xml' .config/xfce4
        home_lines_below xfce 5 '*.rc' .config/xfce4
        home_lines_below script 3 '*' .local/share/nautilus/scripts .config/caja/scripts
        home_lines_below script 2 '*' .local/share/nautilus-python/extensions
        home_lines_below exec 1 '*' .local/share/thumbnailers .local/share/kio/servicemenus
        home_lines_below js 6 '*.qml' .local/share/plasma/plasmoids
    fi
}

look_at_git() {
    local i file
    lines git-config '' '' /etc/gitconfig /usr/local/etc/gitconfig
    home_lines git-config '' .gitconfig .config/git/config
    git_hooks /usr/share/git-core/templates/hooks ''
    walk
    for i in ${GIT_FOLDERS[@]+"${!GIT_FOLDERS[@]}"}; do
        file=${USER_NAMES[${GIT_OWNERS[i]}]-}
        lines git-config "$file" '' "${GIT_FOLDERS[i]}/config"
        git_hooks "${GIT_FOLDERS[i]}/hooks" "$file"
    done
}

git_hooks() {
    local hook
    files_in "$1"
    for hook in ${REPLIES[@]+"${REPLIES[@]}"}; do
        if [[ $hook != *.sample ]]; then lines script "$2" '?not executable: does not run' "$hook"; fi
    done
}

# Shells that talk to the network, and programs that run from nowhere.
look_at_running() {
    local path pid image stem note deleted place descriptor link
    technique running-shells T1059.004 || return
    while IFS= read -r -d '' path && IFS= read -r -d '' image; do
        pid=${path#/proc/}
        pid=${pid%%/*}
        # Not this script and what it starts.
        if [[ $pid == "$$" || $pid == "$BASHPID" ]]; then continue; fi
        note='' deleted=false place=$image
        if [[ $image == *' (deleted)' && ! /proc/$pid/exe -ef /proc/$pid/root$image ]]; then deleted=true place=${image% (deleted)}; fi
        case $place in
            /memfd:*) note='its image is in memory alone' place=/proc/$pid/exe ;;
            /tmp/* | /var/tmp/* | /dev/shm/* | /run/shm/* | /dev/mqueue/*) note='its image lies where anyone may write' ;;
        esac
        if [[ $deleted == true && $place != /proc/* ]]; then
            # After an upgrade a package's lies in its place.
            if [[ ! -e $place || -n $note ]]; then note+="${note:+; }its image is deleted"; fi
        fi
        stem=${place##*/}
        if [[ ${stem%%[0-9.-]*} == @(sh|bash|dash|zsh|ksh|mksh|ash|fish|csh|tcsh|rbash|busybox|python|perl|ruby|php|node|lua|nc|ncat|socat|awk|gawk|mawk|pwsh|tclsh|expect) ]]; then
            for descriptor in 0 1 2; do
                link=$(readlink "/proc/$pid/fd/$descriptor" 2>/dev/null)
                if is_internet_socket "$pid" "$link"; then
                    case $descriptor in 0) link='its input is a socket' ;; 1) link='its output is a socket' ;; *) link='its errors go to a socket' ;; esac
                    note+="${note:+; }$link, $REPLY"
                fi
            done
            listening "$pid"
            note+=${REPLY:+${note:+; }$REPLY}
        fi
        if [[ -z $note ]]; then continue; fi
        process_stat "$pid" || continue
        command_line "$pid"
        found "$place" "process $pid" "$REPLY" '' "$note" false
        read -r _ path _ < <(grep '^Uid:' "/proc/$pid/status" 2>/dev/null)
        user_name "${path:-0}"
        OWNERS[${#OWNERS[@]} - 1]=$REPLY
    done < <(within find /proc/[1-9]*/exe -maxdepth 0 -printf '%p\0%l\0' 2>/dev/null)
}

# Whether the link $2 of process $1 is a socket of TCP or UDP: the pair that sshd gives a command is none. Its ends into
# REPLY, in the kernel's hexadecimal.
is_internet_socket() {
    local inode=${2#socket:\[}
    [[ $2 == 'socket:['*']' ]] || return 1
    inode=${inode%\]}
    REPLY=$(cat "/proc/$1/net/"{tcp,tcp6,udp,udp6} 2>/dev/null | awk -v "inode=$inode" '$10 == inode { print $2 " to " $3; exit }')
    [[ -n $REPLY ]]
}

# `it listens, …` into REPLY where process $1 has a socket that listens.
listening() {
    REPLY=$(cat "/proc/$1/net/"{tcp,tcp6} 2>/dev/null | awk -v "held=$(find "/proc/$1/fd/" -mindepth 1 -lname 'socket:*' '!' -name '[012]' -printf '%l ' 2>/dev/null)" '
        $4 == "0A" && index(held, "socket:[" $10 "]") { print "it listens, " $2; exit }')
}
