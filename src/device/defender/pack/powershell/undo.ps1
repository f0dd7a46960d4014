# Brings back what `remediate` took. Invariant: nothing that is there is overwritten, and only bytes with the digest of the
# record come back.
function Select-LrRecord([string]$Kind, [string]$Id) {
    $found = @(Get-LrRecords | Where-Object {
        $_['kind'] -eq $Kind -and $_['outcome'] -ne 'restored' -and ($_['undo_id'] -eq $Id -or $_['id'] -eq $Id -or ($_.ContainsKey('path') -and $_['path'] -eq $Id))
    })
    if ($found.Count -eq 0) { Stop-Lr 'E_NOT_FOUND' "nothing of kind $Kind was taken under $Id" }
    if ($found.Count -gt 1) { Stop-Lr 'E_AMBIGUOUS_ARGS' "$Id was taken several times: name one of $(@($found | ForEach-Object { $_['undo_id'] }) -join ', ')" }
    return $found[0]
}

function Get-LrUndoFacts($Record) {
    $facts = [ordered]@{ undo_id = $Record['undo_id']; kind = $Record['kind']; id = $Record['id']; at = $Record['at']; outcome = $Record['outcome'] }
    foreach ($field in @('path', 'sha256', 'size_bytes', 'key', 'value_name', 'value_kind', 'state', 'start', 'delayed', 'command')) {
        if ($Record.ContainsKey($field) -and ([string]$Record[$field]).Length -gt 0) { $facts[$field] = [string]$Record[$field] }
    }
    $content = Join-Path $Record['folder'] 'content'
    if ($Record['kind'] -ne 'service' -and $Record.ContainsKey('sha256')) {
        $digest = Get-LrSha256 $content
        if ($null -eq $digest) { Stop-Lr 'E_NOT_FOUND' "the content of $($Record['undo_id']) is not in the store" }
        if ($digest -cne $Record['sha256']) { Stop-Lr 'E_STATE_FORGED' "the content of $($Record['undo_id']) is not what was taken" }
    }
    return $facts
}

function Restore-LrFile($Record) {
    $path = Resolve-LrPath $Record['path']
    $content = Join-Path $Record['folder'] 'content'
    if ([System.IO.File]::Exists($path) -or [System.IO.Directory]::Exists($path)) { Stop-Lr 'E_EXISTS' "$path is there: it is not overwritten" }
    if (-not [System.IO.Directory]::Exists([System.IO.Path]::GetDirectoryName($path))) { Stop-Lr 'E_NOT_FOUND' "the folder of $path is not there" }
    # A copy: until it stands, the store keeps its own. It does not overwrite.
    [System.IO.File]::Copy($content, $path, $false)
    $isSame = (Get-LrHashes $path @('sha256'))['sha256'] -ceq $Record['sha256']
    [System.IO.File]::SetCreationTimeUtc($path, (New-Object datetime ([long]$Record['created_ticks']), ([DateTimeKind]::Utc)))
    [System.IO.File]::SetLastWriteTimeUtc($path, (New-Object datetime ([long]$Record['modified_ticks']), ([DateTimeKind]::Utc)))
    [System.IO.File]::SetLastAccessTimeUtc($path, (New-Object datetime ([long]$Record['accessed_ticks']), ([DateTimeKind]::Utc)))
    $security = New-Object System.Security.AccessControl.FileSecurity
    $note = $null
    try {
        $security.SetSecurityDescriptorSddlForm($Record['sddl'])
        [System.IO.File]::SetAccessControl($path, $security)
    } catch {
        $note = "its owner and rights could not be set: $($_.Exception.GetBaseException().Message)"
    }
    [System.IO.File]::SetAttributes($path, [System.IO.FileAttributes][int]($Record['attributes'] -band 0x27))
    if ($isSame) { [System.IO.File]::Delete($content) }
    return @{ outcome = 'restored'; verified = $isSame; note = $note }
}

