#!/usr/bin/env bash
# One script for everything one does with this repository; './build.sh help' lists the verbs.
# Each verb installs what it lacks, so that any of them may be the first thing typed in a fresh clone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly solution=ParVts.Native.sln
readonly configuration=Release
readonly framework=net10.0
readonly sdk_major=10.0

export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_CLI_UI_LANGUAGE=en
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 DOTNET_GENERATE_ASPNET_CERTIFICATE=false
export PATH="$PATH:/usr/sbin:/sbin"

usage() {
    cat <<'TEXT'
usage: ./build.sh VERB [options]

  setup                 install what building and testing need (.NET SDK 10, libturbojpeg, libwebp, Chromium)
  build                 build everything
  run [ARGS]            ask the demo model a question about a picture; with ARGS, run 'parvts ARGS' instead
                        (ARGS that begin with an option go to 'parvts run')
  test                  build, then run all tests; the last line is 'N passed, N failed, N skipped'
    --full              more and larger cases: minutes become an hour
    --goldens DIR       take the golden data from DIR
    --filter EXPR       only tests whose name matches: a word, or an expression such as 'FullyQualifiedName~Text'
    --no-build          run what was built last
  format [--verify]     format the code, or only say what is not formatted
  bench [--save]        a 1.26 G-parameter model beside llama.cpp and PyTorch, matrix products beside OpenBLAS, alternately;
                        --save writes docs/measurements/cpu-DATE.md (needs 6 GB of disk and some minutes; see tools/peers)
  bench schedules [--save]
                        policies beside dense on that model, and from one picture to five: 'parvts bench', twice (a quarter of an hour)
  native [KIND]...      the C library for hosts in other languages, into artifacts/native; KIND: base, avx2, avx512 (this machine's)
  mutants [WORD]        plants known faults one at a time, and shows which test notices each
  pack                  what is published, into artifacts/packages: a tarball, NuGet packages, a Debian package, an SBOM, checksums
    --quick             the C library for this machine alone, as it was built last
    --out DIR           into DIR, which is emptied first
  gpu-bundle            device tests, runner, demo model and kernel benchmark as artifacts/gpu-bundle-VERSION.tar.xz,
                        for a GPU machine with no .NET and no network (tools/gpu-bundle/README.md)
  clean                 remove all that was built
  help                  this text
TEXT
}

say() { printf '%s\n' "$*" >&2; }
die() { say "build.sh: $1"; exit "${2:-1}"; }

# --- what has to be there ---------------------------------------------------------------------------------------

# The whole output is read before it is searched: a grep -q that leaves early would fail the pipe.
has_library() { [[ "$(ldconfig -p 2>/dev/null)" == *"$1"* ]]; }

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_updated=
apt_update() {
    [ -n "$apt_updated" ] || apt-get update -q >&2 || say "apt-get update did not succeed; going on with what is known"
    apt_updated=1
}

apt_knows() { [ -n "$(apt-cache show "$1" 2>/dev/null)" ]; }

# apt_install PACKAGE...: installs them, or says how. Fails where they are not there afterwards.
apt_install() {
    if ! command -v apt-get >/dev/null; then
        say "this system has no apt; install the equivalent of: $*"
        return 1
    fi
    if ! can_apt; then
        say "not root; type this, then try again:  sudo apt-get install -y $*"
        return 1
    fi
    say "installing: $*"
    apt_update
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends --no-upgrade "$@" >&2
}

find_dotnet() {
    local place sdks
    for place in "" "${DOTNET_ROOT:-}" "$HOME/.dotnet" /usr/share/dotnet /usr/lib/dotnet; do
        [ -z "$place" ] || [ -x "$place/dotnet" ] || continue
        sdks=$(PATH="${place:+$place:}$PATH" dotnet --list-sdks 2>/dev/null) || continue
        if [[ $'\n'$sdks == *$'\n'"$sdk_major".* ]]; then
            if [ -n "$place" ]; then
                export PATH="$place:$PATH" DOTNET_ROOT="$place"
            fi
            return 0
        fi
    done
    return 1
}

need_dotnet() {
    find_dotnet && return
    say ".NET SDK $sdk_major is not here"
    if can_apt; then
        apt_update
        if apt_knows "dotnet-sdk-$sdk_major" && apt_install "dotnet-sdk-$sdk_major" && find_dotnet; then
            return
        fi
    fi
    install_dotnet_in_home && find_dotnet && return
    die "$(cat <<TEXT
no .NET SDK $sdk_major could be installed. Either of these does it; then try again:
  where the archive has it:  sudo apt-get install -y dotnet-sdk-$sdk_major
  anywhere:                  curl -fsSL https://dot.net/v1/dotnet-install.sh | bash -s -- --channel $sdk_major
More ways: https://learn.microsoft.com/dotnet/core/install/linux
TEXT
)"
}

