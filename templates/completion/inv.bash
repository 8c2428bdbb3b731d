# Completion of ./inv for bash, and for zsh after: autoload -U +X bashcompinit && bashcompinit
#   source <(./inv dev.completion)

_mainstay_names() { # folder, pattern
    local path
    for path in "$1"/$2; do
        [ -e "$path" ] || continue
        path=${path##*/}
        printf '%s\n' "${path%.yml}"
    done
}

_mainstay_env() { # what stands after --env on the line
    local number
    for ((number = 1; number < COMP_CWORD; number++)); do
        [ "${COMP_WORDS[number]}" = --env ] && printf '%s\n' "${COMP_WORDS[number + 1]}"
    done
}

_mainstay() {
    local program=${COMP_WORDS[0]} root candidates
    root=$(dirname -- "$(readlink -f -- "$(command -v -- "$program")")")
    local state=${MAINSTAY_STATE:-/var/lib/mainstay}
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    --env) candidates=$(_mainstay_names "$root/inventories" '*') ;;
    --drill) candidates=$(_mainstay_names "$root/drtests/drills" '*.yml') ;;
    --plan) candidates=$(_mainstay_names "$root/drtests/plans" '*.yml') ;;
    --site) candidates=$(sed -n '/^sites:/,/^[^ #]/s/^  \([a-z0-9-]*\):.*/\1/p' "$root/inventories/$(_mainstay_env)/services.yml" 2>/dev/null) ;;
    --run) candidates=$(_mainstay_names "$state/$(_mainstay_env)/runs" '*') ;;
    *) candidates=$("$program" --complete -- inv "${COMP_WORDS[@]:1}" 2>/dev/null) ;;
    esac
    # shellcheck disable=SC2207
    COMPREPLY=($(compgen -W "$candidates" -- "${COMP_WORDS[COMP_CWORD]}"))
}

complete -o default -F _mainstay ./inv inv
