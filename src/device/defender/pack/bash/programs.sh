# A part of `persistence`: programs with more rights than their caller, and those that are no longer their package's.
# Invariant: dpkg's data has no modes and no capabilities, so an unmodified program of a package counts as packaged only
# where it is one of those that distributions give such rights, or where the administrator's override says so.
# shellcheck shell=bash

readonly PRIVILEGED=' Xorg.wrap at bsd-write camel-lock-helper-1.2 chage chfn chrome-sandbox chsh cockpit-session crontab dbus-daemon-launch-helper dma dma-mbox-create dotlockfile exim4 expiry fusermount fusermount3 gpasswd grub2-set-bootflag krb5_child ldap_child locate lockfile mail-lock mail-touchlock mail-unlock mount mount.cifs mount.ecryptfs_private mount.nfs mutt_dotlock netreport newgidmap newgrp newuidmap ntfs-3g pam_extrausers_chkpwd pam_timestamp_check passwd pkexec plocate mlocate slocate polkit-agent-helper-1 postdrop postqueue pppd procmail proxy_child qemu-bridge-helper screen selinux_child sendmail sg snap-confine spice-client-glib-usb-acl-helper ssh-agent ssh-keysign staprun su sudo sudoedit suexec traceroute6.iputils ping ping6 umount unix_chkpwd unix_update userhelper usernetctl utempter vmware-user-suid-wrapper wall write write.ul lppasswd xlock xscreensaver-auth bwrap cgexec ksu doas kismet_capture lxc-user-nic v4l-conf pt_chown zone-admin batch atq atrm '
readonly CAPABLE=' ping ping4 ping6 mtr-packet arping clockdiff dumpcap gst-ptp-helper gnome-keyring-daemon newuidmap newgidmap suexec rcp rlogin rsh traceroute traceroute6 tracepath kwin_wayland gnome-shell sway slirp4netns snap-confine nethogs fping bwrap sssd_pam krb5_child ldap_child selinux_child systemd-detect-virt '

declare -a SET_FILES=() SET_MODES=() SET_OWNERS=() START_FILES=() GIT_FOLDERS=() GIT_OWNERS=()
HAS_WALKED=false

# One walk over the device's own file systems for all techniques that need one.
walk() {
    local what path mode owner
    if [[ $HAS_WALKED == true ]]; then return; fi
    HAS_WALKED=true
    skipped_mounts /
    prune_skipped
    while IFS= read -r -d '' what && IFS= read -r -d '' path && IFS= read -r -d '' mode && IFS= read -r -d '' owner; do
        case $what in
            set)
                # SGID without the group's right to run it is the old mark of mandatory locking.
                if ((8#$mode & 8#4000 || (8#$mode & 8#2010) == 8#2010)); then
                    SET_FILES+=("$path") SET_MODES+=("$mode") SET_OWNERS+=("$owner")
                fi
                ;;
            start) START_FILES+=("$path") ;;
            git) GIT_FOLDERS+=("$path") GIT_OWNERS+=("$owner") ;;
        esac
    done < <(within find / ${PRUNED[@]+"${PRUNED[@]}"} '(' -type d -name .git -printf 'git\0%p\0%m\0%U\0' ')' , \
        '(' -type f -perm /6000 -printf 'set\0%p\0%m\0%U\0' ')' , \
        '(' -type f '(' -name sitecustomize.py -o -name usercustomize.py -o -path '*/site-packages/*.pth' -o -path '*/dist-packages/*.pth' ')' -printf 'start\0%p\0%m\0%U\0' ')' 2>/dev/null)
}