function Restore-LrService($Record) {
    $name = $Record['id']
    $key = (Open-LrHive 'LocalMachine').OpenSubKey("SYSTEM\CurrentControlSet\Services\$name", $false)
    if ($null -eq $key) { Stop-Lr 'E_NOT_FOUND' "there is no service $name" }
    if ([int](Get-LrValue $key 'Start') -ne 4) { Stop-Lr 'E_EXISTS' "the service $name is not disabled any more" }
    $wanted = switch ([string]$Record['start']) { '2' { 'Automatic' }; '3' { 'Manual' }; default { 'Disabled' } }
    Set-Service -Name $name -StartupType $wanted
    if ($Record.ContainsKey('delayed') -and [string]$Record['delayed'] -eq '1') {
        $open = (Open-LrHive 'LocalMachine').OpenSubKey("SYSTEM\CurrentControlSet\Services\$name", $true)
        $open.SetValue('DelayedAutoStart', 1, [Microsoft.Win32.RegistryValueKind]::DWord)
        $open.Dispose()
    }
    $note = $null
    $isRunning = $true
    if ($Record['state'] -eq 'Running') {
        try {
            Start-Service -Name $name
        } catch {
            $note = "it may start again, and did not: $($_.Exception.GetBaseException().Message)"
            $isRunning = $false
        }
    }
    return @{ outcome = 'restored'; verified = ([string](Get-LrValue $key 'Start') -eq [string]$Record['start'] -and $isRunning); note = $note }
}

function Restore-LrRegistry($Record) {
    $path = $Record['key'].Substring(5)
    $name = ''
    if ($Record.ContainsKey('value_name')) { $name = $Record['value_name'] }
    $key = (Open-LrHive 'LocalMachine').OpenSubKey($path, $true)
    if ($null -eq $key) { Stop-Lr 'E_NOT_FOUND' "there is no key $($Record['key'])" }
    if (@($key.GetValueNames()) -contains $name) { Stop-Lr 'E_EXISTS' "$($Record['key']) has a value $name again: it is not overwritten" }
    $kind = [Microsoft.Win32.RegistryValueKind]$Record['value_kind']
    $packed = ''
    if ($Record.ContainsKey('packed')) { $packed = [string]$Record['packed'] }
    $data = switch ([string]$kind) {
        'DWord' { [int]$packed }
        'QWord' { [long]$packed }
        'String' { [System.Text.Encoding]::Unicode.GetString([Convert]::FromBase64String($packed)) }
        'ExpandString' { [System.Text.Encoding]::Unicode.GetString([Convert]::FromBase64String($packed)) }
        'MultiString' { , [string[]]([System.Text.Encoding]::Unicode.GetString([Convert]::FromBase64String($packed)).Split([char]0)) }
        default { , [Convert]::FromBase64String($packed) }
    }
    $key.SetValue($name, $data, $kind)
    $isThere = @($key.GetValueNames()) -contains $name -and $key.GetValueKind($name) -eq $kind
    $key.Dispose()
    return @{ outcome = 'restored'; verified = $isThere; note = $null }
}