# Microsoft's own script puts the SDK into ~/.dotnet: for systems whose archive lacks it.
install_dotnet_in_home() {
    local package ssl=() script
    if can_apt; then
        for package in libssl3t64 libssl3; do
            if apt_knows "$package"; then ssl=("$package"); break; fi
        done
        command -v curl >/dev/null && has_library libssl.so.3 && has_library libstdc++.so.6 ||
            apt_install ca-certificates curl libstdc++6 "${ssl[@]}" || return 1
    fi
    command -v curl >/dev/null || return 1
    say "installing the .NET SDK into $HOME/.dotnet"
    script=$(mktemp)
    if curl -fsSL --connect-timeout 20 -o "$script" https://dot.net/v1/dotnet-install.sh; then
        bash "$script" --channel "$sdk_major" --install-dir "$HOME/.dotnet" >&2 || { rm -f "$script"; return 1; }
    else
        rm -f "$script"
        return 1
    fi
    rm -f "$script"
}

# JPEG and WebP go through the system's libraries. Not fatal: PNG, PPM and BMP need none, and their tests say what they miss.
want_image_libraries() {
    local packages=()
    has_library libturbojpeg.so.0 || packages+=(libturbojpeg0)
    has_library libwebp.so.7 || packages+=(libwebp7)
    [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}" || say "going on without ${packages[*]}"
}

# Plots become PNG through librsvg and need a font. Not fatal: SVG needs neither, and the test of it is skipped by name.
want_plot_libraries() {
    local packages=()
    has_library librsvg-2.so.2 || packages+=(librsvg2-2)
    [ -d /usr/share/fonts/truetype ] || packages+=(fonts-dejavu-core)
    [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}" || say "going on without ${packages[*]}"
}

# The C library is tested from C and Python. Not fatal: those tests are skipped by name.
want_native() {
    local packages=()
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    [ -e /usr/include/zlib.h ] || packages+=(zlib1g-dev)
    command -v python3 >/dev/null || packages+=(python3)
    command -v pkg-config >/dev/null || packages+=(pkg-config)
    command -v valgrind >/dev/null || packages+=(valgrind)
    [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}" || { say "going on without the C library"; return 0; }
    verb_native || say "going on without the C library"
}

# Ranges are tested under Nsight Systems, in a CI: 172 MB. Not fatal: those tests are skipped by name.
want_nsys() {
    [ "${CI:-}" = true ] || return 0
    command -v nsys >/dev/null || can_apt || return 0
    command -v nsys >/dev/null || tools/profile/get-nsys.sh >&2 || say "going on without nsys"
}

# The report of 'explain' is tested in a browser. Not fatal: without one its tests are skipped, by name.
want_browser() {
    local packages=()
    [ -z "${PARVTS_CHROMIUM:-}" ] || return 0
    [ -x /usr/bin/chromium ] || packages+=(chromium)
    [ -x /usr/bin/chromedriver ] || packages+=(chromium-driver)
    [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}" || say "going on without ${packages[*]}"
}

# The kernels' compiler, for tests that need no GPU. Not fatal: those tests are skipped by name. Debian keeps it in non-free,
# Ubuntu in multiverse; Debian's component is added as a source of its own, beside what is there.
want_nvrtc() {
    local package known=
    ! has_library libnvrtc.so || return 0
    if can_apt; then
        apt_update
        known=$(nvrtc_package)
        if [ -z "$known" ] && add_non_free; then
            apt_updated=
            apt_update
            known=$(nvrtc_package)
        fi
    fi
    package=${known:-libnvrtc11.2}
    apt_install "$package" || say "going on without NVRTC"
}

