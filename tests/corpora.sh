#!/usr/bin/env bash
# Fetches real inputs that nobody here wrote from the package registries into the folder that is named; needs root:
#   tests/corpora.sh DIRECTORY
# Tests find them by LIVE_RESPONSE_TEST_CORPORA; none of them is part of this project. Run again, it fetches what is missing.
set -euo pipefail
into=${1:?"which folder?"}
mkdir -p "$into"
cd "$into"

# hives/SYSTEM: of Windows 10, 33,317 keys (data of an AGPL project).
if [ ! -f hives/SYSTEM ]; then
  mkdir -p hives sdist
  python3 -m pip download -q --no-deps --no-binary :all: -d sdist 'dissect.regf==3.14'
  tar -xzf sdist/dissect_regf-3.14.tar.gz --wildcards --no-anchored --to-stdout '_data/SYSTEM.gz' | gzip -dc >SYSTEM.part
  mv SYSTEM.part hives/SYSTEM
fi

# hives/testhive: 528 keys, every kind of list and value (data of a GPL project).
if [ ! -f hives/testhive ]; then
  mkdir -p nt-hive/src && touch nt-hive/src/lib.rs
  printf '[package]\nname = "corpus"\nedition = "2024"\n[dependencies]\nnt-hive = "=0.3.0"\n[workspace]\n' >nt-hive/Cargo.toml
  cargo vendor -q --manifest-path nt-hive/Cargo.toml nt-hive/vendor >/dev/null
  mv nt-hive/vendor/nt-hive/testdata/testhive hives/testhive
  rm -rf nt-hive
fi

# modules/: kernel modules of Debian's newest kernel, signed.
if [ ! -d modules ]; then
  image=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
  apt-get download -q "$image"
  mkdir modules.part
  dpkg-deb --fsys-tarfile "$image"_*.deb | tar -x -C modules.part --wildcards '*/kernel/drivers/net/dummy.ko*' '*/kernel/fs/isofs/*'
  rm -f "$image"_*.deb
  mv modules.part modules
fi

# debian/: a clean root, with packages that look like an implant and are none.
if [ ! -d debian ]; then
  rm -rf debian.part
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  debootstrap --variant=minbase --include=systemd,cron,anacron,openssh-server,sudo,logrotate,snoopy,libpam-script,unattended-upgrades,needrestart,molly-guard \
    "$codename" debian.part "$mirror" >debootstrap.log || { tail -20 debootstrap.log; exit 1; }
  rm -rf debian.part/var/cache/apt/archives/*.deb
  mv debian.part debian
fi

# lnk/: shortcuts of several versions of Windows (data of an AGPL project).
if [ ! -d lnk ]; then
  mkdir -p sdist lnk.part
  python3 -m pip download -q --no-deps --no-binary :all: -d sdist 'dissect.shellitem==3.13'
  tar -xzf sdist/dissect_shellitem-3.13.tar.gz -C lnk.part --strip-components=3 --wildcards --no-anchored '_data/*.lnk'
  mv lnk.part lnk
fi
