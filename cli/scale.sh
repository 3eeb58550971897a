#!/bin/bash
# What `shm` takes where very much was left behind, beside the tools that do the least for it. For root; it works in
# namespaces of its own and leaves nothing. SHM names the tool: cargo build --release -p shared-region-cli first.
#
# Seconds are of processor time, as other programs run meanwhile, and are followed by those of the clock.
set -eu
export SHM="$(realpath "${SHM:-$(dirname "$0")/../target/release/shm}")"
if [ "${1:-}" != inside ]; then
    exec unshare --mount --ipc --pid --fork --kill-child --mount-proc bash "$(realpath "$0")" inside
fi
mount -t tmpfs -o mode=1777,nr_inodes=200000 none /dev/shm

# Prints what a command took, and remembers its processor time.
timed() {
    local what="$1" told
    shift
    told="$({ /usr/bin/time -f "%U %S %e %M" "$@" > /dev/null; } 2>&1 | tail -n 1)"
    read -r user system clock kib <<< "$told"
    took="$(awk "BEGIN { print $user + $system + 0.001 }")"
    printf '%-44s %6.2f s, by the clock %5.2f s, %4d MiB\n' "$what" "$took" "$clock" $((kib >> 10))
}

ratio() {
    awk "BEGIN { printf \"%-44s %6.1f times\n\", \"$1\", $2 / $3 }"
}

make() {
    python3 -c 'import os, sys
for i in range(int(sys.argv[1])): os.close(os.open("/dev/shm/psm_%06x" % i, os.O_CREAT | os.O_RDWR, 0o600))' "$1"
}

make 124000
timed "ls -l of 124000" ls -l /dev/shm; least=$took
timed "shm ls of 124000" "$SHM" ls
ratio "shm ls / ls -l" "$took" "$least"
find /dev/shm -name 'psm_*' -delete
for process in $(seq 100); do sleep 1000 & done
make 10000
timed "find -delete of 10000" find /dev/shm -name 'psm_*' -delete; least=$took
make 10000
timed "shm rm --orphans of 10000, 100 processes" "$SHM" rm --orphans --yes
ratio "shm rm --orphans / find -delete" "$took" "$least"
python3 -c 'import ctypes
libc = ctypes.CDLL(None)
for key in range(4000): assert libc.shmget(0x1000 + key, 4096, 0o1600) >= 0'
timed "ipcs -m of 4000" ipcs -m; least=$took
timed "shm stat of 1000 of 4000" "$SHM" stat $(seq -f 'sysv:0x%.0f' 1000 1999)
ratio "shm stat / ipcs -m" "$took" "$least"