nvrtc_package() {
    local package
    for package in libnvrtc12 libnvrtc11.2; do
        if apt_knows "$package"; then echo "$package"; return; fi
    done
}

add_non_free() {
    local uris suites key
    local file=/etc/apt/sources.list.d/debian.sources
    grep -q '^ID=debian' /etc/os-release 2>/dev/null && [ -f "$file" ] || return 1
    uris=$(sed -n 's/^URIs: *//p' "$file" | head -n 1)
    suites=$(sed -n 's/^Suites: *//p' "$file" | head -n 1)
    key=$(sed -n 's/^Signed-By: *//p' "$file" | head -n 1)
    say "adding Debian's component non-free to the package sources (for NVRTC)"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: non-free\nSigned-By: %s\n' "$uris" "$suites" "$key" \
        >/etc/apt/sources.list.d/debian-non-free.sources
}

# --- verbs ------------------------------------------------------------------------------------------------------

# Quiet where all is well, and never on standard output: 'run --json' prints nothing but its object.
dotnet_build() {
    local options=(-c "$configuration" -v quiet -nologo -clp:ErrorsOnly -p:RestoreLockedMode=true) log
    # One compiler serves all projects, which takes half of the time; in a CI nothing may outlive the build.
    options+=(-p:UseSharedCompilation=true)
    [ "${CI:-}" != true ] || options+=(-nodeReuse:false)
    say "building $1"
    log=$(dotnet build "$1" "${options[@]}" 2>&1) || { say "$log"; die "$1 does not build"; }
    [ "${CI:-}" != true ] || dotnet build-server shutdown --vbcscompiler >/dev/null 2>&1 || say "the compiler's server goes on for a while"
}

verb_setup() {
    need_dotnet
    want_image_libraries
    want_plot_libraries
    want_nvrtc
    want_browser
    say ".NET SDK $(dotnet --version)"
}

verb_build() {
    [ $# -eq 0 ] || die "build takes no options" 2
    need_dotnet
    dotnet_build "$solution"
}

verb_run() {
    need_dotnet
    dotnet_build src/ParVts.Runner
    local parvts=(dotnet "src/ParVts.Runner/bin/$configuration/$framework/parvts.dll")
    if [ $# -eq 0 ]; then
        local demo=tests/data/demo-model
        set -- run --model "$demo/model" --image "$demo/eval/images/0000.png" --prompt "how many objects are there?" --show
    elif [[ $1 == -* ]]; then
        set -- run "$@"
    fi
    exec "${parvts[@]}" "$@"
}

# The kind of build that src/ParVts.Native/loader.c picks on this machine.
native_kind() {
    local flags
    flags=" $(grep -m1 '^flags' /proc/cpuinfo 2>/dev/null | cut -d: -f2-) "
    case $flags in
        *" avx512vbmi "*) echo avx512 ;;
        *" avx2 "*) echo avx2 ;;
        *) echo base ;;
    esac
}

verb_native() {
    [ $# -gt 0 ] || set -- "$(native_kind)"
    need_dotnet
    command -v cc >/dev/null || die "native: there is no C compiler; type this, then try again:  apt-get install -y gcc libc6-dev zlib1g-dev"
    local kind out=artifacts/native log options=(-c "$configuration" -v quiet -nologo)
    # 'pack' builds apart from what is tested.
    [ -z "${PARVTS_ARTIFACTS:-}" ] || options+=(--artifacts-path "$PARVTS_ARTIFACTS" -nodeReuse:false -p:UseSharedCompilation=false)
    mkdir -p "$out"
    for kind in "$@"; do
        case $kind in base | avx2 | avx512) ;; *) die "native: there is no kind '$kind' (base, avx2, avx512)" 2 ;; esac
        say "compiling libparvts for $kind"
        log=$(dotnet publish src/ParVts.Native "${options[@]}" -p:SimdPath="$kind" -p:CppCompilerAndLinker=gcc -p:RunAnalyzers=false \
            -p:RestoreLockedMode=true -o "$out/$kind" 2>&1) || { say "$log"; die "libparvts does not build"; }
        mv "$out/$kind/parvts-native.so" "$out/libparvts-$kind.so"
        rm -rf "${out:?}/$kind"
    done
    cc -std=c11 -O2 -Wall -Wextra -Werror -fPIC -fvisibility=hidden -shared -Iinclude -Wl,-soname,libparvts.so.1 \
        src/ParVts.Native/loader.c -o "$out/libparvts.so.1" -ldl
    ln -sf libparvts.so.1 "$out/libparvts.so"
    cp include/parvts.h "$out/"
}

