# The first process of a simulated device: builds its root, seeds it, and waits until the simulator closes the pipe.
# Arguments: the empty folder of the root, the folder of these scripts, the device's name. Runs inside new namespaces.
set -eu
export LC_ALL=C
root=$1 scripts=$2 name=$3
# /proc is still the host's, so this is the number that the host knows.
read -r pid _ </proc/self/stat

mount -t tmpfs -o mode=755,size=2g device "$root"
read_only() {
  mkdir -p "$root$1"
  mount --rbind "$1" "$root$1"
  mount -o remount,bind,ro "$root$1" 2>/dev/null || mount -o remount,bind,ro,nosuid,nodev "$root$1"
}
read_only /usr
for dir in bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$dir" ]; then
    cp -P "/$dir" "$root/$dir"
  elif [ -d "/$dir" ]; then
    read_only "/$dir"
  fi
done
mkdir -p "$root"/{dev,etc,home,mnt,opt,proc,root,run,srv,sys,tmp,var/lib,var/log,var/spool/cron/crontabs,var/tmp,.old}
mkdir -p "$root"/var/opt/microsoft/mdatp/downloads
chmod 700 "$root/root" "$root"/var/opt/microsoft/mdatp/downloads
chmod 1777 "$root/tmp" "$root/var/tmp"
for db in /var/lib/dpkg /var/lib/rpm; do
  if [ -d "$db" ]; then read_only "$db"; fi
done
for file in alternatives bash.bashrc debian_version host.conf ld.so.cache ld.so.conf ld.so.conf.d localtime login.defs \
  nsswitch.conf os-release profile protocols services shells; do
  if [ -e "/etc/$file" ]; then cp -dR "/etc/$file" "$root/etc/"; fi
done
for node in null zero full random urandom tty; do
  : >"$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
cp "$scripts/init.sh" "$root/.init.sh"
cp "$scripts/seed.sh" "$root/.seed.sh"

cd "$root"
pivot_root . .old
exec chroot . /bin/bash /.init.sh "$pid" "$name"
