# `persistence`: what was set up to come back, one technique at a time. What a package vouches for is marked, not hidden.
# Invariant: no key, password or hash of one is a part of a row.
# shellcheck shell=bash

ONLY='' IS_KNOWN=false

# Whether the technique is asked for; the rows that follow are its.
technique() {
    TECHNIQUE=$1 ATTACK=$2
    late && return 1
    case $ONLY in
        '') ;;
        [Tt][0-9]* | [0-9]*) [[ ${ATTACK#T} == "${ONLY#[Tt]}" || ${ATTACK#T} == "${ONLY#[Tt]}".* ]] || return 1 ;;
        *) [[ $TECHNIQUE == "$ONLY"* ]] || return 1 ;;
    esac
    IS_KNOWN=true
}

# What a line that starts code looks like, by kind of file.
styles() {
    local word='([ \t=]|$)' php java asp
    style script '' '^#'
    style any k '^#'
    style program '' '^#'
    style library '' '^#'
    style task-script '' '^#'
    style environment k '^#' "^((export|setenv|declare|-x|set|-gx)[ \\t]+)*((LD_|GIT_)[^= \\t]*|PATH|BASH_ENV|ENV|SHELL|PROMPT_COMMAND|PYTHONSTARTUP|PYTHONPATH|PYTHONHOME|PERL5OPT|PERL5LIB|PERL5DB|RUBYOPT|RUBYLIB|NODE_OPTIONS|NODE_PATH|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|GCONV_PATH|EDITOR|VISUAL|PAGER|LESSOPEN|SSH_ASKPASS|SUDO_ASKPASS|GTK_MODULES|GIO_EXTRA_MODULES|QT_PLUGIN_PATH|OPENSSL_CONF|MANPAGER|BROWSER)$word"
    style linker k '^#' '' '' '^include '
    style shells k '^#' '(^|/)(nologin|false)$'
    style sshd ik '^#' "^(authorizedkeyscommand|authorizedkeysfile|authorizedprincipalscommand|authorizedprincipalsfile|forcecommand|include|modulifile|pamservicename|permitemptypasswords|permitrootlogin|permituserenvironment|revokedkeys|securitykeyprovider|setenv|subsystem|trustedusercakeys|xauthlocation)$word"
    style ssh ik '^#' "^(identityagent|knownhostscommand|localcommand|permitlocalcommand|pkcs11provider|proxycommand|securitykeyprovider|xauthlocation)$word|^match[ \\t=].*exec"
    style sudoers k '' '^Defaults.*(!authenticate|env_keep|env_file|!env_reset|secure_path|mailerpath|askpass|!use_pty|editor|timestamp_timeout)|^[^D]|^D[^e]|^De[^f]|^Def[^a]' '' '^#($|[^0-9i]|i($|[^n]))'
    style sudo-plugins k '^#' '^(Plugin|Path)'
    style polkit '' '^(//|/[*]|[*])'
    style polkit-actions ik '^#' '^result.*=yes$|<allow_any>yes'
    style udev k '^#' 'RUN[ \t]*[+:]?[ \t]*=|RUN[{]program[}]|PROGRAM[ \t]*=|IMPORT[ \t]*[{]program[}]|SYSTEMD_WANTS'
    style up-and-down ik '^#' "^(up|pre-up|post-up|down|pre-down|post-down)$word"
    style apt i '^(//|#|/[*])' '' '-invoke|pre-install-pkgs|dpkg::options|dir::bin|proxy-auto-detect|planner|::solver'
    style dpkg k '^#' '^(pre-invoke|post-invoke|status-logger|instdir|admindir)'
    style enabled ik '^#' '^enabled[ \t=]+(1|yes|true)$'
    style exec ik '^#' "^(exec|execstart|tryexec)$word"
    style pacman ik '^#' "^exec$word"
    style logrotate i '^#' '' 'postrotate|prerotate|firstaction|lastaction|preremove|compresscmd|uncompresscmd'
    style syslog ik '^#' 'omprog|mmexternal|improg|program[(]|^\^|[ \t]\^/'
    style aliases k '^#' '^[^:]*:.*([|]|:include:)'
    style postfix ik '^#' 'mailbox_command|_command_|argv='
    style pipes k '^#' '[|]'
    style dbus ik '^#' "^(exec|user|systemdservice)$word"
    style dbus-policy ik '^#' '<allow.*(own="[*]"|send_destination="[*]"|own_prefix="[*]")'
    style xinetd ik '^#' "^(server|server_args|user|port|disable)$word"
    local odd='(^|[ \t"'\''])((init=|rd[.]break|systemd[.]debug|systemd[.]unit=|systemd[.]wants=|systemd[.]run|systemd[.]setenv|modules_load=|module[.]sig_enforce=0|initcall_blacklist)|(single|emergency|selinux=0|enforcing=0|apparmor=0|audit=0|lockdown=none|mitigations=off|nokaslr)([ \t"'\'']|$))'
    style boot k '^#' "^([Ll][Ii][Nn][Uu][Xx](16|efi|boot)?|options|OPTIONS|append|APPEND|kernel|KERNEL)[ \\t].*$odd"
    style kernel-arguments k '^#' "$odd"
    style initramfs ik '^#' 'install_items|install_optional_items|add_dracutmodules|add_drivers|fscks|early_microcode|hooks=|binaries='
    style cloud r '^#' '' '^(runcmd:|bootcmd:|write_files:|#!|#include|#cloud-boothook|#part-handler|Content-Type: text/x-shellscript)'
    style modules '' '^[#;]'
    style modprobe ik '^#' "^(install|remove)$word"
    style dkms ik '^#' '^(make|clean|pre_|post_|built_module_name)[^ \t=]*[ \t]*=?[ \t]*[^ \t=]'
    style binfmt k '^[#;]' '^:'
    style sysctl ik '^#' '^-?(kernel[./]core_pattern[ \t=]+[|]|kernel[./](modprobe|hotplug|poweroff_cmd)[ \t=]+[^ \t=])'
    style pth k '^#' '^import[ \t]'
    style npm ik '^#' "^(script-shell|shell|node-options|node_options|git|onload-script|init-module|editor)$word"
    style php-ini ik '^[;#]' '^(auto_prepend_file|auto_append_file|opcache[.]preload|sendmail_path)[ \t=]+([^ \t="]|"[^"])|^(zend_)?extension[ \t=].*/'
    style vim '' '^["#]'
    style lisp '' '^;'
    style lua '' '^(--|")'
    style tmux ik '^#' 'run-shell|run |if-shell|if |#[(]|default-command|default-shell|pipe-pane|set-hook|new-session|new-window|source'
    style screen ik '^#' "^(exec|screen|shell|backtick|source|bind|eval|stuff)$word"
    style less ik '^#' 'lessopen|lessclose|shell|pshell|visual|editor'
    style git-config ik '^[#;]' "^[^ \\t=]+[ \\t]*=?[ \\t]*\"?!|^(pager|hookspath|fsmonitor|sshcommand|editor|askpass|gitproxy|textconv|driver|external|clean|smudge|process|program|cmd|tool|uploadpack|receivepack|templatedir|worktree|helper|difffilter|sendmail)[ \\t=]" '' '^[^ \t=]+[ \t]*=?[ \t]*"?(true|false|cat|less)?$|^helper[ \t]*=?[ \t]*[a-z0-9-]*$'
    style js '' '^(//|/[*]|[*])'
    style quadlet ik '^#' "^(image|exec|volume|podmanargs|addcapability|user|pod|yaml|mount|securitylabeldisable|entrypoint)$word"
    style manifest k '^#' '^(- )?(image:|command:|args:|hostPath:|path:|privileged:|hostPID:|hostNetwork:|mountPath:|"image"|"command")'
    style saver ik '^#' '(programs:|programs[.]|- root|newlogincommand|grabdesktopimages|textprogram|texturl).*:|:.*(programs[.]|- root|newlogincommand|grabdesktopimages|textprogram|texturl)'
    style udisks ik '^#' '(exec|suid|_command).*=|=.*(exec|suid|_command)'
    style xfce ik '^#' '(command|exec|savermode|type="string" value="/).*(value="/|command|[.]sh|sh -c)|value="/.*(command|exec|savermode)'
    php='eval[(]|eval [(]|assert[(]|system[(]|exec[(]|passthru[(]|popen[(]|proc_open[(]|pcntl_exec[(]|create_function[(]|call_user_func[(]|shell_exec|`[$]_|[$]_get[[]|move_uploaded_file[(]|str_rot13[(]|gzinflate[(]|preg_replace[(]"/[.][*]/e'
    java='runtime[.]getruntime|processbuilder|defineclass|javax[.]script'
    asp='eval[(]|eval request|execute[(]|executeglobal|wscript[.]shell|process[.]start|processstartinfo|unsafe"'
    local harmless='curl_exec[(]|->exec[(]|::exec[(]|mysqli_exec[(]|function exec[(]|function system[(]'
    style php ikc '^(//|#|[*]|/[*])' "$php" '' '' "$harmless"
    style hidden-php ikcr '^(//|#|[*]|/[*])' "$php" '<[?]php' '' "$harmless"
    style java ikc '^(//|#|[*]|/[*])' "$java"
    style asp ikc '^(//|#|[*]|/[*])' "$asp"
    style web-script c '^#'
    style web-settings ikc '^#' 'auto_prepend_file|auto_append_file|addhandler|sethandler|addtype application/x-httpd|execcgi|<[?]php'
}

readonly UNIT_KEYS='[^.]+\.(Exec[^.]*|Unit|Service|EnvironmentFile|Environment|OnFailure|OnSuccess|RootDirectory|RootImage|User|BindPaths)|(Timer|Socket|Path)\.(On|Listen)[^.]*|Path\.(Path[^.]*|DirectoryNotEmpty)|Socket\.Accept'

# Rows of the units of the types after $2: $1 is `system`, or the user whose they are ('' for all users), $2 whether the
# user lingers.
look_at_units() {
    local scope=$1 lingers=$2 kind name number file user section note told line
    shift 2
    local -a units=()
    local -A seen=()
    for kind in "$@"; do
        unit_names "$kind"
        for name in ${REPLIES[@]+"${REPLIES[@]}"}; do plan_unit "$name"; done
        units+=(${REPLIES[@]+"${REPLIES[@]}"})
    done
    # What they start.
    unit_names service
    for name in ${REPLIES[@]+"${REPLIES[@]}"}; do plan_unit "$name"; done
    read_planned "$UNIT_KEYS" shown
    # An alias comes after the unit whose drop-ins it has too only by its name.
    while IFS= read -r name; do
        section=${name##*.}
        section=${section^}
        user=$scope
        if [[ $scope == system ]]; then
            unit_value "$name" "$section.User"
            user=${REPLY:-root}
        fi
        unit_state "$name"
        told=$REPLY
        for number in ${PARTS[$name]-}; do
            file=${UNIT_FILES[number]}
            # An alias and an instance have the file of another name, which has a row.
            if [[ $file == "${FRAGMENT[$name]-}" && ${OF[$name]} != "$name" ]] || [[ -n ${seen[$file]+x} ]]; then continue; fi
            seen[$file]=1
            line=${SHOWN[$number]-}
            if [[ -z $line ]]; then continue; fi
            if [[ $section == @(Timer|Socket|Path) ]]; then
                started_by "$name"
                starts "$REPLY"
                line+=$REPLY
            fi
            note=$told
            if [[ $file == *.conf ]]; then note='changes the unit'; fi
            if [[ $lingers == true ]]; then note+='; lingers: it runs without a sign-in'; fi
            found "$file" "$name" "$line" "$user" "$note"
        done
    done < <(if ((${#units[@]} > 0)); then printf '%s\n' "${units[@]}" | sort -u; fi)
}

# What the unit $1 that another one activates runs, after `; `, into REPLY.
starts() {
    local name=$1
    plan_unit "$name"
    unit_state "$name"
    if [[ $REPLY == not-found ]]; then
        REPLY="; $name: not found"
        return
    fi
    unit_list "$name" Service.ExecStart
    REPLY=${REPLY//"$VALUE"/; $name: }
}

look_at_systemd() {
    local i home user lingers id
    if technique systemd-services T1543.002; then
        find_units "${SYSTEM_UNITS[@]}"
        look_at_units system false service
    fi
    if technique systemd-user-services T1543.002; then
        find_units "${ALL_USERS_UNITS[@]}"
        look_at_units '' false service timer socket path
        for i in ${HOMES[@]+"${!HOMES[@]}"}; do
            home=${HOMES[i]} user=${HOME_USERS[i]} lingers=false
            if [[ -n $user && -e /var/lib/systemd/linger/$user ]]; then lingers=true; fi
            id=0
            if [[ -n $user ]]; then id=${USER_IDS[$user]:-0}; fi
            own_units "$id" "$home"
            find_units "${REPLIES[@]}"
            if ((${#FOLDERS[@]} > 0)); then look_at_units "$user" "$lingers" service timer socket path; fi
        done
    fi
    if technique systemd-timers T1053.006; then
        find_units "${SYSTEM_UNITS[@]}"
        look_at_units system false timer socket path
    fi
    local -a roots=(/etc/systemd /run/systemd /usr/local/lib/systemd /usr/lib/systemd /lib/systemd) folders=()
    if technique systemd-generators T1543.002; then
        for i in "${roots[@]}"; do folders+=("$i"/{system-generators,user-generators,system-environment-generators,user-environment-generators}); done
        lines_in script root '' "${folders[@]}"
    fi
    if technique systemd-hooks T1037; then
        folders=()
        for i in "${roots[@]}"; do if [[ $i != /run/* ]]; then folders+=("$i"/{system-shutdown,system-sleep}); fi; done
        lines_in script root '' "${folders[@]}"
        lines_in script '' '' /etc/environment.d /run/environment.d /usr/local/lib/environment.d /usr/lib/environment.d
        home_lines_in script .config/environment.d
    fi
}

# A task is a row of its file.
task() {
    local name=$1 kind=$2 schedule=$3 command=$4 user=$5 enabled=$6 file=$7 note
    note=$schedule
    if [[ $enabled == false ]]; then note+="${note:+; }its scheduler leaves it out, or its time never comes"; fi
    # A script of its own tells what it runs.
    if [[ $kind == cron && $command == "$file" ]]; then
        found "$file" "$name" '' "$user" "$note"
        STYLES[${#STYLES[@]} - 1]=task-script
        return
    fi
    found "$file" "$name" "$command" "$user" "$note"
}

look_at_schedules() {
    if technique cron-system T1053.003; then list_cron system && list_anacron; fi
    if technique cron-user T1053.003; then list_cron users; fi
    if technique at T1053.002; then list_at; fi
}

look_at_start_of_system() {
    local level file i
    local -a folders=()
    if technique sysv-init T1037.004; then
        lines_in script root '' /etc/init.d /etc/rc.d/init.d
        for level in 0 1 2 3 4 5 6 S; do folders+=("/etc/rc$level.d" "/etc/rc.d/rc$level.d"); done
        lines_in script root '' "${folders[@]}"
    fi
    if technique rc-local T1037.004; then
        lines script root '?not executable: it does not run' /etc/rc.local /etc/rc.d/rc.local /etc/init.d/boot.local /etc/init.d/after.local
    fi
    if technique motd T1037; then lines_in script root '?not executable: does not run' /etc/update-motd.d /usr/lib/update-notifier; fi
    if technique udev-rules T1546.017; then
        lines_in udev root '' /etc/udev/rules.d /run/udev/rules.d /usr/local/lib/udev/rules.d /usr/lib/udev/rules.d /lib/udev/rules.d
    fi
    if technique kernel-modules T1547.006; then
        lines modules root '' /etc/modules
        lines_in modules root '' /etc/modules-load.d /run/modules-load.d /usr/local/lib/modules-load.d /usr/lib/modules-load.d
        lines modprobe root '' /etc/modprobe.conf
        lines_in modprobe root '' /etc/modprobe.d /run/modprobe.d /usr/local/lib/modprobe.d /usr/lib/modprobe.d /lib/modprobe.d
        look_at_modules
    fi
    if technique dkms T1547.006; then
        files_below 4 dkms.conf /usr/src /var/lib/dkms
        lines_of_replies dkms root ''
        lines_below dkms root '' 4 dkms_dbversion /usr/src /var/lib/dkms
        lines dkms root '' /etc/dkms/framework.conf
        lines_in dkms root '' /etc/dkms/framework.conf.d
    fi
    if technique boot-loader T1542; then
        lines script root '' /etc/default/grub
        lines_in script root '' /etc/default/grub.d
        lines_in script root '' /etc/grub.d
        lines boot root '' /boot/grub/grub.cfg /boot/grub2/grub.cfg /boot/grub/custom.cfg /boot/extlinux/extlinux.conf \
            /boot/syslinux/syslinux.cfg /boot/cmdline.txt
        lines_in boot root '' /boot/loader/entries /boot/efi/loader/entries /efi/loader/entries
        lines kernel-arguments root '' /etc/kernel/cmdline
        lines_in script root '' /etc/kernel/@(preinst|postinst|prerm|postrm|install).d /usr/lib/kernel/install.d
    fi
    if technique initramfs T1542; then
        lines_below script root '' 4 '*' /etc/initramfs-tools/hooks /etc/initramfs-tools/scripts /usr/share/initramfs-tools/hooks \
            /usr/share/initramfs-tools/scripts /etc/initramfs/post-update.d /usr/lib/dracut/modules.d /etc/initcpio/hooks /etc/initcpio/install
        lines initramfs root '' /etc/dracut.conf /etc/mkinitcpio.conf
        lines_in initramfs root '' /etc/dracut.conf.d /usr/lib/dracut/dracut.conf.d
    fi
    if technique cloud-init T1037; then
        lines_below script root '' 4 '*' /var/lib/cloud/scripts
        lines_below script root '' 2 '*' /var/lib/cloud/{instances/*,instance,seed/nocloud,seed/nocloud-net}/scripts
        lines cloud root '' /etc/cloud/cloud.cfg
        lines_in cloud root '' /etc/cloud/cloud.cfg.d
        lines cloud root '' /var/lib/cloud/{instances/*,seed/nocloud,seed/nocloud-net}/@(user-data.txt|vendor-data.txt|vendor-data2.txt|user-data|vendor-data)
    fi
}

# Modules of the running kernel that no package has, and those that taint it.
look_at_modules() {
    local tree file name taint
    local -A tainted=()
    tree=/lib/modules/$(uname -r)
    for file in /sys/module/*/taint; do
        if read_line "$file"; then
            name=${file%/taint}
            tainted[${name##*/}]=$REPLY
        fi
    done
    while IFS= read -r -d '' file; do
        name=${file##*/}
        name=${name%.ko*}
        name=${name//-/_}
        taint=${tainted[$name]-}
        unset "tainted[$name]"
        if [[ -n $taint ]]; then found "$file" "$name" '' root "loaded; $taint"; else found "$file" "$name" '' root '' 'unless owned'; fi
    done < <(within find "$tree/" -maxdepth 16 '(' -type f -o -type l ')' '(' -name '*.ko' -o -name '*.ko.xz' -o -name '*.ko.zst' \
        -o -name '*.ko.gz' ')' -print0 2>/dev/null)
    for name in ${tainted[@]+"${!tainted[@]}"}; do found "/sys/module/$name" "$name" '' root "loaded; ${tainted[$name]}" false; done
}

look_at_sessions() {
    if technique shell-startup-system T1546.004; then
        lines script root '' /etc/profile /etc/bash.bashrc /etc/bashrc /etc/bash.bash_logout /etc/bash_completion /etc/zshenv \
            /etc/zprofile /etc/zshrc /etc/zlogin /etc/zlogout /etc/csh.cshrc /etc/csh.login /etc/csh.logout /etc/ksh.kshrc \
            /etc/mkshrc /etc/fish/config.fish /usr/share/fish/config.fish
        lines_in script root '' /etc/profile.d /etc/zsh /etc/fish/conf.d /etc/csh /etc/skel
    fi
    if technique shell-startup-user T1546.004; then
        home_lines script '' .bashrc .bash_profile .bash_login .bash_logout .bash_aliases .profile .zshrc .zshenv .zprofile .zlogin \
            .zlogout .kshrc .mkshrc .cshrc .tcshrc .login .logout .config/fish/config.fish .inputrc
        home_lines_in script .config/fish/conf.d .bashrc.d
    fi
    if technique environment T1574.006; then
        lines environment root '' /etc/environment /etc/security/pam_env.conf /etc/default/locale
        home_lines environment '' .pam_environment
    fi
    if technique linker-preload T1574.006; then lines any root 'every program loads it' /etc/ld.so.preload; fi
    if technique linker-search-path T1574.006; then
        lines linker root '' /etc/ld.so.conf
        lines_in linker root '' /etc/ld.so.conf.d
    fi
    if technique xdg-autostart T1547.013; then look_at_autostart; fi
    if technique session-scripts T1547.013; then
        lines script '' '' /etc/X11/Xsession /etc/X11/xinit/xinitrc /etc/X11/xinit/xserverrc
        lines_in script '' '' /etc/X11/Xsession.d /etc/X11/xinit/xinitrc.d /etc/X11/Xreset.d /etc/xdg/plasma-workspace/@(env|shutdown) \
            /etc/gdm3/@(PreSession|PostSession|PostLogin|Init)
        home_lines script '' .xprofile .xinitrc .xserverrc .xsession .Xsession .xsessionrc .Xclients .vnc/xstartup
        home_lines_in script .config/plasma-workspace/env .config/plasma-workspace/shutdown .config/autostart-scripts
        home_entries .local/share/applications
    fi
    if technique dbus-services T1543; then
        lines_in dbus root '' /{etc,run,usr/local/share,usr/share,lib}/dbus-1/system-services
        lines_in dbus '' '' /{etc,run,usr/local/share,usr/share}/dbus-1/services
        home_lines_in dbus .local/share/dbus-1/services
        lines_in dbus-policy '' '' /etc/dbus-1/system.d /etc/dbus-1/session.d /usr/share/dbus-1/system.d
    fi
    if technique inetd T1543; then
        lines script root '' /etc/inetd.conf
        lines_in script root '' /etc/inetd.d
        lines xinetd root '' /etc/xinetd.conf
        lines_in xinetd root '' /etc/xinetd.d
    fi
}

# Rows of the desktop entries that REPLIES names, of user $1: what each runs, and where it does not.
entries() {
    local file
    for file in ${REPLIES[@]+"${REPLIES[@]}"}; do
        if [[ $file != *.desktop ]] || ! is_readable_file "$file"; then continue; fi
        read_entry "$file"
        if [[ $HAS_EXEC == false ]]; then continue; fi
        if [[ ${file##*/} == .* ]]; then CONDITIONS="a name that listings hide${CONDITIONS:+; }$CONDITIONS"; fi
        found "$file" "${file##*/}" "$EXEC" "$1" "$CONDITIONS"
    done
}

home_entries() {
    local i
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do
        files_in "${@/#/${HOMES[i]}/}"
        entries "${HOME_USERS[i]}"
    done
}

look_at_autostart() {
    files_in /etc/xdg/autostart /usr/share/gnome/autostart /usr/share/autostart
    entries ''
    home_entries .config/autostart .kde/Autostart
}

main() {
    known_arguments technique user
    ONLY=${ARG[technique]-}
    if [[ -n $ONLY && $ONLY == *[!A-Za-z0-9.-]* ]]; then fail E_BAD_ARGS "$ONLY is no technique that is looked for"; fi
    if [[ $ONLY != [Tt][0-9]* ]]; then ONLY=${ONLY,,}; fi
    find_databases
    read_homes
    styles
    look_at_systemd
    look_at_schedules
    look_at_start_of_system
    look_at_sessions
    look_at_access
    look_at_hooks
    look_at_tools
    look_at_running
    look_at_rights
    look_at_maintainer_scripts
    look_at_replaced
    if [[ $IS_KNOWN == false ]] && ! late; then fail E_BAD_ARGS "$ONLY is no technique that is looked for"; fi
    show_all "${ARG[user]-}"
}

begin persistence rows "$@"
main
finished
