#!/usr/bin/env bash
# Checks and measures ParVts.Native on the GPU of this machine, which needs nothing but NVIDIA's driver and NVRTC.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

usage() {
    cat <<'TEXT'
usage: ./run.sh [options] [STEP...]

  STEP            machine, tests, conformance, evaluation, kernels; all of them, in this order, where none is named
  --device NAME   cuda:0 (the default), cuda:N, or sim: the simulated GPU, which shows that this script works, and nothing else
  --out DIR       where results go (results)
  --filter EXPR   only tests whose name matches: 'FullyQualifiedName~MatMul'
  --limit N       only so many questions of the evaluation
  --repeats N     measured repeats of each operation (50)

Results of each step stay in DIR until the step runs again; gpu-NAME-DATE.json and .md sum up what is there, and conformance-NAME.json
holds the GPU's own answers. All three belong into docs/measurements of the checkout. Exit code 0: every step that ran succeeded.
TEXT
}

device=${PARVTS_TEST_DEVICE:-cuda:0} out=results filter=() limit=() repeats=50 steps=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --device | --out | --filter | --limit | --repeats)
            [ $# -ge 2 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }
            case $1 in
                --device) device=$2 ;;
                --out) out=$2 ;;
                --filter) filter=(--filter "$2") ;;
                --limit) limit=(--limit "$2") ;;
                --repeats) repeats=$2 ;;
            esac
            shift ;;
        machine | tests | conformance | evaluation | kernels) steps+=("$1") ;;
        *) usage >&2; echo "run.sh: unknown argument '$1'" >&2; exit 2 ;;
    esac
    shift
