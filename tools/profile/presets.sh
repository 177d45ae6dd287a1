# shellcheck shell=bash disable=SC2034 # the scripts that read this file use what it sets
# What nsys.sh and ncu.sh have in common: which program, what it is asked, which part of it is measured.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

die() { printf '%s: %s\n' "${0##*/}" "$1" >&2; exit "${2:-1}"; }

# The runner: what PARVTS names, else the one that './build.sh build' made.
find_parvts() {
    local built=$root/src/ParVts.Runner/bin/Release/net10.0/parvts.dll
    if [ -n "${PARVTS:-}" ]; then
        case $PARVTS in *.dll) parvts=(dotnet "$PARVTS") ;; *) parvts=("$PARVTS") ;; esac
    elif [ -f "$built" ]; then
        parvts=(dotnet "$built")
    else
        die "the runner is not built: ./build.sh build, or name one with PARVTS=FILE"
    fi
}

# fill PRESET OPTION...: sets run_options to the caller's options and to what the preset adds, where the caller does not say otherwise.
fill() {
    local name=$1 demo=$root/tests/data/demo-model
    shift
    run_options=("$@")
    case $name in
        run) ;;
        prefill) want --max-tokens 1 && want --warm-up 2 && want --repeat 5 ;;
        decode) want --max-tokens 33 && want --ignore-eos && want --warm-up 1 ;;
        parvts) want --policy parvts && want --max-tokens 1 && want --warm-up 2 && want --repeat 5 ;;
        *) die "there is no preset '$name'; there are: run, prefill, decode, parvts" 2 ;;
    esac
    has --model || run_options+=(--model "$demo/model" --image "$demo/eval/images/0000.png" --prompt "how many objects are there?")
}

has() {
    local option
    for option in "${run_options[@]}"; do
        case $option in "$1" | "$1="*) return 0 ;; esac
    done
    return 1
}

want() { has "$1" || run_options+=("$@"); }
