#!/usr/bin/env bash
# What './build.sh bench schedules' runs, once everything is built: prefill of policies beside dense on the model of 1.26 G
# random parameters, and how it grows with the number of pictures. Every round runs each policy once, in turn.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly bench=(dotnet tools/ParVts.Bench/bin/Release/net10.0/ParVts.Bench.dll)
readonly model=artifacts/bench-model-576
threads=2 rounds=5 images=5 growth_rounds=2 save=

while [ $# -gt 0 ]; do
    case $1 in
        --save) save=1 ;;
        --threads | --rounds | --images)
            [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || { echo "bench schedules: $1 needs a number" >&2; exit 2; }
            printf -v "${1#--}" %s "$2"
            shift ;;
        *) echo "bench schedules: unknown option '$1' (--save, --threads N, --rounds N, --images N)" >&2; exit 2 ;;
    esac
    shift
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
day=$(date -u +%Y-%m-%d)

# A folder that is there is whole.
if [ ! -d "$model" ]; then
    echo "making $model (2.5 GB)" >&2
    rm -rf "$model.partial"
    "${bench[@]}" make-model "$model.partial" >&2
    mv "$model.partial" "$model"
fi

report() {
    echo "# Schedules on the CPU, $day"
    echo
    echo "Made with \`./build.sh bench schedules --threads $threads --rounds $rounds --images $images --save\`: a model of 1.26 G random"
    echo "parameters in bf16, 22 layers. Every round runs each policy once, in turn, after a round that is not counted. Machines are"
    echo "shared and clocks move: only the ratios mean anything."
    echo
    echo "- CPU: $(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1), $(nproc) processors"
    echo
    echo "## One picture"
    echo
    cat "$work/schedules"
    echo
    echo "## One to $images pictures"
    echo
    echo "35 rows before the pictures, 29 behind each; \`parvts:keep=64,migrate=3\` keeps 64 tokens of each picture. $growth_rounds rounds."
    echo
    cat "$work/growth"
    echo
    echo "![Prefill time over visual tokens](schedules-$day.svg)"
}

"${bench[@]}" schedules "$model" --threads "$threads" --rounds "$rounds" | tee "$work/schedules" >&2
"${bench[@]}" growth "$model" --threads "$threads" --rounds "$growth_rounds" --images "$images" --plot "$work/plot.svg" | tee "$work/growth" >&2
report | tee "$work/report"
if [ -n "$save" ]; then
    mkdir -p docs/measurements
    cp "$work/report" "docs/measurements/schedules-$day.md"
    cp "$work/plot.svg" "docs/measurements/schedules-$day.svg"
    echo "written: docs/measurements/schedules-$day.md and its plot" >&2
fi
