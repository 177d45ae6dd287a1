# Records a run with Nsight Systems, the steady part alone, and prints where its time went (docs/profiling.md).
#   nsys.ps1 PRESET [-Out NAME] [-Graphs] [RUN OPTIONS]      PRESET: run, prefill, decode, parvts
[CmdletBinding(PositionalBinding = $false)]
param(
    [Parameter(Mandatory, Position = 0)] [string] $Preset,
    [string] $Out,
    [string] $Nsys = 'nsys',
    [switch] $Graphs,
    [Parameter(ValueFromRemainingArguments)] [string[]] $RunOptions = @()
)
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'presets.ps1')

if (-not $Out) { $Out = Join-Path $Root "artifacts/profile/nsys-$Preset" }
$run = Get-RunOptions $Preset $RunOptions
$options = @('--trace=cuda,nvtx,cublas', '--sample=none', '--force-overwrite=true', '--output', $Out)
if ($Preset -ne 'run') {
    # The range is there on every device; cuProfilerStart, which stands beside it, on a GPU alone.
    $options += '--capture-range=nvtx', '--nvtx-capture=steady@ParVts', '--capture-range-end=stop'
}
if ($Graphs) { $options += '--cuda-graph-trace=node' }
elseif (-not (Test-Option $run '--no-graphs')) { $run += '--no-graphs' }

New-Item -ItemType Directory -Force (Split-Path $Out) | Out-Null
$lines = Invoke-Checked (@($Nsys, 'profile') + $options + @(Find-Parvts) + @('run') + $run + @('--json'))

# nsys speaks on standard output too; the runner's object is a line of its own.
$lines | Where-Object { $_.StartsWith('{') } | Set-Content -Encoding utf8 "$Out.json"
Invoke-Checked @($Nsys, 'export', '--type', 'sqlite', '--force-overwrite=true', '--output', "$Out.sqlite", "$Out.nsys-rep") | Out-Null
Invoke-Checked @('python', (Join-Path $PSScriptRoot 'report.py'), "$Out.sqlite", '--run', "$Out.json")
