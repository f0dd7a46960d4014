# Takes one thing out of work: `look` tells what it is and changes nothing, `do` compares that with what was approved, keeps
# a record for `undo` first, acts, and looks again. Invariant: nothing is done where one fact differs.

function Add-LrFact($Facts, [string]$Name, $Value) {
    if ($null -eq $Value) { return }
    $text = [string]$Value
    if ($Value -is [long] -or $Value -is [int] -or $Value -is [uint32]) { $text = $Value.ToString($script:LrInvariant) }
    # What is longer is cut in the same way each time; a digest stands beside it.
    if ($text.Length -gt 2000) { $text = $text.Substring(0, 2000) }
    if ($text.Length -gt 0) { $Facts[$Name] = $text }
}

function Get-LrTextSha256([string]$Text) {
    $engine = [System.Security.Cryptography.SHA256]::Create()
    try {
        $bytes = $engine.ComputeHash([System.Text.Encoding]::Unicode.GetBytes($Text))
        return [BitConverter]::ToString($bytes).Replace('-', '').ToLowerInvariant()
    } finally {
        $engine.Dispose()
    }
}

# ---- files

$script:LrCritical = @(
    'ntoskrnl.exe', 'hal.dll', 'ntdll.dll', 'kernel32.dll', 'kernelbase.dll', 'winload.exe', 'winload.efi', 'bootmgr', 'smss.exe', 'csrss.exe',
    'wininit.exe', 'winlogon.exe', 'services.exe', 'lsass.exe', 'lsaiso.exe', 'svchost.exe', 'userinit.exe', 'logonui.exe', 'dwm.exe')

