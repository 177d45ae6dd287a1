# What nsys.ps1 and ncu.ps1 have in common: which program, what it is asked, which part of it is measured.

$Root = (Resolve-Path (Join-Path $PSScriptRoot '../..')).Path

# The runner: what PARVTS names, else the one that '.\build.ps1 build' made.
function Find-Parvts {
    $built = Join-Path $Root 'src/ParVts.Runner/bin/Release/net10.0/parvts.dll'
    $file = if ($env:PARVTS) { $env:PARVTS } else { $built }
    if (-not (Test-Path $file)) { throw "the runner is not built: .\build.ps1 build, or name one with the variable PARVTS" }
    if ($file.EndsWith('.dll')) { return @('dotnet', $file) }
    return @($file)
}

# The caller's options, and what the preset adds where the caller does not say otherwise.
function Get-RunOptions([string] $Preset, [string[]] $Given) {
    $wanted = switch ($Preset) {
        'run' { , @() }
        'prefill' { , @(@('--max-tokens', '1'), @('--warm-up', '2'), @('--repeat', '5')) }
        'decode' { , @(@('--max-tokens', '33'), @('--ignore-eos'), @('--warm-up', '1')) }
        'parvts' { , @(@('--policy', 'parvts'), @('--max-tokens', '1'), @('--warm-up', '2'), @('--repeat', '5')) }
        default { throw "there is no preset '$Preset'; there are: run, prefill, decode, parvts" }
    }
    $options = @($Given)
    foreach ($option in $wanted) {
        if (-not (Test-Option $options $option[0])) { $options += $option }
    }
    if (-not (Test-Option $options '--model')) {
        $demo = Join-Path $Root 'tests/data/demo-model'
        $options += '--model', "$demo/model", '--image', "$demo/eval/images/0000.png", '--prompt', 'how many objects are there?'
    }
    return $options
}

function Test-Option([string[]] $Options, [string] $Name) {
    foreach ($option in $Options) {
        if ($option -eq $Name -or $option.StartsWith("$Name=")) { return $true }
    }
    return $false
}

# Runs a program with all of its arguments, and fails where it does.
function Invoke-Checked([string[]] $Command) {
    $program, $arguments = $Command
    & $program @arguments
    if ($LASTEXITCODE -ne 0) { throw "$program ended with exit code $LASTEXITCODE" }
}