verb_test() {
    local filter=() build=1
    while [ $# -gt 0 ]; do
        case $1 in
            --full) export PARVTS_TEST_FULL=1 ;;
            --no-build) build= ;;
            --goldens)
                [ $# -ge 2 ] || die "--goldens needs a folder" 2
                [ -d "$2" ] || die "--goldens: there is no folder '$2'" 2
                PARVTS_GOLDENS=$(cd "$2" && pwd)
                export PARVTS_GOLDENS
                shift ;;
            --filter)
                [ $# -ge 2 ] || die "--filter needs an expression" 2
                case $2 in
                    *[=~]*) filter=(--filter "$2") ;;
                    *) filter=(--filter "FullyQualifiedName~$2") ;;
                esac
                shift ;;
            *) die "test: unknown option '$1' (see './build.sh help')" 2 ;;
        esac
        shift
    done
    need_dotnet
    want_image_libraries
    want_plot_libraries
    want_nvrtc
    want_browser
    want_nsys
    [ -z "$build" ] || dotnet_build "$solution"
    [ -z "$build" ] || want_native

    local logs passed=0 failed=0 skipped=0 broken=() name names=()
    logs=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now
    trap "end_jobs; rm -rf '$logs'" EXIT
    trap 'exit 130' INT TERM
    mapfile -t names < <(test_projects)

    # Two at a time, since a project runs its tests one after the other. As jobs, so that Ctrl-C means to them what it means.
    set -m
    for name in "${names[@]}"; do
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n || true; done
        { run_tests "$name" "$logs/$name" "${filter[@]}" </dev/null >"$logs/.$name" 2>&1 || touch "$logs/.$name.broken"; flock "$logs" cat "$logs/.$name"; } &
    done
    wait
    set +m
    for name in "${names[@]}"; do
        [ ! -e "$logs/.$name.broken" ] || broken+=("$name")
        passed=$((passed + $(count succeeded "$logs/$name")))
        failed=$((failed + $(count failed "$logs/$name")))
        skipped=$((skipped + $(count skipped "$logs/$name")))
    done

    list skipped "$logs"
    list failed "$logs"
    [ ${#broken[@]} -eq 0 ] || say "did not run to the end: ${broken[*]}"
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ] && [ ${#broken[@]} -eq 0 ] || exit 1
    [ "$passed" -gt 0 ] || die "no test ran"
}

# Those that take longest first, so that two lanes end together.
test_projects() {
    local project name first=(ParVts.Runner.Tests ParVts.Gpu.Tests ParVts.Cuda.Tests)
    printf '%s\n' "${first[@]}"
    for project in tests/*.Tests; do
        name=${project##*/}
        [[ " ${first[*]} " == *" $name "* ]] || echo "$name"
    done
}

end_jobs() {
    local job
    for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done
}

# run_tests NAME LOG OPTIONS...: fails where the program ended in another way than with tests that passed or failed.
run_tests() {
    local name=$1 log=$2 program status=0
    shift 2
    program="tests/$name/bin/$configuration/$framework/$name.dll"
    echo "== $name"
    if [ ! -f "$program" ]; then
        echo "$program is not built" | tee "$log"
        return 1
    fi
    dotnet "$program" --progress off --no-ansi --show-test-results failed,skipped --show-stdout Failed --show-stderr Failed "$@" 2>&1 |
        tee "$log" || status=${PIPESTATUS[0]}
    # 0: all passed; 2: some failed; 8: none matched, which is for the sum over all projects to judge.
    case $status in
        0 | 2 | 8) grep -q '^  total: [0-9]' "$log" ;;
        *) echo "$name ended with exit code $status"; return 1 ;;
    esac
}

count() {
    local number
    number=$(sed -n "s/^  $1: \([0-9]*\).*/\1/p" "$2" | tail -n 1)
    echo "${number:-0}"
}