function Test-LrProtectedFile([string]$Path) {
    $ordinal = [System.StringComparison]::OrdinalIgnoreCase
    $data = [Environment]::GetFolderPath('CommonApplicationData')
    $folders = @("$data\live-response\", "$data\Microsoft\Windows Defender")
    foreach ($programs in @([Environment]::GetFolderPath('ProgramFiles'), [Environment]::GetFolderPath('ProgramFilesX86'))) {
        if ($programs.Length -gt 0) { $folders += @("$programs\Windows Defender", "$programs\Microsoft Defender for Endpoint", "$programs\live-response\") }
    }
    foreach ($folder in $folders) { if ($Path.StartsWith($folder, $ordinal)) { return $true } }
    $windows = [Environment]::GetFolderPath('Windows')
    foreach ($folder in @("$windows\System32\config\", "$windows\Boot\", "$([System.IO.Path]::GetPathRoot($windows))Boot\")) {
        if ($Path.StartsWith($folder, $ordinal)) { return $true }
    }
    $isSystem = $Path.StartsWith("$windows\", $ordinal) -or [System.IO.Path]::GetDirectoryName($Path) -eq [System.IO.Path]::GetPathRoot($windows)
    return $isSystem -and $script:LrCritical -contains [System.IO.Path]::GetFileName($Path)
}

function Get-LrIdentity([string]$Path) {
    try {
        $drive = [System.IO.Path]::GetPathRoot($Path).TrimEnd('\')
        if ($drive -notmatch '\A[A-Za-z]:\z') { return $null }
        $serial = (Get-CimInstance -ClassName Win32_LogicalDisk -Filter "DeviceID='$drive'").VolumeSerialNumber
        $index = [regex]::Match((Invoke-LrTool 'fsutil.exe' @('file', 'queryFileID', $Path) 30), '0x[0-9a-fA-F]+')
        if (-not $index.Success) { return $null }
        return "${serial}:$($index.Value.ToLowerInvariant())"
    } catch {
        return $null
    }
}

function Get-LrFileFacts([string]$Id) {
    $path = Resolve-LrPath $Id
    $item = Get-LrItem $path
    if ($item -is [System.IO.DirectoryInfo]) { Stop-Lr 'E_NOT_A_FILE' "$path is a directory" }
    if ((Test-LrLink $item) -and -not (Test-LrEmpty (Get-LrTarget $path))) { Stop-Lr 'E_NOT_A_FILE' "$path is a link: name the file that it leads to" }
    # Short names and links above would hide what is protected.
    if ($path -match '~[0-9]') {
        $long = @($item.Directory.GetFileSystemInfos($item.Name) | Where-Object { $_.Name -eq $item.Name })
        if ($long.Count -ne 1 -or $item.DirectoryName -match '~[0-9]') { Stop-Lr 'E_BAD_ARGS' "$path has a short name: name the long one" }
    }
    for ($above = $item.Directory; $null -ne $above.Parent; $above = $above.Parent) {
        if ((Test-LrLink $above) -and -not (Test-LrEmpty (Get-LrTarget $above.FullName))) { Stop-Lr 'E_NOT_A_FILE' "$($above.FullName) is a link: name the folder that it leads to" }
    }
    if (Test-LrProtectedFile $path) { Stop-Lr 'E_PROTECTED' "$path belongs to the system, to Defender or to live-response" }
    $digests = Get-LrHashes $path @('sha256', 'sha1')
    $links = 1
    try { $links = @((Invoke-LrTool 'fsutil.exe' @('hardlink', 'list', $path) 30).Split("`n") | Where-Object { $_.Trim() }).Count } catch { $links = 1 }
    $facts = [ordered]@{}
    Add-LrFact $facts 'path' (ConvertTo-LrPath $path)
    Add-LrFact $facts 'size_bytes' $item.Length
    Add-LrFact $facts 'modified' (ConvertTo-LrTime $item.LastWriteTimeUtc)
    Add-LrFact $facts 'sha256' $digests['sha256']
    Add-LrFact $facts 'sha1' $digests['sha1']
    Add-LrFact $facts 'owner' (Get-LrOwner $path $false)
    Add-LrFact $facts 'mode' (Get-LrMode $item)
    Add-LrFact $facts 'identity' (Get-LrIdentity $path)
    Add-LrFact $facts 'links' $links
    $script:LrPath = $path
    if ($links -gt 1) { $script:LrNote = "$links names lead to these bytes: only this one is taken" }
    return $facts
}

function Invoke-LrFile($Facts, [string]$Folder, $Record) {
    $path = $script:LrPath
    $content = Join-Path $Folder 'content'
    $security = [System.IO.File]::GetAccessControl($path)
    $Record['path'] = $Facts['path']
    $Record['sha256'] = $Facts['sha256']
    $Record['size_bytes'] = $Facts['size_bytes']
    $Record['sddl'] = $security.GetSecurityDescriptorSddlForm([System.Security.AccessControl.AccessControlSections]'Owner, Group, Access')
    $Record['attributes'] = [long][System.IO.File]::GetAttributes($path)
    $Record['created_ticks'] = [string][System.IO.File]::GetCreationTimeUtc($path).Ticks
    $Record['modified_ticks'] = [string][System.IO.File]::GetLastWriteTimeUtc($path).Ticks
    $Record['accessed_ticks'] = [string][System.IO.File]::GetLastAccessTimeUtc($path).Ticks
    Save-LrRecord $Folder $Record
    # What was moved is hashed, not what was looked at: whoever changes the path meanwhile gets it back.
    $held = $content
    $isFar = [System.IO.Path]::GetPathRoot($path) -ne [System.IO.Path]::GetPathRoot($Folder)
    if ($isFar) { $held = "$path.$($Record['undo_id'])" }
    [System.IO.File]::Move($path, $held)
    try {
        $digest = (Get-LrHashes $held @('sha256'))['sha256']
    } catch {
        [System.IO.File]::Move($held, $path)
        throw
    }
    if ($digest -cne $Facts['sha256']) {
        [System.IO.File]::Move($held, $path)
        Stop-Lr 'E_ENTITY_DRIFT' "sha256: $path was changed while it was taken; it is where it was"
    }
    if ($isFar) {
        [System.IO.File]::Copy($held, $content, $false)
        if ((Get-LrHashes $content @('sha256'))['sha256'] -cne $digest) {
            [System.IO.File]::Move($held, $path)
            Stop-Lr 'E_BACKEND' 'the copy in the store differs; the file is where it was'
        }
        [System.IO.File]::SetAttributes($held, [System.IO.FileAttributes]::Normal)
        [System.IO.File]::Delete($held)
    }
    $locked = New-Object System.Security.AccessControl.FileSecurity
    $locked.SetSecurityDescriptorSddlForm('D:P(A;;FA;;;SY)(A;;FA;;;BA)', [System.Security.AccessControl.AccessControlSections]'Access')
    [System.IO.File]::SetAccessControl($content, $locked)
    return @{ outcome = 'quarantined'; verified = (-not [System.IO.File]::Exists($path) -and [System.IO.File]::Exists($content)); note = $script:LrNote }
}

# ---- processes

function Get-LrProcessFacts([string]$Id) {
    $number = [uint32]0
    if (-not [uint32]::TryParse($Id, [ref]$number)) { Stop-Lr 'E_BAD_ARGS' "$Id is no pid" }
    $all = @{}
    foreach ($one in @(Get-CimInstance -ClassName Win32_Process)) { $all[[uint32]$one.ProcessId] = $one }
    if (-not $all.ContainsKey($number)) { Stop-Lr 'E_NOT_FOUND' "there is no process $number" }
    $process = $all[$number]
    if ($number -le 4) { Stop-Lr 'E_PROTECTED' "process $number is the system" }
    $above = [uint32][System.Diagnostics.Process]::GetCurrentProcess().Id
    for ($n = 0; $n -lt 64 -and $all.ContainsKey($above); $n++) {
        if ($above -eq $number) { Stop-Lr 'E_PROTECTED' "process $number runs this script" }
        $above = [uint32]$all[$above].ParentProcessId
    }
    $path = $process.ExecutablePath
    $own = @('Registry', 'Memory Compression', 'Secure System', 'MsMpEng.exe', 'NisSrv.exe', 'MpDefenderCoreService.exe', 'MsSense.exe', 'SenseIR.exe', 'SenseNdr.exe', 'SenseCncProxy.exe', 'SenseTVM.exe', 'live-response.exe')
    $named = $own -contains $process.Name -or $script:LrCritical -contains $process.Name
    # A program that only bears such a name, in a folder of its own, is not protected; svchost and dwm may be stopped.
    $isSystem = if ($path) { Test-LrProtectedFile $path } else { $named }
    if ($isSystem -and @('svchost.exe', 'dwm.exe') -notcontains $process.Name) { Stop-Lr 'E_PROTECTED' "process $number ($($process.Name)) belongs to the system, to Defender or to live-response" }
    if ($null -eq $process.CreationDate) { Stop-Lr 'E_PROTECTED' "process $number does not tell when it began" }
    $facts = [ordered]@{}
    Add-LrFact $facts 'pid' ([long]$number)
    Add-LrFact $facts 'started' ([string]$process.CreationDate.ToUniversalTime().Ticks)
    Add-LrFact $facts 'name' $process.Name
    try {
        $owner = Invoke-CimMethod -InputObject $process -MethodName GetOwner
        if ($owner.ReturnValue -eq 0) { Add-LrFact $facts 'user' "$($owner.Domain)\$($owner.User)" }
    } catch {
        Add-LrWarning "the user of process $number is not known"
    }
    Add-LrFact $facts 'command_line' $process.CommandLine
    Add-LrFact $facts 'path' (ConvertTo-LrPath $path)
    if ($path -and [System.IO.File]::Exists($path)) {
        Add-LrFact $facts 'sha256' (Get-LrSha256 $path)
        Add-LrFact $facts 'size_bytes' ((New-Object System.IO.FileInfo $path).Length)
    }
    $script:LrPath = [string]$path
    return $facts
}

function Invoke-LrProcess($Facts, [string]$Folder, $Record) {
    $process = [System.Diagnostics.Process]::GetProcessById([int]$Facts['pid'])
    # From here on the handle keeps the pid from being used again.
    [void]$process.Handle
    $began = $process.StartTime.ToUniversalTime().Ticks
    # WMI tells microseconds, the handle tenths of them.
    if ([Math]::Abs($began - [long]$Facts['started']) -ge 10) { Stop-Lr 'E_ENTITY_DRIFT' 'started: the pid is that of another process by now' }
    $note = 'a process that was stopped does not come back'
    foreach ($name in @('path', 'sha256', 'size_bytes', 'command_line')) { if ($Facts.Contains($name)) { $Record[$name] = $Facts[$name] } }
    if ($Facts.Contains('sha256')) {
        $content = Join-Path $Folder 'content'
        [System.IO.File]::Copy($script:LrPath, $content, $false)
        if ((Get-LrSha256 $content) -cne $Facts['sha256']) { Stop-Lr 'E_ENTITY_DRIFT' 'sha256: the image was changed' }
        $note += '; its image was copied'
    }
    Save-LrRecord $Folder $Record
    $process.Kill()
    return @{ outcome = 'stopped'; verified = $process.WaitForExit(15000); note = $note }
}

# ---- services

$script:LrServices = @(
    'WinDefend', 'WdNisSvc', 'Sense', 'MDCoreSvc', 'WdFilter', 'WdBoot', 'WdNisDrv', 'MsSecFlt', 'MsSecCore', 'DiagTrack', 'RpcSs', 'RpcEptMapper', 'DcomLaunch', 'SamSs',
    'LSM', 'EventLog', 'PlugPlay', 'Power', 'BrokerInfrastructure', 'CoreMessagingRegistrar', 'SystemEventsBroker', 'ProfSvc', 'UserManager', 'Schedule',
    'gpsvc', 'CryptSvc', 'Dhcp', 'Dnscache', 'NlaSvc', 'nsi', 'netprofm', 'BFE', 'mpssvc', 'LanmanWorkstation', 'LanmanServer', 'Netlogon', 'NTDS', 'DNS', 'Kdc', 'KeyIso',
    'VaultSvc', 'Winmgmt', 'TrustedInstaller', 'msiserver', 'live-response')

function Get-LrServiceRow([string]$Name) {
    if ($Name -notmatch '\A[^\\/''"%*?\[\]\x00-\x1f]{1,256}\z') { Stop-Lr 'E_BAD_ARGS' 'that is no name of a service' }
    $found = @(Get-CimInstance -ClassName Win32_Service | Where-Object { $_.Name -eq $Name })
    if ($found.Count -eq 0) { Stop-Lr 'E_NOT_FOUND' "there is no service $Name" }
    return $found[0]
}

function Get-LrServiceFacts([string]$Id) {
    $service = Get-LrServiceRow $Id
    if ($script:LrServices -contains $service.Name -or $service.Name -match '\A(WinDefend|Sense|live-response)') {
        Stop-Lr 'E_PROTECTED' "the service $($service.Name) belongs to the system, to Defender or to live-response"
    }
    $key = Open-LrKey (Open-LrHive 'LocalMachine') "SYSTEM\CurrentControlSet\Services\$($service.Name)" 'HKLM'
    if ($null -eq $key) { Stop-Lr 'E_NOT_FOUND' "the service $Id has no key that can be read" }
    $dll = Get-LrValue (Open-LrKey $key 'Parameters' $service.Name) 'ServiceDll'
    $runs = if ($dll -is [string]) { $dll } else { $service.PathName }
    $file = Find-LrProgram $runs
    $facts = [ordered]@{}
    Add-LrFact $facts 'name' $service.Name
    Add-LrFact $facts 'display_name' $service.DisplayName
    Add-LrFact $facts 'state' $service.State
    Add-LrFact $facts 'start_mode' $service.StartMode
    Add-LrFact $facts 'account' $service.StartName
    Add-LrFact $facts 'command' $service.PathName
    Add-LrFact $facts 'path' (ConvertTo-LrPath $file)
    if ($null -ne $file) { Add-LrFact $facts 'sha256' (Get-LrSha256 $file) }
    Add-LrFact $facts 'start' (Get-LrValue $key 'Start')
    Add-LrFact $facts 'delayed' (Get-LrValue $key 'DelayedAutoStart')
    $dependent = @((Get-Service -Name $service.Name).DependentServices | Where-Object { [string]$_.Status -ne 'Stopped' } | ForEach-Object { $_.ServiceName })
    Add-LrFact $facts 'dependents' (($dependent | Sort-Object) -join ', ')
    foreach ($one in $dependent) { if ($script:LrServices -contains $one) { Stop-Lr 'E_PROTECTED' "the service $one, which the system needs, depends on $Id" } }
    $script:LrNote = 'it is stopped and disabled; its configuration and its file stay'
    if ($dependent.Count -gt 0) { $script:LrNote += "; stopped with it: $($dependent -join ', ')" }
    return $facts
}

function Invoke-LrService($Facts, [string]$Folder, $Record) {
    foreach ($name in @('state', 'start', 'delayed', 'path', 'sha256', 'command')) { if ($Facts.Contains($name)) { $Record[$name] = $Facts[$name] } }
    Save-LrRecord $Folder $Record
    # Disabled first: a service that restarts itself would come back between.
    Set-Service -Name $Facts['name'] -StartupType Disabled
    $note = $script:LrNote
    try {
        Stop-Service -Name $Facts['name'] -Force -NoWait
        (Get-Service -Name $Facts['name']).WaitForStatus('Stopped', [TimeSpan]::FromSeconds(60))
    } catch {
        $note = "it is disabled, and did not stop within 60 s: $($_.Exception.GetBaseException().Message)"
    }
    $after = Get-LrServiceRow $Facts['name']
    return @{ outcome = 'stopped'; verified = ($after.State -eq 'Stopped' -and $after.StartMode -eq 'Disabled'); note = $note }
}

# ---- registry

# A key of HKLM and the name of one of its values.
function Split-LrValueName([string]$Id) {
    $text = $Id.Trim().Trim('"', "'") -replace '\AComputer\\', ''
    if ($text -match '\A(HKCU|HKEY_CURRENT_USER|HKU|HKEY_USERS):?(\\|\z)') { Stop-Lr 'E_UNSUPPORTED' 'values of users are not removed: only those of HKLM' }
    if ($text -notmatch '\A(HKLM|HKEY_LOCAL_MACHINE):?\\+(?<rest>.+)\z') { Stop-Lr 'E_BAD_ARGS' 'the id begins with none of HKLM, HKEY_LOCAL_MACHINE' }
    $rest = $Matches['rest']
    $double = $rest.LastIndexOf('\\', [System.StringComparison]::Ordinal)
    $at = if ($double -gt 0) { $double } else { $rest.LastIndexOf('\') }
    if ($at -le 0) { Stop-Lr 'E_BAD_ARGS' 'name a value: HKLM\KEY\\VALUE' }
    $key = ($rest.Substring(0, $at) -split '\\+' | Where-Object { $_ }) -join '\'
    return @($key, $rest.Substring($at).TrimStart('\'))
}

function ConvertTo-LrBase64($Data, [string]$Kind) {
    if ($Data -is [byte[]]) { return [Convert]::ToBase64String($Data) }
    if ($Kind -eq 'DWord' -or $Kind -eq 'QWord') { return ([long]$Data).ToString($script:LrInvariant) }
    if ($Data -is [string[]]) { return [Convert]::ToBase64String([System.Text.Encoding]::Unicode.GetBytes(($Data -join [string][char]0))) }
    return [Convert]::ToBase64String([System.Text.Encoding]::Unicode.GetBytes([string]$Data))
}

function Get-LrRegistryFacts([string]$Id) {
    $parts = Split-LrValueName $Id
    $guarded = '\A(SAM|SECURITY|BCD00000000)(\\|\z)|\ASOFTWARE\\(Policies\\)?Microsoft\\(Windows Defender|Windows Advanced Threat Protection|Microsoft Antimalware)|\ASYSTEM\\(CurrentControlSet|ControlSet\d+)\\Control\\(Session Manager|Lsa|SafeBoot|Class)(\\|\z)'
    if ($parts[0] -match $guarded) { Stop-Lr 'E_PROTECTED' "$($parts[0]) belongs to the system or to Defender" }
    if ($parts[0] -match '\\Windows NT\\CurrentVersion\\Winlogon\z' -and @('Shell', 'Userinit') -contains $parts[1]) { Stop-Lr 'E_PROTECTED' 'without this value nobody can sign in: set it right by a script' }
    if ($parts[0] -match '\ASYSTEM\\(CurrentControlSet|ControlSet\d+)\\Services\\(?<name>[^\\]+)') {
        if ($script:LrServices -contains $Matches['name']) { Stop-Lr 'E_PROTECTED' "the service $($Matches['name']) belongs to the system or to Defender" }
    }
    $key = (Open-LrHive 'LocalMachine').OpenSubKey($parts[0], $false)
    if ($null -eq $key) { Stop-Lr 'E_NOT_FOUND' "there is no key HKLM\$($parts[0])" }
    if (@($key.GetValueNames()) -notcontains $parts[1]) { Stop-Lr 'E_NOT_FOUND' "HKLM\$($parts[0]) has no value $($parts[1])" }
    $data = Get-LrValue $key $parts[1]
    $kind = [string]$key.GetValueKind($parts[1])
    $packed = ConvertTo-LrBase64 $data $kind
    if ($packed.Length -gt 262144) { Stop-Lr 'E_TOO_LARGE' 'the data is longer than a record keeps' }
    $text = if ($data -is [byte[]]) { [BitConverter]::ToString($data).Replace('-', '').ToLowerInvariant() } else { @($data) -join "`n" }
    $facts = [ordered]@{}
    Add-LrFact $facts 'key' "HKLM\$($parts[0])"
    $facts['value'] = $parts[1]
    Add-LrFact $facts 'kind' $kind
    Add-LrFact $facts 'data' $text
    Add-LrFact $facts 'data_sha256' (Get-LrTextSha256 $packed)
    $script:LrPacked = $packed
    return $facts
}

function Invoke-LrRegistry($Facts, [string]$Folder, $Record) {
    $Record['key'] = $Facts['key']
    $Record['value_name'] = $Facts['value']
    $Record['value_kind'] = $Facts['kind']
    $Record['packed'] = $script:LrPacked
    Save-LrRecord $Folder $Record
    $below = $Facts['key'].Substring(5)
    $key = (Open-LrHive 'LocalMachine').OpenSubKey($below, $true)
    $key.DeleteValue($Facts['value'], $true)
    $key.Dispose()
    $left = @((Open-LrHive 'LocalMachine').OpenSubKey($below, $false).GetValueNames())
    return @{ outcome = 'removed'; verified = ($left -notcontains $Facts['value']); note = $null }
}

# ---- scheduled tasks

function Open-LrTask([string]$Id) {
    $path = '\' + $Id.Trim().Trim('"').Trim('\')
    $service = New-Object -ComObject 'Schedule.Service'
    [void]$service.Connect()
    $at = $path.LastIndexOf('\')
    $folder = if ($at -eq 0) { '\' } else { $path.Substring(0, $at) }
    try {
        $opened = $service.GetFolder($folder)
        return @($opened, $opened.GetTask($path.Substring($at + 1)))
    } catch {
        Stop-Lr 'E_NOT_FOUND' "there is no task $path"
    }
}

function Get-LrTaskFacts([string]$Id) {
    $task = (Open-LrTask $Id)[1]
    if ($task.Path -match '\A\\Microsoft\\Windows\\Windows Defender\\|\A\\live-response') { Stop-Lr 'E_PROTECTED' "the task $($task.Path) belongs to Defender or to live-response" }
    $xml = New-Object System.Xml.XmlDocument
    $xml.XmlResolver = $null
    $xml.LoadXml($task.Xml)
    $lines = @($xml.SelectNodes("/*/*[local-name()='Actions']/*") | ForEach-Object { @($_.SelectNodes('*') | ForEach-Object { $_.InnerText }) -join ' ' })
    $kinds = @($xml.SelectNodes("/*/*[local-name()='Triggers']/*") | ForEach-Object { $_.LocalName })
    $user = $xml.SelectSingleNode("/*/*[local-name()='Principals']/*/*[local-name()='UserId' or local-name()='GroupId']")
    $facts = [ordered]@{}
    Add-LrFact $facts 'name' $task.Path
    Add-LrFact $facts 'source' ([Environment]::SystemDirectory + '\Tasks' + $task.Path)
    Add-LrFact $facts 'schedule' ($kinds -join ', ')
    Add-LrFact $facts 'command' ($lines -join '; ')
    if ($null -ne $user) { Add-LrFact $facts 'user' $user.InnerText }
    Add-LrFact $facts 'enabled' (([string][bool]$task.Enabled).ToLowerInvariant())
    Add-LrFact $facts 'definition_sha256' (Get-LrTextSha256 $task.Xml)
    if ($null -ne $xml.SelectSingleNode("//*[local-name()='LogonType' and text()='Password']")) { $script:LrNote = 'it runs with a password that Windows keeps: undo cannot bring it back' }
    return $facts
}

function Invoke-LrTask($Facts, [string]$Folder, $Record) {
    $opened = Open-LrTask $Facts['name']
    $xml = $opened[1].Xml
    if ((Get-LrTextSha256 $xml) -cne $Facts['definition_sha256']) { Stop-Lr 'E_ENTITY_DRIFT' 'definition_sha256: the task was changed' }
    $content = Join-Path $Folder 'content'
    [System.IO.File]::WriteAllText($content, $xml, (New-Object System.Text.UnicodeEncoding))
    $Record['sddl'] = $opened[1].GetSecurityDescriptor(7)
    $Record['sha256'] = Get-LrSha256 $content
    Save-LrRecord $Folder $Record
    $note = $script:LrNote
    # 4: running.
    if ($opened[1].State -eq 4) { $note = "$note; it runs just now: what it started goes on".TrimStart(';', ' ') }
    [void]$opened[0].DeleteTask($opened[1].Name, 0)
    $isGone = $false
    try { [void](Open-LrTask $Facts['name']) } catch { $isGone = $true }
    return @{ outcome = 'removed'; verified = $isGone; note = $note }
}

# ---- the record

function New-LrLocked([string]$Path) {
    $security = New-Object System.Security.AccessControl.DirectorySecurity
    $security.SetSecurityDescriptorSddlForm('O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)')
    [void][System.IO.Directory]::CreateDirectory($Path, $security)
    if (-not (Test-LrOurs $Path)) { Stop-Lr 'E_STORE_UNAVAILABLE' "$Path is not ours: it is a link, or others may write to it" }
}

function Save-LrRecord([string]$Folder, $Record) {
    $file = Join-Path $Folder 'record.json'
    $bytes = [System.Text.Encoding]::ASCII.GetBytes((ConvertTo-LrJson $Record))
    $stream = New-Object System.IO.FileStream -ArgumentList "$file.new", ([System.IO.FileMode]::Create), ([System.IO.FileAccess]::Write), ([System.IO.FileShare]::None), 4096, ([System.IO.FileOptions]::WriteThrough)
    try {
        $stream.Write($bytes, 0, $bytes.Length)
        $stream.Flush($true)
    } finally {
        $stream.Dispose()
    }
    if ([System.IO.File]::Exists($file)) {
        [System.IO.File]::Replace("$file.new", $file, [System.Management.Automation.Language.NullString]::Value)
    } else {
        [System.IO.File]::Move("$file.new", $file)
    }
}

function Get-LrFacts([string]$Kind, [string]$Id) {
    switch ($Kind) {
        'file' { return Get-LrFileFacts $Id }
        'startup' { return Get-LrFileFacts $Id }
        'process' { return Get-LrProcessFacts $Id }
        'service' { return Get-LrServiceFacts $Id }
        'registry' { return Get-LrRegistryFacts $Id }
        'scheduledtask' { return Get-LrTaskFacts $Id }
    }
    Stop-Lr 'E_BAD_ARGS' "$Kind is none of file, process, service, registry, scheduledtask, startup"
}

function Assert-LrFacts($Facts, $Arguments) {
    foreach ($name in $Facts.Keys) {
        $expected = Get-LrArg $Arguments "expect_$name" 'text' $null
        if ($null -eq $expected -or $expected -cne $Facts[$name]) { Stop-Lr 'E_ENTITY_DRIFT' "${name}: it is not what was approved" }
    }
    foreach ($name in $Arguments.Keys) {
        if ($name.StartsWith('expect_') -and -not $Facts.Contains($name.Substring(7))) { Stop-Lr 'E_ENTITY_DRIFT' "$($name.Substring(7)): it is not known any more" }
    }
}

Invoke-LrScript 'remediate' {
    param($Arguments)
    $mode = Get-LrNeeded $Arguments 'mode'
    $kind = Get-LrNeeded $Arguments 'kind'
    $id = Get-LrNeeded $Arguments 'id'
    $script:LrNote = $null
    $script:LrPath = ''
    $script:LrPacked = ''
    if ($mode -cne 'look' -and $mode -cne 'do') { Stop-Lr 'E_BAD_ARGS' 'mode is none of look, do' }
    $facts = Get-LrFacts $kind $id
    if ($mode -ceq 'look') {
        $list = @($facts.Keys | ForEach-Object { [ordered]@{ name = $_; value = $facts[$_] } })
        $script:LrData = [ordered]@{ facts = $list; note = $script:LrNote }
        return
    }
    $undo = Get-LrNeeded $Arguments 'undo_id'
    if ($undo -cnotmatch '\Au-[0-9a-f]{32}\z') { Stop-Lr 'E_BAD_ARGS' 'undo_id is none' }
    Assert-LrFacts $facts $Arguments
    $store = Get-LrStore
    New-LrLocked ([System.IO.Path]::GetDirectoryName($store))
    New-LrLocked $store
    $folder = Join-Path $store $undo
    if ([System.IO.Directory]::Exists($folder)) { Stop-Lr 'E_EXISTS' "$undo was used before" }
    New-LrLocked $folder
    $record = [ordered]@{ v = 1; undo_id = $undo; kind = $kind; id = $id; at = (ConvertTo-LrTime ([datetime]::UtcNow)); outcome = 'begun' }
    $done = switch ($kind) {
        'process' { Invoke-LrProcess $facts $folder $record }
        'service' { Invoke-LrService $facts $folder $record }
        'registry' { Invoke-LrRegistry $facts $folder $record }
        'scheduledtask' { Invoke-LrTask $facts $folder $record }
        default { Invoke-LrFile $facts $folder $record }
    }
    $record['outcome'] = $done['outcome']
    try {
        Save-LrRecord $folder $record
    } catch {
        Add-LrWarning "it is done, but the record still says begun: $($_.Exception.GetBaseException().Message)"
    }
    $script:LrData = [ordered]@{ outcome = $done['outcome']; undo_id = $undo; verified = [bool]$done['verified']; note = $done['note'] }
}
