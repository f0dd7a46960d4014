#!/bin/bash
# What every script of the pack begins with: the argument, the answer, time and size.
# Invariants: the argument is data, never code; stdout gets exactly one document, whatever happens; a script that only
# reads writes nothing. bash 4.2 or later, coreutils, findutils, sed, awk and /proc.
# shellcheck disable=SC2015,SC2016,SC2034,SC2119,SC2120,SC2317
set -u -o pipefail
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin TZ=UTC0
unset BASH_ENV ENV CDPATH GLOBIGNORE POSIXLY_CORRECT GREP_OPTIONS FIND_BLOCK_SIZE LD_PRELOAD LD_LIBRARY_PATH
IFS=$' \t\n'
umask 077
shopt -s nullglob extglob
shopt -u nocasematch nocaseglob failglob

# Rows of more JSON than this are cut.
readonly ROWS_LIMIT=$((8 << 20))
# Bytes of one text; the kernel allows megabytes in a command line.
readonly TEXT_LIMIT=$((32 << 10))
readonly UNSAFE='[!]-~ !#-[]'
readonly NO_NONCE=00000000000000000000000000000000

SCRIPT='' NONCE=$NO_NONCE LIMIT=540
COMPLETE=true DATA='' ERROR='' HAS_ROWS=false ROWS_SIZE=0 IS_DONE=false IS_FINISHED=false
declare -a ROWS=() WARNINGS=()
declare -A ARG=()
# stdout carries the document alone.
exec 3>&1 1>&2 </dev/null

# --- text ---------------------------------------------------------------------------------------------------------

# The length of the UTF-8 character that $1 begins with into REPLY; 0 where it begins with none.
char_length() {
    case $1 in
        [$'\x01'-$'\x7f']*) REPLY=1 ;;
        [$'\xc2'-$'\xdf'][$'\x80'-$'\xbf']*) REPLY=2 ;;
        $'\xe0'[$'\xa0'-$'\xbf'][$'\x80'-$'\xbf']*) REPLY=3 ;;
        [$'\xe1'-$'\xec'$'\xee'$'\xef'][$'\x80'-$'\xbf'][$'\x80'-$'\xbf']*) REPLY=3 ;;
        $'\xed'[$'\x80'-$'\x9f'][$'\x80'-$'\xbf']*) REPLY=3 ;;
        $'\xf0'[$'\x90'-$'\xbf'][$'\x80'-$'\xbf'][$'\x80'-$'\xbf']*) REPLY=4 ;;
        [$'\xf1'-$'\xf3'][$'\x80'-$'\xbf'][$'\x80'-$'\xbf'][$'\x80'-$'\xbf']*) REPLY=4 ;;
        $'\xf4'[$'\x80'-$'\x8f'][$'\x80'-$'\xbf'][$'\x80'-$'\xbf']*) REPLY=4 ;;
        *) REPLY=0 ;;
    esac
}