# list skipped|failed LOGS: the names, and for what was skipped the reason, which is the line after.
list() {
    local found
    if [ "$1" = skipped ]; then
        found=$(awk '/^skipped / { name = substr($0, 9); getline; sub(/^ +/, ""); print "  " name ": " $0 }' "$2"/*)
    else
        found=$(sed -n "s/^failed /  /p" "$2"/*)
    fi
    [ -z "$found" ] || printf '\n%s:\n%s\n' "$1" "$found"
}

verb_format() {
    local verify=()
    case ${1:-} in
        "") ;;
        --verify) verify=(--verify-no-changes) ;;
        *) die "format: unknown option '$1'" 2 ;;
    esac
    need_dotnet
    dotnet restore "$solution" --locked-mode -v quiet >&2
    dotnet format "$solution" --no-restore "${verify[@]}"
}

verb_bench() {
    need_dotnet
    dotnet_build src/ParVts.Runner
    if [ "${1:-}" = schedules ]; then
        bench_schedules "${@:2}"
        return
    fi
    has_library libopenblas.so.0 || apt_install libopenblas0 || say "going on without OpenBLAS"
    command -v node >/dev/null || apt_install nodejs npm || say "going on without llama.cpp"
    ! command -v node >/dev/null || command -v npm >/dev/null || apt_install npm || say "going on without llama.cpp"
    python3 -c 'import numpy' 2>/dev/null || /usr/bin/python3 -c 'import numpy' 2>/dev/null ||
        apt_install python3-numpy || say "going on without llama.cpp"
    dotnet_build tools/ParVts.Bench
    exec tools/peers/bench.sh "$@"
}

# Both tables, each by one command, which stands on its page.
bench_schedules() {
    local pages=artifacts day
    case ${1:-} in
        "") mkdir -p artifacts ;;
        --save) pages=docs/measurements ;;
        *) die "bench schedules: unknown option '$1'" 2 ;;
    esac
    day=$(date -u +%Y-%m-%d)
    local parvts=(dotnet "src/ParVts.Runner/bin/$configuration/$framework/parvts.dll") model=(--config tools/peers/llava-1.3b --device cpu --threads 2)
    "${parvts[@]}" bench "${model[@]}" --policy parvts:keep=64,migrate=3,cls-prune:keep=64,fastv:layer=3,keep=64,vtw:layer=11 \
        --new-tokens 8 --repeats 5 --markdown "$pages/schedules-$day.md"
    "${parvts[@]}" bench "${model[@]}" --policy parvts:keep=64,migrate=3 --images 1,2,3,4,5 --new-tokens 1 --warm-up 0 --repeats 2 \
        --markdown "$pages/growth-$day.md" --plot "$pages/growth-$day.svg"
    say "written: $pages/schedules-$day.md, $pages/growth-$day.md and its plot"
}

verb_mutants() {
    need_dotnet
    exec tools/mutants/run.sh "$@"
}

verb_pack() {
    need_dotnet
    { command -v cc && command -v dpkg-deb && python3 -c 'import json, xml.etree' && [ -e /usr/include/zlib.h ]; } >/dev/null 2>&1 ||
        apt_install gcc libc6-dev zlib1g-dev dpkg python3 || die "pack: it needs a C compiler, zlib's headers, dpkg-deb and python3"
    exec tools/pack/make.sh "$@"
}

verb_gpu-bundle() {
    [ $# -eq 0 ] || die "gpu-bundle takes no options" 2
    need_dotnet
    command -v xz >/dev/null || apt_install xz-utils || die "xz is not here"
    exec tools/gpu-bundle/make.sh
}

verb_clean() {
    rm -rf artifacts out TestResults
    find src tests tools examples -type d \( -name bin -o -name obj -o -name TestResults -o -name __pycache__ \) -prune -exec rm -rf {} +
}

verb=${1:-help}
[ $# -eq 0 ] || shift
case $verb in
    setup | build | run | test | format | bench | native | mutants | pack | gpu-bundle | clean) "verb_$verb" "$@" ;;
    help | -h | --help) usage ;;
    *) usage >&2; die "there is no verb '$verb'" 2 ;;
esac
