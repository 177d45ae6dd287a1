#!/usr/bin/env bash
# 'parvts bench' and its peers on the same shapes, alternately, in one table; what './build.sh bench' runs once everything is built.
# Peers: llama.cpp, PyTorch's transformers, and OpenBLAS for single matrix products. What is missing is said by name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly parvts=(dotnet src/ParVts.Runner/bin/Release/net10.0/parvts.dll)
readonly kernels=tools/ParVts.Bench/bin/Release/net10.0/ParVts.Bench.dll
readonly peers=artifacts/peers
config=tools/peers/llava-1.3b/config.json threads=2 prompt=640 decode=16 rounds=3 save=

usage() { echo "bench: $1 (--config FILE, --threads N, --prompt N, --decode N, --rounds N, --save)" >&2; exit 2; }

while [ $# -gt 0 ]; do
    case $1 in
        --save) save=1 ;;
        --config)
            [ -f "${2:-}" ] || usage "--config needs a config.json"
            config=$2
            shift ;;
        --threads | --prompt | --decode | --rounds)
            [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage "$1 needs a number"
            printf -v "${1#--}" %s "$2"
            shift ;;
        *) usage "unknown option '$1'" ;;
    esac
    shift
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- who is here ------------------------------------------------------------------------------------------------

# python_with MODULE...: the first python that has them. The distribution's modules belong to the distribution's python.
python_with() {
    local python modules
    modules=$(IFS=,; echo "$*")
    for python in python3 /usr/bin/python3; do
        if "$python" -c "import $modules" 2>/dev/null; then echo "$python"; return; fi
    done
}

# Why a peer cannot be timed; nothing where it can.
missing_llama() {
    local major
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "node and npm are not here"
        return
    fi
    major=$(node -p 'process.versions.node.split(".")[0]')
    [ "$major" -ge 20 ] || { echo "node $major is here; node-llama-cpp needs 20"; return; }
    [ -n "$(python_with numpy)" ] || { echo "python3-numpy is not here"; return; }
    [ -d "$peers/node_modules/node-llama-cpp" ] ||
        npm install 'node-llama-cpp@3' --prefix "$peers" --no-audit --no-fund >&2 ||
        echo "node-llama-cpp could not be installed"
}

missing_transformers() { [ -n "$(python_with torch transformers)" ] || echo "no python here has torch and transformers"; }

missing_openblas() {
    [ -f "$kernels" ] || { echo "tools/ParVts.Bench is not built"; return; }
    case "$(ldconfig -p 2>/dev/null)" in *libopenblas.so.0*) ;; *) echo "libopenblas0 is not here" ;; esac
}

# --- one round of each ------------------------------------------------------------------------------------------
# Each prints "PREFILL_MS DECODE_MS" of its second repeat: the first pays for pages, caches and compilation, in every program.

sizes=(--prompt "$prompt" --decode "$decode" --threads "$threads" --repeats 2)

run_parvts() {
    "${parvts[@]}" bench --config "$config" --images 0 --prompt-tokens "$prompt" --new-tokens $((decode + 1)) --policy dense \
        --device cpu --threads "$threads" --warm-up 0 --repeats 2 --csv "$work/csv" >/dev/null
    tr -d '\r' <"$work/csv" >"$work/parvts.csv"
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i } END { print $at["prefill_ms"], $at["decode_ms"] }' "$work/parvts.csv"
}

run_llama() {
    node tools/peers/llama_cpp.mjs "$gguf" "${sizes[@]}" --vocabulary "$vocabulary" | numbers
}

run_transformers() { "$(python_with torch transformers)" tools/peers/transformers_llama.py "$config" "${sizes[@]}" | numbers; }

numbers() { tail -n 1 | sed -n 's/.*"prefill_ms": *\([0-9.]*\).*"decode_ms": *\([0-9.]*\).*/\1 \2/p'; }

# --- tables -----------------------------------------------------------------------------------------------------

# summary: median, smallest and largest of numbers, a line each.
summary() {
    sort -n | awk '{ v[NR] = $1 } END { if (NR) print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2), v[1], v[NR] }'
}

# spread FORMAT: "median (smallest to largest)".
spread() { summary | awk -v f="$1" '{ printf f " (" f " to " f ")", $1, $2, $3 }'; }

# row NAME FILE: a program's times, and how much longer than ours they are, round by round.
row() {
    local column
    printf '| %s |' "$1"
    for column in 1 2; do
        printf ' %s |' "$(awk -v c="$column" '{ print $c }' "$2" | spread %.1f)"
        if [ "$1" = parvts ]; then
            printf ' 1 |'
        else
            printf ' %s |' "$(paste -d ' ' "$2" "$work/parvts" | awk -v c="$column" '{ print $c / $(c + 2) }' | spread %.2f)"
        fi
    done
    echo
}

