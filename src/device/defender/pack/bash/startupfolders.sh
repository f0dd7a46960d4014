# `startupfolders`: what starts when a user signs in: XDG autostart, session scripts, shell start-up.
# shellcheck shell=bash

declare -A SEEN=() MODIFIED=()
declare -a FILES=() USERS=()

add() {
    local file=$1 user=$2
    if [[ -n ${SEEN[$file]+x} || ! -f $file ]]; then return; fi
    SEEN[$file]=1
    if is_readable_file "$file"; then
        FILES+=("$file")
        USERS+=("$user")
    fi
}

main() {
    local folder file i home user target real path time name
    known_arguments
    read_homes
    for folder in /etc/xdg/autostart /usr/share/gnome/autostart /usr/share/autostart /etc/X11/Xsession.d \
        /etc/X11/xinit/xinitrc.d /etc/xdg/plasma-workspace/env /etc/xdg/plasma-workspace/shutdown /etc/profile.d; do
        entries_of "$folder"
        for file in ${REPLIES[@]+"${REPLIES[@]}"}; do add "$file" ''; done
    done
    for file in /etc/profile /etc/bash.bashrc /etc/bashrc /etc/zshenv /etc/zprofile /etc/zshrc /etc/zsh/zshenv \
        /etc/zsh/zprofile /etc/zsh/zshrc /etc/zsh/zlogin /etc/csh.cshrc /etc/csh.login /etc/fish/config.fish \
        /etc/X11/xinit/xinitrc /etc/X11/Xsession; do
        add "$file" ''
    done
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do
        home=${HOMES[i]} user=${HOME_USERS[i]}
        if [[ ! -x $home ]]; then
            warn "$home cannot be looked into as uid $EUID"
            continue
        fi
        for folder in .config/autostart .config/autostart-scripts .config/plasma-workspace/env \
            .config/plasma-workspace/shutdown .kde/Autostart .config/fish/conf.d; do
            entries_of "$home/$folder"
            for file in ${REPLIES[@]+"${REPLIES[@]}"}; do add "$file" "$user"; done
        done
        for name in .profile .bash_profile .bash_login .bashrc .bash_aliases .bash_logout .zshenv .zprofile .zshrc .zlogin \
            .zlogout .kshrc .cshrc .tcshrc .login .config/fish/config.fish .xprofile .xinitrc .xsession .Xsession .xsessionrc; do
            add "$home/$name" "$user"
        done
    done
    if ((${#FILES[@]} == 0)); then return; fi
    hash_files "${FILES[@]}"
    while IFS= read -r -d '' path && IFS= read -r -d '' time; do MODIFIED[$path]=$time; done < <(
        within find -L "${FILES[@]}" -maxdepth 0 -printf '%p\0%T+\0' 2>/dev/null)
    for i in "${!FILES[@]}"; do
        if late; then break; fi
        file=${FILES[i]} target=''
        if [[ $file == *.desktop ]]; then
            read_entry "$file"
            target=$EXEC
            if [[ $HAS_EXEC == true && -n $CONDITIONS ]]; then target+='; '; fi
            target+=$CONDITIONS
        elif [[ -L $file ]]; then
            real=$(readlink -- "$file" && printf x)
            target=${real%$'\nx'}
        fi
        open_object
        put_text user "${USERS[i]}"
        put_path folder "${file%/*}"
        put_path file "$file"
        put_text target "$target"
        time_of_find "${MODIFIED[$file]-}"
        put_time modified "$REPLY"
        put_text sha256 "${SHA256[$file]-}"
        row || break
    done
}

begin startupfolders rows "$@"
main
finished
