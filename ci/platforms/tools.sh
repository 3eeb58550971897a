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
