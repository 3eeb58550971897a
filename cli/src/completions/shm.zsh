# What exists now, for the commands that take it.
_shm_regions() {
    local -a known
    known=(${(f)"$(shm ls --columns id 2>/dev/null | tail -n +2)"})
    compadd -a known
}

_shm_ipc() {
    local -a known
    known=(${(f)"$(shm ipc 2>/dev/null | awk '/:/ { print $1 }')"})
    compadd -a known
}

_shm_manual() {
    compadd SHM_COMMANDS
}

