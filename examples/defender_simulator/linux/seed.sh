# Fills a simulated device: accounts, crontabs, units, start-up files, logs, and what an intruder left.
# Argument: the device's name. What an unprivileged user namespace cannot do (owners) is left out.
set -u
export LC_ALL=C
name=$1

cat >/etc/passwd <<'END'
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
deploy:x:1000:1000:Deployment:/home/deploy:/bin/bash
mkeller:x:1001:1001:M. Keller:/home/mkeller:/bin/bash
sysupd:x:0:0::/var/tmp/.cache:/bin/bash
END
printf '%s\n' root:x:0: daemon:x:1: www-data:x:33: deploy:x:1000: mkeller:x:1001: sudo:x:27:mkeller >/etc/group
(umask 077 && printf '%s\n' 'root:*:20000:0:99999:7:::' 'deploy:*:20000:0:99999:7:::' 'mkeller:*:20000:0:99999:7:::' >/etc/shadow)
echo "$name" >/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >/etc/hosts
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
for user in deploy mkeller; do
  mkdir -p "/home/$user/.ssh" "/home/$user/.config/autostart"
  printf 'export EDITOR=vi\n' >"/home/$user/.bashrc"
  chown -R "$user:$user" "/home/$user" 2>/dev/null || :
  chmod 700 "/home/$user"
done
printf '#!/bin/sh\ntar -C /var/www -czf /var/backups/www.tgz .\n' >/home/deploy/backup.sh
chmod 755 /home/deploy/backup.sh

mkdir -p /etc/cron.d /etc/cron.daily /etc/systemd/system/multi-user.target.wants /var/spool/cron/crontabs /var/backups /var/www/html
cat >/etc/crontab <<'END'
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin
17 * * * * root cd / && run-parts --report /etc/cron.hourly
25 6 * * * root run-parts --report /etc/cron.daily
END
echo '30 2 * * * /home/deploy/backup.sh' >/var/spool/cron/crontabs/deploy
chmod 600 /var/spool/cron/crontabs/deploy
cat >/etc/systemd/system/inventory.service <<'END'
[Unit]
Description=Inventory agent
[Service]
ExecStart=/bin/sleep 7200
[Install]
WantedBy=multi-user.target
END
cat >/etc/systemd/system/inventory.timer <<'END'
[Timer]
OnCalendar=daily
[Install]
WantedBy=timers.target
END
echo '<h1>intranet</h1>' >/var/www/html/index.html
printf 'Nov 24 03:12:09 %s sshd[812]: Accepted publickey for deploy from 198.51.100.23 port 51122\n' "$name" >/var/log/auth.log

# The intruder: a copy of a program of the system stands for a miner.
mkdir -p /var/tmp/.cache
cp /bin/sleep /var/tmp/.cache/kdevtmpfsi
printf '#!/bin/bash\n# simulated dropper: does nothing\nexec /var/tmp/.cache/kdevtmpfsi 86400\n' >/var/tmp/.cache/update.sh
chmod 755 /var/tmp/.cache/kdevtmpfsi /var/tmp/.cache/update.sh
echo '*/5 * * * * root /var/tmp/.cache/update.sh >/dev/null 2>&1' >/etc/cron.d/sysupdate
cat >/etc/systemd/system/dbus-broker-helper.service <<'END'
[Unit]
Description=D-Bus broker helper
[Service]
ExecStart=/var/tmp/.cache/kdevtmpfsi 86400
Restart=always
[Install]
WantedBy=multi-user.target
END
ln -s ../dbus-broker-helper.service /etc/systemd/system/multi-user.target.wants/dbus-broker-helper.service
echo '(/var/tmp/.cache/update.sh &) 2>/dev/null' >>/home/mkeller/.bashrc
mkdir -p /root/.ssh
echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEsimulatedsimulatedsimulatedsimulatedsimul intruder' >/root/.ssh/authorized_keys

# Starts a program in the background and waits until it is what runs there.
start() {
  (cd / && exec setsid "$@" </dev/null >/dev/null 2>&1) &
  local comm='' tries=0
  until [ "$comm" = "${1##*/}" ] || [ $((tries += 1)) -gt 500 ]; do
    sleep 0.02
    read -r comm <"/proc/$!/comm" || return 0
  done
}
start /var/tmp/.cache/kdevtmpfsi 86400
start /bin/sleep 7200
if command -v perl >/dev/null; then
  # A socket that listens, for the connections of the device.
  start perl -e 'use Socket; socket(S, PF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);
    bind(S, sockaddr_in(4444, INADDR_ANY)); listen(S, 5); sleep 86400'
fi
exit 0
