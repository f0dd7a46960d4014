# A part of scripts: a walk over the file systems of the device itself.
# shellcheck shell=bash

# Kinds of file system that are not searched unless they are named: of the network, or made up by the kernel.
readonly SKIPPED='nfs|nfs4|cifs|smb3|smbfs|fuse|fuse.*|fuseblk.*|autofs|afs|ceph|9p|glusterfs|lustre|ncpfs|coda|proc|sysfs|cgroup|cgroup2|devpts|debugfs|tracefs|securityfs|pstore|bpf|configfs|fusectl|binfmt_misc|efivarfs|mqueue|hugetlbfs|rpc_pipefs|nsfs|selinuxfs'

# Mount points below $1 that are skipped into SKIP.
declare -a SKIP=()
skipped_mounts() {
    local at type line names=''
    while read -r _ _ _ _ at line; do
        type=${line##* - }
        type=${type%% *}
        # shellcheck disable=SC2053
        if [[ $type != @($SKIPPED) ]]; then continue; fi
        unescaped "$at"
        if [[ $REPLY == "${1%/}"/?* ]]; then
            SKIP+=("$REPLY")
            if ((${#SKIP[@]} <= 10)); then names+=" $REPLY"; fi
        fi
    done 2>/dev/null < <(within head -c $((4 << 20)) /proc/self/mountinfo)
    if ((${#SKIP[@]} > 0)); then warn "not searched, since they are of the network or of the kernel:$names"; fi
}

# What keeps a find out of those mounts into PRUNED.
declare -a PRUNED=()
prune_skipped() {
    local name
    for name in ${SKIP[@]+"${SKIP[@]}"}; do
        # As a pattern that fits this path alone.
        name=${name//\\/\\\\}
        name=${name//\*/\\*}
        name=${name//\?/\\?}
        PRUNED+=(-path "${name//\[/\\[}" -prune -o)
    done
}
