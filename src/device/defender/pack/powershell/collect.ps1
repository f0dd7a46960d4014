# Gathers an investigation package: `gather` writes one .zip at `out`, `tidy` removes it. Invariant: it writes below the
# folder of `out` alone, and what could not be gathered stands in the manifest with the reason.

# Of one file, of all of them unpacked, and of one listing, in bytes.
$script:LrFileBound = 268435456
$script:LrAllBound = 2147483648

function Add-LrMember([string]$Name, [long]$Bytes, [string]$Sha256, [string]$Source) {
    [void]$script:LrMembers.Add([ordered]@{ name = $Name; size_bytes = $Bytes; sha256 = $Sha256; source = $Source })
}

function Add-LrLeft([string]$Name, [string]$Why) {
    [void]$script:LrLeft.Add([ordered]@{ name = $Name; why = $Why })
}

# Copies a stream into the archive within the bounds, hashing what goes in.
function Write-LrMember([string]$Name, $Stream, [string]$Source) {
    $entry = $script:LrZip.CreateEntry($Name.Replace('\', '/'), [System.IO.Compression.CompressionLevel]::Fastest)
    $into = $entry.Open()
    $engine = [System.Security.Cryptography.SHA256]::Create()
    $bytes = [long]0
    $isWhole = $true
    try {
        $buffer = New-Object byte[] 1048576
        while (($read = $Stream.Read($buffer, 0, $buffer.Length)) -gt 0) {
            $into.Write($buffer, 0, $read)
            [void]$engine.TransformBlock($buffer, 0, $read, $null, 0)
            $bytes += $read
            $script:LrBytes += $read
            if ($bytes -ge $script:LrFileBound -or $script:LrBytes -ge $script:LrAllBound -or $script:LrClock.Elapsed.TotalSeconds -ge $script:LrGather) {
                $isWhole = $false
                break
            }
        }
        [void]$engine.TransformFinalBlock($buffer, 0, 0)
        Add-LrMember $Name $bytes ([BitConverter]::ToString($engine.Hash).Replace('-', '').ToLowerInvariant()) $Source
    } finally {
        $into.Dispose()
        $engine.Dispose()
    }
    if (-not $isWhole) { Add-LrLeft $Name 'it was cut: the time or the size of the package ran out' }
}

function Add-LrText([string]$Name, [string]$Text, [string]$Source) {
    $stream = New-Object System.IO.MemoryStream -ArgumentList (, [System.Text.Encoding]::UTF8.GetBytes($Text))
    try { Write-LrMember $Name $stream $Source } finally { $stream.Dispose() }
}

function Add-LrFile([string]$Name, [string]$Path) {
    if (-not (Test-LrRoom)) {
        Add-LrLeft $Name 'the time or the size of the package ran out'
        return
    }
    try {
        $share = [System.IO.FileShare]'ReadWrite, Delete'
        $stream = New-Object System.IO.FileStream -ArgumentList $Path, ([System.IO.FileMode]::Open), ([System.IO.FileAccess]::Read), $share, 65536
    } catch {
        $cause = $_.Exception.GetBaseException()
        if ($cause -is [System.IO.FileNotFoundException] -or $cause -is [System.IO.DirectoryNotFoundException]) { return }
        # Another program holds it: a shadow copy has it all the same.
        if ($cause -is [System.IO.IOException]) { Add-LrHeld $Name $Path } else { Add-LrLeft $Name "$Path could not be read: $($cause.Message)" }
        return
    }
    try { Write-LrMember $Name $stream $Path } finally { $stream.Dispose() }
}

function Add-LrHeld([string]$Name, [string]$Path) {
    $copy = Join-Path $script:LrScratch 'held'
    try {
        [void](Invoke-LrTool 'esentutl.exe' @('/y', '/vss', $Path, '/d', $copy) 60)
        $stream = New-Object System.IO.FileStream -ArgumentList $copy, ([System.IO.FileMode]::Open), ([System.IO.FileAccess]::Read)
        try { Write-LrMember $Name $stream $Path } finally { $stream.Dispose() }
    } catch {
        Add-LrLeft $Name "$Path is held by another program: $($_.Exception.GetBaseException().Message)"
    } finally {
        if ([System.IO.File]::Exists($copy)) { [System.IO.File]::Delete($copy) }
    }
}

function Test-LrRoom {
    return $script:LrClock.Elapsed.TotalSeconds -lt $script:LrGather -and $script:LrBytes -lt $script:LrAllBound
}

# The files of a folder whose names match; links are not followed.
function Add-LrFolder([string]$Into, [string]$Folder, [string]$Glob, [int]$Depth) {
    if (-not [System.IO.Directory]::Exists($Folder)) { return }
    $stack = New-Object System.Collections.Stack
    $stack.Push(@((New-Object System.IO.DirectoryInfo $Folder), $Into, 0))
    while ($stack.Count -gt 0) {
        $next = $stack.Pop()
        try {
            foreach ($file in $next[0].GetFiles($Glob)) { Add-LrFile "$($next[1])\$($file.Name)" $file.FullName }
            if ($next[2] -ge $Depth) { continue }
            foreach ($below in $next[0].GetDirectories()) {
                if (-not (Test-LrLink $below)) { $stack.Push(@($below, "$($next[1])\$($below.Name)", ($next[2] + 1))) }
            }
        } catch {
            Add-LrLeft $next[1] "$($next[0].FullName) could not be read: $($_.Exception.GetBaseException().Message)"
        }
    }
}

# Objects as CSV.
function Add-LrTable([string]$Name, [scriptblock]$Rows, $Columns, [string]$Source) {
    if (-not (Test-LrRoom)) {
        Add-LrLeft $Name 'the time or the size of the package ran out'
        return
    }
    try {
        $lines = @(& $Rows | Select-Object -Property $Columns | ConvertTo-Csv -NoTypeInformation)
        Add-LrText $Name ($lines -join "`r`n") $Source
    } catch {
        Add-LrLeft $Name "$Source failed: $($_.Exception.GetBaseException().Message)"
    }
}

# What a program of Windows prints.
function Add-LrPrinted([string]$Name, [string]$Tool, [string[]]$Arguments) {
    if (-not (Test-LrRoom)) {
        Add-LrLeft $Name 'the time or the size of the package ran out'
        return
    }
    try {
        Add-LrText $Name (Invoke-LrTool $Tool $Arguments 60) "$Tool $($Arguments -join ' ')"
    } catch {
        Add-LrLeft $Name "$Tool failed: $($_.Exception.GetBaseException().Message)"
    }
}

function Add-LrNetwork {
    Add-LrTable 'network\addresses.csv' { Get-NetIPAddress } @('InterfaceAlias', 'IPAddress', 'PrefixLength', 'AddressFamily', 'AddressState') 'Get-NetIPAddress'
    Add-LrPrinted 'network\ipconfig.txt' 'ipconfig.exe' @('/all')
    Add-LrTable 'network\tcp.csv' { Get-NetTCPConnection } @('LocalAddress', 'LocalPort', 'RemoteAddress', 'RemotePort', 'State', 'OwningProcess', 'CreationTime') 'Get-NetTCPConnection'
    Add-LrTable 'network\udp.csv' { Get-NetUDPEndpoint } @('LocalAddress', 'LocalPort', 'OwningProcess', 'CreationTime') 'Get-NetUDPEndpoint'
    Add-LrTable 'network\dns_cache.csv' { Get-DnsClientCache } @('Entry', 'RecordName', 'RecordType', 'Status', 'TimeToLive', 'Data') 'Get-DnsClientCache'
    Add-LrTable 'network\smb_shares.csv' { Get-SmbShare } @('Name', 'Path', 'Description', 'CurrentUsers') 'Get-SmbShare'
    Add-LrTable 'network\smb_sessions.csv' { Get-SmbSession } @('ClientComputerName', 'ClientUserName', 'NumOpens', 'SecondsExists') 'Get-SmbSession'
    Add-LrTable 'network\neighbours.csv' { Get-NetNeighbor } @('InterfaceAlias', 'IPAddress', 'LinkLayerAddress', 'State') 'Get-NetNeighbor'
    Add-LrTable 'network\routes.csv' { Get-NetRoute } @('DestinationPrefix', 'NextHop', 'InterfaceAlias', 'RouteMetric') 'Get-NetRoute'
    Add-LrPrinted 'network\rdp_sessions.txt' 'qwinsta.exe' @()
    Add-LrPrinted 'network\files_opened_remotely.txt' 'openfiles.exe' @('/query', '/fo', 'csv', '/v')
    Add-LrFile 'network\hosts' ([Environment]::SystemDirectory + '\drivers\etc\hosts')
}

function Add-LrSystem {
    Add-LrTable 'system\system.csv' { Get-CimInstance -ClassName Win32_OperatingSystem } @('Caption', 'Version', 'BuildNumber', 'InstallDate', 'LastBootUpTime', 'LocalDateTime', 'OSLanguage') 'Win32_OperatingSystem'
    Add-LrTable 'system\startup.csv' { Get-CimInstance -ClassName Win32_StartupCommand } @('Name', 'Command', 'Location', 'User', 'UserSID') 'Win32_StartupCommand'
    Add-LrTable 'system\services.csv' { Get-CimInstance -ClassName Win32_Service } @('Name', 'DisplayName', 'State', 'StartMode', 'PathName', 'StartName', 'ProcessId') 'Win32_Service'
    Add-LrTable 'system\drivers.csv' { Get-CimInstance -ClassName Win32_SystemDriver } @('Name', 'DisplayName', 'State', 'StartMode', 'PathName') 'Win32_SystemDriver'
    Add-LrTable 'system\devices.csv' { Get-PnpDevice } @('Class', 'FriendlyName', 'InstanceId', 'Status', 'Present') 'Get-PnpDevice'
    Add-LrTable 'system\shadow_copies.csv' { Get-CimInstance -ClassName Win32_ShadowCopy } @('ID', 'InstallDate', 'VolumeName', 'DeviceObject') 'Win32_ShadowCopy'
    Add-LrTable 'system\tasks.csv' { Get-ScheduledTask } @('TaskPath', 'TaskName', 'State', 'Author', 'Date', @{ Name = 'Actions'; Expression = { @($_.Actions | ForEach-Object { ($_.CimInstanceProperties | Where-Object { $_.Value } | ForEach-Object { "$($_.Name)=$($_.Value)" }) -join ' ' }) -join '; ' } }) 'Get-ScheduledTask'
    Add-LrTable 'system\tasks_run.csv' { Get-ScheduledTask | Get-ScheduledTaskInfo } @('TaskPath', 'TaskName', 'LastRunTime', 'LastTaskResult', 'NextRunTime', 'NumberOfMissedRuns') 'Get-ScheduledTaskInfo'
    Add-LrFolder 'system\tasks' ([Environment]::SystemDirectory + '\Tasks') '*' 16
    Add-LrTable 'system\fixes.csv' { Get-CimInstance -ClassName Win32_QuickFixEngineering } @('HotFixID', 'Description', 'InstalledOn', 'InstalledBy') 'Win32_QuickFixEngineering'
    $places = @('SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall', 'SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall')
    Add-LrTable 'system\installed.csv' {
        foreach ($place in $places) {
            $top = Open-LrKey (Open-LrHive 'LocalMachine') $place 'HKLM'
            if ($null -eq $top) { continue }
            foreach ($name in @($top.GetSubKeyNames())) {
                $key = Open-LrKey $top $name $place
                New-Object PSObject -Property ([ordered]@{ Key = $name; Name = (Get-LrValue $key 'DisplayName'); Version = (Get-LrValue $key 'DisplayVersion'); Publisher = (Get-LrValue $key 'Publisher'); Date = (Get-LrValue $key 'InstallDate') })
            }
        }
    } '*' 'Uninstall keys'
    Add-LrFolder 'system\prefetch' ([Environment]::GetFolderPath('Windows') + '\Prefetch') '*.pf' 0
    Add-LrFile 'system\Amcache.hve' ([Environment]::GetFolderPath('Windows') + '\AppCompat\Programs\Amcache.hve')
}

function Add-LrProcesses {
    $digests = @{}
    Add-LrTable 'processes\processes.csv' {
        foreach ($process in @(Get-CimInstance -ClassName Win32_Process)) {
            $path = [string]$process.ExecutablePath
            if (-not $digests.ContainsKey($path) -and (Test-LrRoom)) { $digests[$path] = Get-LrSha256 $path }
            New-Object PSObject -Property ([ordered]@{
                Pid = $process.ProcessId; Ppid = $process.ParentProcessId; Name = $process.Name; Path = $path; CommandLine = $process.CommandLine
                Started = (ConvertTo-LrTime $process.CreationDate); Sha256 = $digests[$path]
            })
        }
    } '*' 'Win32_Process'
}

function Add-LrUsers {
    Add-LrPrinted 'users\signed_in.txt' 'quser.exe' @()
    Add-LrTable 'users\local_users.csv' { Get-CimInstance -ClassName Win32_UserAccount -Filter 'LocalAccount=TRUE' } @('Name', 'SID', 'Disabled', 'Lockout', 'PasswordRequired', 'Description') 'Win32_UserAccount'
    Add-LrTable 'users\administrators.csv' { Get-LocalGroupMember -SID 'S-1-5-32-544' } @('Name', 'SID', 'ObjectClass', 'PrincipalSource') 'Get-LocalGroupMember'
    $users = Open-LrHive 'Users'
    foreach ($entry in @(Get-LrProfiles)) {
        $name = "users\$($entry.Sid)"
        Add-LrFile "$name\ConsoleHost_history.txt" "$($entry.Folder)\AppData\Roaming\Microsoft\Windows\PowerShell\PSReadLine\ConsoleHost_history.txt"
        foreach ($browser in @(@('chrome', 'Google\Chrome'), @('edge', 'Microsoft\Edge'), @('brave', 'BraveSoftware\Brave-Browser'))) {
            $data = "$($entry.Folder)\AppData\Local\$($browser[1])\User Data"
            if (-not [System.IO.Directory]::Exists($data)) { continue }
            foreach ($folder in @([System.IO.Directory]::GetDirectories($data))) {
                foreach ($file in @('History', 'Preferences', 'Secure Preferences', 'Bookmarks')) {
                    if ([System.IO.File]::Exists("$folder\$file")) { Add-LrFile "$name\$($browser[0])\$([System.IO.Path]::GetFileName($folder))\$file" "$folder\$file" }
                }
                Add-LrFolder "$name\$($browser[0])\$([System.IO.Path]::GetFileName($folder))\IndexedDB" "$folder\IndexedDB" '*' 3
            }
        }
        $firefox = "$($entry.Folder)\AppData\Roaming\Mozilla\Firefox\Profiles"
        if ([System.IO.Directory]::Exists($firefox)) {
            foreach ($folder in @([System.IO.Directory]::GetDirectories($firefox))) {
                foreach ($file in @('places.sqlite', 'permissions.sqlite', 'content-prefs.sqlite', 'extensions.json', 'extensions.sqlite')) {
                    if ([System.IO.File]::Exists("$folder\$file")) { Add-LrFile "$name\firefox\$([System.IO.Path]::GetFileName($folder))\$file" "$folder\$file" }
                }
            }
        }
        Add-LrFolder "$name\recent" "$($entry.Folder)\AppData\Roaming\Microsoft\Windows\Recent" '*.lnk' 0
        if (-not $entry.Loaded) {
            Add-LrLeft "$name\registry" 'the user is not signed in, so their registry is not loaded'
            continue
        }
        $keys = @(
            @('office', 'Software\Microsoft\Office\16.0\Common\Internet\Server Cache'), @('shares', 'Software\Microsoft\Windows\CurrentVersion\Explorer\MountPoints2'),
            @('run_dialogue', 'Software\Microsoft\Windows\CurrentVersion\Explorer\RunMRU'), @('run', 'Software\Microsoft\Windows\CurrentVersion\Run'),
            @('remote_desktop', 'Software\Microsoft\Terminal Server Client\Servers'), @('typed_paths', 'Software\Microsoft\Windows\CurrentVersion\Explorer\TypedPaths'))
        foreach ($pair in $keys) { Add-LrValues "$name\registry\$($pair[0]).csv" $users "$($entry.Sid)\$($pair[1])" 'HKU' }
    }
}

# A key's values and the names of its sub-keys.
function Add-LrValues([string]$Name, $Top, [string]$Path, [string]$Shown) {
    $key = Open-LrKey $Top $Path $Shown
    if ($null -eq $key) { return }
    Add-LrTable $Name {
        foreach ($value in @($key.GetValueNames())) { New-Object PSObject -Property ([ordered]@{ Key = "$Shown\$Path"; Value = $value; Data = ([string](Get-LrValue $key $value)) }) }
        foreach ($below in @($key.GetSubKeyNames())) { New-Object PSObject -Property ([ordered]@{ Key = "$Shown\$Path\$below"; Value = ''; Data = '' }) }
    } '*' "$Shown\$Path"
}

function Add-LrEvents([int]$Days, [string]$Scratch) {
    $machine = Open-LrHive 'LocalMachine'
    foreach ($pair in @(@('run', 'Run'), @('run_once', 'RunOnce'))) {
        Add-LrValues "registry\$($pair[0]).csv" $machine "SOFTWARE\Microsoft\Windows\CurrentVersion\$($pair[1])" 'HKLM'
        Add-LrValues "registry\$($pair[0])_32.csv" $machine "SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\$($pair[1])" 'HKLM'
    }
    $since = [datetime]::Now.AddDays(-$Days)
    $security = $null
    try { $security = @(Get-WinEvent -FilterHashtable @{ LogName = 'Security'; StartTime = $since } -MaxEvents 20000) } catch { Add-LrLeft 'events\security.csv' ($_.Exception.GetBaseException().Message) }
    if ($null -ne $security) {
        Add-LrTable 'events\security_count.csv' { $security | Group-Object -Property Id } @('Count', 'Name') 'Get-WinEvent Security'
        Add-LrTable 'events\security.csv' { $security } @('TimeCreated', 'Id', 'RecordId', 'ProviderName', @{ Name = 'Data'; Expression = { @($_.Properties | ForEach-Object { $_.Value }) -join ' | ' } }) 'Get-WinEvent Security'
        if ($security.Count -eq 20000) { Add-LrLeft 'events\security.csv' 'older events than the last 20,000 stand in Security.evtx alone' }
    }
    Add-LrTable 'events\installed.csv' { Get-WinEvent -FilterHashtable @{ LogName = 'Application'; ProviderName = 'MsiInstaller'; Id = 1033 } -MaxEvents 1000 } @('TimeCreated', 'Message') 'Get-WinEvent MsiInstaller'
    $logs = @(
        'Security', 'System', 'Application', 'Microsoft-Windows-Sysmon/Operational', 'Microsoft-Windows-TaskScheduler/Operational', 'Microsoft-Windows-PowerShell/Operational',
        'Windows PowerShell', 'Microsoft-Windows-WMI-Activity/Operational', 'Microsoft-Windows-Windows Defender/Operational', 'Microsoft-Windows-TerminalServices-LocalSessionManager/Operational',
        'Microsoft-Windows-TerminalServices-RemoteConnectionManager/Operational', 'Microsoft-Windows-Bits-Client/Operational')
    foreach ($log in $logs) {
        $member = $log.Replace('/', '-') + '.evtx'
        if (-not (Test-LrRoom)) {
            Add-LrLeft "events\$member" 'the time or the size of the package ran out'
            continue
        }
        $file = Join-Path $Scratch $member
        try {
            [void](Invoke-LrTool 'wevtutil.exe' @('epl', $log, $file, '/ow:true') 90)
            Add-LrFile "events\$member" $file
        } catch {
            Add-LrLeft "events\$member" ($_.Exception.GetBaseException().Message)
        } finally {
            if ([System.IO.File]::Exists($file)) { [System.IO.File]::Delete($file) }
        }
    }
}

function Add-LrDefender {
    Add-LrFolder 'defender' ([Environment]::GetFolderPath('CommonApplicationData') + '\Microsoft\Windows Defender\Support') '*.log' 0
    try {
        $set = Get-MpPreference
        $lines = New-Object System.Collections.ArrayList
        foreach ($kind in @('ExclusionPath', 'ExclusionExtension', 'ExclusionIpAddress', 'ExclusionProcess')) {
            foreach ($one in @($set.$kind)) { if ($one) { [void]$lines.Add("${kind}: $one") } }
        }
        Add-LrText 'defender\exclusions.txt' ($lines.ToArray() -join "`r`n") 'Get-MpPreference'
    } catch {
        Add-LrLeft 'defender\exclusions.txt' ($_.Exception.GetBaseException().Message)
    }
    Add-LrTable 'defender\detections.csv' { Get-MpThreatDetection } @('InitialDetectionTime', 'ThreatID', 'ProcessName', 'DomainUser', 'ActionSuccess', @{ Name = 'Resources'; Expression = { @($_.Resources) -join ' | ' } }) 'Get-MpThreatDetection'
}

Invoke-LrScript 'collect' {
    param($Arguments)
    $mode = Get-LrNeeded $Arguments 'mode'
    $out = Resolve-LrPath (Get-LrNeeded $Arguments 'out')
    $days = [int][Math]::Max(1, [Math]::Min(90, (Get-LrArg $Arguments 'days' 'number' 2)))
    if ($out -notmatch '\.zip\z') { Stop-Lr 'E_BAD_ARGS' 'out does not end in .zip' }
    $scratch = "$out.parts"
    if ($mode -ceq 'tidy') {
        # Only a package of ours is removed: it has our manifest.
        $isThere = [System.IO.File]::Exists($out)
        if ($isThere) {
            Add-Type -AssemblyName System.IO.Compression
            $stream = New-Object System.IO.FileStream -ArgumentList $out, ([System.IO.FileMode]::Open), ([System.IO.FileAccess]::Read)
            $isOurs = $false
            try {
                $zip = New-Object System.IO.Compression.ZipArchive -ArgumentList $stream, ([System.IO.Compression.ZipArchiveMode]::Read)
                $isOurs = $null -ne $zip.GetEntry('live-response-manifest.json')
                $zip.Dispose()
            } catch {
                $isOurs = $false
            } finally {
                $stream.Dispose()
            }
            if (-not $isOurs) { Stop-Lr 'E_PROTECTED' "$out is no package of ours" }
            [System.IO.File]::Delete($out)
        }
        # Of a run that was ended in its middle.
        if ([System.IO.Directory]::Exists($scratch)) {
            [System.IO.Directory]::Delete($scratch, $true)
            $isThere = $true
        }
        $script:LrData = [ordered]@{ path = (ConvertTo-LrPath $out); removed = $isThere }
        return
    }
    if ($mode -cne 'gather') { Stop-Lr 'E_BAD_ARGS' 'mode is none of gather, tidy' }
    if ([System.IO.File]::Exists($out) -or [System.IO.Directory]::Exists($scratch)) { Stop-Lr 'E_EXISTS' "$out is there: it is not overwritten" }
    Add-Type -AssemblyName System.IO.Compression
    $script:LrMembers = New-Object System.Collections.ArrayList
    $script:LrLeft = New-Object System.Collections.ArrayList
    $script:LrBytes = [long]0
    $script:LrScratch = $scratch
    $isWhole = $false
    # Time for the manifest, and for the end of the archive.
    $script:LrGather = [Math]::Max(1, $script:LrLimit - 30)
    $security = New-Object System.Security.AccessControl.DirectorySecurity
    $security.SetSecurityDescriptorSddlForm('D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)', [System.Security.AccessControl.AccessControlSections]'Access')
    [void][System.IO.Directory]::CreateDirectory($scratch, $security)
    $part = Join-Path $scratch 'package.zip'
    $stream = New-Object System.IO.FileStream -ArgumentList $part, ([System.IO.FileMode]::CreateNew), ([System.IO.FileAccess]::ReadWrite)
    $isDone = $false
    try {
        $script:LrZip = New-Object System.IO.Compression.ZipArchive -ArgumentList $stream, ([System.IO.Compression.ZipArchiveMode]::Create), $true
        $steps = @({ Add-LrProcesses }, { Add-LrNetwork }, { Add-LrSystem }, { Add-LrUsers }, { Add-LrDefender }, { Add-LrEvents $days $scratch })
        foreach ($step in $steps) {
            try {
                [void](& $step)
            } catch {
                Add-LrLeft ($step.ToString().Trim()) ($_.Exception.GetBaseException().Message)
            }
        }
        $isWhole = Test-LrRoom
        $manifest = [ordered]@{
            v = 1; device = [Environment]::MachineName; made = (ConvertTo-LrTime ([datetime]::UtcNow)); days = $days; complete = $isWhole
            members = $script:LrMembers; left_out = $script:LrLeft
        }
        $script:LrGather = [double]::MaxValue
        $script:LrAllBound = [long]::MaxValue
        Add-LrText 'live-response-manifest.json' (ConvertTo-LrJson $manifest) 'live-response'
        $script:LrZip.Dispose()
        $isDone = $true
    } finally {
        $stream.Dispose()
        # No member is lost to a name that somebody else took meanwhile: a move does not overwrite.
        if ($isDone) { [System.IO.File]::Move($part, $out) } elseif ([System.IO.File]::Exists($part)) { [System.IO.File]::Delete($part) }
        [System.IO.Directory]::Delete($scratch, $true)
    }
    # The package stands: its digest is told though the time is over.
    $script:LrLimit = 599
    $script:LrComplete = $isWhole
    if (-not $isWhole) { Add-LrWarning 'the time or the size of the package ran out: its manifest says what was left out' }
    $script:LrData = [ordered]@{
        path = (ConvertTo-LrPath $out); size_bytes = (New-Object System.IO.FileInfo $out).Length; sha256 = (Get-LrSha256 $out)
        members = [long]$script:LrMembers.Count; bytes = $script:LrBytes; left_out = [long]$script:LrLeft.Count
    }
}
