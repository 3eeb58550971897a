#!/bin/sh
# Makes a virtual environment with posix_ipc and sysv_ipc in the folder $1, unless it is there, within two minutes.
# Prints its python, or the reason why there is none and fails.
set -eu
folder=$1
python=$folder/bin/python
if ! [ -x "$python" ]; then
  fail() { echo "$1"; rm -rf "$folder.$$"; exit 1; }
  command -v python3 >/dev/null 2>&1 || fail 'there is no python3'
  python3 -m venv "$folder.$$" >/dev/null 2>&1 || fail 'python3 has no venv (Debian: python3-venv)'
  timeout 100 "$folder.$$/bin/python" -m pip install --quiet --disable-pip-version-check --retries 0 --timeout 15 \
    posix_ipc sysv_ipc >/dev/null 2>&1 || fail 'pip could not install posix_ipc and sysv_ipc'
  # Whoever comes second keeps what is there.
  mv -T "$folder.$$" "$folder" 2>/dev/null || rm -rf "$folder.$$"
fi
echo "$python"
