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

# preset NAME: sets run_options, and the range that Nsight Compute looks into.
preset() {
    case $1 in
        run) run_options=() range= ;;
        prefill) run_options=(--max-tokens 1 --warm-up 2 --repeat 5) range=prefill ;;
        decode) run_options=(--max-tokens 33 --ignore-eos --warm-up 1) range=decode ;;
        parvts) run_options=(--max-tokens 1 --warm-up 2 --repeat 5 --policy parvts) range=prefill ;;
        *) die "there is no preset '$1'; there are: run, prefill, decode, parvts" 2 ;;
    esac
}

# Where the caller asks nothing of his own: the demo model, a picture, a question.
want_question() {
    local demo=$root/tests/data/demo-model option
    for option in "$@"; do
        case $option in --model | --model=*) return ;; esac
    done
    run_options+=(--model "$demo/model" --image "$demo/eval/images/0000.png" --prompt "how many objects are there?")
}
