#!/usr/bin/env bash
# Measures kernels of a run with Nsight Compute, the steady part alone, and prints them beside the limits (docs/profiling.md). Needs a GPU.
set -euo pipefail
root='' parvts=() run_options=()
# shellcheck source=tools/profile/presets.sh
. "$(dirname "${BASH_SOURCE[0]}")/presets.sh"

usage() {
    cat <<'TEXT'
usage: tools/profile/ncu.sh PRESET|KERNEL [options] [-- RUN OPTIONS]

  prefill | parvts      the kernels of a prompt, dense or with the policy 'parvts'
  decode                the kernels of decode steps
  KERNEL                the kernels of this name, wherever they run: segment_attention, gemv … (docs/kernels.md lists them)
  --count N             stop after N kernels (each is run again and again): 400 where not given
  --out NAME            NAME.ncu-rep and NAME.csv; artifacts/profile/ncu-PRESET where not given
  --peak-gbs G          the memory's limit, for the table
  -- RUN OPTIONS        what 'parvts run' takes; the demo model where no --model is given
TEXT
}

[ $# -gt 0 ] || { usage >&2; exit 2; }
case $1 in -h | --help | help) usage; exit ;; esac
name=$1
shift
preset=$name
case $name in
    prefill | parvts) filter=(--nvtx --nvtx-include "ParVts@steady/prefill/") ;;
    decode) filter=(--nvtx --nvtx-include "ParVts@steady/decode/") ;;
    *) preset=decode filter=(--kernel-name "$name") ;;
esac
out=$root/artifacts/profile/ncu-$name
count=400
peak=()
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=${2:?--out needs a name}; shift ;;
        --count) count=${2:?--count needs a number}; shift ;;
        --peak-gbs) peak=(--peak-gbs "${2:?--peak-gbs needs a number}"); shift ;;
        --) shift; break ;;
        *) die "unknown option '$1' (--help shows what there is)" 2 ;;
    esac
    shift
done
command -v ncu >/dev/null || die "there is no ncu: install Nsight Compute ('parvts doctor' says whether its counters are permitted)"
find_parvts
# Once is enough: every kernel is run several times over, for a few counters each time.
fill "$preset" --repeat 1 --no-graphs --profile-kernels "$@"

mkdir -p "$(dirname "$out")"
ncu --profile-from-start off "${filter[@]}" --launch-count "$count" --force-overwrite --import-source yes --export "$out" \
    --section SpeedOfLight --section MemoryWorkloadAnalysis --section ComputeWorkloadAnalysis --section LaunchStats --section Occupancy \
    --section SourceCounters --metrics dram__bytes.sum,gpu__time_duration.sum \
    "${parvts[@]}" run "${run_options[@]}" >&2
ncu --import "$out.ncu-rep" --csv --page raw >"$out.csv"
python3 "$root/tools/profile/report.py" --ncu "$out.csv" "${peak[@]}"
