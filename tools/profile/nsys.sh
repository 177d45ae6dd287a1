#!/usr/bin/env bash
# Records a run with Nsight Systems, the steady part alone, and prints where its time went (docs/profiling.md).
set -euo pipefail
root='' parvts=() run_options=()
# shellcheck source=tools/profile/presets.sh
. "$(dirname "${BASH_SOURCE[0]}")/presets.sh"

usage() {
    cat <<'TEXT'
usage: tools/profile/nsys.sh PRESET [options] [-- RUN OPTIONS]

  prefill | parvts      five prompts after a warm-up, dense or with the policy 'parvts'
  decode                32 decode steps after a warm-up
  run                   everything, loading and warm-up included
  --out NAME            NAME.nsys-rep, NAME.sqlite, NAME.json; artifacts/profile/nsys-PRESET where not given
  --graphs              record decode steps as graphs, and trace their kernels one by one; without, each launch by itself
  --nsys FILE           this nsys; the one in PATH, or what get-nsys.sh unpacked, where not given
  -- RUN OPTIONS        what 'parvts run' takes: --model, --image, --prompt, --policy, --device …; the demo model where no --model is given
TEXT
}

[ $# -gt 0 ] || { usage >&2; exit 2; }
case $1 in -h | --help | help) usage; exit ;; esac
name=$1
shift
out=$root/artifacts/profile/nsys-$name
graphs=
nsys=
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=${2:?--out needs a name}; shift ;;
        --nsys) nsys=${2:?--nsys needs a file}; shift ;;
        --graphs) graphs=1 ;;
        --) shift; break ;;
        *) die "unknown option '$1' (--help shows what there is)" 2 ;;
    esac
    shift
done
[ -n "$nsys" ] || nsys=$(command -v nsys || true)
[ -n "$nsys" ] || nsys=$("$root/tools/profile/get-nsys.sh" --where) || die "there is no nsys: install Nsight Systems, or run tools/profile/get-nsys.sh"
find_parvts
fill "$name" "$@"

options=("--trace=cuda,nvtx,cublas" --sample=none --cpuctxsw=none --force-overwrite=true --output "$out")
if [ "$name" != run ]; then
    # The range is there on every device; cuProfilerStart, which stands beside it, on a GPU alone.
    options+=(--capture-range=nvtx --nvtx-capture=steady@ParVts --capture-range-end=stop)
fi
if [ -n "$graphs" ]; then
    options+=(--cuda-graph-trace=node)
else
    want --no-graphs
fi

mkdir -p "$(dirname "$out")"
rm -f "$out.nsys-rep" "$out.sqlite"
"$nsys" profile "${options[@]}" "${parvts[@]}" run "${run_options[@]}" --json | tee "$out.log" >&2

# nsys speaks on standard output too; the runner's object is a line of its own.
grep '^{' "$out.log" >"$out.json"
rm -f "$out.log"
"$nsys" export --type sqlite --force-overwrite=true --output "$out.sqlite" "$out.nsys-rep" >&2
python3 "$root/tools/profile/report.py" "$out.sqlite" --run "$out.json"
