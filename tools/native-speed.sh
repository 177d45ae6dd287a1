#!/usr/bin/env bash
# What the C ABI costs a token: the table against the engine in the same process, and libparvts (compiled ahead of time) against the engine as
# the runner has it, by turns. 'tools/native-speed.sh [TURNS]' after './build.sh build' and './build.sh native', on a machine that does nothing
# else. Prints medians, quartiles and ratios; the tests of the same names hold loose bounds everywhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PARVTS_SPEED_TURNS=${1:-100}
dotnet tests/ParVts.Native.Tests/bin/Release/net10.0/ParVts.Native.Tests.dll --progress off --no-ansi --filter "FullyQualifiedName~SpeedTests" \
    --show-stdout All | grep 'ms a token\|failed\|skipped'
