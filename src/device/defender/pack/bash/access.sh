# A part of `persistence`: ways in: accounts, keys of SSH, rights, what signs people in.
# Invariant: no hash of a password and no key is a part of a row, only that there is one.
# shellcheck shell=bash

declare -A PASSWORDS=() CHANGED=() POWERS=()
readonly SHELL_LESS='@(nologin|false|true|sync|halt|shutdown)'

# What `shadow` says of passwords, without them: none, empty, locked, hash.
read_shadow() {
    local file name password changed group members member
    for file in /etc/shadow /var/lib/extrausers/shadow; do
        if [[ ! -f $file || ! -r $file ]]; then continue; fi
        while IFS=: read -r name password changed _; do
            if [[ -z $name || -n ${PASSWORDS[$name]+x} ]]; then continue; fi
            kind_of_password "$password"
            PASSWORDS[$name]=$REPLY
            if [[ $changed == [1-9]*([0-9]) && ${#changed} -le 6 ]]; then
                printf -v REPLY '%(%Y-%m-%d)T' $((changed * 86400))
                CHANGED[$name]="password last changed $REPLY"
            fi
        done < <(within head -c $((16 << 20)) -- "$file" 2>/dev/null | tr -d '\000')
    done
    if [[ ! -f /etc/group || ! -r /etc/group ]]; then return; fi
    while IFS=: read -r group _ _ members; do
        if [[ $group != @(root|sudo|wheel|admin|docker|lxd|disk|shadow|adm) ]]; then continue; fi
        IFS=, read -r -a MEMBERS <<<"$members"
        for member in ${MEMBERS[@]+"${MEMBERS[@]}"}; do
            trimmed "$member"
            if [[ -n $REPLY ]]; then POWERS[$REPLY]+="${POWERS[$REPLY]:+, }$group"; fi
        done
    done < <(within head -c $((16 << 20)) /etc/group 2>/dev/null | tr -d '\000')
}

kind_of_password() {
    REPLY=locked
    case $1 in
        '') REPLY=empty ;;
        x) REPLY=none ;;
        [*!]*) ;;
        *) if ((${#1} > 8)); then REPLY='hash'; fi ;;
    esac
}

# A row of the account: name, shell, notes.
account() {
    local notes=${POWERS[$1]:+in the groups ${POWERS[$1]}}
    found /etc/passwd "$1" "$2" "$1" "$notes${notes:+; }$3" time
}

look_at_accounts() {
    local name password id home shell notes kind=''
    local -A first=() closed=([/usr/sbin/nologin]=1 [/bin/false]=1)
    read_shadow
    while IFS=: read -r name password id _ _ home shell; do
        if [[ $name == @(|[#+-]*) || $id != +([0-9]) ]]; then continue; fi
        kind=${PASSWORDS[$name]-}
        if technique account-uid-0 T1136.001; then
            if [[ -n ${first[$id]+x} && ${first[$id]} != "$name" ]]; then
                account "$name" "$shell" "shares uid $id with ${first[$id]}"
            elif [[ $id == +(0) && $name != root ]]; then account "$name" "$shell" 'uid 0'; fi
            first[$id]=${first[$id]-$name}
        fi
        if technique account-added T1136.001 && is_person "$id" && [[ $id != +(0) ]] && has_shell "$shell"; then
            case $kind in
                'hash') notes='signs in with a password' ;;
                empty) notes='signs in without a password' ;;
                '') notes='its password could not be seen' ;;
                *) notes='has no password' ;;
            esac
            account "$name" "$shell" "$notes${CHANGED[$name]:+; ${CHANGED[$name]}}"
        fi
        if technique account-woken T1098; then
            notes=''
            if ! is_person "$id"; then
                if has_shell "$shell"; then notes+='; an account of the system with a login shell'; fi
                if [[ $kind == 'hash' ]]; then notes+='; an account of the system with a password'; fi
            fi
            kind_of_password "$password"
            case $REPLY in
                'hash') notes+='; its password is in passwd, where all may read it' ;;
                empty) notes+='; needs no password' ;;
                none) if [[ $kind == empty ]]; then notes+='; needs no password'; fi ;;
            esac
            notes=${notes#; }
            if [[ -n $notes ]]; then account "$name" "$shell" "$notes${CHANGED[$name]:+; ${CHANGED[$name]}}"; fi
        fi
        if technique account-shell T1098; then
            trimmed "$shell"
            if [[ $REPLY != "$shell" ]]; then account "$name" "$shell" 'blanks at the end of its shell'; fi
            if [[ ${REPLY##*/} == @(nologin|false) ]]; then closed[$REPLY]=1; fi
        fi
    done < <(for kind in /etc/passwd /var/lib/extrausers/passwd; do
        if [[ -f $kind && -r $kind ]]; then within head -c $((16 << 20)) -- "$kind" 2>/dev/null | tr -d '\000'; echo; fi
    done)
    if technique account-shell T1098; then
        for name in "${!closed[@]}"; do
            if [[ -f $name ]]; then found "$name" "${name##*/}" '' '' 'a closed account runs it as its shell' 'unless packaged'; fi
        done
        lines shells '' "names a closed account's shell as one to sign in with" /etc/shells
    fi
}

is_person() { [[ $1 == +(0) ]] || (($1 >= 1000 && $1 != 65534 && $1 != 65535)); }
# shellcheck disable=SC2053
has_shell() { [[ ${1##*/} != $SHELL_LESS ]]; }

# Where the server looks for keys, the usual places always among them, into PATTERNS.
key_patterns() {
    local line word
    local -a words
    PATTERNS=(.ssh/authorized_keys .ssh/authorized_keys2)
    local -A seen=([.ssh/authorized_keys]=1 [.ssh/authorized_keys2]=1)
    files_in /etc/ssh/sshd_config.d
    while IFS= read -r line; do
        read -r -a words <<<"${line/=/ }"
        for word in ${words[@]+"${words[@]:1}"}; do
            word=${word//\"/}
            if [[ $word != @(|none) && -z ${seen[$word]+x} ]]; then
                seen[$word]=1
                PATTERNS+=("$word")
            fi
        done
    done < <(for line in /etc/ssh/sshd_config ${REPLIES[@]+"${REPLIES[@]}"}; do
        if [[ -f $line && -r $line ]]; then within head -c 1048576 -- "$line" 2>/dev/null | grep -aiE '^[[:space:]]*AuthorizedKeysFile[[:space:]=]'; fi
    done | tr -d '\000')
}

# The path of pattern $1 for account $2 with home $3 into REPLY; fails on what is none.
expand_pattern() {
    local rest=$1 out=''
    while [[ $rest == *%* ]]; do
        out+=${rest%%\%*}
        rest=${rest#*%}
        case $rest in
            h*) out+=$3 ;;
            u*) out+=$2 ;;
            %*) out+=% ;;
            *) return 1 ;;
        esac
        rest=${rest:1}
    done
    REPLY=$out$rest
    if [[ $REPLY != /* ]]; then REPLY=$3/$REPLY; fi
    [[ $REPLY == /* ]]
}

# Options, type, key and comment of a line of authorized_keys into K_…; fails where it has none.
take_key() {
    local line=$1 at=0 quoted=false before='' byte
    K_OPTIONS=''
    while ((at < ${#line} && at < 8192)); do
        if [[ $quoted == false && ($at == 0 || $before == [$' \t']) && ${line:at} == @(ssh-|ecdsa-|sk-ssh-|sk-ecdsa-)* ]]; then
            trimmed "${line:0:at}"
            K_OPTIONS=$REPLY
            read -r K_TYPE K_KEY K_COMMENT <<<"${line:at}"
            [[ -n $K_KEY ]]
            return
        fi
        byte=${line:at:1}
        if [[ $byte == '"' && $before != \\ ]]; then
            if [[ $quoted == true ]]; then quoted=false; else quoted=true; fi
        fi
        before=$byte at=$((at + 1))
    done
    return 1
}

# Of a key its options, its type, its end and its comment, not itself.
keys_of() {
    local file=$1 user=$2 shell=$3 line note count=0
    while IFS= read -r line && ((count < 1000)); do
        trimmed "$line"
        if [[ $REPLY == @(|'#'*) ]] || ! take_key "$REPLY"; then continue; fi
        count=$((count + 1)) note=''
        if [[ $K_OPTIONS == *command=* ]]; then note='runs a command of its own'; fi
        if [[ -n $shell ]] && ! has_shell "$shell"; then note+="${note:+; }its account has no login shell"; fi
        if ((${#K_KEY} > 16)); then K_KEY=${K_KEY:${#K_KEY}-16}; fi
        found "$file" "${K_COMMENT:-$K_TYPE}" "$K_OPTIONS${K_OPTIONS:+ }$K_TYPE …$K_KEY" "$user" "$note"
    done < <(within head -c "$LOOK_LIMIT" -- "$file" 2>/dev/null | tr -d '\000'; echo)
}

look_at_keys() {
    local name id home shell pattern i file
    local -A seen=()
    key_patterns
    while IFS=: read -r name _ id _ _ home shell; do
        if [[ $name == @(|[#+-]*) || $id != +([0-9]) ]]; then continue; fi
        for pattern in "${PATTERNS[@]}"; do
            if expand_pattern "$pattern" "$name" "$home" && [[ -f $REPLY ]]; then
                file=$REPLY
                is_readable_file "$file" || continue
                i=$(timeout 5 stat -L -c %d:%i -- "$file" 2>/dev/null)
                if [[ -n ${seen[$i]+x} ]]; then continue; fi
                seen[$i]=1
                keys_of "$file" "$name" "${shell:-/bin/sh}"
            fi
        done
    done < <(for file in /etc/passwd /var/lib/extrausers/passwd; do
        if [[ -f $file && -r $file ]]; then within head -c $((16 << 20)) -- "$file" 2>/dev/null | tr -d '\000'; echo; fi
    done)
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do
        if [[ -n ${HOME_USERS[i]} ]]; then continue; fi
        for file in "${HOMES[i]}"/.ssh/authorized_keys "${HOMES[i]}"/.ssh/authorized_keys2; do
            if [[ -f $file ]] && is_readable_file "$file"; then keys_of "$file" '' ''; fi
        done
    done
}

look_at_private_keys() {
    local i file text
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do
        files_in "${HOMES[i]}/.ssh"
        for file in "${HOMES[i]}"/@(id_*|*.pem|*.key|*.ppk) ${REPLIES[@]+"${REPLIES[@]}"}; do
            if [[ ! -f $file || ! -r $file ]]; then continue; fi
            text=$(within head -c 8192 -- "$file" 2>/dev/null | tr -d '\000')
            case $text in
                *PuTTY-User-Key-File*)
                    if [[ $text == *'Encryption: none'* ]]; then text='without a passphrase'; else text=encrypted; fi
                    ;;
                *'-----BEGIN '*)
                    local label=${text#*-----BEGIN }
                    label=${label%%$'\n'*}
                    if [[ $label != *'PRIVATE KEY'* ]]; then continue; fi
                    # In OpenSSH's own format the cipher's name is near the start: "none", base64.
                    if [[ $label == *OPENSSH* && $text != *b3BlbnNzaC1rZXktdjEAAAAABG5vbmU* || $text == *ENCRYPTED* ]]; then
                        text=encrypted
                    else
                        text='without a passphrase'
                    fi
                    ;;
                *) continue ;;
            esac
            text="private key, $text"
            if [[ -e $file.pub ]]; then text+='; its public key lies beside it'; fi
            found "$file" "${file##*/}" '' "${HOME_USERS[i]}" "$text"
        done
    done
}

# The folders of libraries, and those below them that are named for an architecture, into FOLDERS_OF_LIBRARIES.
library_folders() {
    local top folder
    FOLDERS_OF_LIBRARIES=(/lib /usr/lib /lib64 /usr/lib64 /lib32 /usr/lib32 /usr/local/lib)
    for top in /usr/lib /lib; do
        for folder in "$top"/*-linux-*; do
            if [[ -d $folder && ! -L $folder ]]; then FOLDERS_OF_LIBRARIES+=("$folder"); fi
        done
    done
}

# Rows of the libraries that REPLIES names.
libraries() {
    local file
    for file in ${REPLIES[@]+"${REPLIES[@]}"}; do
        if [[ ${file##*/} == *.so* ]]; then lines library root '' "$file"; fi
    done
}

declare -a PAM_PROFILES=()

# What `pam-auth-update` or a package's script wrote is vouched for where every line of it comes from files of packages.
vouch_for_generated() {
    local i file line service path
    local -A libraries=() generated=()
    local -a profiles=() made=() words
    for file in ${PAM_PROFILES[@]+"${PAM_PROFILES[@]}"}; do
        packaged "$file"
        if [[ $REPLY == true && $file != *$'\n'* ]]; then profiles+=("$file"); fi
    done
    for i in ${AT[@]+"${!AT[@]}"}; do
        file=${AT[i]}
        packaged "$file"
        case $file in
            */libnss_*.so*) if [[ $REPLY == true ]]; then libraries[${file##*/}]=1; fi ;;
            /etc/pam.d/common-+([a-z-])) if [[ $REPLY == false ]]; then made+=("$file"); fi ;;
        esac
    done
    if ((${#made[@]} > 0 && ${#profiles[@]} > 0)); then
        while IFS= read -r file; do VOUCHED[$file]='made by pam-auth-update from files of packages'; done < <(
            within awk -v "profiles=${#profiles[@]}" '
                # A rule without its kind, with single blanks; how many rules it jumps over is the generators to count.
                function rule(at) {
                    if ($1 ~ /^(auth|account|password|session)$/) { $1 = ""; sub(/^ +/, "") }
                    for (at = 1; at <= NF; at++) if ($at ~ /^\[[^=]*=[0-9]/) sub(/=[0-9]+/, "=end", $at)
                    $1 = $1
                    sub(/^ +/, ""); sub(/ +$/, "")
                    return $0
                }
                BEGIN { known["[default=end] pam_permit.so"] = 1 }
                FNR == 1 { files++; if (files > profiles) fits[FILENAME] = 1 }
                /^[ \t]*(#|$)/ { next }
                files <= profiles { known[rule()] = 1; next }
                { if (!(rule() in known)) fits[FILENAME] = 0 }
                END { for (file in fits) if (fits[file]) print file }' "${profiles[@]}" "${made[@]}" 2>/dev/null)
    fi
    packaged /etc/nsswitch.conf
    if [[ $REPLY != false || -z ${IDS[/etc/nsswitch.conf]-} ]]; then return; fi
    while IFS= read -r line; do
        if [[ $line == @(|'#'*) ]]; then continue; fi
        read -r -a words <<<"${line#*:}"
        for service in ${words[@]+"${words[@]}"}; do
            case $service in '['* | files | dns | compat | db | hesiod | nis | nisplus) continue ;; esac
            for path in ${libraries[@]+"${!libraries[@]}"}; do if [[ $path == "libnss_$service.so"* ]]; then continue 2; fi; done
            return
        done
    done < <(within head -c 65536 /etc/nsswitch.conf 2>/dev/null | tr -d '\000')
    VOUCHED[/etc/nsswitch.conf]='all its services are of packages'
}

look_at_access() {
    look_at_accounts
    if technique ssh-authorized-keys T1098.004; then look_at_keys; fi
    if technique sshd-configuration T1556; then
        lines sshd root '' /etc/ssh/sshd_config
        lines_in sshd root '' /etc/ssh/sshd_config.d
    fi
    if technique ssh-client T1546; then
        lines script root '' /etc/ssh/sshrc
        home_lines script '' .ssh/rc
        lines ssh root '' /etc/ssh/ssh_config
        lines_in ssh root '' /etc/ssh/ssh_config.d
        home_lines ssh '' .ssh/config
        home_lines any '' .ssh/environment
    fi
    if technique ssh-private-keys T1552.004; then look_at_private_keys; fi
    if technique sudoers T1548.003; then
        lines sudoers root '' /etc/sudoers /usr/local/etc/sudoers
        files_in /etc/sudoers.d
        local file
        for file in ${REPLIES[@]+"${REPLIES[@]}"}; do
            case ${file##*/} in
                *.* | *'~') lines sudoers root 'sudo skips a file of this name' "$file" ;;
                *) lines sudoers root '' "$file" ;;
            esac
        done
        lines sudo-plugins root '' /etc/sudo.conf
    fi
    if technique polkit T1556; then
        files_in /etc/polkit-1/rules.d /run/polkit-1/rules.d /usr/local/share/polkit-1/rules.d /usr/share/polkit-1/rules.d
        for file in ${REPLIES[@]+"${REPLIES[@]}"}; do if [[ $file == *.rules ]]; then lines polkit root '' "$file"; fi; done
        lines_below script root '' 4 '*.pkla' /etc/polkit-1/localauthority /var/lib/polkit-1/localauthority
        lines_in polkit-actions root '' /usr/share/polkit-1/actions /etc/polkit-1/actions
    fi
    local -a FOLDERS_OF_LIBRARIES
    library_folders
    if technique pam T1556.003; then
        lines script root '' /etc/pam.conf
        lines_in script root '' /etc/pam.d /usr/lib/pam.d
        files_in /usr/share/pam-configs /usr/share/pam
        PAM_PROFILES=(${REPLIES[@]+"${REPLIES[@]}"})
        EXTRA+=(${REPLIES[@]+"${REPLIES[@]}"})
        files_in "${FOLDERS_OF_LIBRARIES[@]/%//security}"
        libraries
    fi
    if technique nss T1556; then
        lines any root '' /etc/nsswitch.conf
        files_in "${FOLDERS_OF_LIBRARIES[@]}"
        local -a some=()
        for file in ${REPLIES[@]+"${REPLIES[@]}"}; do if [[ ${file##*/} == libnss_* ]]; then some+=("$file"); fi; done
        REPLIES=(${some[@]+"${some[@]}"})
        libraries
    fi
}