cpu_flags() {
    local flag all
    all=" $(sed -n 's/^flags[^:]*://p' /proc/cpuinfo | head -n 1) "
    for flag in avx2 avx512f avx512_bf16 amx_bf16; do
        case $all in *" $flag "*) printf '%s: yes  ' "$flag" ;; *) printf '%s: no  ' "$flag" ;; esac
    done
}

# What OpenBLAS would run the decoder's layers of the standard config at, from its rates for their three shapes, weighed by their work
# (four products of 2048 × 2048, two of 2048 × 5632, one of 5632 × 2048 a layer), beside our whole prefill's rate.
prefill_share() {
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i } END { print $at["flops"] }' "$work/parvts.csv" >"$work/flops"
    awk -F'|' -v flops="$(cat "$work/flops")" -v ms="$(awk '{ print $1 }' "$work/parvts" | summary | cut -d ' ' -f 1)" '
        /× 2048 × 2048 / { a = $4 + 0 } / 2048 × 5632 / { b = $4 + 0 } / 5632 × 2048 / { c = $4 + 0 }
        END {
            if (a * b * c == 0) exit
            ours = flops / ms / 1e6
            blas = (4 * 2048 + 3 * 5632) / (4 * 2048 / a + 2 * 5632 / b + 5632 / c)
            printf "\nPrefill as a whole runs at %.0f GFLOP/s; OpenBLAS multiplies the same shapes, as measured above, at %.0f: ratio %.2f.\n",
                ours, blas, ours / blas
        }' "$work/gemm"
}

report() {
    local peer
    echo "# CPU, $(date -u +%Y-%m-%d)"
    echo
    echo "Made with \`./build.sh bench --config $config --threads $threads --prompt $prompt --decode $decode --rounds $rounds\`."
    echo "Machines are shared and clocks move: only the ratios within this run mean anything."
    echo
    echo "- CPU: $(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1), $(nproc) processors"
    echo "- flags: $(cpu_flags)"
    echo
    echo "## Matrix products, float32"
    echo
    if [ -s "$work/gemm" ]; then cat "$work/gemm"; else echo "OpenBLAS was not measured: $without_openblas."; fi
    echo
    echo "## $(basename "$(dirname "$config")"), random weights, $threads threads, $prompt prompt tokens, $decode decoded"
    echo
    echo "Median of $rounds rounds (smallest to largest); in each, every program runs once, in turn."
    echo
    echo "| | prefill, ms | of parvts | decode, ms a token | of parvts |"
    echo "|---|---|---|---|---|"
    row parvts "$work/parvts"
    for peer in "${here[@]}"; do row "${names[$peer]}" "$work/$peer"; done
    for peer in "${!without[@]}"; do echo "| ${names[$peer]} | not measured: ${without[$peer]} | | | |"; done
    [ ! -s "$work/gemm" ] || [ "$config" != tools/peers/llava-1.3b/config.json ] || prefill_share
}

# --- the run ----------------------------------------------------------------------------------------------------

declare -A names=([llama]=llama.cpp [transformers]="PyTorch transformers") without=()
here=()
for peer in llama transformers; do
    reason=$(missing_$peer)
    if [ -z "$reason" ]; then
        here+=("$peer")
    else
        without[$peer]=$reason
        echo "without ${names[$peer]}: $reason" >&2
    fi
done
without_openblas=$(missing_openblas)
[ -z "$without_openblas" ] || echo "without OpenBLAS: $without_openblas" >&2

# A GGUF file a config; one that is there is whole.
mkdir -p "$peers"
gguf=$peers/$(cksum <"$config" | cut -d ' ' -f 1).gguf
vocabulary=$(sed -n 's/.*"vocab_size": *\([0-9]*\).*/\1/p' "$config" | head -n 1)
case " ${here[*]} " in
    *" llama "*)
        [ -f "$gguf" ] || { echo "making $gguf" >&2; "$(python_with numpy)" tools/peers/make_gguf.py "$config" "$gguf"; } ;;
esac

: >"$work/gemm"
[ -n "$without_openblas" ] || dotnet "$kernels" gemm --threads "$threads" --repeats 11 | tee "$work/gemm" >&2
for ((round = 1; round <= rounds; round++)); do
    for program in parvts "${here[@]}"; do
        echo "round $round of $rounds: $program" >&2
        "run_$program" | tee -a "$work/$program" >&2
    done
done

report | tee "$work/report"
if [ -n "$save" ]; then
    mkdir -p docs/measurements
    cp "$work/report" "docs/measurements/cpu-$(date -u +%Y-%m-%d).md"
    echo "written: docs/measurements/cpu-$(date -u +%Y-%m-%d).md" >&2
fi