# Whether the rights of file $1, too, are its package's, into REPLY; $2 is its verdict: `set MODE` or `capable`.
judged() {
    local usual=$PRIVILEGED override=${OVERRIDES[$1]-} mode=${2#set }
    packaged "$1"
    if [[ $REPLY != true ]]; then return; fi
    if [[ $2 == capable ]]; then usual=$CAPABLE override=''; fi
    if [[ -n $override ]]; then
        if (((8#$override & 8#6000) != (8#$mode & 8#6000))); then REPLY=false; fi
    elif [[ $usual != *" ${REAL[$1]##*/} "* ]]; then REPLY=false; fi
}
declare -A OVERRIDES=()

look_at_rights() {
    local i file mode what owner caps
    if technique suid T1548.001; then
        walk
        while read -r _ _ mode file; do if [[ $mode == +([0-7]) ]]; then OVERRIDES[$file]=$mode; fi; done \
            2>/dev/null < <(head -c "$LOOK_LIMIT" /var/lib/dpkg/statoverride 2>/dev/null)
        for i in ${SET_FILES[@]+"${!SET_FILES[@]}"}; do
            file=${SET_FILES[i]}
            printf -v mode '%04o' "$((8#${SET_MODES[i]}))"
            case $((8#$mode & 8#6000)) in $((8#6000))) what='SUID and SGID' ;; $((8#4000))) what=SUID ;; *) what=SGID ;; esac
            user_name "${SET_OWNERS[i]}"
            owner=$REPLY
            what+=", mode $mode"
            case $file in /tmp/* | /var/tmp/* | /dev/shm/* | /home/* | /run/* | /srv/* | /var/www/*) what+='; where anyone or its user may write' ;; esac
            found "$file" "${file##*/}" "$file" "$owner" "$what" "set $mode"
        done
    fi
    if technique file-capabilities T1548; then
        if ! type -P getcap >/dev/null; then
            warn 'getcap is not here: capabilities of files are not looked for'
            return
        fi
        while IFS= read -r file; do
            # `FILE = CAPS+ep`, or `FILE CAPS=ep`.
            caps=${file##* } file=${file% *}
            file=${file% =}
            if [[ $file == /* ]]; then found "$file" "${file##*/}" "$file" '' "${caps//+/=}" capable; fi
        done < <(within getcap -r /bin /sbin /usr /opt /srv /home /root /tmp /var /lib 2>/dev/null)
    fi
}

# Files of the system's program folders whose bytes are not their package's, or that no package has. All are hashed: a
# size or a time proves nothing.
look_at_replaced() {
    local folder known file sum line path
    local -a folders=() files=() odd=()
    local -A good=()
    technique replaced-programs T1554 || return
    for folder in /usr/bin /usr/sbin /bin /sbin; do
        if [[ ! -d $folder || -L $folder ]]; then continue; fi
        for known in ${folders[@]+"${folders[@]}"}; do if [[ $folder -ef $known ]]; then continue 2; fi; done
        folders+=("$folder")
        entries_of "$folder"
        files+=(${REPLIES[@]+"${REPLIES[@]}"})
    done
    if [[ $HAS_DPKG == false ]]; then
        # By the packages' own sums, in the end.
        if [[ $HAS_RPM == true ]]; then odd_programs ${files[@]+"${files[@]}"}; fi
        return
    fi
    # All sums that packages list for program folders, and the files that have one of them.
    while read -r sum path; do good["$sum ${path#usr/}"]=1; done < <(
        printf '%s\0' /var/lib/dpkg/info/*.md5sums | within xargs -0 grep -hE '^[0-9a-f]{32}  (usr/)?s?bin/' -- 2>/dev/null)
    while read -r line; do
        path=${line:34} file=${line:34}
        file=${file#/usr}
        if [[ $line != \\* && -z ${good["${line:0:32} ${file#/}"]-} ]]; then odd+=("$path"); fi
    done < <(for file in ${files[@]+"${files[@]}"}; do if [[ -f $file && ! -L $file ]]; then printf '%s\0' "$file"; fi; done |
        within xargs -0 md5sum -- 2>/dev/null)
    for file in ${files[@]+"${files[@]}"}; do
        # Links, by what they lead to, and names that md5sum writes in another way.
        if [[ -L $file || $file == *[\\$'\n\r']* ]] && [[ -f $file ]]; then odd+=("$file"); fi
    done
    odd_programs ${odd[@]+"${odd[@]}"}
    odd_alternatives
}

# Programs that are perhaps not their package's; a link counts by where it leads.
odd_programs() {
    local file real note line
    local -A owned=()
    real_paths "$@"
    while IFS= read -r line; do owned[${line#*.list:}]=1; done < <(
        for file in "$@"; do if [[ -L $file ]]; then printf '%s\0' "$file"; fi; done | listed_by)
    for file in "$@"; do
        note='' real=${REAL[$file]}
        if [[ ! -f $file ]]; then continue; fi
        if [[ -L $file ]]; then
            # What leads to a program beside it is told as that one; a package may have the link.
            case $real in /usr/bin/* | /usr/sbin/* | /bin/* | /sbin/*) continue ;; esac
            either_name "$file"
            if [[ ${real##*/} != "${file##*/}" && -n ${owned[$REPLY]-}${owned[$OTHER]-} ]]; then continue; fi
        fi
        for real in .real .orig .bak .old .distrib; do
            if [[ -e $file$real ]]; then note="beside it lies one that ends in $real"; fi
        done
        found "$file" "${file##*/}" '' root "$note" 'unless packaged'
        STYLES[${#STYLES[@]} - 1]=program
    done
}

# Names of alternatives that lead where no installed choice has them lead.
odd_alternatives() {
    local name target time
    local -A known=() choices=()
    while IFS=$'\x1f' read -r name target; do
        known[$name]=1
        choices[$name$'\x1f'$target]=1
    done < <(within awk '
        # Status, link; name and link of each slave, an empty line; path, priority and the slaves paths of each choice.
        FNR == 1 { name = FILENAME; sub(/.*\//, "", name); names[0] = name; count = 0; row = 0; heads = 1; next }
        FNR == 2 { next }
        heads && $0 == "" { heads = 0; next }
        heads { if (FNR % 2) names[++count] = $0; next }
        { at = row % (count + 2); row++ }
        at == 1 { next }
        $0 != "" { print names[at ? at - 1 : 0] "\037" $0 }
        ' /var/lib/dpkg/alternatives/* 2>/dev/null)
    while IFS= read -r -d '' name && IFS= read -r -d '' target && IFS= read -r -d '' time; do
        if [[ -z ${known[$name]-} || -n ${choices[$name$'\x1f'$target]-} ]]; then continue; fi
        either_name "$target"
        if [[ -n ${choices[$name$'\x1f'$OTHER]-} ]]; then continue; fi
        TIMES["/etc/alternatives/$name"]=$time
        found "/etc/alternatives/$name" "$name" "$target" root 'an alternative that leads to none of its choices' time
    done < <(within find /etc/alternatives -mindepth 1 -maxdepth 1 -type l -printf '%f\0%l\0%T+\0' 2>/dev/null)
}

# Scripts that dpkg runs with a package. dpkg has no sums of them: one that is newer than its package's list, or of a
# package that is not installed or in no source, is nobody's.
look_at_maintainer_scripts() {
    local file name stem time listed odd has_sources=false
    local -a lists=(/var/lib/apt/lists/*_Packages*)
    local -A of_list=() of_script=() sources=()
    technique maintainer-scripts T1546.016 || return
    if ((${#lists[@]} > 0)) && [[ " ${lists[*]} " != *_Packages.* ]]; then
        has_sources=true
        while IFS= read -r name; do sources[$name]=1; done < <(
            within grep -hs '^Package: ' -- "${lists[@]}" | within sed 's/^Package: *//; s/[[:space:]]*$//' | within sort -u)
        if ((${#sources[@]} == 0)); then has_sources=false; fi
    fi
    while IFS= read -r -d '' name && IFS= read -r -d '' time; do
        case $name in
            *.list) of_list[${name%.list}]=${time%.*} ;;
            *) of_script[$name]=${time%.*} ;;
        esac
    done < <(within find /var/lib/dpkg/info -maxdepth 1 -xtype f '(' -name '*.list' -o -name '*.preinst' -o -name '*.postinst' \
        -o -name '*.prerm' -o -name '*.postrm' ')' -printf '%f\0%T@\0' 2>/dev/null)
    files_in /var/lib/dpkg/info
    for file in ${REPLIES[@]+"${REPLIES[@]}"}; do
        name=${file##*/}
        if [[ -z ${of_script[$name]+x} ]]; then continue; fi
        stem=${name%.*} odd=''
        listed=${of_list[$stem]-}
        if [[ -z $listed ]]; then
            odd='its package is not installed'
        elif ((of_script[$name] > listed + 60)); then
            odd='newer than its package'
        elif [[ $has_sources == true && -z ${sources[${stem%%:*}]-} ]]; then odd='its package is in no source of packages'; fi
        if [[ -n $odd ]]; then
            found "$file" "$name" '' root "$odd" 'own false'
            STYLES[${#STYLES[@]} - 1]=program
        else
            found "$file" "$name" '' root '' 'own '
        fi
    done
}
