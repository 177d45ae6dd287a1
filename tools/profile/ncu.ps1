# Measures kernels of a run with Nsight Compute, the steady part alone, and prints them beside the limits (docs/profiling.md). Needs a GPU.
#   ncu.ps1 PRESET|KERNEL [-Count N] [-Out NAME] [-PeakGbs G] [RUN OPTIONS]      PRESET: prefill, decode, parvts
[CmdletBinding(PositionalBinding = $false)]
param(
    [Parameter(Mandatory, Position = 0)] [string] $Name,
    [string] $Out,
    [int] $Count = 400,
    [double] $PeakGbs = 0,
    [Parameter(ValueFromRemainingArguments)] [string[]] $RunOptions = @()
)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'presets.ps1')

if (-not $Out) { $Out = Join-Path $Root "artifacts/profile/ncu-$Name" }
$preset = $Name
switch ($Name) {
    { $_ -in 'prefill', 'parvts' } { $filter = @('--nvtx', '--nvtx-include', 'ParVts@steady/prefill/') }
    'decode' { $filter = @('--nvtx', '--nvtx-include', 'ParVts@steady/decode/') }
    default { $preset = 'decode'; $filter = @('--kernel-name', $Name) }
}

# Once is enough: every kernel is run several times over, for a few counters each time.
$run = Get-RunOptions $preset (@('--repeat', '1', '--no-graphs', '--profile-kernels') + $RunOptions)
$options = @('--profile-from-start', 'off') + $filter + @('--launch-count', $Count, '--force-overwrite', '--import-source', 'yes', '--export', $Out)
foreach ($section in 'SpeedOfLight', 'MemoryWorkloadAnalysis', 'ComputeWorkloadAnalysis', 'LaunchStats', 'Occupancy', 'SourceCounters') {
    $options += '--section', $section
}
$options += '--metrics', 'dram__bytes.sum,gpu__time_duration.sum'

New-Item -ItemType Directory -Force (Split-Path $Out) | Out-Null
Invoke-Checked (@('ncu') + $options + @(Find-Parvts) + @('run') + $run) | Out-Host
Invoke-Checked @('ncu', '--import', "$Out.ncu-rep", '--csv', '--page', 'raw') | Set-Content -Encoding utf8 "$Out.csv"
$peak = if ($PeakGbs -gt 0) { @('--peak-gbs', $PeakGbs) } else { @() }
Invoke-Checked (@('python', (Join-Path $PSScriptRoot 'report.py'), '--ncu', "$Out.csv") + $peak)