done
[ ${#steps[@]} -gt 0 ] || steps=(machine tests conformance evaluation kernels)
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1

# Nothing is read from or written to the user's folders.
export PARVTS_TEST_DEVICE=$device XDG_CACHE_HOME=$out/cache DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_gcServer=0
export HOME=${HOME:-$out}
readonly demo=tests/data/demo-model
readonly policies=(dense 'parvts:keep=36,migrate=1')

# NVRTC and cuBLAS where the loader does not look: toolkits, and packages of Python.
for folder in /usr/local/cuda*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib \
    /usr/lib/python3*/*-packages/nvidia/*/lib /usr/local/lib/python3*/*-packages/nvidia/*/lib /opt/*/lib/python3*/site-packages/nvidia/*/lib; do
    if compgen -G "$folder/libnvrtc.so*" >/dev/null || compgen -G "$folder/libcublas.so*" >/dev/null; then
        LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
    fi
done
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}

step_machine() {
    {
        uname -srm
        if command -v nvidia-smi >/dev/null; then
            nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit,ecc.mode.current,persistence_mode --format=csv
            nvidia-smi
        else
            echo "there is no nvidia-smi"
        fi
        bin/parvts doctor
    } 2>&1 | tee "$out/machine.txt"
    bin/parvts doctor --json >"$out/machine.json"
}

step_tests() {
    local status
    bin/ParVts.Gpu.Tests --progress off --no-ansi --show-test-results failed,skipped --show-stdout Failed --show-stderr Failed "${filter[@]}" 2>&1 |
        tee "$out/tests.txt"
    status=${PIPESTATUS[0]}
    printf '{"passed": %d, "failed": %d, "skipped": %d, "exit_code": %d}\n' \
        "$(count succeeded)" "$(count failed)" "$(count skipped)" "$status" >"$out/tests.json"
    return "$status"
}

count() {
    local number
    number=$(sed -n "s/^  $1: \([0-9]*\).*/\1/p" "$out/tests.txt" | tail -n 1)
    echo "${number:-0}"
}

step_conformance() {
    bin/ParVts.Bench conformance --device "$device" --out "$out/conformance-$gpu.json" | tee "$out/conformance.txt"
    return "${PIPESTATUS[0]}"
}

# The demo model's answers on the GPU and on the CPU: 16-bit rounding may change one in twenty (at least one).
step_evaluation() {
    local where
    for where in cpu "$device"; do
        bin/parvts eval --model $demo/model --data $demo/eval/eval.jsonl "${policies[@]/#/--policy=}" --device "$where" "${limit[@]}" \
            --restart --out "$out/answers-${where/:/-}.csv" --json >"$out/evaluation-${where/:/-}.json" || return 1
    done
    compare_answers | tee "$out/evaluation.txt"
    return "${PIPESTATUS[0]}"
}

compare_answers() {
    local cpu gpu policy same total bad=0
    cpu=$(answers_of "$out/answers-cpu.csv")
    gpu=$(answers_of "$out/answers-${device/:/-}.csv")
    for policy in $(cut -d , -f 1 <<<"$cpu" | sort -u); do
        total=$(grep -c "^$policy," <<<"$cpu")
        same=$(comm -12 <(sort <<<"$cpu") <(sort <<<"$gpu") | grep -c "^$policy,")
        echo "${policy//;/,}: $same of $total answers as on the CPU"
        [ $((total - same)) -le $((total < 20 ? 1 : total / 20)) ] || bad=1
    done
    [ -n "$cpu" ] || { echo "there are no answers"; bad=1; }
    return $bad
}

# Policy, id and answer of each question, from a table with columns policy, id, image, kind, question, expected, answer. Of these cells
# only a policy holds commas: they become semicolons.
answers_of() {
    sed -E -e 1d -e ':next' -e 's/^("[^",]*),([^"]*")/\1;\2/' -e 't next' -e 's/^"([^"]*)"/\1/' "$1" | cut -d , -f 1,2,7
}

step_kernels() {
    bin/ParVts.Bench gpu --device "$device" --repeats "$repeats" --out "$out/kernels.json" --markdown "$out/kernels.md"
}

# --- what is there, as one object and one page ---------------------------------------------------------------------

json_of() { if [ -s "$1" ]; then cat "$1"; else echo null; fi; }

summary_json() {
    printf '{"date": "%s", "device": "%s", "machine": ' "$day" "$device"
    json_of "$out/machine.json"
    printf ', "tests": '
    json_of "$out/tests.json"
    printf ', "evaluation_cpu": '
    json_of "$out/evaluation-cpu.json"
    printf ', "evaluation": '
    # The simulated GPU's times mean nothing: they are not handed on.
    if [ "$device" = sim ]; then echo null; else json_of "$out/evaluation-${device/:/-}.json"; fi
    printf ', "kernels": '
    json_of "$out/kernels.json"
    printf '}\n'
}

summary_page() {
    echo "# $gpu, $day"
    echo
    echo "Made by \`run.sh\` of the GPU bundle (\`./build.sh gpu-bundle\`), with \`--device $device\`."
    [ "$device" != sim ] || echo "**The simulated GPU: this shows that the script works. No figure here says anything about a GPU.**"
    if [ -s "$out/machine.txt" ]; then
        printf '\n## Machine\n\n```\n'
        # Without nvidia-smi's table, which names processes and moments.
        sed -e '/^[A-Z][a-z][a-z] .* [0-9:]* [0-9]*$/d' -e '/^[+|]/d' -e '/^ *$/d' "$out/machine.txt"
        printf '```\n'
    fi
    if [ -s "$out/tests.txt" ]; then
        printf '\n## Device tests\n\n%d passed, %d failed, %d skipped.\n' "$(count succeeded)" "$(count failed)" "$(count skipped)"
        sed -n 's/^failed \(.*\)/- failed: \1/p' "$out/tests.txt"
    fi
    if [ -s "$out/conformance.txt" ]; then
        printf '\n## Simulator against GPU\n\n'
        sed 's/$/  /' "$out/conformance.txt"
    fi
    if [ -s "$out/evaluation.txt" ]; then
        printf '\n## Demo model\n\n'
        sed 's/^/- /' "$out/evaluation.txt"
    fi
    if [ -s "$out/kernels.md" ]; then
        printf '\n## Operations\n\n'
        cat "$out/kernels.md"
    fi
}

day=$(date -u +%Y-%m-%d)
gpu=$(bin/ParVts.Bench gpu-name --device "$device") || { step_machine; echo "run.sh: no device '$device'" >&2; exit 4; }
failed=()
for step in "${steps[@]}"; do
    echo "== $step"
    start=$SECONDS
    "step_$step" || failed+=("$step")
    echo "== $step: $((SECONDS - start)) s"
done
summary_json >"$out/gpu-$gpu-$day.json"
summary_page >"$out/gpu-$gpu-$day.md"
echo "written: $out/gpu-$gpu-$day.json, $out/gpu-$gpu-$day.md"
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
echo "every step succeeded: ${steps[*]}"
