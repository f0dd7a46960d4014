# A part of `persistence`: how a file becomes a row.
# Invariant: what is looked at is gathered first and read at the end, all by one program a kind of look, however many
# files there are; text is cut to a bound, never interpreted.
# shellcheck shell=bash

# Bytes of a row's command, and of a file that is looked at as text.
readonly COMMAND_LIMIT=4096 LOOK_LIMIT=$((1 << 20)) LARGE=$((64 << 20)) HASH_LIMIT=$((256 << 20))
readonly FILES_LIMIT=20000
TECHNIQUE='' ATTACK=''
# A row by its number. The verdict is empty where the file's own package tells; `own true`, `own false` and `own ` tell
# it themselves, and `true`, `false`, `none` and `time` of what is no file (the last with a file's time). `of PATH` is that
# of another file, `set MODE` and `capable` count the rights too, `unless packaged` is a row only where nobody vouches.
declare -a AT=() TECHNIQUES=() NAMES=() COMMANDS=() OWNERS=() NOTES=() STYLES=() VERDICTS=()
# A file by its path.
declare -A MODES=() SIZES=() TIMES=() IDS=() BINARY=() REAL=() MD5S=() PACKAGES=() INTACT=() UNKNOWN=() COPY_OF=() GIVEN=() VOUCHED=()
declare -a EXTRA=()
STYLE_LINES=''

# How the lines of a kind of file are read: name, flags, comment, keep, need, but, less. Of the flags `i` ignores case,
# `k` shows the lines of packages' files too, `r` looks for what is needed in comments too, `c` cuts long lines. A line
# counts where it fits `keep` and not `but`, without what fits `less`; a file counts where a line fits `need`.
style() {
    local IFS=$'\t'
    STYLE_LINES+="P"$'\t'"$1"$'\t'"$2"$'\t'"${3-}"$'\t'"${4-}"$'\t'"${5-}"$'\t'"${6-}"$'\t'"${7-}"$'\n'
    case $2 in *k*) SHOWN_ALWAYS[$1]=1 ;; esac
}
declare -A SHOWN_ALWAYS=()

