#!/usr/bin/env bash
# What './build.sh pack' runs: everything that is published, into artifacts/packages. Two runs on the same commit give the same bytes,
# wherever the checkout lies (tools/pack/README.md).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly work=artifacts/pack
out=artifacts/packages kinds=(base avx2 avx512) quick='' gzip_level=9 deb_compression=(-Zxz -z6)
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=1 gzip_level=1 deb_compression=(-Zgzip -z1) ;;
        --out)
            [ $# -ge 2 ] || { echo "pack: --out needs a folder" >&2; exit 2; }
            out=$2
            shift ;;
        *) echo "pack: unknown option '$1' (see './build.sh help')" >&2; exit 2 ;;
    esac
    shift
done

say() { printf 'pack, %d s: %s\n' "$SECONDS" "$*" >&2; }
die() { say "$1"; exit "${2:-1}"; }

version=$(sed -n 's:.*<Version>\(.*\)</Version>.*:\1:p' Directory.Build.props)
# The commit's time stands for the time of everything.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)}
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC ContinuousIntegrationBuild=true
umask 022
readonly name="parvts-$version-linux-x64" tree="$work/tree" deb="$work/deb"

# --- what is built -----------------------------------------------------------------------------------------------

# Apart from what is built to be tested: file names inside are mapped, whoever built it and wherever.
build_managed() {
    say "NuGet packages, and the runner with .NET inside"
    local log options=(
        -nologo -v:quiet -nodeReuse:false -p:Configuration=Release -p:PackRuntime=linux-x64 -p:UseSharedCompilation=false -p:RunAnalyzers=false
        -p:ArtifactsPath="$PWD/$work/build" -p:DeterministicTimestamp="$SOURCE_DATE_EPOCH" -p:Packages="$out/" -p:Runner="$PWD/$work/runner/"
        ${PARVTS_REPOSITORY_URL:+-p:RepositoryUrl="$PARVTS_REPOSITORY_URL"})
    log=$(dotnet msbuild src/ParVts.Runner -t:Restore "${options[@]}" 2>&1 && dotnet msbuild tools/pack/managed.proj -m:2 "${options[@]}" 2>&1) ||
        { printf '%s\n' "$log" >&2; die "the managed parts do not build"; }
    rm -f "$work"/runner/*.pdb "$work"/runner/*.xml
}

# In a hurry, what was built last for this machine does.
build_native() {
    local kind wanted=("${kinds[@]}")
    [ -z "$quick" ] || wanted=()
    if [ -z "$quick" ] || [ ! -e artifacts/native/libparvts.so.1 ]; then
        PARVTS_ARTIFACTS="$PWD/$work/build" ./build.sh native "${wanted[@]}"
    fi
    [ -n "$quick" ] || return 0
    kinds=()
    for kind in base avx2 avx512; do [ ! -e "artifacts/native/libparvts-$kind.so" ] || kinds+=("$kind"); done
}

# --- where it lies -----------------------------------------------------------------------------------------------

# stage ROOT LIBRARIES: the same tree for tarball (root .) and Debian package (root usr); LIBRARIES is where linkers look.
stage() {
    local root=$1 libraries=$2 private up kind page
    private="$root/lib/parvts"
    mkdir -p "$root/bin" "$private" "$root/include" "$root/$libraries/pkgconfig" "$root/share/parvts" "$root/share/doc/parvts" "$root/share/man/man1"
    cp -r "$work/runner/." "$private/"
    ln -s ../lib/parvts/parvts "$root/bin/parvts"
    cp artifacts/native/libparvts.so.1 "$private/"
    for kind in "${kinds[@]}"; do cp "artifacts/native/libparvts-$kind.so" "$private/"; done
    up=$(realpath -s --relative-to="$root/$libraries" "$private")
    ln -s "$up/libparvts.so.1" "$root/$libraries/libparvts.so.1"
    ln -s libparvts.so.1 "$root/$libraries/libparvts.so"
    cp include/parvts.h "$root/include/"
    cp -r kernels "$root/share/parvts/"
    cp -r examples "$root/share/doc/parvts/"
    find "$root/share/doc/parvts/examples" \( -name bin -o -name obj -o -name __pycache__ -o -name packages.lock.json \) -prune -exec rm -rf {} +
    cp README.md CHANGELOG.md "$root/share/doc/parvts/"
    page="$root/share/man/man1/parvts.1"
    sed "s/@VERSION@/$version/; s/@DATE@/$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d)/" tools/pack/parvts.1 >"$page"
    gzip -9n "$page"
}

# pkgconfig FILE PREFIX LIBRARIES
pkgconfig() {
    cat >"$1" <<TEXT
prefix=$2
includedir=\${prefix}/include
libdir=\${prefix}/$3

Name: parvts
Description: Vision-language models with visual-token schedules inside the decoder
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} -lparvts
TEXT
}

# Modes and times do not depend on who unpacked the checkout.
settle() {
    find "$1" -type d -exec chmod 755 {} +
    find "$1" -type f -exec chmod 644 {} +
    find "$1" -type f \( -name parvts -o -name createdump \) -path '*/lib/parvts/*' -exec chmod 755 {} +
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# --- the archives ------------------------------------------------------------------------------------------------

make_tarball() {
    say "$name.tar.gz"
    stage "$tree/$name" lib
    cp LICENSE "$tree/$name/"
    # shellcheck disable=SC2016 # pkg-config expands it
    pkgconfig "$tree/$name/lib/pkgconfig/parvts.pc" '${pcfiledir}/../..' lib
    tools/pack/bill.py notices --runner "$work/runner" --out "$tree/$name/THIRD-PARTY-NOTICES"
    tools/pack/bill.py sbom --runner "$work/runner" --root "$tree/$name" --packages "$out" --name "$name" --version "$version" \
        --out "$tree/$name/share/doc/parvts/sbom.spdx.json"
    cp "$tree/$name/share/doc/parvts/sbom.spdx.json" "$out/$name.spdx.json"
    settle "$tree"
    tar -C "$tree" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -cf - "$name" | gzip -"$gzip_level" -n >"$out/$name.tar.gz"
}

make_deb() {
    local file="parvts_${version}_amd64.deb" date documents=$deb/usr/share/doc/parvts
    say "$file"
    date=$(date -u -R -d "@$SOURCE_DATE_EPOCH")
    stage "$deb/usr" lib/x86_64-linux-gnu
    pkgconfig "$deb/usr/lib/x86_64-linux-gnu/pkgconfig/parvts.pc" /usr lib/x86_64-linux-gnu
    gzip -9n "$documents/CHANGELOG.md"
    printf 'parvts (%s) unstable; urgency=medium\n\n  * CHANGELOG.md.gz says what has changed.\n\n -- %s  %s\n' "$version" "$maintainer" "$date" |
        gzip -9n >"$documents/changelog.gz"
    cat tools/pack/copyright "$tree/$name/THIRD-PARTY-NOTICES" >"$documents/copyright"
    tools/pack/bill.py sbom --runner "$work/runner" --root "$deb" --packages "$out" --name "parvts_$version" --version "$version" \
        --out "$documents/sbom.spdx.json"
    mkdir "$deb/DEBIAN"
    sed "s/@VERSION@/$version/; s/@SIZE@/$(du -sk --apparent-size "$deb/usr" | cut -f 1)/; s/@LIBC@/$(newest_libc)/; s/@MAINTAINER@/$maintainer/" \
        tools/pack/control >"$deb/DEBIAN/control"
    echo 'activate-noawait ldconfig' >"$deb/DEBIAN/triggers"
    (cd "$deb" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$deb/DEBIAN/md5sums"
    settle "$deb"
    dpkg-deb --root-owner-group "${deb_compression[@]}" --build "$deb" "$out/$file" >/dev/null
}

# The newest version of libc that anything in the package asks for.
newest_libc() {
    find "$deb/usr/lib/parvts" -type f \( -name '*.so*' -o -name parvts \) -exec objdump -T {} + | sed -n 's/.*(\{0,1\}GLIBC_\([0-9][0-9.]*\).*/\1/p' | sort -Vu | tail -n 1
}

maintainer=${PARVTS_MAINTAINER:-The ParVts.Native authors <authors@parvts.invalid>}
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -rf "$out" "$tree" "$deb" "$work/runner"
[ -n "$quick" ] || rm -rf "$work"
mkdir -p "$out" "$work"
build_managed
build_native
make_tarball
make_deb
(cd "$out" && sha256sum -- * >../SHA256SUMS.new && mv ../SHA256SUMS.new SHA256SUMS)
cat "$out/SHA256SUMS"
