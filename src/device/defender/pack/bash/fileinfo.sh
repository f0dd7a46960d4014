# `fileinfo`: all about one file, its bytes read once. Links are followed.
# shellcheck shell=bash

# As Live Response has it.
readonly SIZE_LIMIT=30000000000
HEAD=''

# The number that $2 bytes at $1 of HEAD are, the lowest first unless BIG, into REPLY; fails beyond the end.
number_at() {
    local hex=${HEAD:$(($1 * 2)):$(($2 * 2))} i
    ((${#hex} == $2 * 2)) || return 1
    REPLY=''
    if [[ $BIG == true ]]; then
        REPLY=$hex
    else
        for ((i = ${#hex} - 2; i >= 0; i -= 2)); do REPLY+=${hex:i:2}; done
    fi
    # Beyond 15 digits it would not be a place in a file's head.
    if ((${#REPLY} > 15)); then
        [[ ${REPLY:0:${#REPLY}-15} != *[!0]* ]] || return 1
        REPLY=${REPLY: -15}
    fi
    REPLY=$((16#$REPLY))
}

elf_kind() {
    local class kind machine wide=false table size count i
    BIG=false
    if [[ ${HEAD:10:2} == 02 ]]; then BIG=true; fi
    case ${HEAD:8:2} in
        01) class=32-bit ;;
        02) class=64-bit wide=true ;;
        *)
            REPLY='ELF of an unknown class'
            return
            ;;
    esac
    number_at 16 2 || REPLY=0
    case $REPLY in
        1) kind='relocatable object' ;;
        2) kind=executable ;;
        3)
            kind='shared object'
            if [[ $wide == true ]]; then
                number_at 32 8 && table=$REPLY && number_at 54 2 && size=$REPLY && number_at 56 2 && count=$REPLY
            else
                number_at 28 4 && table=$REPLY && number_at 42 2 && size=$REPLY && number_at 44 2 && count=$REPLY
            fi
            for ((i = 0; i < ${count-0}; i++)); do
                number_at $((table + i * size)) 4 || break
                if ((REPLY == 3)); then
                    kind='position-independent executable'
                    break
                fi
            done
            ;;
        4) kind='core dump' ;;
        *) kind='of an unknown type' ;;
    esac
    number_at 18 2 || REPLY=0
    case $REPLY in
        3) machine=x86 ;; 8) machine=MIPS ;; 20) machine=PowerPC ;; 21) machine=PowerPC64 ;; 22) machine=S/390 ;;
        40) machine=ARM ;; 43) machine=SPARC64 ;; 62) machine=x86-64 ;; 183) machine=AArch64 ;; 243) machine=RISC-V ;;
        247) machine=eBPF ;; 258) machine=LoongArch ;; *) machine='unknown machine' ;;
    esac
    REPLY="ELF $class $kind, $machine"
    if [[ $BIG == true ]]; then REPLY+=', big-endian'; fi
}