# The JSON string of $1 into REPLY; HAD_BAD_BYTES tells whether bytes that are no UTF-8 became U+FFFD.
js() {
    HAD_BAD_BYTES=false
    # shellcheck disable=SC2053
    if [[ $1 != *$UNSAFE* && ${#1} -le $TEXT_LIMIT ]]; then
        REPLY="\"$1\""
        return
    fi
    local rest=$1 out='' head code tail=''
    if ((${#rest} > TEXT_LIMIT)); then
        rest=${rest:0:TEXT_LIMIT}
        # Not within a character.
        while [[ $rest == *[$'\x80'-$'\xbf'] ]]; do rest=${rest%?}; done
        rest=${rest%[$'\xc0'-$'\xff']}
        tail=$' \xe2\x80\xa6'
    fi
    while [[ -n $rest ]]; do
        # shellcheck disable=SC2295
        head=${rest%%$UNSAFE*}
        out+=$head
        rest=${rest:${#head}}
        case $rest in
            '') break ;;
            '"'*) out+='\"' rest=${rest:1} ;;
            \\*) out+=\\\\ rest=${rest:1} ;;
            [$'\x01'-$'\x1f']* | $'\x7f'*)
                printf -v code '\\u%04x' "'$rest"
                out+=$code rest=${rest:1}
                ;;
            *)
                char_length "$rest"
                if ((REPLY == 0)); then
                    out+=$'\xef\xbf\xbd' rest=${rest:1} HAD_BAD_BYTES=true
                else
                    out+=${rest:0:REPLY} rest=${rest:REPLY}
                fi
                ;;
        esac
    done
    REPLY="\"$out$tail\""
}

# A path as JSON into REPLY, in the product's text form: as it is, or after `esc:` with \xNN for bytes.
jpath() {
    js "$1"
    if [[ $HAD_BAD_BYTES == false && $1 != esc:* ]]; then return; fi
    escaped "$1"
    js "$REPLY"
}

# The text form of a path into REPLY, where plain text does not hold it.
escaped() {
    local rest=$1 out=esc: code
    while [[ -n $rest ]]; do
        char_length "$rest"
        if [[ $rest == \\* ]]; then
            out+=\\\\ rest=${rest:1}
        elif ((REPLY == 0)) || [[ $rest == [$'\x01'-$'\x1f']* || $rest == $'\x7f'* ]]; then
            printf -v code '%d' "'$rest"
            printf -v code '\\x%02x' $((code & 255))
            out+=$code rest=${rest:1}
        else
            out+=${rest:0:REPLY} rest=${rest:REPLY}
        fi
    done
    REPLY=$out
}

# A path as plain text into REPLY.
path_text() {
    js "$1"
    if [[ $HAD_BAD_BYTES == false && $1 != esc:* ]]; then REPLY=$1; else escaped "$1"; fi
}

# The bytes of a path that came as text into REPLY; fails on what is no path.
path_bytes() {
    local rest=$1 out='' head
    REPLY=$1
    if [[ $1 != esc:* ]]; then [[ -n $1 ]] && return 0 || return 1; fi
    rest=${rest#esc:}
    while [[ $rest == *\\* ]]; do
        head=${rest%%\\*}
        out+=$head rest=${rest:${#head}}
        case $rest in
            \\\\*) out+=\\ rest=${rest:2} ;;
            \\x00*) return 1 ;;
            \\x[0-9A-Fa-f][0-9A-Fa-f]*)
                printf -v head '%b' "\\x${rest:2:2}"
                out+=$head rest=${rest:4}
                ;;
            \\u[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]*)
                utf8 $((16#${rest:2:4})) || return 1
                out+=$REPLY rest=${rest:6}
                ;;
            *) return 1 ;;
        esac
    done
    REPLY=$out$rest
    [[ -n $REPLY ]]
}

# The character with number $1 as UTF-8 into REPLY; fails on what is none, and on NUL.
utf8() {
    local n=$1 bytes
    if ((n <= 0 || n > 0x10ffff || (n >= 0xd800 && n <= 0xdfff))); then return 1; fi
    if ((n < 0x80)); then
        printf -v bytes '\\x%02x' "$n"
    elif ((n < 0x800)); then
        printf -v bytes '\\x%02x' $((0xc0 | n >> 6)) $((0x80 | n & 63))
    elif ((n < 0x10000)); then
        printf -v bytes '\\x%02x' $((0xe0 | n >> 12)) $((0x80 | n >> 6 & 63)) $((0x80 | n & 63))
    else
        printf -v bytes '\\x%02x' $((0xf0 | n >> 18)) $((0x80 | n >> 12 & 63)) $((0x80 | n >> 6 & 63)) $((0x80 | n & 63))
    fi
    printf -v REPLY '%b' "$bytes"
}

# Bytes from \xNN as the kernel and systemd write them, and \NNN as the kernel writes them in /proc, into REPLY.
unescaped() {
    local rest=$1 out='' head
    while [[ $rest == *\\* ]]; do
        head=${rest%%\\*}
        out+=$head rest=${rest:${#head}}
        case $rest in
            \\x00* | \\000*) out+=\\ rest=${rest:1} ;;
            \\x[0-9A-Fa-f][0-9A-Fa-f]*)
                printf -v head '%b' "${rest:0:4}"
                out+=$head rest=${rest:4}
                ;;
            \\[0-3][0-7][0-7]*)
                printf -v head '%b' "\\0${rest:1:3}"
                out+=$head rest=${rest:4}
                ;;
            *) out+=\\ rest=${rest:1} ;;
        esac
    done
    REPLY=$out$rest
}

# $1 without white space at its ends into REPLY.
trimmed() {
    REPLY=${1#"${1%%[![:space:]]*}"}
    REPLY=${REPLY%"${REPLY##*[![:space:]]}"}
}

# --- the answer ---------------------------------------------------------------------------------------------------

warn() {
    if ((${#WARNINGS[@]} < 200)); then WARNINGS+=("$1"); fi
}

partial() {
    if [[ $COMPLETE == true ]]; then warn "$1"; fi
    COMPLETE=false
}

# Whether the time is up.
late() {
    if ((SECONDS < LIMIT)); then return 1; fi
    partial "the time of $LIMIT s ran out: what was found until then is listed"
}

# Runs a program for no longer than there is time.
within() {
    local left=$((LIMIT - SECONDS))
    if ((left < 1)); then left=1; fi
    timeout -k 1 "$left" "$@"
}

# Adds a row: a JSON object. Fails where no more fits.
add_row() {
    ROWS_SIZE=$((ROWS_SIZE + ${#1} + 1))
    if ((ROWS_SIZE > ROWS_LIMIT)); then
        partial "more than $((ROWS_LIMIT >> 20)) MiB of rows: the rest is not listed"
        return 1
    fi
    ROWS+=("$1")
}

# An object is built in O: each takes a field's name and its value, and leaves an empty value out.
O=''
open_object() { O=''; }
put_text() { if [[ -n $2 ]]; then js "$2" && O+=",\"$1\":$REPLY"; fi; }
put_path() { if [[ -n $2 ]]; then jpath "$2" && O+=",\"$1\":$REPLY"; fi; }
# A number, `true` or `false`.
put() { if [[ -n $2 ]]; then O+=",\"$1\":$2"; fi; }
put_time() { if [[ -n $2 ]]; then O+=",\"$1\":\"$2\""; fi; }
row() { add_row "{${O:1}}"; }

answer() {
    local complete=$COMPLETE row
    IS_DONE=true
    trap - EXIT TERM INT HUP PIPE
    if [[ -n $ERROR ]]; then complete=false; fi
    printf '\n@@live-response %s begin\n{"v":1,"script":"%s","complete":%s' "$NONCE" "$SCRIPT" "$complete"
    if [[ $HAS_ROWS == true && -z $ERROR ]]; then
        printf ',"rows":['
        if ((${#ROWS[@]} > 0)); then
            printf '%s' "${ROWS[0]}"
            if ((${#ROWS[@]} > 1)); then printf ',%s' "${ROWS[@]:1}"; fi
        fi
        printf ']'
    fi
    if [[ -n $DATA && -z $ERROR ]]; then printf ',"data":%s' "$DATA"; fi
    printf ',"warnings":['
    local comma=''
    for row in ${WARNINGS[@]+"${WARNINGS[@]}"}; do
        js "$row"
        printf '%s%s' "$comma" "$REPLY"
        comma=,
    done
    printf ']'
    if [[ -n $ERROR ]]; then printf ',"error":%s' "$ERROR"; fi
    printf '}\n@@live-response %s end\n' "$NONCE"
} >&3

# Ends the script with an error: its code and its message.
fail() {
    local code=$1
    js "$2"
    ERROR="{\"code\":\"$code\",\"message\":$REPLY}"
    exit 0
}

ended() {
    if [[ $IS_DONE == true || $BASHPID != "$$" ]]; then return; fi
    # Bash itself gave up: what there is is no whole answer.
    if [[ $IS_FINISHED == false && -z $ERROR && $COMPLETE == true ]]; then
        ERROR='{"code":"E_INTERNAL","message":"the script ended before it was done"}'
    fi
    on_end
    answer
    exit 0
}

# Says that all was done; without it the answer is an error.
finished() { IS_FINISHED=true; }

# What a script does at its end, however that comes.
on_end() { :; }

# --- the argument -------------------------------------------------------------------------------------------------

bad_argument() {
    NONCE=$NO_NONCE
    fail E_BAD_ARGS 'the argument is not one word of base64url that holds {"nonce":…,"limit_s":…,"args":{…}}'
}

# Takes the string that the JSON text J begins with into REPLY.
take_string() {
    local out='' head n low
    [[ $J == '"'* ]] || return 1
    J=${J:1}
    while :; do
        head=${J%%[\"\\]*}
        # Control characters do not stand in JSON as they are.
        [[ $head != *[$'\x01'-$'\x1f']* ]] || return 1
        out+=$head J=${J:${#head}}
        case $J in
            '"'*)
                J=${J:1} REPLY=$out
                return 0
                ;;
            \\\"* | \\\\* | \\/*) out+=${J:1:1} J=${J:2} ;;
            \\[bfnrt]*)
                printf -v head '%b' "${J:0:2}"
                out+=$head J=${J:2}
                ;;
            \\u[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]*)
                n=$((16#${J:2:4})) J=${J:6}
                if ((n >= 0xd800 && n <= 0xdbff)); then
                    [[ $J == \\u[Dd][C-Fc-f][0-9A-Fa-f][0-9A-Fa-f]* ]] || return 1
                    low=$((16#${J:2:4})) J=${J:6}
                    n=$((0x10000 + ((n - 0xd800) << 10) + low - 0xdc00))
                fi
                utf8 "$n" || return 1
                out+=$REPLY
                ;;
            *) return 1 ;;
        esac
    done
}

# Takes the flat object that J begins with into the array ARG, keys before $1 marked with it.
take_object() {
    local mark=$1 key value
    [[ $J == '{'* ]] || return 1
    J=${J:1}
    if [[ $J == '}'* ]]; then
        J=${J:1}
        return 0
    fi
    while :; do
        take_string || return 1
        key=$mark$REPLY
        [[ $REPLY == +([a-z0-9_]) && $J == :* ]] || return 1
        [[ -z ${SEEN_KEYS[$key]+x} ]] || return 1
        SEEN_KEYS[$key]=1
        J=${J:1}
        case $J in
            '"'*)
                take_string || return 1
                ARG[$key]=$REPLY
                ;;
            '{'*)
                [[ $key == .args ]] || return 1
                take_object '' || return 1
                ;;
            *)
                value=${J%%[,\}]*}
                J=${J:${#value}}
                case $value in
                    null) ;;
                    true | false) ARG[$key]=$value ;;
                    ?(-)+([0-9]))
                        ((${#value} <= 18)) || return 1
                        ARG[$key]=$value
                        ;;
                    *) return 1 ;;
                esac
                ;;
        esac
        case $J in
            ,*) J=${J:1} ;;
            '}'*)
                J=${J:1}
                return 0
                ;;
            *) return 1 ;;
        esac
    done
}

# Reads the argument into ARG and sets the script up; `rows` or `data` says what it answers.
begin() {
    SCRIPT=$1
    if [[ $2 == rows ]]; then HAS_ROWS=true; fi
    shift 2
    trap ended EXIT
    trap 'partial "the script was ended by a signal: what was found until then is listed"; exit 0' TERM INT HUP PIPE
    local word=${1-}
    declare -A SEEN_KEYS=()
    if (($# != 1 || ${#word} > 131072 || ${#word} < 8)) || [[ $word != eyJ* || $word == *[!A-Za-z0-9_-]* ]]; then
        bad_argument
    fi
    word=${word//-/+}
    word=${word//_//}
    case $((${#word} % 4)) in
        2) word="$word==" ;;
        3) word="$word=" ;;
    esac
    J=$(base64 -d <<<"$word" 2>/dev/null | tr '\000' '\001' 2>/dev/null) || bad_argument
    if ! take_object . || [[ -n $J ]]; then bad_argument; fi
    [[ ${ARG[.nonce]-} == +([0-9a-f]) && ${#ARG[.nonce]} == 32 ]] || bad_argument
    [[ ${ARG[.limit_s]-540} == +([0-9]) ]] || bad_argument
    NONCE=${ARG[.nonce]}
    LIMIT=$((10#${ARG[.limit_s]-540}))
    if ((LIMIT > 3600)); then LIMIT=3600; fi
    unset 'ARG[.nonce]' 'ARG[.limit_s]'
    if [[ $OSTYPE != linux* ]]; then
        fail E_UNSUPPORTED "this script runs on Linux, and this device is $OSTYPE"
    fi
    if [[ ! -r /proc/self/stat ]]; then
        warn '/proc is not mounted: nothing that runs can be seen'
    fi
}

# Refuses arguments that the script does not have.
known_arguments() {
    local key known
    for key in ${ARG[@]+"${!ARG[@]}"}; do
        for known in "$@"; do
            # shellcheck disable=SC2053
            if [[ $key == $known ]]; then continue 2; fi
        done
        fail E_BAD_ARGS "no argument $key"
    done
}

# The absolute path that argument $1 holds into REPLY.
path_argument() {
    local name=$1
    [[ -n ${ARG[$name]-} ]] || fail E_BAD_ARGS "argument $name is missing"
    path_bytes "${ARG[$name]}" || fail E_BAD_ARGS "$name is no path"
    [[ $REPLY == /* ]] || fail E_BAD_ARGS "$name is not an absolute path"
    ((${#REPLY} < 4096)) || fail E_BAD_ARGS "$name is longer than 4095 bytes"
}

# A number from argument $1 into REPLY, $2 where there is none.
number_argument() {
    REPLY=${ARG[$1]-$2}
    if [[ -n $REPLY && $REPLY != +([0-9]) ]]; then fail E_BAD_ARGS "$1 is not a whole number: $REPLY"; fi
    if [[ -n $REPLY ]]; then REPLY=$((10#$REPLY)); fi
}

# --- what more than one script looks up ------------------------------------------------------------------------------

declare -A USER_NAMES=() USER_IDS=() GROUP_NAMES=()
declare -a HOMES=() HOME_USERS=()
HAS_USERS=false

# /etc/passwd into USER_NAMES (by number), USER_IDS (by name), HOMES and HOME_USERS.
read_users() {
    if [[ $HAS_USERS == true ]]; then return; fi
    HAS_USERS=true
    local name id home count=0
    declare -A seen=()
    if [[ ! -f /etc/passwd || ! -r /etc/passwd ]]; then return; fi
    while IFS=: read -r name _ id _ _ home _ && ((count++ < 100000)); do
        if [[ -z $name || $id != +([0-9]) ]]; then continue; fi
        if [[ -z ${USER_NAMES[$id]+x} ]]; then USER_NAMES[$id]=$name; fi
        if [[ -z ${USER_IDS[$name]+x} ]]; then USER_IDS[$name]=$id; fi
        home=${home%"${home##*[!/]}"}
        case $home in
            '' | [!/]* | /bin | /sbin | /usr/sbin | /usr/bin | /dev | /proc | /nonexistent) continue ;;
        esac
        if [[ -z ${seen[$home]+x} && -d $home ]]; then
            seen[$home]=1
            HOMES+=("$home")
            HOME_USERS+=("$name")
        fi
    done < <(within head -c $((16 << 20)) /etc/passwd; echo)
}

# The name of the user with number $1 into REPLY, the number where it has none.
user_name() {
    read_users
    if [[ -z ${USER_NAMES[$1]+x} ]]; then
        local line=''
        if type -P getent >/dev/null; then line=$(timeout 5 getent passwd "$1" 2>/dev/null) || line=''; fi
        USER_NAMES[$1]=${line%%:*}
    fi
    REPLY=${USER_NAMES[$1]:-$1}
}

# An RFC 3339 time from milliseconds since 1970 into REPLY.
time_of_ms() {
    local fraction
    printf -v fraction '%03d' $(($1 % 1000))
    printf -v REPLY '%(%Y-%m-%dT%H:%M:%S)T' $(($1 / 1000))
    if [[ $fraction == 000 ]]; then REPLY+=Z; else REPLY+=.${fraction}Z; fi
}

# An RFC 3339 time from what find prints for `%T+` into REPLY; empty for what is none.
time_of_find() {
    REPLY=''
    if [[ $1 == [0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]+[0-9][0-9]:[0-9][0-9]:[0-9][0-9]* ]]; then
        REPLY=${1:0:10}T${1:11:18}
        REPLY=${REPLY%.}
        if [[ $REPLY == *.000000000 ]]; then REPLY=${REPLY%.*}; fi
        REPLY+=Z
    fi
}

# SHA-256 of the regular files named after it, each read once, into the array SHA256.
declare -A SHA256=()
hash_files() {
    local line sum name
    if (($# == 0)); then return; fi
    while read -r line; do
        if [[ $line == \\* ]]; then
            line=${line:1}
            sum=${line:0:64} name=${line:66}
            name=${name//\\\\/$'\x01'}
            name=${name//\\n/$'\n'}
            name=${name//\\r/$'\r'}
            name=${name//$'\x01'/\\}
        else
            sum=${line:0:64} name=${line:66}
        fi
        if [[ -n $name && ${#sum} == 64 ]]; then SHA256[$name]=$sum; fi
    done < <(printf '%s\0' "$@" | within xargs -0 sha256sum -- 2>/dev/null)
}

# The fields of the first line of a small file of the kernel into REPLY; fails where it cannot be read.
read_line() {
    REPLY=''
    { IFS= read -r REPLY <"$1"; } 2>/dev/null
    [[ -n $REPLY ]]
}

# The entries of directory $1, hidden ones too, in the order of their names, into REPLIES.
declare -a REPLIES=()
entries_of() {
    shopt -s dotglob
    REPLIES=("$1"/*)
    shopt -u dotglob
}

# --- directory entries ------------------------------------------------------------------------------------------------

# What find prints of an entry: eleven fields, each ended by a NUL.
readonly ENTRY='%y\0%s\0%M\0%u\0%g\0%B+\0%T+\0%A+\0%f\0%p\0%l\0'
declare -A FLAGS=() CREATED=()

# The file attributes `i` and `a` of the entries of directory $1 into FLAGS, by path.
read_flags() {
    local flags path
    if ! type -P lsattr >/dev/null; then return; fi
    while read -r flags path; do
        # A name of more than one line is none of these.
        if [[ $flags == +([A-Za-z-]) && $flags == *[ia]* && $path == /* ]]; then FLAGS[$path]=$flags; fi
    done < <(timeout 10 lsattr -a -- "$1" 2>/dev/null | grep -E '^[^ ]*[ia]')
}

# The times of birth of what a find after the first argument names into CREATED, by path, of so many: not every find
# tells them.
read_created() {
    local path time most=$1
    shift
    if [[ -n $(find / -maxdepth 0 -printf '%B+' 2>/dev/null) ]]; then return; fi
    while IFS= read -r -d '' path && IFS= read -r -d '' time; do
        if [[ $time == [0-9]* ]]; then CREATED[$path]=${time/ /+}; fi
    done < <(within "$@" -print0 2>/dev/null | head -z -n "$most" | within xargs -0 stat --printf '%n\0%w\0' -- 2>/dev/null)
}

# Takes the next entry from find and builds its object in O; fails at the end. Its path is in ENTRY_PATH.
next_entry() {
    local kind size mode owner group created modified accessed name target flags
    IFS= read -r -d '' kind && IFS= read -r -d '' size && IFS= read -r -d '' mode && IFS= read -r -d '' owner &&
        IFS= read -r -d '' group && IFS= read -r -d '' created && IFS= read -r -d '' modified &&
        IFS= read -r -d '' accessed && IFS= read -r -d '' name && IFS= read -r -d '' ENTRY_PATH &&
        IFS= read -r -d '' target || return 1
    jpath "$name"
    O=",\"name\":$REPLY"
    jpath "$ENTRY_PATH"
    O+=",\"path\":$REPLY"
    case $kind in
        f) kind='file' ;;
        d) kind=directory ;;
        l) kind=symlink ;;
        p) kind=fifo ;;
        s) kind=socket ;;
        b) kind=block_device ;;
        c) kind=char_device ;;
        *) kind=unknown ;;
    esac
    O+=",\"kind\":\"$kind\",\"size_bytes\":$size"
    time_of_find "${created:-${CREATED[$ENTRY_PATH]-}}"
    put_time created "$REPLY"
    time_of_find "$modified"
    put_time modified "$REPLY"
    time_of_find "$accessed"
    put_time accessed "$REPLY"
    if [[ $kind == symlink ]]; then put_path target "$target"; fi
    flags=${FLAGS[$ENTRY_PATH]-}
    attributes "$mode" "$owner" "$group" "$name" "$flags"
    O+=",\"attributes\":$REPLY"
}

# Puts the rows in the order of their KEYS.
declare -a KEYS=()
sort_rows() {
    local key i
    local -a sorted=()
    if ((${#ROWS[@]} < 2)); then return; fi
    while IFS= read -r -d '' key; do sorted+=("${ROWS[${key##*$'\x01'}]}"); done < <(
        for i in "${!ROWS[@]}"; do printf '%s\x01%s\0' "${KEYS[i]}" "$i"; done | sort -z
    )
    if ((${#sorted[@]} == ${#ROWS[@]})); then ROWS=("${sorted[@]}"); fi
}

# The attributes of a file as JSON into REPLY: mode, owner, group, name, flags of lsattr.
attributes() {
    local out="{\"mode\":\"$1\"" hidden=false
    js "$2"
    out+=",\"owner\":$REPLY"
    js "$3"
    out+=",\"group\":$REPLY"
    if [[ $4 == .* ]]; then hidden=true; fi
    out+=",\"hidden\":$hidden"
    if [[ $5 == *i* ]]; then out+=',"immutable":true'; fi
    if [[ $5 == *a* ]]; then out+=',"append_only":true'; fi
    REPLY="$out}"
}

# The directory that argument `path` names into REPLY, without slashes at its end, so that the paths of entries have one.
directory_argument() {
    local path text
    path_argument path
    path=$REPLY
    require_path "$path"
    path_text "$path"
    text=$REPLY
    [[ -d $path ]] || fail E_NOT_A_FILE "$text is not a directory"
    [[ -r $path && -x $path ]] || fail E_ACCESS "$text cannot be listed as uid $EUID"
    REPLY=${path%"${path##*[!/]}"}
}

# Rows of what a find after the first argument names, at most so many, sorted by path.
list_entries() {
    local most=$1
    shift
    read_created "$most" "$@"
    while next_entry; do
        if late; then break; fi
        if ((${#ROWS[@]} >= most)); then
            partial "more than $most entries fit: narrow the search"
            break
        fi
        row || break
        KEYS+=("$ENTRY_PATH")
    done < <(within "$@" -printf "$ENTRY" 2>/dev/null)
    late || :
    sort_rows
}

# Ends the script where $1 is not there or may not be looked at.
require_path() {
    if [[ -e $1 || -L $1 ]]; then return; fi
    path_text "$1"
    local text=$REPLY above=${1%/}
    while [[ -n $above && ! -d $above ]]; do above=${above%/*}; done
    if [[ -n $above && ! -x $above ]]; then fail E_ACCESS "$text cannot be looked at as uid $EUID"; fi
    fail E_NOT_FOUND "there is no $text"
}

# MD5, SHA-1 and SHA-256 of the bytes of file $1, read once, into MD5, SHA1 and DIGEST; fails where they cannot be read.
three_hashes() {
    local line unread=false
    MD5='' SHA1='' DIGEST=''
    while read -r line _; do
        case ${#line} in
            32) MD5=$line ;;
            40) SHA1=$line ;;
            64) DIGEST=$line ;;
            *) unread=true ;;
        esac
    done < <(
        {
            { within cat -- "$1" 2>/dev/null || echo unread >&5; } |
                tee >(md5sum >&5) >(sha1sum >&5) | sha256sum >&5
        } 5>&1
    )
    [[ $unread == false && -n $MD5 && -n $SHA1 && -n $DIGEST ]]
}

# The facts of one file into F_…: $1 is its path, $2 `-L` to follow a link or `-P`. Fails where it is gone.
file_facts() {
    F_ID=''
    {
        IFS= read -r -d '' F_KIND && IFS= read -r -d '' F_SIZE && IFS= read -r -d '' F_MODE &&
            IFS= read -r -d '' F_BITS && IFS= read -r -d '' F_OWNER && IFS= read -r -d '' F_GROUP &&
            IFS= read -r -d '' F_CREATED && IFS= read -r -d '' F_MODIFIED && IFS= read -r -d '' F_ACCESSED &&
            IFS= read -r -d '' F_CHANGED && IFS= read -r -d '' F_LINKS && IFS= read -r -d '' F_BLOCKS &&
            IFS= read -r -d '' F_UID && IFS= read -r -d '' F_GID && IFS= read -r -d '' F_TARGET &&
            IFS= read -r -d '' F_ID
    } < <(
        within find "$2" "$1" -maxdepth 0 \
            -printf '%y\0%s\0%M\0%m\0%u\0%g\0%B+\0%T+\0%A+\0%C+\0%n\0%b\0%U\0%G\0%l\0%D:%i\0' 2>/dev/null
    )
    if [[ -n $F_ID && -z $F_CREATED ]]; then
        if [[ $2 == -L ]]; then F_CREATED=$(timeout 5 stat -L -c %w -- "$1" 2>/dev/null); else
            F_CREATED=$(timeout 5 stat -c %w -- "$1" 2>/dev/null)
        fi
        F_CREATED=${F_CREATED/ /+}
    fi
    F_FLAGS=''
    if [[ -n $F_ID && $F_KIND == [fd] ]] && type -P lsattr >/dev/null; then
        F_FLAGS=$(timeout 5 lsattr -d -- "$1" 2>/dev/null | head -n 1)
        F_FLAGS=${F_FLAGS%% *}
    fi
    [[ -n $F_ID ]]
}

# The package that owns file $1 into PACKAGE, PACKAGE_VERSION and MANAGER (empty where none does), and into UNMODIFIED
# whether its bytes, of MD5 $2 and SHA-256 $3, are the package's (empty where its database does not say).
package_of() {
    local path=$1 list name sum line other
    PACKAGE='' PACKAGE_VERSION='' MANAGER='' UNMODIFIED=''
    # A list has one path a line.
    if [[ $path == *$'\n'* ]]; then return; fi
    # Where /bin is a link to /usr/bin, a package may name either.
    case $path in
        /usr/@(bin|sbin|lib|lib32|lib64|libx32)/*) other=${path#/usr} ;;
        /@(bin|sbin|lib|lib32|lib64|libx32)/*) other=/usr$path ;;
        *) other=$path ;;
    esac
    local -a lists=(/var/lib/dpkg/info/*.list)
    if ((${#lists[@]} > 0)); then
        list=$(within grep -lFx -m 1 -e "$path" -e "$other" -- "${lists[@]}" 2>/dev/null | head -n 1)
        if [[ -n $list ]]; then
            MANAGER=dpkg
            name=${list##*/}
            name=${name%.list}
            PACKAGE=${name%%:*}
            PACKAGE_VERSION=$(within awk -v "name=$PACKAGE" '
                /^Package: / { here = ($2 == name) }
                here && /^Version: / { print $2; exit }' /var/lib/dpkg/status 2>/dev/null)
            if [[ -r ${list%.list}.md5sums ]]; then
                while IFS= read -r line; do
                    sum=${line%% *}
                    if [[ -n $2 && -n $sum ]]; then if [[ $sum == "$2" ]]; then UNMODIFIED=true; else UNMODIFIED=false; fi; fi
                done < <(grep -F -e "${path#/}" -e "${other#/}" -- "${list%.list}.md5sums" 2>/dev/null |
                    awk -v "a=${path#/}" -v "b=${other#/}" '{ p = substr($0, 35); if (p == a || p == b) { print; exit } }')
            fi
            return
        fi
    fi
    if ! type -P rpm >/dev/null || [[ ! -d /var/lib/rpm && ! -d /usr/lib/sysimage/rpm ]]; then return; fi
    line=$(within rpm -qf --qf '%{NAME}\t%{EVR}\n' -- "$path" 2>/dev/null | head -n 1)
    if [[ $line != *$'\t'* ]]; then return; fi
    MANAGER=rpm PACKAGE=${line%%$'\t'*} PACKAGE_VERSION=${line#*$'\t'}
    PACKAGE_VERSION=${PACKAGE_VERSION#(none):}
    sum=$(within rpm -qf --qf '[%{FILENAMES}\t%{FILEDIGESTS}\n]' -- "$path" 2>/dev/null |
        awk -F '\t' -v "a=$path" -v "b=$other" '$1 == a || $1 == b { print $2; exit }')
    case ${#sum} in
        32) if [[ $sum == "$2" ]]; then UNMODIFIED=true; else UNMODIFIED=false; fi ;;
        64) if [[ $sum == "$3" ]]; then UNMODIFIED=true; else UNMODIFIED=false; fi ;;
    esac
}

# --- processes --------------------------------------------------------------------------------------------------------

# The arguments of process $1 joined by spaces into REPLY, quoted where they would not be seen as one.
command_line() {
    local -a arguments=()
    local argument size=0 rest=''
    REPLY=''
    while IFS= read -r -d '' argument; do
        arguments+=("$argument")
        size=$((size + ${#argument} + 1))
        if ((size > TEXT_LIMIT)); then break; fi
    done 2>/dev/null <"/proc/$1/cmdline"
    rest=${argument-}
    if ((size <= TEXT_LIMIT)) && [[ -n $rest ]]; then arguments+=("$rest"); fi
    # A title that the process gave itself is filled up with NULs.
    local last=$((${#arguments[@]} - 1))
    if ((last < 0)); then return; fi
    local title_end=$last
    while ((title_end > 0)) && [[ -z ${arguments[title_end]} ]]; do title_end=$((title_end - 1)); done
    if ((title_end == 0)) && [[ -n ${arguments[0]} ]]; then
        REPLY=${arguments[0]}
        return
    fi
    local line='' first=true
    for argument in "${arguments[@]}"; do
        if [[ $first == true ]]; then first=false; else line+=' '; fi
        if [[ -z $argument || $argument == *[$' \t\n\v\f\r"']* ]]; then
            argument=${argument//\\/\\\\}
            line+="\"${argument//\"/\\\"}\""
        else
            line+=$argument
        fi
    done
    REPLY=$line
}

# Name, state, parent, flags and start of process $1 into P_…; fails where it is gone.
process_stat() {
    local stat='' field
    local -a f
    { IFS= read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null
    if [[ $stat != *'('*')'* ]]; then return 1; fi
    field=${stat#*\(}
    P_NAME=${field%)*}
    read -r -a f <<<"${stat##*) }"
    if ((${#f[@]} < 22)); then return 1; fi
    P_STATE=${f[0]} P_PARENT=${f[1]} P_FLAGS=${f[6]} P_TICKS=${f[19]}
}

# --- the store of what was taken away ---------------------------------------------------------------------------------

readonly STORE=/var/lib/live-response/quarantine
# A record is small.
readonly RECORD_LIMIT=$((1 << 20))
declare -A RECORD=()

# Whether $1 is a directory of ours alone, not a link to one.
is_own_directory() {
    [[ -d $1 && ! -L $1 ]] && file_facts "$1" -P && [[ $F_UID == "$EUID" && $F_BITS == ?(?)[0-7]@(0|4|5)@(0|1|4|5) ]]
}

# Ends the script where the store is not ours; makes it first with `make`.
require_store() {
    local folder
    for folder in /var/lib /var/lib/live-response "$STORE"; do
        if [[ ${1-} == make && ! -e $folder && ! -L $folder ]]; then mkdir -m 0700 -- "$folder" 2>/dev/null; fi
        is_own_directory "$folder" || fail E_STORE_UNAVAILABLE "$folder is not a directory of uid $EUID alone"
    done
}

is_undo_id() { [[ $1 == u-+([0-9a-f]) && ${#1} == 34 ]]; }

# The record with undo id $1 into RECORD; fails where there is none that is ours.
read_record() {
    local file=$STORE/$1/record.json key
    is_undo_id "$1" && is_own_directory "$STORE/$1" && [[ -f $file && ! -L $file ]] || return 1
    local -A SEEN_KEYS=() saved=()
    for key in ${ARG[@]+"${!ARG[@]}"}; do saved[$key]=${ARG[$key]}; done
    ARG=()
    J=$(head -c "$RECORD_LIMIT" -- "$file" 2>/dev/null)
    RECORD=()
    local status=0
    if ! take_object '' || [[ -n $J ]]; then status=1; fi
    for key in ${ARG[@]+"${!ARG[@]}"}; do RECORD[$key]=${ARG[$key]}; done
    ARG=()
    for key in ${saved[@]+"${!saved[@]}"}; do ARG[$key]=${saved[$key]}; done
    [[ $status == 0 && ${RECORD[undo_id]-} == "$1" ]]
}

# Writes RECORD durably; fails where that cannot be done.
write_record() {
    local folder=$STORE/${RECORD[undo_id]} key
    O=''
    for key in undo_id kind id outcome at path target sha256 sha1 size_bytes mode uid gid flags content line text \
        after_sha256 unit active enabled note; do
        if [[ -n ${RECORD[$key]+x} ]]; then
            js "${RECORD[$key]}"
            O+=",\"$key\":$REPLY"
        fi
    done
    printf '{%s}' "${O:1}" >"$folder/record.new" || return 1
    sync -- "$folder/record.new" 2>/dev/null || sync
    mv -fT -- "$folder/record.new" "$folder/record.json" && [[ -s $folder/record.json ]]
}

# --- facts that an approval is bound to -------------------------------------------------------------------------------

# Bytes of a fact; what is longer is told by its hash.
readonly FACT_LIMIT=4096
FACTS=''
declare -A FACT=()
declare -a FACT_NAMES=()
fact() {
    local value=$2
    if [[ -z $value ]]; then return; fi
    if ((${#value} > FACT_LIMIT)); then
        value="${value:0:FACT_LIMIT} ... of ${#value} bytes, sha256 $(printf '%s' "$value" | sha256sum | cut -c 1-64)"
    fi
    FACT[$1]=$value
    FACT_NAMES+=("$1")
    js "$value"
    FACTS+=",{\"name\":\"$1\",\"value\":$REPLY}"
}

# Ends the script where a fact is not what was approved.
require_facts() {
    local name key
    for name in "${FACT_NAMES[@]}"; do
        js "${FACT[$name]}"
        key=$REPLY
        js "${ARG[expect_$name]-}"
        if [[ -z ${ARG[expect_$name]+x} || $key != "$REPLY" ]]; then
            fail E_ENTITY_DRIFT "$name is ${FACT[$name]:0:200}, not ${ARG[expect_$name]-as approved}: nothing was done"
        fi
    done
    for key in "${!ARG[@]}"; do
        if [[ $key == expect_* && -z ${FACT[${key#expect_}]+x} ]]; then
            fail E_ENTITY_DRIFT "${key#expect_} was approved and is no more: nothing was done"
        fi
    done
}

# The answer of a look, with a note.
answer_facts() {
    js "$1"
    DATA="{\"facts\":[${FACTS:1}]"
    if [[ -n $1 ]]; then DATA+=",\"note\":$REPLY"; fi
    DATA+='}'
}

# The answer of an act: outcome, undo id, whether it was verified, note.
answer_act() {
    open_object
    put_text outcome "$1"
    put_text undo_id "$2"
    put verified "$3"
    put_text note "$4"
    DATA="{${O:1}}"
}

# Goes to the directory of $1 as it really is, so that no link on the way changes its meaning later; the name into NAME
# and the whole path into REAL_PATH. Fails where there is none.
go_beside() {
    local path=${1%"${1##*[!/]}"} folder
    NAME=${path##*/}
    folder=${path%/*}
    [[ -n $NAME && $NAME != . && $NAME != .. ]] || return 1
    cd -P -- "${folder:-/}" 2>/dev/null || return 1
    REAL_PATH=${PWD%/}/$NAME
}

# --- homes and small files --------------------------------------------------------------------------------------------

# HOMES with those that no account names.
read_homes() {
    read_users
    local home known
    for home in /home/*/ /root/; do
        home=${home%/}
        for known in ${HOMES[@]+"${HOMES[@]}"}; do
            if [[ $known == "$home" ]]; then continue 2; fi
        done
        if [[ -d $home && ! -L $home ]]; then
            HOMES+=("$home")
            HOME_USERS+=('')
        fi
    done
}

# Whether $1 is a regular file, or a link to one, that can be read: opening a FIFO or a device would block.
is_readable_file() {
    if [[ ! -f $1 ]]; then return 1; fi
    if [[ -r $1 ]]; then return 0; fi
    warn "$1 cannot be read as uid $EUID"
    return 1
}
