# What the places share: read by `. "$PLATFORMS/tools.sh"`. Packages are unpacked into $TARGET/minimum, beside Rust 1.85,
# and not installed, so that what this machine has stays as it is.
set -euo pipefail

minimum=$TARGET/minimum
version=1.85.0+dfsg3-1~deb12u3

not_run() {
  echo "not run: $*"
  exit 0
}

# Says which variables Rust 1.85 takes, and sets them. Its `cargo` is "$CARGO_1_85".
rust() {
  local said
  said=$(sh "$PLATFORMS/../../.ci/minimum_rust.sh" "$minimum") || not_run "$said"
  eval "$said"
}

# Downloads and unpacks packages of another architecture, or of this one: unpack ARCHITECTURE PACKAGE…
unpack() {
  local architecture=$1 lists=$TARGET/platforms/apt package
  shift
  mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial" "$lists/$architecture"
  if [ -e "$lists/$architecture/done-$*" ]; then return; fi
  cat >"$lists/apt.conf" <<EOF
APT::Architectures { "amd64"; "i386"; "arm64"; "s390x"; };
Dir::State::Lists "$lists/lists";
Dir::Cache "$lists/cache";
EOF
  if ! [ -e "$lists/updated" ]; then
    # A repository of somebody else's may not have every architecture; what is missed shows below.
    APT_CONFIG=$lists/apt.conf apt-get update -q || true
    touch "$lists/updated"
  fi
  for package; do
    (cd "$lists/$architecture" && APT_CONFIG=$lists/apt.conf LD_LIBRARY_PATH= \
      apt-get download -q "${package%%=*}:$architecture${package#"${package%%=*}"}") || not_run "no package $package for $architecture"
  done
  for package in "$lists/$architecture"/*.deb; do
    dpkg-deb -x "$package" "$minimum"
  done
  touch "$lists/$architecture/done-$*"
}

# Installs packages of this machine's, for programs that have to be where they were built for: installed PROGRAM PACKAGE…
installed() {
  command -v "$1" >/dev/null 2>&1 && return
  shift
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || not_run "$* cannot be installed without root and apt-get"
  (unset LD_LIBRARY_PATH; export DEBIAN_FRONTEND=noninteractive
    apt-get install -qy "$@" || { apt-get update -q && apt-get install -qy "$@"; }) || not_run "no packages $*"
}

# Runs the suites on another processor, emulated: emulated PROCESSOR ARCHITECTURE [SOURCE]. Rust and qemu call it by the
# first name, Debian by the second; the source, in C, becomes a part of each program. Programs start themselves by
# /proc/self/exe, so the kernel has to know the emulator (binfmt_misc); what is told to it here is taken back at the end.
# What the emulator cannot do stands in emulated.tsv.
emulated() {
  local target=$1-unknown-linux-gnu formats=/proc/sys/fs/binfmt_misc folder=/usr/$1-linux-gnu/lib bin=$TARGET/$1/bin
  local where check reason upper compiler part='' left_out=()
  installed "qemu-$1-static" qemu-user-static
  installed "$1-linux-gnu-gcc" "gcc-$1-linux-gnu" "libc6-dev-$2-cross"
  rust
  unpack "$2" "libstd-rust-web-dev=$version"
  if ! [ -e "$formats/qemu-$1" ]; then
    [ -e $formats/register ] || mount -t binfmt_misc none $formats || not_run 'binfmt_misc cannot be mounted here'
    cat "/usr/lib/binfmt.d/qemu-$1.conf" >$formats/register || not_run 'the kernel takes no emulator here'
    trap "echo -1 >$formats/qemu-$1" EXIT
  fi
  echo 'not run: the tool: its checks start many programs each, which takes long in the emulator'
  while IFS=$'\t' read -r check reason; do
    case $check in '#'*) continue ;; esac
    echo "not run: $check: the emulator: $reason"
    left_out+=(--skip "$check")
  done <"$PLATFORMS/emulated.tsv"

  # Its loader and C library stand in a folder of their own. The C programs that tests talk to are of this processor, too.
  mkdir -p "$bin/tests"
  compiler=$(command -v "$1-linux-gnu-gcc")
  if [ -n "${3-}" ]; then
    part=$bin/part.o
    "$compiler" -O1 -Wall -fPIC -c -o "$part" "$3"
  fi
  printf '#!/bin/sh\nexec %s %s -Wl,--dynamic-linker=%s -Wl,-rpath,%s "$@"\n' \
    "$compiler" "$part" "$(echo "$folder"/ld*.so.[0-9])" "$folder" >"$bin/$1-linux-gnu-gcc"
  chmod +x "$bin/$1-linux-gnu-gcc"
  ln -sf "../$1-linux-gnu-gcc" "$bin/tests/cc"
  ln -sf "$(type -P false)" "$bin/tests/musl-gcc"
  upper=$(echo "$target" | tr a-z- A-Z_)
  export "CARGO_TARGET_${upper}_LINKER=$1-linux-gnu-gcc" "CARGO_TARGET_${upper}_RUNNER=env PATH=$bin/tests:$PATH"
  PATH=$bin:$PATH CARGO_TARGET_DIR=$TARGET/$1 "$CARGO_1_85" test --workspace --exclude shared-region-cli --all-features \
    --target "$target" --no-fail-fast -- "${left_out[@]}"
}