# Adds a row: place, name, command, user, note, verdict.
found() {
    if ((${#AT[@]} >= FILES_LIMIT)); then
        partial "more than $FILES_LIMIT rows: the rest is not listed"
        return
    fi
    local command=$3
    if ((${#command} > COMMAND_LIMIT)); then command="${command:0:COMMAND_LIMIT} …"; fi
    AT+=("$1") NAMES+=("$2") COMMANDS+=("$command") OWNERS+=("$4") NOTES+=("$5") STYLES+=('') VERDICTS+=("${6-}")
    TECHNIQUES+=("$TECHNIQUE $ATTACK")
}

# Adds a row for each file after $3 that has such lines, as user $2; `?` before a note tells one that cannot be executed.
lines() {
    local style=$1 user=$2 note=$3 file
    shift 3
    for file in "$@"; do
        if [[ ! -f $file ]]; then continue; fi
        found "$file" "${file##*/}" '' "$user" "$note"
        if ((${#STYLES[@]} > 0)); then STYLES[${#STYLES[@]} - 1]=$style; fi
    done
}

# As `lines`, of files $3 and after below each home.
home_lines() {
    local style=$1 note=$2 i part
    shift 2
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do
        for part in "$@"; do lines "$style" "${HOME_USERS[i]}" "$note" "${HOMES[i]}/$part"; done
    done
}

# The files of the folders, links to such too, into REPLIES; a folder counts once, whatever names lead to it.
files_in() {
    local folder known file
    local -a folders=() all=()
    for folder in "$@"; do
        if [[ ! -d $folder ]]; then continue; fi
        for known in ${folders[@]+"${folders[@]}"}; do if [[ $folder -ef $known ]]; then continue 2; fi; done
        folders+=("$folder")
        entries_of "$folder"
        for file in ${REPLIES[@]+"${REPLIES[@]}"}; do if [[ -f $file ]]; then all+=("$file"); fi; done
    done
    REPLIES=(${all[@]+"${all[@]}"})
}

# The files below the folders down to depth $1 whose names fit the pattern $2 into REPLIES.
files_below() {
    local depth=$1 pattern=$2 file folder
    local -a there=()
    shift 2
    REPLIES=()
    for folder in "$@"; do if [[ -d $folder ]]; then there+=("$folder/"); fi; done
    if ((${#there[@]} == 0)); then return; fi
    while IFS= read -r -d '' file; do REPLIES+=("${file//\/\///}"); done < <(
        within find "${there[@]}" -mindepth 1 -maxdepth "$depth" -name "$pattern" -xtype f -print0 2>/dev/null | head -z -n 20000 | sort -z)
}

# As `lines`, of the files that REPLIES names.
lines_of_replies() {
    lines "$1" "$2" "$3" ${REPLIES[@]+"${REPLIES[@]}"}
}

lines_in() {
    local style=$1 user=$2 note=$3
    shift 3
    files_in "$@"
    lines_of_replies "$style" "$user" "$note"
}

lines_below() {
    local style=$1 user=$2 note=$3
    shift 3
    files_below "$@"
    lines_of_replies "$style" "$user" "$note"
}

# As `lines_in` and `lines_below`, of folders below each home.
home_lines_in() {
    local style=$1 i
    shift
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do lines_in "$style" "${HOME_USERS[i]}" '' "${@/#/${HOMES[i]}/}"; done
}

home_lines_below() {
    local style=$1 depth=$2 pattern=$3 i
    shift 3
    for i in ${HOMES[@]+"${!HOMES[@]}"}; do
        lines_below "$style" "${HOME_USERS[i]}" '' "$depth" "$pattern" "${@/#/${HOMES[i]}/}"
    done
}

readonly LINES_AWK='
    function trim(s) { sub(/^[ \t\f\r]+/, "", s); sub(/[ \t\f\r]+$/, "", s); return s }
    function take(line, tested) {
        if (trim(line) == "") return
        tested = fold ? tolower(line) : line
        if (less != "") gsub(less, "", tested)
        if (need != "" && !raw && tested ~ need) is_needed = 1
        if (keep != "" && tested !~ keep) return
        if (but != "" && tested ~ but) return
        if (line in known) return
        n++
        if (cut) return
        if (cuts) line = substr(line, 1, 400)
        if (length(out) + length(line) > limit) { out = out substr(line, 1, limit - length(out)); cut = 1 }
        else out = out (n > 1 ? "; " : "") line
    }
    function physical(line, whole) {
        line = trim(line)
        if (raw && line ~ need) is_needed = 1
        if (is_open) { whole = open " " line; is_open = 0 }
        else if (line == "" || (comment != "" && line ~ comment)) return
        else whole = line
        if (whole ~ /\\$/ && length(whole) < limit) {
            open = substr(whole, 1, length(whole) - 1); sub(/[ \t\f\r]+$/, "", open); is_open = 1
        } else if (gathers) known[whole] = 1
        else take(whole)
    }
    function look(path, line, count, part, i, size) {
        size = 0; is_open = 0
        while (size < 1048576 && (getline line < path) > 0) {
            size += length(line) + 1
            if (index(line, "\r")) { count = split(line, part, "\r"); for (i = 1; i <= count; i++) physical(part[i]) }
            else physical(line)
        }
        if (is_open) if (gathers) known[open] = 1; else take(open)
        close(path)
    }
    BEGIN { FS = "\t"; limit = 4096 }
    $1 == "P" { flags[$2] = $3; comments[$2] = $4; keeps[$2] = $5; needs[$2] = $6; buts[$2] = $7; lesses[$2] = $8; next }
    {
        path = $0; sub(/^[^\t]*\t[^\t]*\t[^\t]*\t/, "", path); gsub(/\001n/, "\n", path); gsub(/\001a/, "\001", path)
        comment = comments[$3]; keep = keeps[$3]; need = needs[$3]; but = buts[$3]; less = lesses[$3]
        fold = flags[$3] ~ /i/; raw = flags[$3] ~ /r/ && need != ""; cuts = flags[$3] ~ /c/; gathers = ($1 == "O")
        if (gathers) { look(path); next }
        n = 0; out = ""; cut = 0; is_needed = (need == "")
        look(path)
        split("", known)
        if (cut) out = out " … (" n " lines in all)"
        if (is_needed && (n > 0 || $1 == "X")) print $2 "\t" out
    }'

# The lines of rows by their number into COMMANDS; what has none is told in NO_LINES. The list of looks is on stdin.
declare -A NO_LINES=()
read_lines() {
    local i text
    while IFS= read -r text; do
        i=${text%%$'\t'*}
        COMMANDS[i]=${text#*$'\t'}
        unset "NO_LINES[$i]"
    done < <({ printf '%s' "$STYLE_LINES"; cat; } | within awk "$LINES_AWK" 2>/dev/null | tr -d '\000')
}

# Kind, size, mode, time and identity of all files at once.
look_at_files() {
    local path size mode time id
    if (($# == 0)); then return; fi
    while IFS= read -r -d '' path && IFS= read -r -d '' size && IFS= read -r -d '' mode && IFS= read -r -d '' time &&
        IFS= read -r -d '' id; do
        SIZES[$path]=$size MODES[$path]=$mode TIMES[$path]=$time IDS[$path]=$id
    done < <(printf '%s\0' "$@" |
        within xargs -0 sh -c 'exec find -L "$@" -maxdepth 0 -type f -printf "%p\0%s\0%m\0%T+\0%D:%i\0"' sh 2>/dev/null)
}

# Takes the rows apart that have no lines, or whose file another row of the technique has.
resolve_lines() {
    local i file style size
    local -a texts=() kept=()
    local -A seen=()
    for i in ${AT[@]+"${!AT[@]}"}; do
        file=${AT[i]} style=${STYLES[i]}
        if [[ -z $style ]]; then continue; fi
        NO_LINES[$i]=1
        if [[ -z ${IDS[$file]+x} ]]; then continue; fi
        if [[ $style != @(program|task-script) ]]; then
            if [[ -n ${seen[${TECHNIQUES[i]}:${IDS[$file]}]+x} ]]; then continue; fi
            seen[${TECHNIQUES[i]}:${IDS[$file]}]=1
        fi
        if [[ $style == library ]]; then
            unset "NO_LINES[$i]"
            continue
        fi
        if [[ ! -r $file ]]; then
            warn "$file cannot be read as uid $EUID"
            continue
        fi
        texts+=("$i")
    done
    if ((${#texts[@]} == 0)); then return; fi
    # What has a NUL is no text; it counts where every line of its kind may run.
    while IFS= read -r -d '' file; do BINARY[$file]=1; done < <(
        for i in "${texts[@]}"; do printf '%s\0' "${AT[i]}"; done | within xargs -0 grep -LIZ -e '' -- 2>/dev/null)
    read_lines < <(
        for i in "${texts[@]}"; do
            file=${AT[i]}
            if [[ -n ${BINARY[$file]-} ]] || ((SIZES[$file] > LARGE)); then continue; fi
            one_line "$file"
            printf 'F\t%s\t%s\t%s\n' "$i" "${STYLES[i]}" "$REPLY"
        done
    )
    for i in "${texts[@]}"; do
        file=${AT[i]} size=${SIZES[$file]}
        # A program is told whatever is in it.
        if [[ ${STYLES[i]} == @(program|task-script) ]]; then unset "NO_LINES[$i]"; fi
        if [[ -n ${BINARY[$file]-} ]] && ((size > 0)) && [[ -z ${SHOWN_ALWAYS[${STYLES[i]}]-} ]]; then unset "NO_LINES[$i]"; fi
        # A line that does not end would fill the memory.
        if ((size > LARGE)); then
            read_lines < <(printf 'F\t%s\t%s\t/dev/fd/9\n' "$i" "${STYLES[i]}") 9< <(within head -c "$LOOK_LIMIT" -- "$file" 2>/dev/null)
        fi
    done
}

# The real paths of the files into REAL: links by one program, all else by its folder.
declare -A REAL_FOLDER=()
real_paths() {
    local file folder at=0
    local -a links=()
    for file in "$@"; do
        if [[ -n ${REAL[$file]+x} ]]; then continue; fi
        folder=${file%/*}
        if [[ -L $file ]]; then
            REAL[$file]=$file
            links+=("$file")
            continue
        fi
        if [[ -z ${REAL_FOLDER[$folder/]+x} ]]; then
            REAL_FOLDER[$folder/]=$folder
            if cd -P -- "${folder:-/}" 2>/dev/null; then REAL_FOLDER[$folder/]=${PWD%/}; fi
        fi
        REAL[$file]=${REAL_FOLDER[$folder/]}/${file##*/}
    done
    if ((${#links[@]} == 0)); then return; fi
    local -a targets=()
    while IFS= read -r -d '' file; do targets+=("$file"); done < <(
        printf '%s\0' "${links[@]}" | within xargs -0 readlink -fz -- 2>/dev/null)
    # One that is gone meanwhile would move all others.
    if ((${#targets[@]} != ${#links[@]})); then return; fi
    for file in "${links[@]}"; do REAL[$file]=${targets[at++]}; done
}

# The two names of a file where /bin is a link to /usr/bin into REPLY and OTHER.
either_name() {
    REPLY=$1
    case $1 in
        /usr/@(bin|sbin|lib|lib32|lib64|libx32)/*) OTHER=${1#/usr} ;;
        /@(bin|sbin|lib|lib32|lib64|libx32)/*) OTHER=/usr$1 ;;
        *) OTHER=$1 ;;
    esac
}

# What packages say of the files: PACKAGES, INTACT, UNKNOWN, COPY_OF.
look_up() {
    local file line
    local -a unique=()
    local -A seen=()
    for file in "$@"; do
        if [[ -z ${seen[$file]+x} && -n ${SIZES[$file]-} ]] && ((SIZES[$file] <= HASH_LIMIT)); then
            seen[$file]=1
            unique+=("$file")
        fi
    done
    if ((${#unique[@]} == 0)); then return; fi
    while read -r line; do
        if [[ $line == \\* ]]; then continue; fi
        MD5S[${line:34}]=${line:0:32}
    done < <(printf '%s\0' "${unique[@]}" | within xargs -0 md5sum -- 2>/dev/null)
    real_paths "${unique[@]}"
    ask_dpkg "${unique[@]}"
    ask_rpm "${unique[@]}"
}

# Whether there are package databases; without any nothing counts as packaged.
HAS_DPKG=false HAS_RPM=false
find_databases() {
    local -a lists=(/var/lib/dpkg/info/*.list)
    if ((${#lists[@]} > 0)); then HAS_DPKG=true; fi
    if type -P rpm >/dev/null && [[ -d /var/lib/rpm || -d /usr/lib/sysimage/rpm ]]; then HAS_RPM=true; fi
    if [[ $HAS_DPKG$HAS_RPM == falsefalse ]]; then warn 'no package database was found: nothing here counts as packaged'; fi
}

# `LIST:PATH` of the paths on stdin, each with a NUL after it, that packages of dpkg have.
listed_by() {
    local path
    printf '%s\0' /var/lib/dpkg/info/*.list | within xargs -0 grep -HFx -f <(
        while IFS= read -r -d '' path; do
            either_name "$path"
            if [[ $path != *$'\n'* ]]; then printf '%s\n%s\n' "$REPLY" "$OTHER"; fi
        done <&6) -- 2>/dev/null
} 6<&0

ask_dpkg() {
    local file sum path line stem moved
    # A file that another package's took the place of is listed by the name that it had: from, and by whom.
    local -A owner=() listed=() same=() has_sum=() moved_from=() moved_by=()
    if [[ $HAS_DPKG == false ]]; then return; fi
    while IFS= read -r path && IFS= read -r moved && IFS= read -r stem; do
        moved_from[$moved]=$path moved_by[$path]=$stem
    done 2>/dev/null </var/lib/dpkg/diversions
    while IFS= read -r line; do
        path=${line#*.list:} stem=${line%%.list:*}
        stem=${stem##*/}
        if [[ -n ${moved_by[$path]-} && ${moved_by[$path]} != "${stem%%:*}" ]]; then path="moved $path"; fi
        owner[$path]=${owner[$path]-$stem}
    done < <(for file in "$@"; do printf '%s\0' "${moved_from[${REAL[$file]}]-${REAL[$file]}}"; done | listed_by)
    # Sums that these files have, whoever lists them; and all sums of the files that a package has.
    while IFS= read -r line; do
        stem=${line%%.md5sums:*} line=${line#*.md5sums:}
        sum=${line:0:32} path=/${line:34}
        listed["${stem##*/} $path"]=$sum
        same[$sum]+=$path$'\n'
    done < <(printf '%s\0' /var/lib/dpkg/info/*.md5sums | within xargs -0 grep -HF -f <(
        for file in "$@"; do
            if [[ -n ${MD5S[$file]-} ]]; then printf '%s\n' "${MD5S[$file]}"; fi
            either_name "${moved_from[${REAL[$file]}]-${REAL[$file]}}"
            if [[ -n ${owner[$REPLY]-}${owner[$OTHER]-} ]]; then printf '  %s\n  %s\n' "${REPLY#/}" "${OTHER#/}"; fi
        done) -- 2>/dev/null)
    # Configuration files have their sums in the status, or in what ucf keeps.
    while read -r path sum; do
        if [[ ${#sum} != 32 ]]; then continue; fi
        has_sum[$path]=$sum
        same[$sum]+=$path$'\n'
    done < <(within awk '/^ \// { if (within) print $1, $2; next } { within = ($0 == "Conffiles:") }' /var/lib/dpkg/status 2>/dev/null
        if [[ -f /var/lib/ucf/hashfile ]]; then within awk 'length($1) == 32 { print $2, $1 }' /var/lib/ucf/hashfile; fi)
    local -A by_ucf=()
    while read -r sum path; do by_ucf[$path]=$sum; done 2>/dev/null </var/lib/ucf/registry
    for file in "$@"; do
        moved=${moved_from[${REAL[$file]}]-}
        either_name "${moved:-${REAL[$file]}}"
        path=$REPLY
        moved=${moved:+moved }
        stem=${owner[$moved$path]-${owner[$moved$OTHER]-}}
        sum=''
        if [[ -n $stem ]]; then
            PACKAGES[$file]=${stem%%:*}
            sum=${has_sum[$path]-${has_sum[$OTHER]-${listed["$stem $path"]-${listed["$stem $OTHER"]-}}}}
        elif [[ -n ${by_ucf[$path]-} ]]; then
            PACKAGES[$file]=${by_ucf[$path]} sum=${has_sum[$path]-}
        else
            copied_from "$file" "${same[${MD5S[$file]:-none}]-}"
            continue
        fi
        if [[ -z $sum || -z ${MD5S[$file]-} ]]; then
            UNKNOWN[$file]=1
        elif [[ $sum == "${MD5S[$file]}" ]]; then INTACT[$file]=1; fi
        GIVEN[$file]=$sum
    done
}

# Of the packages' files $2 with the bytes of $1, the configuration that it is a copy of, into COPY_OF.
copied_from() {
    local path
    while IFS= read -r path; do
        case $path in
            /etc/* | /usr/share/!(doc|man|locale|icons|fonts|help)/*)
                if [[ ${path##*/} == "${1##*/}" || ${path##*/} == "dot${1##*/}" ]]; then
                    COPY_OF[$1]=$path
                    return
                fi
                ;;
        esac
    done <<<"$2"
}

ask_rpm() {
    local file path sum package
    local -a wanted=() with_sum=()
    local -A listed=() name=()
    if [[ $HAS_RPM == false ]]; then return; fi
    for file in "$@"; do if [[ -z ${PACKAGES[$file]-}${COPY_OF[$file]-} ]]; then wanted+=("$file"); fi; done
    while IFS=$'\x1f' read -r path sum package; do listed[$path]=$sum name[$path]=$package; done < <(
        within rpm -qa --qf '[%{FILENAMES}\x1f%{FILEDIGESTS}\x1f%{=NAME}\n]' 2>/dev/null | within awk -F '\037' '
            NR == FNR { wanted[$0] = 1; next } $1 in wanted' <(
            for file in ${wanted[@]+"${wanted[@]}"}; do
                either_name "${REAL[$file]}"
                if [[ $REPLY != *$'\n'* ]]; then printf '%s\n%s\n' "$REPLY" "$OTHER"; fi
            done) -)
    for file in ${wanted[@]+"${wanted[@]}"}; do
        either_name "${REAL[$file]}"
        package=${name[$REPLY]-${name[$OTHER]-}} sum=${listed[$REPLY]-${listed[$OTHER]-}}
        if [[ -z $package ]]; then continue; fi
        PACKAGES[$file]=$package
        case ${#sum} in
            32) if [[ $sum == "${MD5S[$file]-}" ]]; then INTACT[$file]=1; fi ;;
            64)
                GIVEN[$file]=$sum
                with_sum+=("$file")
                ;;
            *) UNKNOWN[$file]=1 ;;
        esac
    done
    hash_files ${with_sum[@]+"${with_sum[@]}"}
    for file in ${with_sum[@]+"${with_sum[@]}"}; do
        if [[ ${GIVEN[$file]} == "${SHA256[$file]-}" ]]; then INTACT[$file]=1; fi
    done
}

# Whether a package vouches for file $1 into REPLY: true, false, or nothing where its data has no sum.
packaged() {
    REPLY=false
    if [[ -n ${INTACT[$1]-}${COPY_OF[$1]-}${VOUCHED[$1]-} ]]; then REPLY=true; elif [[ -n ${UNKNOWN[$1]-} ]]; then REPLY=''; fi
}

# Where a changed file's original may lie, those that are there, into EXTRA.
gather_originals() {
    local i file name place
    local -A known=()
    for i in ${AT[@]+"${!AT[@]}"}; do
        file=${AT[i]} name=${AT[i]##*/}
        if [[ -z ${STYLES[i]} || -n ${NO_LINES[$i]-} || -n ${known[$file]+x} ]]; then continue; fi
        known[$file]=1
        for place in "$file".@(dpkg-dist|ucf-dist|rpmnew|dpkg-new) "/var/lib/ucf/cache/${file//\//:}" "/etc/skel/$name" \
            "/usr/share/base-files/$name" "/usr/share/base-files/dot$name"; do
            if [[ -f $place && $place != "$file" ]]; then
                EXTRA+=("$place")
                ORIGINALS[$file]+=" ${#EXTRA[@]}"
            fi
        done
    done
}
declare -A ORIGINALS=()

# Of what was changed those lines that changed, where the original is known.
show_changes() {
    local i n file other
    read_lines < <(
        for i in ${AT[@]+"${!AT[@]}"}; do
            file=${AT[i]}
            if [[ -z ${STYLES[i]} || -n ${NO_LINES[$i]-} || -z ${ORIGINALS[$file]-} ]]; then continue; fi
            packaged "$file"
            if [[ $REPLY != false ]]; then continue; fi
            for n in ${ORIGINALS[$file]}; do
                other=${EXTRA[n - 1]}
                packaged "$other"
                if [[ $REPLY == true || (-n ${GIVEN[$file]-} && ${GIVEN[$file]-} == "${MD5S[$other]-}") ]]; then
                    one_line "$other"
                    printf 'O\t0\t%s\t%s\n' "${STYLES[i]}" "$REPLY"
                    one_line "$file"
                    printf 'X\t%s\t%s\t%s\n' "$i" "${STYLES[i]}" "$REPLY"
                    break
                fi
            done
        done
    )
}

# Whether a row of this verdict tells hash and time of its file.
is_of_file() { [[ $1 == @(|own *|set *|capable|unless *) ]]; }

# The row with number $1 into the object; fails where there is none.
show() {
    local i=$1 file=${AT[$1]} verdict=${VERDICTS[$1]} note=${NOTES[$1]} said='' vouched
    if [[ -n ${STYLES[i]} && -n ${NO_LINES[$i]-} ]]; then return 1; fi
    packaged "$file"
    vouched=$REPLY
    case $verdict in
        '') ;;
        time | false) vouched=false ;;
        true) vouched=true ;;
        none) vouched='' ;;
        'own '*) vouched=${verdict#own } ;;
        'of '*) packaged "${verdict#of }" && vouched=$REPLY ;;
        'set '* | capable)
            judged "$file" "$verdict"
            if [[ $vouched == true && $REPLY == false ]]; then note+="${note:+; }the rights are not its package's"; fi
            vouched=$REPLY
            ;;
        'unless owned') if [[ -n ${PACKAGES[$file]-} ]]; then return 1; fi ;;
        unless*) if [[ $vouched != false || $HAS_DPKG$HAS_RPM == falsefalse ]]; then return 1; fi ;;
    esac
    if is_of_file "$verdict"; then
        # What was looked at is gone.
        if [[ -z ${IDS[$file]-} ]]; then return 1; fi
        if [[ -n ${PACKAGES[$file]-} && -z ${INTACT[$file]-}${UNKNOWN[$file]-} ]]; then
            said="modified: ${PACKAGES[$file]} has other bytes"
        elif [[ -n ${COPY_OF[$file]-} ]]; then said="the same as ${COPY_OF[$file]}"; fi
        said+=${VOUCHED[$file]:+${said:+; }${VOUCHED[$file]}}
        if ((8#${MODES[$file]:-0} & 2)); then said+="${said:+; }writable by everyone"; fi
        if [[ $note == '?'* ]]; then
            if ((8#${MODES[$file]:-0} & 8#111)); then note=''; else note=${note#\?}; fi
        fi
    fi
    if [[ -n ${STYLES[i]} && $vouched == true && -z ${SHOWN_ALWAYS[${STYLES[i]}]-} ]]; then COMMANDS[i]=''; fi
    open_object
    O+=",\"technique\":\"${TECHNIQUES[i]% *}\",\"attack_id\":\"${TECHNIQUES[i]#* }\""
    put_path location "$file"
    put_text name "${NAMES[i]}"
    put_text command "${COMMANDS[i]}"
    put_text user "${OWNERS[i]}"
    if [[ $verdict == time ]] || is_of_file "$verdict"; then
        time_of_find "${TIMES[$file]-}"
        put_time modified "$REPLY"
    fi
    if is_of_file "$verdict"; then put_text sha256 "${SHA256[$file]-}"; fi
    put packaged "$vouched"
    put_text note "$said${said:+${note:+; }}$note"
}

# SHA-256 of the files that rows are about; most of what was looked at is a package's and no row.
hash_shown() {
    local i file
    local -a files=()
    local -A seen=()
    for i in ${AT[@]+"${!AT[@]}"}; do
        file=${AT[i]}
        if [[ -n ${NO_LINES[$i]-} || -n ${seen[$file]+x} ]] || ! is_of_file "${VERDICTS[i]}"; then continue; fi
        if [[ ${VERDICTS[i]} == 'unless packaged' ]]; then
            packaged "$file"
            if [[ $REPLY != false ]]; then continue; fi
        fi
        seen[$file]=1
        if [[ -n ${SIZES[$file]-} ]] && ((SIZES[$file] <= HASH_LIMIT)); then files+=("$file"); fi
    done
    if ! late; then hash_files ${files[@]+"${files[@]}"}; fi
}

# The rows of all that was found, of user $1 alone where that is named.
show_all() {
    local i is_there=false
    local -a files=()
    for i in ${AT[@]+"${!AT[@]}"}; do
        if [[ ${VERDICTS[i]} == time ]] || is_of_file "${VERDICTS[i]}"; then files+=("${AT[i]}"); fi
    done
    look_at_files ${files[@]+"${files[@]}"} ${EXTRA[@]+"${EXTRA[@]}"}
    resolve_lines
    gather_originals
    files=()
    for i in ${AT[@]+"${!AT[@]}"}; do
        if [[ -n ${NO_LINES[$i]-} ]]; then continue; fi
        if is_of_file "${VERDICTS[i]}"; then files+=("${AT[i]}"); fi
        if [[ ${VERDICTS[i]} == 'of '* ]]; then EXTRA+=("${VERDICTS[i]#of }"); fi
    done
    look_at_files ${EXTRA[@]+"${EXTRA[@]}"}
    if ! late; then look_up ${files[@]+"${files[@]}"} ${EXTRA[@]+"${EXTRA[@]}"}; fi
    if ! late; then show_changes; fi
    vouch_for_generated
    hash_shown
    for i in ${AT[@]+"${!AT[@]}"}; do
        if [[ -n $1 && ${OWNERS[i]} != "$1" ]]; then continue; fi
        is_there=true
        show "$i" || continue
        row || break
    done
    if [[ -n $1 && $is_there == false ]]; then warn "nothing that was found runs as $1"; fi
}
