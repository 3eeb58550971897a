
# What exists now, for the commands that take it.
complete -c shm -n "__fish_shm_using_subcommand stat read copy chmod chown rm wait" -f -a "(shm ls --columns id 2>/dev/null | tail -n +2)"
complete -c shm -n "__fish_shm_using_subcommand write" -a "(shm ls --columns id 2>/dev/null | tail -n +2)"
complete -c shm -n "__fish_shm_using_subcommand ipc" -f -a "(shm ipc 2>/dev/null | awk '/:/ { print \$1 }')"
complete -c shm -n "__fish_shm_using_subcommand man" -f -a "SHM_COMMANDS"
