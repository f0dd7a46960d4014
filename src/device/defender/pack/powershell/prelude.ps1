# Stands before every script of the pack: reads the one argument, writes the one document, and knows accounts, profiles,
# hashes and signatures. Invariant: the argument is data, never code, and the document is ASCII whatever the code page.
param([Parameter(Position = 0)][string]$Word = '')

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
$VerbosePreference = 'SilentlyContinue'

# Where an application control policy takes the classes of .NET away, nothing below works: said in the same form.
if ([string]$ExecutionContext.SessionState.LanguageMode -ne 'FullLanguage') {
    Write-Output "@@live-response $('0' * 32) begin"
    Write-Output '{"v":1,"script":"prelude","complete":false,"warnings":[],"error":{"code":"E_UNSUPPORTED","message":"PowerShell runs in constrained language mode here: sign the scripts, or allow them"}}'
    Write-Output "@@live-response $('0' * 32) end"
    return
}

$script:LrClock = [System.Diagnostics.Stopwatch]::StartNew()
$script:LrNonce = '0' * 32
$script:LrLimit = 540
$script:LrComplete = $true
$script:LrRows = New-Object System.Text.StringBuilder
$script:LrRowCount = 0
$script:LrHasRows = $false
$script:LrData = $null
$script:LrWarnings = New-Object System.Collections.ArrayList
$script:LrNames = @{}
$script:LrInvariant = [System.Globalization.CultureInfo]::InvariantCulture
# Of all rows, in characters of JSON.
$script:LrBound = 8388608
# Of the argument, in characters.
$script:LrWordBound = 65536

function Stop-Lr([string]$Code, [string]$Message) {
    $failure = New-Object System.InvalidOperationException $Message
    $failure.Data['code'] = $Code
    throw $failure
}

function Add-LrWarning([string]$Text) {
    if ($script:LrWarnings.Count -lt 200) { [void]$script:LrWarnings.Add($Text) }
}

# Ends the script with what it has.
function Stop-LrEarly([string]$Why) {
    $script:LrComplete = $false
    Add-LrWarning $Why
    throw (New-Object System.OperationCanceledException $Why)
}

function Test-LrTime {
    if ($script:LrClock.Elapsed.TotalSeconds -ge $script:LrLimit) {
        Stop-LrEarly "the time of $($script:LrLimit) s ran out: the answer holds what was found until then"
    }
}

# ---- JSON

