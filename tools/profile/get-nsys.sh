#!/usr/bin/env bash
# Nsight Systems from Debian's packages (non-free), unpacked into a folder of its own: no driver, nothing installed, nothing else changed.
# 172 MB to download, 600 MB unpacked. For machines without a GPU, CI among them, where apt would pull the whole driver in.
set -euo pipefail

folder=${PARVTS_NSIGHT:-$HOME/.cache/parvts/nsight-systems}
nsys=$folder/usr/lib/x86_64-linux-gnu/nsight-systems/target-linux-x64/nsys

case ${1:-} in
    --where)
        [ -x "$nsys" ] || exit 1
        echo "$nsys"
        exit ;;
    "") ;;
    *) echo "usage: tools/profile/get-nsys.sh [--where]" >&2; exit 2 ;;
esac

if [ ! -x "$nsys" ]; then
    command -v apt-get >/dev/null || { echo "get-nsys.sh: this system has no apt; install Nsight Systems from NVIDIA" >&2; exit 1; }
    parts=$(mktemp -d)
    trap 'rm -rf "$parts"' EXIT
    if ! (cd "$parts" && apt-get download -q nsight-systems nsight-systems-target libssh-4) >&2; then
        echo "get-nsys.sh: the packages are not known here: add Debian's component non-free and 'apt-get update' (./build.sh setup does the former)" >&2
        exit 1
    fi
    mkdir -p "$parts/root" "$(dirname "$folder")"
    for package in "$parts"/*.deb; do
        dpkg-deb -x "$package" "$parts/root"
    done
    # The two halves of the program look for each other beside themselves.
    ln -s ../../nsight-systems/host-linux-x64 "$parts/root/usr/lib/x86_64-linux-gnu/nsight-systems/host-linux-x64"
    rm -rf "$folder"
    mv "$parts/root" "$folder"
fi
echo "$nsys"