# What kind of content the file has, from its first bytes, into REPLY.
kind_of() {
    local text
    HEAD=$(within head -c 8192 -- "$1" 2>/dev/null | od -v -An -tx1 | tr -d ' \n')
    case $HEAD in
        '') REPLY=empty ;;
        7f454c46*) elf_kind ;;
        4d5a*) REPLY='DOS or Windows executable' ;;
        72656766*) REPLY='Windows registry hive' ;;
        2321*)
            text=''
            { IFS= read -r -n 200 text <"$1"; } 2>/dev/null
            trimmed "${text#'#!'}"
            REPLY="script, $REPLY"
            ;;
        1f8b*) REPLY=application/gzip ;;
        504b0304* | 504b0506* | 504b0708*) REPLY=application/zip ;;
        425a68*) REPLY=application/x-bzip2 ;;
        fd377a585a00*) REPLY=application/x-xz ;;
        28b52ffd*) REPLY=application/zstd ;;
        377abcaf271c*) REPLY=application/x-7z-compressed ;;
        25504446*) REPLY=application/pdf ;;
        89504e47*) REPLY=image/png ;;
        ffd8ff*) REPLY=image/jpeg ;;
        47494638*) REPLY=image/gif ;;
        53514c69746520666f726d61742033*) REPLY=application/vnd.sqlite3 ;;
        213c617263683e0a64656269616e*) REPLY=application/vnd.debian.binary-package ;;
        213c617263683e*) REPLY=application/x-unix-archive ;;
        edabeedb*) REPLY=application/x-rpm ;;
        fffe* | feff*) REPLY='UTF-16 text' ;;
        *)
            REPLY=data
            # Bytes of control, but for those that text has.
            if [[ $HEAD =~ ^(..)*(0[0-8be-f]|1[0-9a-f]|7f) ]]; then return; fi
            IFS= read -r -d '' -n 8192 text <"$1" 2>/dev/null || :
            if [[ ${#text} -ge 8192 ]]; then text=${text:0:8188}; while [[ $text == *[$'\x80'-$'\xff'] ]]; do text=${text%?}; done; fi
            js "$text"
            REPLY=data
            if [[ $HAD_BAD_BYTES == false ]]; then REPLY=text; fi
            ;;
    esac
}

main() {
    local path text real is_deleted=false
    known_arguments path
    path_argument path
    path=$REPLY
    require_path "$path"
    path_text "$path"
    text=$REPLY
    [[ -e $path ]] || fail E_NOT_FOUND "$text is a link to nothing"
    [[ -f $path ]] || fail E_NOT_A_FILE "$text is not a file"
    [[ -r $path ]] || fail E_ACCESS "$text cannot be read as uid $EUID"
    real=$(readlink -f -- "$path" 2>/dev/null && printf x) || real=$path$'\nx'
    real=${real%$'\nx'}
    if [[ ! $real -ef $path ]]; then is_deleted=true real=$path; fi

    file_facts "$path" -L || fail E_NOT_FOUND "$text is gone"
    ((F_SIZE <= SIZE_LIMIT)) || fail E_TOO_LARGE "$text has $F_SIZE bytes, and at most $SIZE_LIMIT are read"
    if ! three_hashes "$path"; then
        if late; then fail E_TIMEOUT "$text could not be read whole within $LIMIT s"; fi
        fail E_BACKEND "$text could not be read"
    fi
    # Files that the kernel makes up have no size until they are read.
    if ((F_SIZE == 0)); then F_SIZE=$(within head -c $((64 << 20)) -- "$path" 2>/dev/null | wc -c); fi
    PACKAGE=''
    if [[ $is_deleted == false ]]; then package_of "$real" "$MD5" "$DIGEST"; fi
    kind_of "$path"
    local kind=$REPLY
    open_object
    put_path path "$path"
    put size_bytes "$F_SIZE"
    time_of_find "$F_CREATED"
    put_time created "$REPLY"
    time_of_find "$F_MODIFIED"
    put_time modified "$REPLY"
    time_of_find "$F_ACCESSED"
    put_time accessed "$REPLY"
    time_of_find "$F_CHANGED"
    put_time changed "$REPLY"
    local name=${path%"${path##*[!/]}"}
    attributes "$F_MODE" "$F_OWNER" "$F_GROUP" "${name##*/}" "$F_FLAGS"
    O+=",\"attributes\":$REPLY"
    put_text md5 "$MD5"
    put_text sha1 "$SHA1"
    put_text sha256 "$DIGEST"
    put_text kind "$kind"
    if [[ -n $PACKAGE ]]; then
        local object=$O
        open_object
        put_text name "$PACKAGE"
        put_text version "$PACKAGE_VERSION"
        put_text manager "$MANAGER"
        put unmodified "$UNMODIFIED"
        O="$object,\"package\":{${O:1}}"
    fi
    local plain='' part
    local -a parts=() kept=()
    # Names hold no slash, and a new line is no end of a path.
    while [[ $path == */* ]]; do
        part=${path%%/*} path=${path#*/}
        parts+=("$part")
    done
    parts+=("$path")
    for part in "${parts[@]}"; do
        case $part in
            '' | .) ;;
            ..) if ((${#kept[@]} > 0)); then unset "kept[$((${#kept[@]} - 1))]"; fi ;;
            *) kept+=("$part") ;;
        esac
    done
    for part in ${kept[@]+"${kept[@]}"}; do plain+=/$part; done
    if [[ $plain != "$real" && $is_deleted == false ]]; then put_path target "$real"; fi
    put links "$F_LINKS"
    if [[ $is_deleted == true ]]; then put deleted true; fi
    DATA="{${O:1}}"
}

begin fileinfo data "$@"
main
finished
