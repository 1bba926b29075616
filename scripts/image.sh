#!/bin/sh
# Builds the container image where there is no Docker engine and no registry of images, for the tests in tests/image:
#
#   sh scripts/image.sh build DIRECTORY     a base by debootstrap, under the tag that the Dockerfile names; the image
#   sh scripts/image.sh remove DIRECTORY    ends its containers, takes its mounts down and deletes the directory
#
# Debian's buildah, podman and runc do it, as root; `build` installs them. Everything lies in DIRECTORY, which must be
# new: images, containers, configuration (export CONTAINERS_CONF and CONTAINERS_STORAGE_CONF as below). Ends with 77 and
# one sentence where the machine cannot do it, with another code where the image itself cannot be built; then, and after
# Ctrl-C, the directory is gone.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
image=localhost/baton:test
mark=.made-by-baton-image
[ $# -eq 2 ] || { echo "baton: write image.sh build DIRECTORY or image.sh remove DIRECTORY." >&2; exit 2; }
directory=$(realpath -m "$2")
export CONTAINERS_CONF="$directory/containers.conf" CONTAINERS_STORAGE_CONF="$directory/storage.conf"
export TMPDIR="$directory/tmp"

cannot() { echo "baton: the image is not built: $1" >&2; exit 77; }

# Runs a command for so many seconds at most, so that a signal is heard meanwhile.
bounded() {
  timeout --kill-after=10 "$@" &
  child=$!
  wait "$child"
}

# Runs a step of the preparation; its words are shown only where it fails.
prepare() {
  limit=$1 reason=$2
  shift 2
  bounded "$limit" "$@" >"$directory/log" 2>&1 || { tail -n 15 "$directory/log" >&2; cannot "$reason"; }
}

install_programs() {
  missing=""
  for program in buildah podman runc debootstrap catatonit; do
    command -v "$program" >/dev/null 2>&1 || [ -x "/usr/libexec/podman/$program" ] || missing="$missing $program"
  done
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null 2>&1 || cannot "$missing missing, and this is no Debian to install them."
  export DEBIAN_FRONTEND=noninteractive
  prepare 120 "apt-get update failed." apt-get update -qq
  # shellcheck disable=SC2086
  prepare 180 "these packages cannot be installed:$missing" apt-get install -y -qq --no-install-recommends $missing
}

# All that these programs keep lies in the directory, locks too: the person's own containers are not seen, nor they ours.
configure() {
  cat >"$CONTAINERS_CONF" <<EOF
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"
tmp_dir = "$directory/run/libpod"
EOF
  cat >"$CONTAINERS_STORAGE_CONF" <<EOF
[storage]
driver = "overlay"
graphroot = "$directory/storage"
runroot = "$directory/run"
EOF
}

# The base that the Dockerfile names, of the same release of Debian, with that release's own Python.
make_base() {
  tag=$(sed -n 's/^FROM \(python:[^ ]*\).*/\1/p' "$root/Dockerfile" | sort -u)
  release=${tag##*-}
  # The mirror that this machine uses; debootstrap knows one where there is none of that release.
  mirror=$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' 2>/dev/null |
    sed -n "s/^$release //p" | head -n 1)
  prepare 240 "debootstrap made no base." \
    debootstrap --variant=minbase --include=python3,python3-venv "$release" "$directory/base" ${mirror:+"$mirror"}
  ln -s /usr/bin/python3 "$directory/base/usr/local/bin/python"
  # Where packages come from is lent to the build, and stands in no image.
  mv "$directory/base/etc/apt/sources.list" "$directory/sources.list"
  : >"$directory/base/etc/apt/sources.list"
  rm -rf "$directory"/base/var/cache/apt/archives/*.deb "$directory"/base/var/lib/apt/lists/*
  tar -C "$directory/base" -cf "$directory/base.tar" .
  prepare 60 "podman cannot import the base." podman import "$directory/base.tar" "$tag"
  rm -rf --one-file-system "$directory/base" "$directory/base.tar"
  # podman asks for more than a root without CAP_SYS_RESOURCE may give.
  prepare 60 "podman and runc cannot run a container here." podman run --rm --pull=never --network=none \
    --cgroup-parent=/image-tests --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$tag" python -c ""
}

# pip's index as this machine has it, for the build's secrets: no paths of the machine, but for the certificates.
write_pip_configuration() {
  pip="$root/.venv/bin/pip"
  [ -x "$pip" ] || pip=pip3
  certificates=$("$pip" config list 2>/dev/null | sed -n "s/^[^=]*\.cert='\(.*\)'$/\1/p" | tail -n 1)
  certificates=${certificates:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}
  (
    umask 077
    echo "[global]"
    "$pip" config list 2>/dev/null | sed -n "s/^[^=]*\.\(index-url\|extra-index-url\|trusted-host\|proxy\)='\(.*\)'$/\1 = \2/p" |
      sed 's# *file://[^ ]*##g' | grep -v '= *$' || true
    [ ! -r "$certificates" ] || echo "cert = /run/secrets/certificates"
  ) >"$directory/pip.conf"
}

build() {
  [ "$(id -u)" -eq 0 ] || cannot "that needs root."
  [ ! -e "$directory" ] || { echo "baton: $directory is there already." >&2; exit 2; }
  mkdir -p "$directory/tmp"
  touch "$directory/$mark"
  child=""
  trap 'code=$?; [ "$code" -eq 0 ] || remove; exit "$code"' EXIT
  trap '[ -z "$child" ] || { kill "$child" && wait "$child"; } 2>/dev/null; exit 130' INT TERM HUP
  configure
  install_programs
  make_base
  write_pip_configuration
  set -- --secret "id=pip,src=$directory/pip.conf"
  [ ! -r "$certificates" ] || set -- "$@" --secret "id=certificates,src=$certificates"
  bounded 300 buildah bud --isolation chroot --pull-never --format docker --layers "$@" \
    --volume "$directory/sources.list:/etc/apt/sources.list:ro" --tag "$image" "$root"
}

# Ends what is left of an earlier call, in whatever moment it was stopped.
remove() {
  [ -e "$directory" ] || return 0
  [ -e "$directory/$mark" ] || { echo "baton: $directory was not made by image.sh." >&2; exit 2; }
  ! command -v podman >/dev/null 2>&1 || podman rm --all --force --time 0 >/dev/null 2>&1 || true
  for place in /proc/[0-9]*/root; do
    case "$(readlink "$place" 2>/dev/null)" in
      "$directory"/*) process=${place#/proc/}; kill -9 "${process%/root}" 2>/dev/null || true ;;
    esac
  done
  awk -v place="$directory/" 'index($5, place) == 1 {print $5}' /proc/self/mountinfo | sort -r |
    while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount"; done
  rm -rf --one-file-system "$directory"
  find /sys/fs/cgroup -depth -type d -path '*/image-tests*' -exec rmdir {} \; 2>/dev/null || true
}

case "$1" in
  build) build ;;
  remove) remove ;;
  *) echo "baton: write image.sh build DIRECTORY or image.sh remove DIRECTORY." >&2; exit 2 ;;
esac
