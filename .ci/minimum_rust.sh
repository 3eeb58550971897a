#!/bin/sh
# Brings Rust 1.85, the declared minimum, into a folder, and prints the variables by which it is used. Debian has it as
# packages beside a newer one, so they are unpacked and not installed: what this machine has stays as it is. Prints why
# not, and fails, where that cannot be.
set -eu
folder=$1
mkdir -p "$folder/packages"
folder=$(cd "$folder" && pwd)

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
  echo 'no apt-get, dpkg-deb: Rust 1.85 comes from Debian here'
  exit 1
fi
version() { apt-cache madison rustc-web 2>/dev/null | awk '$3 ~ /^1\.85\./ { print $3; exit }'; }
if [ -z "$(version)" ] && [ "$(id -u)" = 0 ]; then
  apt-get update -q >&2 || true
fi
version=$(version)
if [ -z "$version" ]; then
  echo 'apt-cache knows no rustc-web of version 1.85'
  exit 1
fi
# With the libraries that not every machine has.
fetch() {
  (cd "$folder/packages" && apt-get download -q "rustc-web=$version" "cargo-web=$version" libllvm19 libpcre3 \
    "libstd-rust-web-1.85=$version" "libstd-rust-web-dev=$version" \
    libgit2-1.5 libhttp-parser2.9 libmbedcrypto7 libmbedtls14 libmbedx509-1 libssh2-1 libcurl4 >&2)
}
if ! [ -x "$folder/usr/bin/cargo" ]; then
  # A list of packages grows old, and what it names is gone then.
  fetch || { [ "$(id -u)" = 0 ] && apt-get update -q >&2 && fetch; } || {
    echo 'its packages cannot be fetched'
    exit 1
  }
  for package in "$folder"/packages/*.deb; do
    dpkg-deb -x "$package" "$folder"
  done
fi
libraries="$folder/usr/lib/x86_64-linux-gnu:$folder/lib/x86_64-linux-gnu"
if ! LD_LIBRARY_PATH=$libraries "$folder/usr/bin/cargo" --version >/dev/null 2>&1 ||
  ! LD_LIBRARY_PATH=$libraries "$folder/usr/bin/rustc" --version >/dev/null 2>&1; then
  echo 'its programs do not start on this machine'
  exit 1
fi
echo "export LD_LIBRARY_PATH='$libraries' RUSTC='$folder/usr/bin/rustc' RUSTDOC='$folder/usr/bin/rustdoc'"
echo "CARGO_1_85='$folder/usr/bin/cargo'"
