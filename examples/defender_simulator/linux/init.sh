# The first process, once the root is its own. Arguments: its number as the host knows it, the device's name.
set -eu
export LC_ALL=C
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs /sys || :
umount -l /.old
rmdir /.old
hostname "$2" || :
ip link set lo up 2>/dev/null || :
cd /
/bin/bash /.seed.sh "$2" </dev/null >/dev/null
rm -f /.seed.sh /.init.sh
echo "ready $1"
exec >/dev/null 2>&1
while read -r _; do :; done
