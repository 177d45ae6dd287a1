#!/usr/bin/env bash
# What './build.sh gpu-bundle' runs: packs everything that a GPU machine needs into artifacts/gpu-bundle-VERSION.tar.xz.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=$(sed -n 's:.*<Version>\(.*\)</Version>.*:\1:p' Directory.Build.props)
readonly name="gpu-bundle-$version"
readonly root="artifacts/$name"

# The programs share one folder: they have one .NET, and the same assemblies. Restored for a runtime, projects have other lock
# files than in the checkout; those lie with the intermediate files, as everything that is built here does.
readonly publish=(
    dotnet publish -c Release -r linux-x64 --self-contained -v quiet -nologo
    --artifacts-path artifacts/gpu-bundle-build -p:NuGetLockFilePath=obj/gpu-bundle.lock.json -o "$root/bin"
)

rm -rf "$root" "$root.tar.xz"
mkdir -p "$root/tests"
for project in src/ParVts.Runner tools/ParVts.Bench tests/ParVts.Gpu.Tests; do
    echo "publishing $project" >&2
    "${publish[@]}" "$project" >&2
done
find "$root/bin" -name '*.pdb' -delete

# As a checkout lies: tests look for the solution, and find their data from there.
cp ParVts.Native.sln LICENSE "$root/"
cp -r tests/data "$root/tests/"
cp tools/gpu-bundle/run.sh tools/gpu-bundle/README.md "$root/"

echo "packing" >&2
tar -C artifacts --sort=name --owner=0 --group=0 --numeric-owner --mtime='2026-01-01 00:00Z' -cf - "$name" | xz -6 -T2 >"$root.tar.xz"
du -h "$root.tar.xz"
