<#
.SYNOPSIS
    One script for everything one does with this repository; '.\build.ps1 help' lists the verbs.
.DESCRIPTION
    The same verbs as build.sh. Each installs what it lacks (through winget), or says how.
#>
param([Parameter(Position = 0)][string] $Verb = 'help', [Parameter(ValueFromRemainingArguments)][string[]] $Rest = @())

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
Set-Location $PSScriptRoot

$solution = 'ParVts.Native.sln'
$framework = 'net10.0'
$env:DOTNET_NOLOGO = '1'
$env:DOTNET_CLI_TELEMETRY_OPTOUT = '1'
$env:DOTNET_CLI_UI_LANGUAGE = 'en'

$usage = @'
usage: .\build.ps1 VERB [options]

  setup                 install what building and testing need (.NET SDK 10; says how to get libjpeg-turbo and libwebp)
  build                 build everything
  run [ARGS]            ask the demo model a question about a picture; with ARGS, run 'parvts ARGS' instead
                        (ARGS that begin with an option go to 'parvts run')
  test                  build, then run all tests; the last line is 'N passed, N failed, N skipped'
    --full              more and larger cases: minutes become an hour
    --goldens DIR       take the golden data from DIR
    --filter EXPR       only tests whose name matches: a word, or an expression such as 'FullyQualifiedName~Text'
    --no-build          run what was built last
  format [--verify]     format the code, or only say what is not formatted
  bench                 matrix products and a 1.26 G-parameter model and policies on it (against OpenBLAS and llama.cpp: build.sh, on Linux)
  mutants [WORD]        plants known faults one at a time (needs bash: Git's, or WSL)
  pack                  the runner with .NET inside as a zip, NuGet packages and checksums, into artifacts\packages
  gpu-bundle            tests and benchmark for a Linux machine with a GPU (needs bash and xz: WSL)
  clean                 remove all that was built
  help                  this text
'@

function Stop-With([string] $message, [int] $code = 1) {
    [Console]::Error.WriteLine("build.ps1: $message")
    exit $code
}

function Test-Sdk {
    (Get-Command dotnet -ErrorAction SilentlyContinue) -and (@(dotnet --list-sdks) -match '^10\.0\.')
}

function Install-Sdk {
    if (Test-Sdk) { return }
    if (Get-Command winget -ErrorAction SilentlyContinue) {
        winget install --exact --id Microsoft.DotNet.SDK.10 --accept-source-agreements --accept-package-agreements | Out-Host
        $env:PATH = "$env:ProgramFiles\dotnet;$env:PATH"
    }
    if (-not (Test-Sdk)) {
        Stop-With 'the .NET SDK 10.0 is not here. Install it from https://dotnet.microsoft.com/download/dotnet/10.0, then try again.'
    }
}

# Quiet where all is well, and never on standard output: 'run --json' prints nothing but its object.
function Invoke-Build([string] $target) {
    Write-Host "building $target"
    $log = dotnet build $target -c Release -v quiet -nologo -clp:ErrorsOnly -p:RestoreLockedMode=true
    if ($LASTEXITCODE -ne 0) {
        $log | Out-Host
        Stop-With "$target does not build"
    }
}

function Invoke-Setup {
    Install-Sdk
    Write-Host ".NET SDK $(dotnet --version)"
    if ($env:OS -eq 'Windows_NT') {
        Write-Host 'PNG, PPM and BMP need nothing more. For JPEG and WebP, put turbojpeg.dll and libwebp.dll on the PATH.'
    }
}

function Invoke-Run([string[]] $arguments) {
    Install-Sdk
    Invoke-Build 'src/ParVts.Runner'
    if ($arguments.Count -eq 0) {
        $demo = 'tests/data/demo-model'
        $arguments = @('run', '--model', "$demo/model", '--image', "$demo/eval/images/0000.png",
            '--prompt', 'how many objects are there?', '--show')
    }
    elseif ($arguments[0].StartsWith('-')) { $arguments = @('run') + $arguments }
    dotnet "src/ParVts.Runner/bin/Release/$framework/parvts.dll" @arguments
    exit $LASTEXITCODE
}

function Get-Count([string[]] $lines, [string] $label) {
    $found = @($lines | Select-String "^  ${label}: (\d+)")
    if ($found.Count -eq 0) { 0 } else { [int]$found[-1].Matches[0].Groups[1].Value }
}

function Invoke-Test([string[]] $arguments) {
    $filter = @()
    $build = $true
    for ($i = 0; $i -lt $arguments.Count; $i++) {
        $option = $arguments[$i]
        if ($option -in '--goldens', '--filter' -and ++$i -ge $arguments.Count) { Stop-With "$option needs a value" 2 }
        switch ($option) {
            '--full' { $env:PARVTS_TEST_FULL = '1' }
            '--no-build' { $build = $false }
            '--goldens' {
                if (-not (Test-Path $arguments[$i] -PathType Container)) { Stop-With "--goldens: there is no folder '$($arguments[$i])'" 2 }
                $env:PARVTS_GOLDENS = (Resolve-Path $arguments[$i]).Path
            }
            '--filter' {
                $filter = @('--filter', $(if ($arguments[$i] -match '[=~]') { $arguments[$i] } else { "FullyQualifiedName~$($arguments[$i])" }))
            }
            default { Stop-With "test: unknown option '$option' (see '.\build.ps1 help')" 2 }
        }
    }
    Install-Sdk
    if ($build) { Invoke-Build $solution }

    $passed = 0; $failed = 0; $skipped = 0
    $broken = @(); $skippedNames = @(); $failedNames = @()
    foreach ($project in Get-ChildItem tests -Directory -Filter *.Tests) {
        $name = $project.Name
        Write-Host "== $name"
        $program = "tests/$name/bin/Release/$framework/$name.dll"
        if (-not (Test-Path $program)) { Write-Host "$program is not built"; $broken += $name; continue }
        $lines = @()
        dotnet $program --progress off --no-ansi --show-test-results 'failed,skipped' --show-stdout Failed --show-stderr Failed @filter |
            ForEach-Object { $lines += "$_"; Write-Host $_ }
        # 0: all passed; 2: some failed; 8: none matched, which is for the sum over all projects to judge.
        if ($LASTEXITCODE -notin 0, 2, 8 -or -not ($lines -match '^  total: \d')) { $broken += $name }
        $passed += Get-Count $lines 'succeeded'
        $failed += Get-Count $lines 'failed'
        $skipped += Get-Count $lines 'skipped'
        for ($i = 0; $i -lt $lines.Count; $i++) {
            # The reason is the line after.
            if ($lines[$i] -cmatch '^skipped (.*)') { $skippedNames += "  $($Matches[1]): $(if ($i + 1 -lt $lines.Count) { $lines[$i + 1].Trim() })" }
            if ($lines[$i] -cmatch '^failed (.*)') { $failedNames += "  $($Matches[1])" }
        }
    }
    if ($skippedNames) { Write-Host "`nskipped:"; $skippedNames | Write-Host }
    if ($failedNames) { Write-Host "`nfailed:"; $failedNames | Write-Host }
    if ($broken) { Write-Host "did not run to the end: $($broken -join ' ')" }
    Write-Host "$passed passed, $failed failed, $skipped skipped"
    if ($failed -gt 0 -or $broken.Count -gt 0) { exit 1 }
    if ($passed -eq 0) { Stop-With 'no test ran' }
    exit 0
}

function Invoke-Format([string[]] $arguments) {
    $verify = @()
    if ($arguments.Count -gt 0) {
        if ($arguments[0] -ne '--verify') { Stop-With "format: unknown option '$($arguments[0])'" 2 }
        $verify = @('--verify-no-changes')
    }
    Install-Sdk
    dotnet restore $solution --locked-mode -v quiet
    dotnet format $solution --no-restore @verify
    exit $LASTEXITCODE
}

function Invoke-Bench {
    Install-Sdk
    Invoke-Build 'tools/ParVts.Bench'
    Invoke-Build 'src/ParVts.Runner'
    $parvts = "src/ParVts.Runner/bin/Release/$framework/parvts.dll"
    $model = '--config', 'tools/peers/llava-1.3b', '--device', 'cpu', '--threads', '2'
    dotnet "tools/ParVts.Bench/bin/Release/$framework/ParVts.Bench.dll" gemm --threads 2
    dotnet $parvts bench @model --policy dense --images 0 --prompt-tokens 640 --new-tokens 17 --repeats 3
    dotnet $parvts bench @model --policy 'parvts:keep=64,migrate=3,cls-prune:keep=64,fastv:layer=3,keep=64,vtw:layer=11' --new-tokens 8 --repeats 5
    exit $LASTEXITCODE
}

function Invoke-Pack {
    Install-Sdk
    $version = ([xml](Get-Content Directory.Build.props)).SelectSingleNode('//Version').InnerText
    $name = "parvts-$version-win-x64"
    $work = Join-Path $PSScriptRoot 'artifacts/pack'
    $out = Join-Path $PSScriptRoot 'artifacts/packages'
    foreach ($old in $work, $out) { if (Test-Path $old) { Remove-Item -Recurse -Force $old } }
    New-Item -ItemType Directory $out | Out-Null
    $options = '-nologo', '-v:quiet', '-p:Configuration=Release', '-p:PackRuntime=win-x64', '-p:ContinuousIntegrationBuild=true', '-p:RunAnalyzers=false',
        "-p:ArtifactsPath=$work/build", "-p:Packages=$out/", "-p:Runner=$work/$name/"
    if ($env:PARVTS_REPOSITORY_URL) { $options += "-p:RepositoryUrl=$env:PARVTS_REPOSITORY_URL" }
    dotnet msbuild src/ParVts.Runner -t:Restore @options
    if ($LASTEXITCODE -eq 0) { dotnet msbuild tools/pack/managed.proj @options }
    if ($LASTEXITCODE -ne 0) { Stop-With 'the packages could not be built' }
    Copy-Item LICENSE, README.md "$work/$name"
    Compress-Archive "$work/$name" "$out/$name.zip"
    Get-ChildItem $out -File | Sort-Object Name | ForEach-Object { "$((Get-FileHash $_ -Algorithm SHA256).Hash.ToLowerInvariant())  $($_.Name)" } |
        Tee-Object "$work/SHA256SUMS"
    Move-Item "$work/SHA256SUMS" $out
}

function Invoke-Clean {
    foreach ($folder in 'artifacts', 'out', 'TestResults') { if (Test-Path $folder) { Remove-Item -Recurse -Force $folder } }
    Get-ChildItem src, tests, tools, examples -Recurse -Directory -Include bin, obj, TestResults, __pycache__ |
        Where-Object { Test-Path $_ } | Remove-Item -Recurse -Force
}

switch ($Verb) {
    'setup' { Invoke-Setup }
    'build' { Install-Sdk; Invoke-Build $solution }
    'run' { Invoke-Run $Rest }
    'test' { Invoke-Test $Rest }
    'format' { Invoke-Format $Rest }
    'bench' { Invoke-Bench }
    'mutants' { Install-Sdk; bash tools/mutants/run.sh $Rest; exit $LASTEXITCODE }
    'pack' { Invoke-Pack }
    'gpu-bundle' { Install-Sdk; bash tools/gpu-bundle/make.sh; exit $LASTEXITCODE }
    'clean' { Invoke-Clean }
    { $_ -in 'help', '-h', '--help' } { Write-Output $usage }
    default { Write-Output $usage; Stop-With "there is no verb '$Verb'" 2 }
}
