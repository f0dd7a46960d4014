# Reads one registry key: its values, then its sub-keys. The 64-bit view; variables are not filled in.
function ConvertTo-LrHex($Bytes) {
    return [BitConverter]::ToString([byte[]]$Bytes).Replace('-', '').ToLowerInvariant()
}

function New-LrValueRow($Key, [string]$Shown, [string]$Name) {
    $data = Get-LrValue $Key $Name
    $kind = $Key.GetValueKind($Name)
    $kindName = switch ([string]$kind) {
        'String' { 'REG_SZ' }
        'ExpandString' { 'REG_EXPAND_SZ' }
        'Binary' { 'REG_BINARY' }
        'DWord' { 'REG_DWORD' }
        'MultiString' { 'REG_MULTI_SZ' }
        'QWord' { 'REG_QWORD' }
        'None' { 'REG_NONE' }
        default { $null }
    }
    $text = switch ([string]$kind) {
        'DWord' { [BitConverter]::ToUInt32([BitConverter]::GetBytes([int]$data), 0).ToString($script:LrInvariant) }
        'QWord' { [BitConverter]::ToUInt64([BitConverter]::GetBytes([long]$data), 0).ToString($script:LrInvariant) }
        'MultiString' { @($data) -join "`n" }
        default { if ($data -is [byte[]]) { ConvertTo-LrHex $data } else { [string]$data } }
    }
    if ($text.Length -gt 131072) {
        $text = $text.Substring(0, 131072)
        Add-LrWarning "of the value $Name the data is not shown whole"
    }
    return [ordered]@{ key = $Shown; value = $Name; kind = $kindName; data = $text }
}

Invoke-LrScript 'registry' {
    param($Arguments)
    $asked = (Get-LrNeeded $Arguments 'key').Trim().Trim('"', "'")
    $only = Get-LrArg $Arguments 'value' 'text' $null
    $user = Get-LrArg $Arguments 'user' 'text' ''
    $parts = @($asked.Split('\') | Where-Object { $_.Length -gt 0 })
    if ($parts.Count -gt 1 -and $parts[0] -eq 'Computer') { $parts = @($parts[1..($parts.Count - 1)]) }
    if ($parts.Count -eq 0) { Stop-Lr 'E_BAD_ARGS' 'key is needed' }
    $first = $parts[0].TrimEnd(':')
    $rest = ''
    if ($parts.Count -gt 1) { $rest = $parts[1..($parts.Count - 1)] -join '\' }
    $top = $null
    switch ($first) {
        { $_ -in @('HKLM', 'HKEY_LOCAL_MACHINE') } { $top = Open-LrHive 'LocalMachine'; $first = 'HKLM' }
        { $_ -in @('HKU', 'HKEY_USERS') } { $top = Open-LrHive 'Users'; $first = 'HKU' }
        { $_ -in @('HKCR', 'HKEY_CLASSES_ROOT') } { $top = Open-LrHive 'ClassesRoot'; $first = 'HKCR' }
        { $_ -in @('HKCC', 'HKEY_CURRENT_CONFIG') } { $top = Open-LrHive 'CurrentConfig'; $first = 'HKCC' }
        { $_ -in @('HKCU', 'HKEY_CURRENT_USER') } {
            if ($user.Length -eq 0) { Stop-Lr 'E_BAD_ARGS' 'HKCU needs a user: whose is it' }
            $owner = @(Get-LrProfiles | Where-Object { Test-LrUser $_ $user })
            if ($owner.Count -eq 0) { Stop-Lr 'E_NOT_FOUND' "no profile is that of $user" }
            if ($owner.Count -gt 1) { Stop-Lr 'E_AMBIGUOUS_ARGS' "several profiles are called ${user}: name the SID" }
            if (-not $owner[0].Loaded) { Stop-Lr 'E_NOT_FOUND' "$user is not signed in, so the registry of $($owner[0].Folder) is not loaded: getfile NTUSER.DAT" }
            $top = Open-LrHive 'Users'
            $first = 'HKU'
            $rest = ("$($owner[0].Sid)\$rest").TrimEnd('\')
        }
    }
    if ($null -eq $top) { Stop-Lr 'E_BAD_ARGS' "the key begins with none of HKLM, HKCU, HKU, HKCR, HKCC: $asked" }
    # These hold password hashes and secrets: they are read by no script.
    if ($first -eq 'HKLM' -and $rest -match '\A(SAM|SECURITY)(\\|\z)') { Stop-Lr 'E_PROTECTED' 'the hives SAM and SECURITY hold account secrets' }
    $shown = ("$first\$rest").TrimEnd('\')
    $key = $top
    if ($rest.Length -gt 0) { $key = $top.OpenSubKey($rest, $false) }
    if ($null -eq $key) { Stop-Lr 'E_NOT_FOUND' "there is no key $shown" }
    $script:LrHasRows = $true
    # The time of the last write is told by no class of .NET.
    $script:LrData = [ordered]@{ key = $shown }
    $found = $false
    foreach ($name in @($key.GetValueNames())) {
        if ($null -ne $only -and $name -ne $only) { continue }
        $found = $true
        Add-LrRow (New-LrValueRow $key $shown $name)
    }
    if ($null -ne $only) {
        if (-not $found) { Stop-Lr 'E_NOT_FOUND' "$shown has no value $only" }
        return
    }
    foreach ($name in @($key.GetSubKeyNames())) {
        $row = [ordered]@{ key = "$shown\$name" }
        $below = Open-LrKey $key $name $shown
        if ($null -ne $below) {
            $row['subkeys'] = [long]$below.SubKeyCount
            $below.Dispose()
        }
        Add-LrRow $row
    }
}