function Restore-LrTask($Record) {
    $path = '\' + ([string]$Record['id']).Trim().Trim('"').Trim('\')
    $at = $path.LastIndexOf('\')
    $name = $path.Substring($at + 1)
    $service = New-Object -ComObject 'Schedule.Service'
    [void]$service.Connect()
    $folder = $null
    try { $folder = $service.GetFolder($(if ($at -eq 0) { '\' } else { $path.Substring(0, $at) })) } catch { Stop-Lr 'E_NOT_FOUND' "the folder of the task $path is not there" }
    $isThere = $true
    try { [void]$folder.GetTask($name) } catch { $isThere = $false }
    if ($isThere) { Stop-Lr 'E_EXISTS' "the task $path is there: it is not overwritten" }
    $text = [System.IO.File]::ReadAllText((Join-Path $Record['folder'] 'content'))
    $xml = New-Object System.Xml.XmlDocument
    $xml.XmlResolver = $null
    $xml.LoadXml($text)
    $user = $xml.SelectSingleNode("/*/*[local-name()='Principals']/*/*[local-name()='UserId']")
    $group = $xml.SelectSingleNode("/*/*[local-name()='Principals']/*/*[local-name()='GroupId']")
    $logon = $xml.SelectSingleNode("/*/*[local-name()='Principals']/*/*[local-name()='LogonType']")
    $who = if ($null -ne $user) { $user.InnerText } elseif ($null -ne $group) { $group.InnerText } else { $null }
    # TASK_LOGON_TYPE: S4U 2, interactive token 3, group 4, service account 5.
    $type = 3
    if ($null -ne $group) { $type = 4 } elseif (@('S-1-5-18', 'S-1-5-19', 'S-1-5-20') -contains $who) { $type = 5 } elseif ($null -ne $logon -and $logon.InnerText -eq 'S4U') { $type = 2 }
    if ($null -ne $logon -and $logon.InnerText -eq 'Password') { Stop-Lr 'E_UNSUPPORTED' "the task $path runs with a password that is not known: its definition is in $($Record['folder'])" }
    # 2: create, never update.
    [void]$folder.RegisterTask($name, $text, 2, $who, $null, $type, $Record['sddl'])
    $isBack = $true
    try { [void]$folder.GetTask($name) } catch { $isBack = $false }
    return @{ outcome = 'restored'; verified = $isBack; note = $null }
}

Invoke-LrScript 'undo' {
    param($Arguments)
    $mode = Get-LrNeeded $Arguments 'mode'
    $kind = Get-LrNeeded $Arguments 'kind'
    $id = Get-LrNeeded $Arguments 'id'
    if ($mode -cne 'look' -and $mode -cne 'do') { Stop-Lr 'E_BAD_ARGS' 'mode is none of look, do' }
    $record = Select-LrRecord $kind $id
    $facts = Get-LrUndoFacts $record
    if ($mode -ceq 'look') {
        $note = if ($kind -eq 'process') { 'a process cannot be started as it was: its image stays in the store' } else { $null }
        $script:LrData = [ordered]@{ facts = @($facts.Keys | ForEach-Object { [ordered]@{ name = $_; value = $facts[$_] } }); note = $note }
        return
    }
    foreach ($name in $facts.Keys) {
        $expected = Get-LrArg $Arguments "expect_$name" 'text' $null
        if ($null -eq $expected -or $expected -cne $facts[$name]) { Stop-Lr 'E_ENTITY_DRIFT' "${name}: it is not what was approved" }
    }
    $done = switch ($kind) {
        'file' { Restore-LrFile $record }
        'startup' { Restore-LrFile $record }
        'service' { Restore-LrService $record }
        'registry' { Restore-LrRegistry $record }
        'scheduledtask' { Restore-LrTask $record }
        default { @{ outcome = 'image_kept'; verified = $true; note = 'a process cannot be started as it was: its image stays in the store' } }
    }
    if ($done['outcome'] -eq 'restored') {
        $file = Join-Path $record['folder'] 'record.json'
        $again = [ordered]@{}
        foreach ($name in $record.Keys) { if ($name -ne 'folder') { $again[$name] = $record[$name] } }
        $again['outcome'] = 'restored'
        try {
            [System.IO.File]::WriteAllText($file, (ConvertTo-LrJson $again), [System.Text.Encoding]::ASCII)
        } catch {
            Add-LrWarning "it is back, but the record does not say so: $($_.Exception.GetBaseException().Message)"
        }
    }
    $script:LrData = [ordered]@{ outcome = $done['outcome']; undo_id = $record['undo_id']; verified = [bool]$done['verified']; note = $done['note'] }
}
