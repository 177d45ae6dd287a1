#!/usr/bin/env bash
# What './build.sh bench' runs, once everything is built and installed: matrix products against OpenBLAS, then a model of
# 1.26 G random parameters against llama.cpp, alternately. Ratios are those of the medians.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly bench=(dotnet tools/ParVts.Bench/bin/Release/net10.0/ParVts.Bench.dll)
readonly ours=artifacts/bench-model-576
readonly peers=artifacts/peers
readonly theirs=$peers/model.gguf
threads=2 prompt=640 decode=16 rounds=3 save=

while [ $# -gt 0 ]; do
    case $1 in
        --save) save=1 ;;
        --threads | --prompt | --decode | --rounds)
            [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || { echo "bench: $1 needs a number" >&2; exit 2; }
            printf -v "${1#--}" %s "$2"
            shift ;;
        *) echo "bench: unknown option '$1' (--save, --threads N, --prompt N, --decode N, --rounds N)" >&2; exit 2 ;;
    esac
    shift
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cpu_flags() {
    local flag all
    all=" $(sed -n 's/^flags[^:]*://p' /proc/cpuinfo | head -n 1) "
    for flag in avx2 avx512f avx512_bf16 amx_bf16; do
        case $all in *" $flag "*) printf '%s: yes  ' "$flag" ;; *) printf '%s: no  ' "$flag" ;; esac
    done
}

# Why llama.cpp cannot be timed; nothing where it can.
no_llama() {
    local major
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "node and npm are not here"
        return
    fi
    major=$(node -p 'process.versions.node.split(".")[0]')
    [ "$major" -ge 20 ] || { echo "node $major is here; node-llama-cpp needs 20"; return; }
    [ -n "$(numpy_python)" ] || { echo "python3-numpy is not here"; return; }
    [ -d "$peers/node_modules/node-llama-cpp" ] ||
        npm install 'node-llama-cpp@3' --prefix "$peers" --no-audit --no-fund >&2 ||
        echo "node-llama-cpp could not be installed"
}

# The distribution's numpy belongs to the distribution's python, which need not be the first one found.
numpy_python() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import numpy' 2>/dev/null; then echo "$python"; return; fi
    done
}

# statistics FILE KEY: median, smallest, largest of a number in lines of JSON.
statistics() {
    sed -n "s/.*\"$2\": *\([0-9.]*\).*/\1/p" "$1" | sort -n |
        awk '{ v[NR] = $1 } END { if (NR) print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2), v[1], v[NR] }'
}

# row LABEL KEY: a line of the table, with how many times faster we are.
row() {
    local a b
    a=$(statistics "$work/ours" "$2")
    b=$(statistics "$work/theirs" "$2")
    awk -v label="$1" -v a="$a" -v b="$b" 'BEGIN {
        split(a, x, " "); n = split(b, y, " ")
        printf "| %s | %.1f (%.1f to %.1f) |", label, x[1], x[2], x[3]
        if (n) printf " %.1f (%.1f to %.1f) | %.2f |\n", y[1], y[2], y[3], y[1] / x[1]; else print " not measured | |"
    }'
}

# The rate that OpenBLAS would run the decoder's layers at, from its rates for the three shapes, weighed by their work
# (four products of 2048 × 2048, two of 2048 × 5632, one of 5632 × 2048 a layer), beside our whole prefill's rate.
prefill_share() {
    local rate
    rate=$(statistics "$work/ours" prefill_gflops)
    awk -F'|' -v ours="$rate" '
        /× 2048 × 2048 / { a = $4 + 0 } / 2048 × 5632 / { b = $4 + 0 } / 5632 × 2048 / { c = $4 + 0 }
        END {
            split(ours, x, " ")
            if (a * b * c == 0) exit
            blas = (4 * 2048 + 3 * 5632) / (4 * 2048 / a + 2 * 5632 / b + 5632 / c)
            printf "Prefill as a whole runs at %.0f GFLOP/s; OpenBLAS multiplies the same shapes, as measured above, at %.0f: ratio %.2f.\n",
                x[1], blas, x[1] / blas
        }' "$work/gemm"
}

report() {
    echo "# CPU, $(date -u +%Y-%m-%d)"
    echo
    echo "Made with \`./build.sh bench --threads $threads --prompt $prompt --decode $decode --rounds $rounds\`. Machines are shared and"
    echo "clocks move: only the ratios within this run mean anything."
    echo
    echo "- CPU: $(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1), $(nproc) processors"
    echo "- flags: $(cpu_flags)"
    echo
    echo "## Matrix products, float32"
    echo
    echo '```'
    cat "$work/gemm"
    echo '```'
    echo
    echo "## A model of 1.26 G random parameters, bf16, $threads threads, $prompt prompt tokens, $decode decoded"
    echo
    [ -z "$reason" ] || { echo "llama.cpp was not measured: $reason."; echo; }
    echo "| | ours, ms (median of $rounds, smallest to largest) | llama.cpp, ms | llama.cpp / ours |"
    echo "|---|---|---|---|"
    row prefill prefill_ms
    row "decode, a token" decode_ms
    echo
    prefill_share
}

reason=$(no_llama)
[ -z "$reason" ] || echo "without llama.cpp: $reason" >&2

# Each model is made once; a folder that is there is whole.
if [ ! -d "$ours" ]; then
    echo "making $ours (2.5 GB)" >&2
    rm -rf "$ours.partial"
    "${bench[@]}" make-model "$ours.partial" >&2
    mv "$ours.partial" "$ours"
fi
if [ -z "$reason" ] && [ ! -f "$theirs" ]; then
    echo "making $theirs (2.5 GB)" >&2
    "$(numpy_python)" tools/peers/make_gguf.py "$theirs"
fi

"${bench[@]}" gemm --threads "$threads" --repeats 11 | tee "$work/gemm" >&2
: >"$work/ours"
: >"$work/theirs"
# Of two repeats the second counts: the first pays for pages, caches and compilation, in both programs.
sizes=(--prompt "$prompt" --decode "$decode" --threads "$threads" --repeats 2)
for ((round = 1; round <= rounds; round++)); do
    echo "round $round of $rounds" >&2
    "${bench[@]}" model "$ours" "${sizes[@]}" | tail -n 1 | tee -a "$work/ours" >&2
    [ -n "$reason" ] ||
        node tools/peers/llama_cpp.mjs "$theirs" "${sizes[@]}" | tail -n 1 | tee -a "$work/theirs" >&2
done

report | tee "$work/report"
if [ -n "$save" ]; then
    mkdir -p docs/measurements
    cp "$work/report" "docs/measurements/cpu-$(date -u +%Y-%m-%d).md"
    echo "written: docs/measurements/cpu-$(date -u +%Y-%m-%d).md" >&2
fi
