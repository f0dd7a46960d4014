# A part of scripts: desktop entries: the first value of a key counts, of the group `Desktop Entry` alone.
# shellcheck shell=bash

# What an entry of the desktop runs into EXEC, and where it does not into CONDITIONS.
read_entry() {
    local line key value here=false
    local -A seen=()
    EXEC='' CONDITIONS='' HAS_EXEC=false
    while IFS= read -r line || [[ -n $line ]]; do
        trimmed "$line"
        line=$REPLY
        if [[ $line == '['* ]]; then
            here=false
            if [[ $line == '[Desktop Entry]' ]]; then here=true; fi
            continue
        fi
        if [[ $here == false || $line != *=* || $line == '#'* ]]; then continue; fi
        trimmed "${line%%=*}"
        key=$REPLY
        trimmed "${line#*=}"
        value=$REPLY
        case $key in
            Exec | Hidden | OnlyShowIn | NotShowIn | TryExec | X-GNOME-Autostart-enabled | AutostartCondition) ;;
            *) continue ;;
        esac
        if [[ -n ${seen[$key]-} ]]; then continue; fi
        seen[$key]=1
        case $key=$value in
            Exec=*) EXEC=$value HAS_EXEC=true ;;
            Hidden=false | X-GNOME-Autostart-enabled=true) ;;
            *) CONDITIONS+="${CONDITIONS:+; }$key=$value" ;;
        esac
    done < <(within head -c $((4 << 20)) -- "$1" 2>/dev/null | tr -d '\000')
}
