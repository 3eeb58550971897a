
# What exists now, for the commands that take it.
_shm_regions() {
    _shm "$@"
    local command="${COMP_WORDS[1]}" line="${COMP_LINE:0:COMP_POINT}" typed known
    # As typed: the shell takes a colon for the end of a word.
    typed="${line##*[[:space:]]}"
    [[ ${typed} == -* || ${COMP_CWORD} -lt 2 ]] && return
    case "${command}" in
        stat|read|write|copy|chmod|chown|rm|wait) known="$(shm ls --columns id 2>/dev/null | tail -n +2)" ;;
        ipc) known="$(shm ipc 2>/dev/null | awk '/:/ { print $1 }')" ;;
        man) known="SHM_COMMANDS" ;;
        *) return ;;
    esac
    local IFS=$' \t\n' found
    found=( $(compgen -W "${known}" -- "${typed}") )
    [[ ${#found[@]} -eq 0 ]] && return
    if [[ ${typed} == *:* && ${COMP_WORDBREAKS} == *:* ]]; then
        found=( "${found[@]#"${typed%"${typed##*:}"}"}" )
    fi
    COMPREPLY=( "${found[@]}" )
}
complete -F _shm_regions -o bashdefault -o default shm