function ConvertTo-LrString([string]$Text) {
    $clean = $Text.Replace('\', '\\').Replace('"', '\"')
    if (-not [regex]::IsMatch($clean, '[^\x20-\x7e]')) { return '"' + $clean + '"' }
    $build = New-Object System.Text.StringBuilder ($clean.Length + 64)
    [void]$build.Append('"')
    for ($i = 0; $i -lt $clean.Length; $i++) {
        $char = $clean[$i]
        $number = [int]$char
        if ($number -ge 0x20 -and $number -le 0x7e) {
            [void]$build.Append($char)
            continue
        }
        if ([char]::IsHighSurrogate($char) -and $i + 1 -lt $clean.Length -and [char]::IsLowSurrogate($clean[$i + 1])) {
            [void]$build.Append('\u').Append($number.ToString('x4')).Append('\u').Append(([int]$clean[$i + 1]).ToString('x4'))
            $i++
            continue
        }
        if ([char]::IsSurrogate($char)) { $number = 0xfffd }
        [void]$build.Append('\u').Append($number.ToString('x4'))
    }
    [void]$build.Append('"')
    return $build.ToString()
}

function Test-LrEmpty($Value) {
    if ($null -eq $Value) { return $true }
    if ($Value -is [string]) { return $Value.Length -eq 0 }
    if ($Value -is [System.Collections.IDictionary]) { return $false }
    if ($Value -is [System.Collections.ICollection]) { return $Value.Count -eq 0 }
    return $false
}

# Dictionaries without their empty fields, lists, text, whole numbers and truth values.
function ConvertTo-LrJson($Value) {
    if ($null -eq $Value) { return 'null' }
    if ($Value -is [bool]) { if ($Value) { return 'true' } else { return 'false' } }
    if ($Value -is [string]) { return ConvertTo-LrString $Value }
    if ($Value -is [datetime]) { return ConvertTo-LrString (ConvertTo-LrTime $Value) }
    if ($Value -is [System.Collections.IDictionary]) {
        $fields = New-Object System.Collections.ArrayList
        foreach ($name in $Value.Keys) {
            # The default value of a registry key and a fact may be empty, and are said all the same.
            $keep = $name -eq 'value' -and $Value[$name] -is [string]
            if (-not $keep -and (Test-LrEmpty $Value[$name])) { continue }
            [void]$fields.Add((ConvertTo-LrString ([string]$name)) + ':' + (ConvertTo-LrJson $Value[$name]))
        }
        return '{' + ($fields.ToArray() -join ',') + '}'
    }
    if ($Value -is [System.Collections.IEnumerable]) {
        $items = New-Object System.Collections.ArrayList
        foreach ($item in $Value) { [void]$items.Add((ConvertTo-LrJson $item)) }
        return '[' + ($items.ToArray() -join ',') + ']'
    }
    if ($Value -is [byte] -or $Value -is [int16] -or $Value -is [uint16] -or $Value -is [int] -or $Value -is [uint32] -or
        $Value -is [long] -or $Value -is [uint64]) {
        return $Value.ToString($script:LrInvariant)
    }
    return ConvertTo-LrString ([string]$Value)
}

function Add-LrRow([System.Collections.IDictionary]$Row) {
    $json = ConvertTo-LrJson $Row
    if ($script:LrRows.Length + $json.Length + 1 -gt $script:LrBound) {
        Stop-LrEarly "more than 8 MiB of rows: the first $($script:LrRowCount) are listed"
    }
    if ($script:LrRowCount -gt 0) { [void]$script:LrRows.Append(',') }
    [void]$script:LrRows.Append($json)
    $script:LrRowCount++
    Test-LrTime
}

# One string of JSON that begins at the quote at $At: the text, and where it ends.
function Read-LrString([string]$Json, [int]$At) {
    $build = New-Object System.Text.StringBuilder
    $i = $At + 1
    while ($true) {
        if ($i -ge $Json.Length) { Stop-Lr 'E_BAD_ARGS' 'the argument ends within a text' }
        $char = $Json[$i]
        if ($char -eq '"') { return @($build.ToString(), ($i + 1)) }
        if ([int]$char -lt 0x20) { Stop-Lr 'E_BAD_ARGS' 'the argument has a control character in a text' }
        if ($char -ne '\') {
            [void]$build.Append($char)
            $i++
            continue
        }
        if ($i + 1 -ge $Json.Length) { Stop-Lr 'E_BAD_ARGS' 'the argument ends within an escape' }
        $next = $Json[$i + 1]
        if ($next -ceq 'u') {
            if ($i + 6 -gt $Json.Length) { Stop-Lr 'E_BAD_ARGS' 'the argument ends within an escape' }
            $digits = $Json.Substring($i + 2, 4)
            if ($digits -notmatch '\A[0-9A-Fa-f]{4}\z') { Stop-Lr 'E_BAD_ARGS' 'the argument has an escape that is none' }
            [void]$build.Append([char][Convert]::ToInt32($digits, 16))
            $i += 6
        } elseif ($next -eq '"' -or $next -eq '\' -or $next -eq '/') {
            [void]$build.Append($next)
            $i += 2
        } else {
            Stop-Lr 'E_BAD_ARGS' 'the argument has an escape that is none'
        }
    }
}

# A flat object of JSON that begins at the brace at $At: its fields, and where it ends. One object may stand in another.
function Read-LrObject([string]$Json, [int]$At, [int]$Depth) {
    if ($At -ge $Json.Length -or $Json[$At] -ne '{') { Stop-Lr 'E_BAD_ARGS' 'the argument is no object' }
    if ($Depth -gt 1) { Stop-Lr 'E_BAD_ARGS' 'the argument is nested too deep' }
    $fields = New-Object 'System.Collections.Generic.Dictionary[string,object]' ([System.StringComparer]::Ordinal)
    $i = $At + 1
    if ($i -lt $Json.Length -and $Json[$i] -eq '}') { return @($fields, ($i + 1)) }
    while ($true) {
        if ($i -ge $Json.Length -or $Json[$i] -ne '"') { Stop-Lr 'E_BAD_ARGS' 'the argument lacks the name of a field' }
        $read = Read-LrString $Json $i
        $name = $read[0]
        $i = $read[1]
        if ($i + 1 -ge $Json.Length -or $Json[$i] -ne ':') { Stop-Lr 'E_BAD_ARGS' 'the argument lacks a value' }
        $i++
        if ($Json[$i] -eq '"') {
            $read = Read-LrString $Json $i
            $fields[$name] = $read[0]
            $i = $read[1]
        } elseif ($Json[$i] -eq '{') {
            $read = Read-LrObject $Json $i ($Depth + 1)
            $fields[$name] = $read[0]
            $i = $read[1]
        } else {
            $plain = [regex]::Match($Json.Substring($i, [Math]::Min(24, $Json.Length - $i)), '\A(true|false|null|-?[0-9]{1,18})(?=[,}])')
            if (-not $plain.Success) { Stop-Lr 'E_BAD_ARGS' 'the argument has a value that is none' }
            switch -CaseSensitive ($plain.Value) {
                'true' { $fields[$name] = $true }
                'false' { $fields[$name] = $false }
                'null' { $fields[$name] = $null }
                default { $fields[$name] = [long]::Parse($plain.Value, $script:LrInvariant) }
            }
            $i += $plain.Length
        }
        if ($i -ge $Json.Length) { Stop-Lr 'E_BAD_ARGS' 'the argument ends within an object' }
        if ($Json[$i] -eq '}') { return @($fields, ($i + 1)) }
        if ($Json[$i] -ne ',') { Stop-Lr 'E_BAD_ARGS' 'the argument has a field that does not end' }
        $i++
    }
}

function ConvertFrom-LrFlat([string]$Json) {
    $read = Read-LrObject $Json 0 0
    if ($read[1] -ne $Json.Length) { Stop-Lr 'E_BAD_ARGS' 'the argument goes on after its object' }
    return $read[0]
}

function Read-LrWord([string]$Text) {
    if ($Text.Length -eq 0) { Stop-Lr 'E_BAD_ARGS' 'there is no argument' }
    if ($Text.Length -gt $script:LrWordBound) { Stop-Lr 'E_BAD_ARGS' 'the argument is longer than 64 KiB' }
    if ($Text -notmatch '\A[A-Za-z0-9_-]+\z') { Stop-Lr 'E_BAD_ARGS' 'the argument is not base64url' }
    $base = $Text.Replace('-', '+').Replace('_', '/')
    $base += '=' * ((4 - $base.Length % 4) % 4)
    $json = $null
    try {
        $json = [System.Text.Encoding]::ASCII.GetString([Convert]::FromBase64String($base))
    } catch {
        Stop-Lr 'E_BAD_ARGS' 'the argument is not base64url'
    }
    $word = ConvertFrom-LrFlat $json
    if (-not $word.ContainsKey('nonce') -or [string]$word['nonce'] -cnotmatch '\A[0-9a-f]{32}\z') {
        Stop-Lr 'E_BAD_ARGS' 'the argument has no nonce'
    }
    if (-not $word.ContainsKey('args') -or $word['args'] -isnot [System.Collections.IDictionary]) {
        Stop-Lr 'E_BAD_ARGS' 'the argument has no args'
    }
    $script:LrNonce = $word['nonce']
    if ($word.ContainsKey('limit_s') -and $word['limit_s'] -is [long]) {
        $script:LrLimit = [Math]::Max(1, [Math]::Min(590, $word['limit_s']))
    }
    return $word['args']
}

# An argument, or the default where it is not there. E_BAD_ARGS where it is of another type.
function Get-LrArg($Arguments, [string]$Name, [string]$Type, $Default) {
    if (-not $Arguments.ContainsKey($Name) -or $null -eq $Arguments[$Name]) { return $Default }
    $given = $Arguments[$Name]
    $fits = switch ($Type) {
        'text' { $given -is [string] }
        'number' { $given -is [long] }
        'flag' { $given -is [bool] }
        'time' { $given -is [string] }
    }
    if (-not $fits) { Stop-Lr 'E_BAD_ARGS' "$Name is no $Type" }
    if ($Type -ne 'time') { return $given }
    $at = [DateTimeOffset]::MinValue
    $style = [System.Globalization.DateTimeStyles]::AssumeUniversal
    if (-not [DateTimeOffset]::TryParse($given, $script:LrInvariant, $style, [ref]$at)) {
        Stop-Lr 'E_BAD_ARGS' "$Name is no time: write 2026-11-24T03:00:00Z"
    }
    return $at.UtcDateTime
}

function Get-LrNeeded($Arguments, [string]$Name) {
    $text = Get-LrArg $Arguments $Name 'text' ''
    if ($text.Length -eq 0) { Stop-Lr 'E_BAD_ARGS' "$Name is needed" }
    return $text
}

# ---- text forms

function ConvertTo-LrTime($Time) {
    if ($null -eq $Time) { return $null }
    $utc = ([datetime]$Time).ToUniversalTime()
    # A file time of zero stands for no time.
    if ($utc.Year -le 1601) { return $null }
    $form = "yyyy-MM-dd'T'HH:mm:ss"
    if ($utc.Millisecond -ne 0) { $form += "'.'fff" }
    return $utc.ToString($form + "'Z'", $script:LrInvariant)
}

function Test-LrText([string]$Text) {
    for ($i = 0; $i -lt $Text.Length; $i++) {
        if (-not [char]::IsSurrogate($Text[$i])) { continue }
        if (-not [char]::IsSurrogatePair($Text, $i)) { return $false }
        $i++
    }
    return $true
}

# A path in the product's text form: as it is, or `esc:` with the bytes of a surrogate that stands alone.
function ConvertTo-LrPath($Path) {
    if ($null -eq $Path) { return $null }
    $text = [string]$Path
    $isPlain = -not [regex]::IsMatch($text, '[\ud800-\udfff]') -or (Test-LrText $text)
    if ($isPlain -and -not $text.StartsWith('esc:', [System.StringComparison]::Ordinal)) { return $text }
    $build = New-Object System.Text.StringBuilder 'esc:'
    for ($i = 0; $i -lt $text.Length; $i++) {
        $char = $text[$i]
        if ($char -eq '\') {
            [void]$build.Append('\\')
        } elseif (-not [char]::IsSurrogate($char)) {
            [void]$build.Append($char)
        } elseif ($i + 1 -lt $text.Length -and [char]::IsSurrogatePair($char, $text[$i + 1])) {
            [void]$build.Append($char).Append($text[$i + 1])
            $i++
        } else {
            $number = [int]$char
            foreach ($byte in @((0xe0 -bor ($number -shr 12)), (0x80 -bor (($number -shr 6) -band 0x3f)), (0x80 -bor ($number -band 0x3f)))) {
                [void]$build.Append('\x').Append($byte.ToString('x2'))
            }
        }
    }
    return $build.ToString()
}

# Text of bytes that are UTF-8, or halves of surrogates written as such bytes.
function ConvertFrom-LrBytes([byte[]]$Bytes) {
    $strict = New-Object System.Text.UTF8Encoding $false, $true
    $build = New-Object System.Text.StringBuilder
    $i = 0
    while ($i -lt $Bytes.Length) {
        if ($i + 2 -lt $Bytes.Length -and $Bytes[$i] -eq 0xed -and $Bytes[$i + 1] -ge 0xa0) {
            [void]$build.Append([char](0xd000 -bor (($Bytes[$i + 1] -band 0x3f) -shl 6) -bor ($Bytes[$i + 2] -band 0x3f)))
            $i += 3
            continue
        }
        $length = 1
        if ($Bytes[$i] -ge 0xf0) { $length = 4 } elseif ($Bytes[$i] -ge 0xe0) { $length = 3 } elseif ($Bytes[$i] -ge 0xc0) { $length = 2 }
        try {
            [void]$build.Append($strict.GetString($Bytes, $i, $length))
        } catch {
            Stop-Lr 'E_BAD_ARGS' 'the path has bytes that no name on Windows has'
        }
        $i += $length
    }
    return $build.ToString()
}

function ConvertFrom-LrPath([string]$Text) {
    if (-not $Text.StartsWith('esc:', [System.StringComparison]::Ordinal)) { return $Text }
    $build = New-Object System.Text.StringBuilder
    $i = 4
    while ($i -lt $Text.Length) {
        if ($Text[$i] -ne '\') {
            [void]$build.Append($Text[$i])
            $i++
            continue
        }
        $rest = $Text.Substring($i)
        $run = [regex]::Match($rest, '\A(\\x[0-9a-fA-F]{2})+')
        $unit = [regex]::Match($rest, '\A\\u([0-9a-fA-F]{4})')
        if ($rest.Length -gt 1 -and $rest[1] -eq '\') {
            [void]$build.Append('\')
            $i += 2
        } elseif ($run.Success) {
            $bytes = [byte[]]@($run.Value.Split([char[]]'\x', [System.StringSplitOptions]::RemoveEmptyEntries) | ForEach-Object { [Convert]::ToByte($_, 16) })
            [void]$build.Append((ConvertFrom-LrBytes $bytes))
            $i += $run.Length
        } elseif ($unit.Success) {
            [void]$build.Append([char][Convert]::ToInt32($unit.Groups[1].Value, 16))
            $i += $unit.Length
        } else {
            Stop-Lr 'E_BAD_ARGS' 'after esc: a backslash starts \xNN, \uNNNN or \\'
        }
    }
    return $build.ToString()
}

# A path argument, absolute and without `..`. Devices and streams are no paths.
function Resolve-LrPath([string]$Text) {
    $path = (ConvertFrom-LrPath $Text).Trim('"')
    if ($path.IndexOfAny([System.IO.Path]::GetInvalidPathChars()) -ge 0 -or $path -match '[\x00-\x1f<>|?*]') {
        Stop-Lr 'E_BAD_ARGS' 'the path has characters that no path on Windows has'
    }
    if ($path -match '\A[\\/]{2}[.?][\\/]') { Stop-Lr 'E_BAD_ARGS' 'the path names a device' }
    if ($path -notmatch '\A([A-Za-z]:[\\/]|[\\/]{2}[^\\/])') { Stop-Lr 'E_BAD_ARGS' 'the path is not absolute' }
    if ($path.Length -gt 3 -and $path.IndexOf(':', 2) -ge 0) { Stop-Lr 'E_BAD_ARGS' 'the path names a stream of a file' }
    try {
        return [System.IO.Path]::GetFullPath($path)
    } catch {
        Stop-Lr 'E_BAD_ARGS' "the path cannot be read: $($_.Exception.GetBaseException().Message)"
    }
}

function New-LrGlob([string]$Text) {
    $escaped = $Text.Replace([string][char]0x60, [string][char]0x60 + [char]0x60)
    $options = [System.Management.Automation.WildcardOptions]'IgnoreCase, CultureInvariant'
    return New-Object System.Management.Automation.WildcardPattern -ArgumentList $escaped, $options
}

# ---- accounts and profiles

function Get-LrAccount([string]$Sid) {
    if ($Sid.Length -eq 0) { return $null }
    if ($script:LrNames.ContainsKey($Sid)) { return $script:LrNames[$Sid] }
    $name = $Sid
    try {
        $name = (New-Object System.Security.Principal.SecurityIdentifier $Sid).Translate([System.Security.Principal.NTAccount]).Value
    } catch {
        $name = $Sid
    }
    $script:LrNames[$Sid] = $name
    return $name
}

function Open-LrHive([string]$Hive) {
    $view = [Microsoft.Win32.RegistryView]::Default
    if ([Environment]::Is64BitOperatingSystem) { $view = [Microsoft.Win32.RegistryView]::Registry64 }
    return [Microsoft.Win32.RegistryKey]::OpenBaseKey([Microsoft.Win32.RegistryHive]$Hive, $view)
}

# A key for reading; nothing where it is not there. What the account may not read is a warning.
function Open-LrKey($Top, [string]$Path, [string]$Shown) {
    try {
        return $Top.OpenSubKey($Path, $false)
    } catch [System.Security.SecurityException], [System.UnauthorizedAccessException], [System.IO.IOException] {
        Add-LrWarning "$Shown\$Path could not be read: $($_.Exception.Message)"
        return $null
    }
}

# Text of a value without its variables filled in; nothing where it is not there.
function Get-LrValue($Key, [string]$Name) {
    if ($null -eq $Key) { return $null }
    $data = $Key.GetValue($Name, $null, [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
    # A list stays one: a function would hand out its items one by one.
    if ($data -is [array]) { return , $data }
    return $data
}

# Everybody with a profile: Sid, Name, Leaf, Folder, Loaded.
function Get-LrProfiles {
    $machine = Open-LrHive 'LocalMachine'
    $users = Open-LrHive 'Users'
    $loaded = @($users.GetSubKeyNames())
    $found = New-Object System.Collections.ArrayList
    $list = Open-LrKey $machine 'SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList' 'HKLM'
    if ($null -eq $list) { return }
    foreach ($sid in @($list.GetSubKeyNames())) {
        $key = Open-LrKey $list $sid 'ProfileList'
        $folder = Get-LrValue $key 'ProfileImagePath'
        if ($folder -isnot [string]) { continue }
        $folder = [Environment]::ExpandEnvironmentVariables($folder)
        $entry = New-Object PSObject -Property @{
            Sid = $sid; Name = (Get-LrAccount $sid); Leaf = [System.IO.Path]::GetFileName($folder.TrimEnd('\'))
            Folder = $folder; Loaded = ($loaded -contains $sid)
        }
        [void]$found.Add($entry)
    }
    return $found.ToArray()
}

function Test-LrUser($Entry, [string]$Wanted) {
    $short = ([string]$Entry.Name).Split('\')[-1]
    return $Wanted -eq $Entry.Sid -or $Wanted -eq $Entry.Name -or $Wanted -eq $short -or $Wanted -eq $Entry.Leaf
}

# Says whose registry cannot be read: a hive that is not loaded is loaded by no script of ours.
function Add-LrUnloaded($Profiles) {
    $names = @($Profiles | Where-Object { -not $_.Loaded } | ForEach-Object { $_.Name })
    if ($names.Count -gt 0) {
        Add-LrWarning "not signed in, so their registry was not read (getfile NTUSER.DAT of their profile): $($names -join ', ')"
    }
}

# ---- files

function Get-LrItem([string]$Path) {
    try {
        $attributes = [System.IO.File]::GetAttributes($Path)
    } catch {
        $cause = $_.Exception.GetBaseException()
        if ($cause -is [System.UnauthorizedAccessException]) { Stop-Lr 'E_ACCESS' "$Path may not be read" }
        if ($cause -is [System.IO.PathTooLongException]) { Stop-Lr 'E_BAD_ARGS' "$Path is longer than Windows PowerShell reads" }
        Stop-Lr 'E_NOT_FOUND' "$Path is not there"
    }
    if ($attributes -band [System.IO.FileAttributes]::Directory) { return New-Object System.IO.DirectoryInfo $Path }
    return New-Object System.IO.FileInfo $Path
}

function Test-LrLink($Item) {
    return [bool]($Item.Attributes -band [System.IO.FileAttributes]::ReparsePoint)
}

# As `ls -l` writes it, as far as Windows has it.
function Get-LrMode($Item) {
    $flags = $Item.Attributes
    $mode = '-'
    if ($flags -band [System.IO.FileAttributes]::Directory) { $mode = 'd' }
    if ($flags -band [System.IO.FileAttributes]::ReparsePoint) { $mode = 'l' }
    $pairs = @(@('Archive', 'a'), @('ReadOnly', 'r'), @('Hidden', 'h'), @('System', 's'))
    foreach ($pair in $pairs) {
        if ($flags -band [System.IO.FileAttributes]$pair[0]) { $mode += $pair[1] } else { $mode += '-' }
    }
    return $mode
}

function Get-LrOwner([string]$Path, [bool]$IsDirectory) {
    try {
        $sections = [System.Security.AccessControl.AccessControlSections]'Owner'
        $security = if ($IsDirectory) { [System.IO.Directory]::GetAccessControl($Path, $sections) } else { [System.IO.File]::GetAccessControl($Path, $sections) }
        return Get-LrAccount ($security.GetOwner([System.Security.Principal.SecurityIdentifier]).Value)
    } catch {
        return $null
    }
}

function Get-LrAttributes($Item, [bool]$WithOwner) {
    $fields = [ordered]@{ mode = (Get-LrMode $Item) }
    if ($WithOwner) { $fields['owner'] = Get-LrOwner $Item.FullName ($Item -is [System.IO.DirectoryInfo]) }
    $fields['hidden'] = [bool]($Item.Attributes -band [System.IO.FileAttributes]::Hidden)
    return $fields
}

# Where a link leads; nothing where Windows PowerShell does not tell.
function Get-LrTarget([string]$Path) {
    try {
        $item = Get-Item -LiteralPath $Path -Force
        if ($null -eq $item.PSObject.Properties['Target']) { return $null }
        return [string](@($item.Target)[0])
    } catch {
        return $null
    }
}

# A directory entry as a row of `dir` and `findfile`.
function New-LrEntry($Item, [bool]$WithOwner) {
    $isDirectory = $Item -is [System.IO.DirectoryInfo]
    $isLink = Test-LrLink $Item
    $kind = 'file'
    if ($isDirectory) { $kind = 'directory' }
    $target = $null
    if ($isLink) { $target = Get-LrTarget $Item.FullName }
    # Files that OneDrive or deduplication stands behind are reparse points, and no links.
    if ($isLink -and -not (Test-LrEmpty $target)) { $kind = 'symlink' }
    $row = [ordered]@{ name = (ConvertTo-LrPath $Item.Name); path = (ConvertTo-LrPath $Item.FullName); kind = $kind }
    if (-not $isDirectory) { $row['size_bytes'] = $Item.Length }
    $row['created'] = ConvertTo-LrTime $Item.CreationTimeUtc
    $row['modified'] = ConvertTo-LrTime $Item.LastWriteTimeUtc
    $row['accessed'] = ConvertTo-LrTime $Item.LastAccessTimeUtc
    if ($kind -eq 'symlink') { $row['target'] = ConvertTo-LrPath $target }
    $row['attributes'] = Get-LrAttributes $Item $WithOwner
    return $row
}

# Lower-case hex digests of one reading. `Algorithms` are md5, sha1, sha256.
function Get-LrHashes([string]$Path, [string[]]$Algorithms) {
    $digests = [ordered]@{}
    $engines = [ordered]@{}
    $share = [System.IO.FileShare]'ReadWrite, Delete'
    $stream = New-Object System.IO.FileStream -ArgumentList $Path, ([System.IO.FileMode]::Open), ([System.IO.FileAccess]::Read), $share, 65536
    try {
        foreach ($name in $Algorithms) {
            $engines[$name] = switch ($name) {
                'md5' { [System.Security.Cryptography.MD5]::Create() }
                'sha1' { [System.Security.Cryptography.SHA1]::Create() }
                'sha256' { [System.Security.Cryptography.SHA256]::Create() }
            }
        }
        $buffer = New-Object byte[] 1048576
        while (($read = $stream.Read($buffer, 0, $buffer.Length)) -gt 0) {
            foreach ($engine in $engines.Values) { [void]$engine.TransformBlock($buffer, 0, $read, $null, 0) }
            Test-LrTime
        }
        foreach ($name in $Algorithms) {
            [void]$engines[$name].TransformFinalBlock($buffer, 0, 0)
            $digests[$name] = [BitConverter]::ToString($engines[$name].Hash).Replace('-', '').ToLowerInvariant()
        }
    } finally {
        $stream.Dispose()
        foreach ($engine in $engines.Values) { $engine.Dispose() }
    }
    return $digests
}

# The SHA-256 of a file, or nothing where it cannot be read.
function Get-LrSha256([string]$Path) {
    if ($Path.Length -eq 0 -or -not [System.IO.File]::Exists($Path)) { return $null }
    try {
        return (Get-LrHashes $Path @('sha256'))['sha256']
    } catch [System.OperationCanceledException] {
        throw
    } catch {
        return $null
    }
}

# Status and signer of a file: @{ signed; signer; text }.
function Get-LrSignature([string]$Path) {
    $signed = $null
    $signer = $null
    $text = $null
    try {
        $found = Get-AuthenticodeSignature -LiteralPath $Path
        $signed = [string]$found.Status -eq 'Valid'
        if ($null -ne $found.SignerCertificate) { $signer = $found.SignerCertificate.Subject }
        $text = switch ([string]$found.Status) {
            'Valid' { "valid: $signer" }
            'NotSigned' { 'not signed' }
            'HashMismatch' { "the file was changed after it was signed: $signer" }
            default { "$($found.Status): $signer" }
        }
    } catch {
        $signed = $null
    }
    return @{ signed = $signed; signer = $signer; text = $text }
}

# The program that a command line or an ImagePath starts; nothing where no such file is there.
function Find-LrProgram($Command) {
    if ($Command -isnot [string] -or $Command.Trim().Length -eq 0) { return $null }
    $windows = [Environment]::GetFolderPath('Windows')
    $text = [Environment]::ExpandEnvironmentVariables($Command.Trim())
    $text = $text -replace '\A\\\?\?\\', '' -replace '\A\\SystemRoot\\', "$($windows.Replace('$', '$$'))\"
    $tries = New-Object System.Collections.ArrayList
    $quoted = [regex]::Match($text, '\A"([^"]+)"')
    if ($quoted.Success) {
        [void]$tries.Add($quoted.Groups[1].Value)
    } else {
        $words = $text.Split(' ')
        for ($n = 1; $n -le [Math]::Min($words.Length, 12); $n++) { [void]$tries.Add(($words[0..($n - 1)] -join ' ').Trim(',')) }
    }
    foreach ($try in $tries) {
        if ($try -match '[\x00-\x1f<>|?*"]' -or $try.Length -eq 0) { continue }
        $places = @($try)
        if ($try -notmatch '\A([A-Za-z]:|\\\\)') {
            $places = @("$windows\$try", "$windows\System32\$try")
        } elseif ($try -match '\A\\\\') {
            continue
        }
        foreach ($place in $places) {
            foreach ($end in @('', '.exe', '.dll')) {
                if ([System.IO.File]::Exists($place + $end)) { return $place + $end }
            }
        }
    }
    return $null
}

# Runs a program that ships with Windows; its standard output. The arguments are quoted here.
function Invoke-LrTool([string]$Name, [string[]]$Arguments, [int]$Seconds) {
    $quoted = @($Arguments | ForEach-Object { '"' + ($_ -replace '(\\*)"', '$1$1\"' -replace '(\\+)\z', '$1$1') + '"' })
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = Join-Path ([Environment]::SystemDirectory) $Name
    $start.Arguments = $quoted -join ' '
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.StandardOutputEncoding = [System.Text.Encoding]::GetEncoding([System.Globalization.CultureInfo]::CurrentCulture.TextInfo.OEMCodePage)
    $process = [System.Diagnostics.Process]::Start($start)
    try {
        $output = $process.StandardOutput.ReadToEndAsync()
        $complaint = $process.StandardError.ReadToEndAsync()
        if (-not $process.WaitForExit($Seconds * 1000)) {
            $process.Kill()
            Stop-Lr 'E_TIMEOUT' "$Name did not end within $Seconds s"
        }
        $process.WaitForExit()
        $text = $output.Result
        if ($process.ExitCode -ne 0) { Stop-Lr 'E_BACKEND' "$Name ended with $($process.ExitCode): $($complaint.Result.Trim()) $($text.Trim())" }
        return $text
    } finally {
        $process.Dispose()
    }
}

# ---- the store of what was taken; it is written by `remediate` and `undo` alone

function Get-LrStore {
    return Join-Path ([Environment]::GetFolderPath('CommonApplicationData')) 'live-response\quarantine'
}

# Whether a folder of the store is ours: no link, of SYSTEM or Administrators, and open to nobody else.
function Test-LrOurs([string]$Path) {
    $ours = @('S-1-5-18', 'S-1-5-32-544')
    if ([System.IO.File]::GetAttributes($Path) -band [System.IO.FileAttributes]::ReparsePoint) { return $false }
    $security = [System.IO.Directory]::GetAccessControl($Path)
    $sid = [System.Security.Principal.SecurityIdentifier]
    if ($ours -notcontains $security.GetOwner($sid).Value -or -not $security.AreAccessRulesProtected) { return $false }
    foreach ($rule in $security.GetAccessRules($true, $true, $sid)) {
        if ($ours -notcontains $rule.IdentityReference.Value) { return $false }
    }
    return $true
}

# The records of the store, the newest last; E_STATE_FORGED where the store is not ours.
function Get-LrRecords {
    $store = Get-LrStore
    if (-not [System.IO.Directory]::Exists($store)) { return }
    foreach ($folder in @([System.IO.Path]::GetDirectoryName($store), $store)) {
        if (-not (Test-LrOurs $folder)) { Stop-Lr 'E_STATE_FORGED' "$folder is not ours: it is a link, or others may write to it" }
    }
    $found = New-Object System.Collections.ArrayList
    foreach ($folder in @([System.IO.Directory]::GetDirectories($store))) {
        $name = [System.IO.Path]::GetFileName($folder)
        $file = Join-Path $folder 'record.json'
        if ($name -cnotmatch '\Au-[0-9a-f]{32}\z') { continue }
        if (-not (Test-LrOurs $folder) -or -not [System.IO.File]::Exists($file)) {
            Add-LrWarning "$folder is no undo record of ours"
            continue
        }
        try {
            if ((New-Object System.IO.FileInfo $file).Length -gt 1048576) { Stop-Lr 'E_TOO_LARGE' 'it is longer than 1 MiB' }
            $record = ConvertFrom-LrFlat ([System.IO.File]::ReadAllText($file))
            foreach ($field in @('kind', 'id', 'at', 'outcome')) {
                if (-not $record.ContainsKey($field)) { Stop-Lr 'E_STATE_FORGED' "it has no $field" }
            }
            $record['undo_id'] = $name
            $record['folder'] = $folder
            [void]$found.Add($record)
        } catch {
            Add-LrWarning "the record in $folder cannot be read: $($_.Exception.GetBaseException().Message)"
        }
    }
    return @($found.ToArray() | Sort-Object -Property { [string]$_['at'] })
}

# ---- the frame

function Get-LrFailure($Failure) {
    $direct = $Failure.Exception
    if ($direct.Data.Contains('code')) { return [ordered]@{ code = [string]$direct.Data['code']; message = $direct.Message } }
    $cause = $direct.GetBaseException()
    $code = 'E_INTERNAL'
    if ($cause.Data.Contains('code')) {
        $code = [string]$cause.Data['code']
    } elseif ($cause -is [System.UnauthorizedAccessException] -or $cause -is [System.Security.SecurityException]) {
        $code = 'E_ACCESS'
    } elseif ($cause -is [System.IO.FileNotFoundException] -or $cause -is [System.IO.DirectoryNotFoundException]) {
        $code = 'E_NOT_FOUND'
    } elseif ($cause -is [System.IO.IOException] -or $cause -is [System.ComponentModel.Win32Exception]) {
        $code = 'E_BACKEND'
    }
    $line = 0
    if ($null -ne $Failure.InvocationInfo) { $line = $Failure.InvocationInfo.ScriptLineNumber }
    return [ordered]@{ code = $code; message = "$($cause.Message) (line $line)" }
}

# The whole run of a script: `Body` gets the arguments, and fills rows or data.
function Invoke-LrScript([string]$Name, [scriptblock]$Body) {
    $failure = $null
    try {
        if ([Environment]::OSVersion.Platform -ne [PlatformID]::Win32NT) { Stop-Lr 'E_UNSUPPORTED' 'these scripts are for Windows' }
        $arguments = Read-LrWord $Word
        [void](& $Body $arguments)
    } catch [System.OperationCanceledException] {
        $script:LrComplete = $false
    } catch {
        $failure = Get-LrFailure $_
        $script:LrComplete = $false
    }
    $document = New-Object System.Text.StringBuilder
    [void]$document.Append('{"v":1,"script":').Append((ConvertTo-LrString $Name))
    [void]$document.Append(',"complete":').Append((ConvertTo-LrJson $script:LrComplete))
    if ($script:LrHasRows) { [void]$document.Append(',"rows":[').Append($script:LrRows.ToString()).Append(']') }
    if ($null -ne $script:LrData) { [void]$document.Append(',"data":').Append((ConvertTo-LrJson $script:LrData)) }
    [void]$document.Append(',"warnings":').Append((ConvertTo-LrJson $script:LrWarnings))
    if ($null -ne $failure) { [void]$document.Append(',"error":').Append((ConvertTo-LrJson $failure)) }
    [void]$document.Append('}')
    Write-Output "@@live-response $($script:LrNonce) begin"
    Write-Output $document.ToString()
    Write-Output "@@live-response $($script:LrNonce) end"
}

# A host without a console has no such encoding; the document is ASCII all the same.
try { [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false } catch { $script:LrComplete = $true }

