# Lists what was set up to come back: registry, services, tasks, start-up folders, files, WMI, accounts. What starts code is
# listed though Windows itself set it; the note says so where that is known.

# Technique, ATT&CK id, whose hive (System: the current control set), key, values (none: the key's name tells), what is usual.
$script:LrRules = @(
    @('run-keys', 'T1547.001', 'Both', 'Microsoft\Windows\CurrentVersion\Run', @('*'), @()),
    @('run-keys', 'T1547.001', 'Both', 'Microsoft\Windows\CurrentVersion\RunOnce', @('*'), @()),
    @('run-keys', 'T1547.001', 'Both', 'Microsoft\Windows\CurrentVersion\RunOnceEx\*', @('*'), @()),
    @('run-keys', 'T1547.001', 'Both', 'Microsoft\Windows\CurrentVersion\RunServices', @('*'), @()),
    @('run-keys', 'T1547.001', 'Both', 'Microsoft\Windows\CurrentVersion\RunServicesOnce', @('*'), @()),
    @('run-keys', 'T1547.001', 'Both', 'Microsoft\Windows\CurrentVersion\Policies\Explorer\Run', @('*'), @()),
    @('run-keys', 'T1547.001', 'User', 'Software\Microsoft\Windows NT\CurrentVersion\Windows', @('Load', 'Run'), @()),
    @('winlogon', 'T1547.004', 'Both', 'Microsoft\Windows NT\CurrentVersion\Winlogon', @('Shell'), @('explorer.exe')),
    @('winlogon', 'T1547.004', 'Software', 'Microsoft\Windows NT\CurrentVersion\Winlogon', @('Userinit'), @('\system32\userinit.exe,', '\system32\userinit.exe')),
    @('winlogon', 'T1547.004', 'Software', 'Microsoft\Windows NT\CurrentVersion\Winlogon', @('VmApplet'), @('systempropertiesperformance.exe /pagefile', 'rundll32 shell32,control_rundll "sysdm.cpl"')),
    @('winlogon', 'T1547.004', 'Software', 'Microsoft\Windows NT\CurrentVersion\Winlogon', @('Taskman', 'System', 'AppSetup', 'GinaDLL'), @()),
    @('winlogon', 'T1547.004', 'Software', 'Microsoft\Windows NT\CurrentVersion\Winlogon\Notify\*', @('DllName'), @()),
    @('active-setup', 'T1547.014', 'Both', 'Microsoft\Active Setup\Installed Components\*', @('StubPath'), @()),
    @('image-file-execution-options', 'T1546.012', 'Software', 'Microsoft\Windows NT\CurrentVersion\Image File Execution Options\*', @('Debugger', 'VerifierDlls'), @()),
    @('image-file-execution-options', 'T1546.012', 'Software', 'Microsoft\Windows NT\CurrentVersion\SilentProcessExit\*', @('MonitorProcess'), @()),
    @('appinit', 'T1546.010', 'Software', 'Microsoft\Windows NT\CurrentVersion\Windows', @('AppInit_DLLs'), @()),
    @('appcert', 'T1546.009', 'System', 'Control\Session Manager\AppCertDlls', @('*'), @()),
    @('lsa', 'T1547.002', 'System', 'Control\Lsa', @('Authentication Packages'), @('msv1_0')),
    @('lsa', 'T1547.005', 'System', 'Control\Lsa', @('Security Packages'), @('""', 'kerberos; msv1_0; schannel; wdigest; tspkg; pku2u')),
    @('lsa', 'T1547.005', 'System', 'Control\Lsa\OSConfig', @('Security Packages'), @()),
    @('password-filter', 'T1556.002', 'System', 'Control\Lsa', @('Notification Packages'), @('scecli')),
    @('lsa', 'T1547.008', 'System', 'Control\LsaExtensionConfig\LsaSrv', @('Extensions'), @()),
    @('print', 'T1547.010', 'System', 'Control\Print\Monitors\*', @('Driver'), @()),
    @('print', 'T1547.012', 'System', 'Control\Print\Environments\*\Print Processors\*', @('Driver'), @()),
    @('print', 'T1547.012', 'System', 'Control\Print\Providers\*', @('Name'), @()),
    @('time-providers', 'T1547.003', 'System', 'Services\W32Time\TimeProviders\*', @('DllName'), @('\system32\w32time.dll', '\system32\vmictimeprovider.dll')),
    @('network-providers', 'T1556.008', 'System', 'Services\*\NetworkProvider', @('ProviderPath'), @()),
    @('winsock', 'T1546', 'System', 'Services\WinSock2\Parameters', @('AutodialDLL'), @()),
    @('winsock', 'T1546', 'System', 'Services\WinSock2\Parameters\NameSpace_Catalog5\Catalog_Entries\*', @('LibraryPath'), @()),
    @('netsh', 'T1546.007', 'Software', 'Microsoft\NetSh', @('*'), @()),
    @('session-manager', 'T1547', 'System', 'Control\Session Manager', @('BootExecute'), @('autocheck autochk *')),
    @('session-manager', 'T1547', 'System', 'Control\Session Manager', @('SetupExecute', 'Execute', 'S0InitialCommand', 'PendingFileRenameOperations'), @()),
    @('session-manager', 'T1547', 'System', 'Control\Session Manager\KnownDLLs', @('*'), @()),
    @('com-hijack', 'T1546.015', 'UserClasses', 'CLSID\*\InprocServer32', @(''), @()),
    @('com-hijack', 'T1546.015', 'UserClasses', 'CLSID\*\LocalServer32', @(''), @()),
    @('com-hijack', 'T1546.015', 'UserClasses', 'CLSID\*\TreatAs', @(''), @()),
    @('com-hijack', 'T1546.015', 'UserClasses', 'CLSID\*\ScriptletURL', @(''), @()),
    @('file-associations', 'T1546.001', 'UserClasses', '*\shell\open\command', @('', 'DelegateExecute'), @()),
    @('file-associations', 'T1546.001', 'Software', 'Classes\exefile\shell\open\command', @(''), @('"%1" %*')),
    @('file-associations', 'T1546.001', 'Software', 'Classes\comfile\shell\open\command', @(''), @('"%1" %*')),
    @('file-associations', 'T1546.001', 'Software', 'Classes\batfile\shell\open\command', @(''), @('"%1" %*')),
    @('file-associations', 'T1546.001', 'Software', 'Classes\cmdfile\shell\open\command', @(''), @('"%1" %*')),
    @('file-associations', 'T1546.001', 'Software', 'Classes\txtfile\shell\open\command', @(''), @('\system32\notepad.exe %1')),
    @('file-associations', 'T1546.001', 'Software', 'Classes\mscfile\shell\open\command', @(''), @()),
    @('file-associations', 'T1546.001', 'Software', 'Classes\htafile\shell\open\command', @(''), @()),
    @('shell-extensions', 'T1176', 'Software', 'Microsoft\Windows\CurrentVersion\Explorer\ShellIconOverlayIdentifiers\*', @(''), @()),
    @('shell-extensions', 'T1176', 'Software', 'Microsoft\Windows\CurrentVersion\Explorer\ShellExecuteHooks', @('*'), @()),
    @('shell-extensions', 'T1176', 'Both', 'Microsoft\Windows\CurrentVersion\ShellServiceObjectDelayLoad', @('*'), @()),
    @('shell-extensions', 'T1176', 'Software', 'Classes\Directory\shellex\ContextMenuHandlers\*', @(''), @()),
    @('shell-extensions', 'T1176', 'Software', 'Classes\Folder\shellex\ContextMenuHandlers\*', @(''), @()),
    @('shell-extensions', 'T1176', 'Software', 'Classes\AllFilesystemObjects\shellex\ContextMenuHandlers\*', @(''), @()),
    @('logon-scripts', 'T1037.001', 'User', 'Environment', @('UserInitMprLogonScript'), @()),
    @('logon-scripts', 'T1037.001', 'Software', 'Microsoft\Windows\CurrentVersion\Group Policy\Scripts\Startup\*\*', @('Script'), @()),
    @('logon-scripts', 'T1037.001', 'Software', 'Microsoft\Windows\CurrentVersion\Group Policy\Scripts\Shutdown\*\*', @('Script'), @()),
    @('logon-scripts', 'T1037.001', 'Both', 'Microsoft\Windows\CurrentVersion\Group Policy\Scripts\Logon\*\*', @('Script'), @()),
    @('logon-scripts', 'T1037.001', 'Both', 'Microsoft\Windows\CurrentVersion\Group Policy\Scripts\Logoff\*\*', @('Script'), @()),
    @('screensaver', 'T1546.002', 'User', 'Control Panel\Desktop', @('SCRNSAVE.EXE'), @('\system32\logon.scr', '\system32\scrnsave.scr')),
    @('accessibility', 'T1546.008', 'Software', 'Microsoft\Windows NT\CurrentVersion\Accessibility\ATs\*', @('StartExe'), @()),
    @('application-shims', 'T1546.011', 'Software', 'Microsoft\Windows NT\CurrentVersion\AppCompatFlags\InstalledSDB\*', @('DatabasePath'), @()),
    @('application-shims', 'T1546.011', 'Software', 'Microsoft\Windows NT\CurrentVersion\AppCompatFlags\Custom\*', @('*'), @()),
    @('office', 'T1137', 'Both', 'Microsoft\Office test\Special\Perf', @(''), @()),
    @('office', 'T1137', 'User', 'Software\Microsoft\Office\*\Outlook\WebView\*', @('URL'), @()),
    @('office', 'T1137', 'User', 'Software\Microsoft\Office\*\*\Options', @('OPEN'), @()),
    @('terminal-services', 'T1547', 'System', 'Control\Terminal Server\WinStations\RDP-Tcp', @('InitialProgram'), @()),
    @('terminal-services', 'T1547', 'System', 'Control\Terminal Server\Wds\rdpwd', @('StartupPrograms'), @('rdpclip')),
    @('terminal-services', 'T1547', 'Both', 'Microsoft\Terminal Server Client\Default\AddIns\*', @('Name'), @()),
    @('command-processor', 'T1546', 'Both', 'Microsoft\Command Processor', @('AutoRun'), @()),
    @('profilers', 'T1574.012', 'System', 'Control\Session Manager\Environment', @('COR_ENABLE_PROFILING', 'COR_PROFILER', 'COR_PROFILER_PATH', 'CORECLR_ENABLE_PROFILING', 'CORECLR_PROFILER', 'CORECLR_PROFILER_PATH', 'COMPlus_Version', 'AppDomainManagerAsm', 'AppDomainManagerType'), @()),
    @('profilers', 'T1574.012', 'User', 'Environment', @('COR_ENABLE_PROFILING', 'COR_PROFILER', 'COR_PROFILER_PATH', 'CORECLR_ENABLE_PROFILING', 'CORECLR_PROFILER', 'CORECLR_PROFILER_PATH', 'COMPlus_Version', 'AppDomainManagerAsm', 'AppDomainManagerType'), @()),
    @('profilers', 'T1574.012', 'Software', 'Microsoft\.NETFramework', @('COR_ENABLE_PROFILING', 'COR_PROFILER', 'COR_PROFILER_PATH', 'CORECLR_ENABLE_PROFILING', 'CORECLR_PROFILER', 'CORECLR_PROFILER_PATH', 'COMPlus_Version', 'AppDomainManagerAsm', 'AppDomainManagerType'), @()),
    @('debuggers', 'T1546', 'Software', 'Microsoft\Windows NT\CurrentVersion\AeDebug', @('Debugger'), @('\system32\vsjitdebugger.exe" -p %ld -e %ld')),
    @('debuggers', 'T1546', 'Software', 'Microsoft\Windows\Windows Error Reporting\Hangs', @('Debugger', 'ReflectDebugger'), @()),
    @('signing-trust', 'T1553.003', 'Software', 'Microsoft\Cryptography\Providers\Trust\*\*', @('$DLL'), @()),
    @('signing-trust', 'T1553.003', 'Software', 'Microsoft\Cryptography\OID\*\*\*', @('Dll'), @()),
    @('credential-providers', 'T1556.002', 'Software', 'Microsoft\Windows\CurrentVersion\Authentication\Credential Providers\*', @(''), @()),
    @('credential-providers', 'T1556.002', 'Software', 'Microsoft\Windows\CurrentVersion\Authentication\Credential Provider Filters\*', @(''), @()),
    @('stemmers', 'T1546', 'System', 'Control\ContentIndex\Language\*', @('StemmerDLLPath'), @()),
    @('telemetry', 'T1546', 'Software', 'Microsoft\Windows NT\CurrentVersion\AppCompatFlags\TelemetryController\*', @('Command'), @('\system32\compattelrunner.exe -m:aeinv.dll -f:updatesoftwareinventoryw invsvc')),
    @('shell-extensions', 'T1176', 'Software', 'Microsoft\Windows\CurrentVersion\Explorer\Browser Helper Objects\*', @(), @())
)

# Technique, ATT&CK id, below what, path (`*` at its end: every file of the folder), note.
$script:LrPlaces = @(
    @('powershell-profiles', 'T1546.013', 'Windows', 'System32\WindowsPowerShell\v1.0\profile.ps1', ''),
    @('powershell-profiles', 'T1546.013', 'Windows', 'System32\WindowsPowerShell\v1.0\Microsoft.PowerShell_profile.ps1', ''),
    @('powershell-profiles', 'T1546.013', 'Windows', 'SysWOW64\WindowsPowerShell\v1.0\profile.ps1', ''),
    @('powershell-profiles', 'T1546.013', 'Root', 'Program Files\PowerShell\7\profile.ps1', ''),
    @('powershell-profiles', 'T1546.013', 'User', 'Documents\WindowsPowerShell\profile.ps1', ''),
    @('powershell-profiles', 'T1546.013', 'User', 'Documents\WindowsPowerShell\Microsoft.PowerShell_profile.ps1', ''),
    @('powershell-profiles', 'T1546.013', 'User', 'Documents\PowerShell\profile.ps1', ''),
    @('powershell-profiles', 'T1546.013', 'User', 'Documents\PowerShell\Microsoft.PowerShell_profile.ps1', ''),
    @('logon-scripts', 'T1037.001', 'Windows', 'System32\GroupPolicy\Machine\Scripts\scripts.ini', 'names the scripts of the local group policy'),
    @('logon-scripts', 'T1037.001', 'Windows', 'System32\GroupPolicy\User\Scripts\scripts.ini', 'names the scripts of the local group policy'),
    @('application-shims', 'T1546.011', 'Windows', 'AppPatch\Custom\*', ''),
    @('application-shims', 'T1546.011', 'Windows', 'AppPatch\Custom\Custom64\*', ''),
    @('office', 'T1137', 'User', 'AppData\Roaming\Microsoft\Word\STARTUP\*', ''),
    @('office', 'T1137', 'User', 'AppData\Roaming\Microsoft\Excel\XLSTART\*', ''),
    @('office', 'T1137', 'User', 'AppData\Roaming\Microsoft\AddIns\*', ''),
    @('office', 'T1137', 'User', 'AppData\Roaming\Microsoft\Outlook\VbaProject.OTM', ''),
    @('phantom-dlls', 'T1574.001', 'Windows', 'System32\wlbsctrl.dll', 'Windows loads a DLL of this name and ships none'),
    @('phantom-dlls', 'T1574.001', 'Windows', 'System32\wbem\wbemcomn.dll', 'Windows loads a DLL of this name and ships none'),
    @('phantom-dlls', 'T1574.001', 'Windows', 'System32\TSMSISrv.dll', 'Windows loads a DLL of this name and ships none'),
    @('phantom-dlls', 'T1574.001', 'Windows', 'System32\TSVIPSrv.dll', 'Windows loads a DLL of this name and ships none'),
    @('phantom-dlls', 'T1574.001', 'Windows', 'System32\WptsExtensions.dll', 'Windows loads a DLL of this name and ships none'),
    @('phantom-dlls', 'T1574.001', 'Windows', 'System32\fveapi.dll.local', 'Windows loads a DLL of this name and ships none'),
    @('boot-configuration', 'T1542.003', 'Root', 'Boot\BCD', ''),
    @('boot-configuration', 'T1542.003', 'Root', 'EFI\Microsoft\Boot\BCD', ''),
    @('bits', 'T1197', 'Root', 'ProgramData\Microsoft\Network\Downloader\qmgr.db', 'downloads that wait; read it with a BITS tool'),
    @('bits', 'T1197', 'Root', 'ProgramData\Microsoft\Network\Downloader\qmgr0.dat', 'downloads that wait; read it with a BITS tool')
)

$script:LrOthers = @(
    @('startup-folders', 'T1547.001'), @('services', 'T1543.003'), @('scheduled-tasks', 'T1053.005'),
    @('wmi-subscriptions', 'T1546.003'), @('accessibility', 'T1546.008'), @('local-accounts', 'T1136.001')
)

function Test-LrWanted([string]$Technique, [string]$Id) {
    $wanted = $script:LrTechnique
    $ordinal = [System.StringComparison]::OrdinalIgnoreCase
    return $wanted.Length -eq 0 -or $Technique.StartsWith($wanted, $ordinal) -or $Id.StartsWith($wanted, $ordinal)
}

# One row; the fields are `name`, `command`, `user` (text), `owner` (a profile), `modified`, `file`, `note`.
function Add-LrFind([string]$Technique, [string]$Id, [string]$Location, $Fields) {
    $user = $Fields['user']
    $owner = $Fields['owner']
    if ($null -ne $owner) { $user = $owner.Name }
    if ($script:LrWho.Length -gt 0) {
        $isTheirs = ($null -ne $owner -and (Test-LrUser $owner $script:LrWho)) -or [string]$user -eq $script:LrWho -or
            ([string]$user).Split('\')[-1] -eq $script:LrWho
        if (-not $isTheirs) { return }
    }
    $row = [ordered]@{
        technique = $Technique; attack_id = $Id; location = (ConvertTo-LrPath $Location); name = $Fields['name']; command = $Fields['command']; user = $user
        modified = $Fields['modified']
    }
    $file = [string]$Fields['file']
    if ($file.Length -gt 0 -and [System.IO.File]::Exists($file)) {
        if (-not $script:LrDigests.ContainsKey($file)) { $script:LrDigests[$file] = Get-LrSha256 $file }
        $row['sha256'] = $script:LrDigests[$file]
        if ($null -eq $row['modified']) { $row['modified'] = ConvertTo-LrTime ([System.IO.File]::GetLastWriteTimeUtc($file)) }
    }
    $row['note'] = $Fields['note']
    Add-LrRow $row
}

function ConvertTo-LrLine($Data) {
    if ($Data -is [string[]]) { return $Data -join '; ' }
    if ($Data -is [byte[]]) { return [BitConverter]::ToString($Data, 0, [Math]::Min($Data.Length, 4096)).Replace('-', '').ToLowerInvariant() }
    return [string]$Data
}

# What data runs: a command line, or what a CLSID stands for.
function Add-LrCommand($Fields, [string]$Data) {
    $runs = $Data
    $Fields['command'] = $Data
    if ($Data -match '\A\{[0-9A-Fa-f-]{36}\}\z') {
        $server = Get-LrValue (Open-LrKey $script:LrMachine "SOFTWARE\Classes\CLSID\$Data\InprocServer32" 'HKLM') ''
        if ($server -is [string]) {
            $runs = $server
            $Fields['command'] = "$Data $server"
        }
    }
    $Fields['file'] = Find-LrProgram $runs
}

# Every value that a rule names, below a key.
function Find-LrRule($Rule, $Top, [string]$Path, [string]$Shown, $Owner) {
    $level = @(, @($Top, $Shown, ''))
    $opened = New-Object System.Collections.ArrayList
    foreach ($part in $Path.Split('\')) {
        $next = New-Object System.Collections.ArrayList
        foreach ($at in $level) {
            Test-LrTime
            $names = @($part)
            if ($part -eq '*') {
                try { $names = @($at[0].GetSubKeyNames()) } catch { $names = @() }
            }
            foreach ($name in $names) {
                $key = Open-LrKey $at[0] $name $at[1]
                if ($null -eq $key) { continue }
                [void]$opened.Add($key)
                [void]$next.Add(@($key, "$($at[1])\$name", $name))
            }
        }
        $level = $next.ToArray()
    }
    foreach ($at in $level) {
        if ($Rule[4].Count -eq 0) {
            $fields = @{ owner = $Owner }
            Add-LrCommand $fields $at[2]
            Add-LrFind $Rule[0] $Rule[1] $at[1] $fields
            continue
        }
        foreach ($name in @($at[0].GetValueNames())) {
            if ($Rule[4] -notcontains '*' -and $Rule[4] -notcontains $name) { continue }
            $line = ConvertTo-LrLine (Get-LrValue $at[0] $name)
            if ($line.Trim().Length -eq 0) { continue }
            $fields = @{ owner = $Owner; name = $name }
            foreach ($usual in $Rule[5]) {
                if ($line.EndsWith($usual, [System.StringComparison]::OrdinalIgnoreCase)) { $fields['note'] = 'as Windows sets it' }
            }
            Add-LrCommand $fields $line
            Add-LrFind $Rule[0] $Rule[1] $at[1] $fields
        }
    }
    foreach ($key in $opened) { $key.Dispose() }
}

function Find-LrKeys($Profiles) {
    $users = Open-LrHive 'Users'
    foreach ($rule in $script:LrRules) {
        if (-not (Test-LrWanted $rule[0] $rule[1])) { continue }
        if ($rule[2] -eq 'System') { Find-LrRule $rule $script:LrMachine "SYSTEM\CurrentControlSet\$($rule[3])" 'HKLM' $null }
        if ($rule[2] -eq 'Software' -or $rule[2] -eq 'Both') {
            Find-LrRule $rule $script:LrMachine "SOFTWARE\$($rule[3])" 'HKLM' $null
            if ($rule[3].StartsWith('Microsoft')) { Find-LrRule $rule $script:LrMachine "SOFTWARE\WOW6432Node\$($rule[3])" 'HKLM' $null }
        }
        if ($rule[2] -ne 'User' -and $rule[2] -ne 'Both' -and $rule[2] -ne 'UserClasses') { continue }
        foreach ($entry in $Profiles) {
            if (-not $entry.Loaded) { continue }
            if ($rule[2] -eq 'User') { Find-LrRule $rule $users "$($entry.Sid)\$($rule[3])" 'HKU' $entry }
            if ($rule[2] -eq 'Both') { Find-LrRule $rule $users "$($entry.Sid)\Software\$($rule[3])" 'HKU' $entry }
            # `Software\Classes` of a hive that is loaded is a link to this.
            if ($rule[2] -eq 'UserClasses') { Find-LrRule $rule $users "$($entry.Sid)_Classes\$($rule[3])" 'HKU' $entry }
        }
    }
}

function Find-LrServices {
    $services = Open-LrKey $script:LrMachine 'SYSTEM\CurrentControlSet\Services' 'HKLM'
    if ($null -eq $services) { return }
    $modes = @('boot', 'system', 'automatic', 'manual', 'disabled')
    foreach ($name in @($services.GetSubKeyNames())) {
        $key = Open-LrKey $services $name 'Services'
        if ($null -eq $key) { continue }
        $type = Get-LrValue $key 'Type'
        $image = Get-LrValue $key 'ImagePath'
        $dll = Get-LrValue (Open-LrKey $key 'Parameters' $name) 'ServiceDll'
        if ($dll -isnot [string]) { $dll = Get-LrValue $key 'ServiceDll' }
        $runs = if ($dll -is [string]) { $dll } else { $image }
        if ($type -isnot [int] -or ($type -band 0x3b) -eq 0 -or $runs -isnot [string]) { continue }
        $kind = if ($type -band 0x0b) { 'driver' } else { 'service' }
        $start = Get-LrValue $key 'Start'
        $mode = if ($start -is [int] -and $start -ge 0 -and $start -le 4) { $modes[$start] } else { 'no start mode' }
        $note = "$kind, $mode"
        $failure = Get-LrValue $key 'FailureCommand'
        if ($failure -is [string]) { $note += "; on failure: $failure" }
        $command = if ($image -is [string] -and $dll -is [string]) { "$image [$dll]" } else { $runs }
        $fields = @{ name = $name; command = $command; file = (Find-LrProgram $runs); user = (Get-LrValue $key 'ObjectName'); note = $note }
        Add-LrFind 'services' 'T1543.003' "HKLM\SYSTEM\CurrentControlSet\Services\$name" $fields
    }
}

function Find-LrTasks {
    $service = New-Object -ComObject 'Schedule.Service'
    [void]$service.Connect()
    $stack = New-Object System.Collections.Stack
    $stack.Push($service.GetFolder('\'))
    while ($stack.Count -gt 0) {
        $folder = $stack.Pop()
        $tasks = @()
        try {
            foreach ($below in @($folder.GetFolders(0))) { $stack.Push($below) }
            $tasks = @($folder.GetTasks(1))
        } catch {
            Add-LrWarning "the tasks of $($folder.Path) could not be read"
        }
        foreach ($task in $tasks) {
            $fields = @{ name = $task.Path }
            try {
                $xml = New-Object System.Xml.XmlDocument
                $xml.XmlResolver = $null
                $xml.LoadXml($task.Xml)
                $lines = @($xml.SelectNodes("/*/*[local-name()='Actions']/*") | ForEach-Object {
                    (@($_.SelectNodes('*') | Where-Object { @('Command', 'Arguments', 'ClassId', 'Data') -contains $_.LocalName } | ForEach-Object { $_.InnerText }) -join ' ')
                })
                $fields['command'] = $lines -join '; '
                $fields['file'] = Find-LrProgram $fields['command']
                $user = $xml.SelectSingleNode("/*/*[local-name()='Principals']/*/*[local-name()='UserId' or local-name()='GroupId']")
                if ($null -ne $user) {
                    $fields['user'] = $user.InnerText
                    if ($user.InnerText -match '\AS-1-') { $fields['user'] = Get-LrAccount $user.InnerText }
                }
            } catch {
                $fields['note'] = 'its definition cannot be read'
            }
            $source = [Environment]::SystemDirectory + '\Tasks' + $task.Path
            if ([System.IO.File]::Exists($source)) { $fields['modified'] = ConvertTo-LrTime ([System.IO.File]::GetLastWriteTimeUtc($source)) }
            if (-not $task.Enabled) { $fields['note'] = 'disabled' }
            Add-LrFind 'scheduled-tasks' 'T1053.005' $source $fields
        }
    }
}

function Find-LrStartup($Profiles) {
    $folders = New-Object System.Collections.ArrayList
    [void]$folders.Add(@($null, ([Environment]::GetFolderPath('CommonApplicationData') + '\Microsoft\Windows\Start Menu\Programs\StartUp')))
    foreach ($entry in $Profiles) { [void]$folders.Add(@($entry, "$($entry.Folder)\AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup")) }
    foreach ($pair in $folders) { Find-LrFolder 'startup-folders' 'T1547.001' $pair[1] $pair[0] '' }
}

# Every file of a folder.
function Find-LrFolder([string]$Technique, [string]$Id, [string]$Folder, $Owner, [string]$Note) {
    if (-not [System.IO.Directory]::Exists($Folder)) { return }
    $files = @()
    try {
        $files = @([System.IO.Directory]::GetFiles($Folder))
    } catch {
        Add-LrWarning "$Folder could not be read: $($_.Exception.GetBaseException().Message)"
    }
    foreach ($file in $files) {
        if ([System.IO.Path]::GetFileName($file) -eq 'desktop.ini') { continue }
        Add-LrFind $Technique $Id $file @{ owner = $Owner; file = $file; note = $Note }
    }
}

function Find-LrFiles($Profiles) {
    $windows = [Environment]::GetFolderPath('Windows')
    foreach ($place in $script:LrPlaces) {
        if (-not (Test-LrWanted $place[0] $place[1])) { continue }
        $tops = New-Object System.Collections.ArrayList
        switch ($place[2]) {
            'Windows' { [void]$tops.Add(@($null, $windows)) }
            'Root' { [void]$tops.Add(@($null, [System.IO.Path]::GetPathRoot($windows).TrimEnd('\'))) }
            'User' { foreach ($entry in $Profiles) { [void]$tops.Add(@($entry, $entry.Folder)) } }
        }
        foreach ($top in $tops) {
            $path = "$($top[1])\$($place[3])"
            if ($path.EndsWith('\*')) {
                Find-LrFolder $place[0] $place[1] ($path.Substring(0, $path.Length - 2)) $top[0] $place[4]
            } elseif ([System.IO.File]::Exists($path)) {
                Add-LrFind $place[0] $place[1] $path @{ owner = $top[0]; file = $path; note = $place[4] }
            }
        }
    }
}

# A shell in the place of a program that starts before anybody signed in.
function Find-LrAccessibility {
    $windows = [Environment]::GetFolderPath('Windows')
    $shells = @{}
    foreach ($shell in @('System32\cmd.exe', 'System32\taskmgr.exe', 'System32\WindowsPowerShell\v1.0\powershell.exe', 'explorer.exe')) {
        $digest = Get-LrSha256 "$windows\$shell"
        if ($null -ne $digest) { $shells[$digest] = $shell }
    }
    foreach ($name in @('sethc.exe', 'utilman.exe', 'osk.exe', 'magnify.exe', 'narrator.exe', 'displayswitch.exe', 'atbroker.exe')) {
        $path = "$windows\System32\$name"
        $digest = Get-LrSha256 $path
        if ($null -eq $digest -or -not $shells.ContainsKey($digest)) { continue }
        Add-LrFind 'accessibility' 'T1546.008' $path @{ file = $path; note = "its bytes are those of $($shells[$digest])" }
    }
}

function Find-LrWmi {
    foreach ($space in @('root/subscription', 'root/default')) {
        $bindings = @()
        try {
            $bindings = @(Get-CimInstance -Namespace $space -ClassName '__FilterToConsumerBinding')
        } catch {
            Add-LrWarning "WMI subscriptions of $space could not be read: $($_.Exception.Message)"
        }
        foreach ($binding in $bindings) {
            $kind = $binding.Consumer.CimSystemProperties.ClassName
            $name = [string]$binding.Consumer.Name
            $command = "$kind `"$name`" on filter `"$($binding.Filter.Name)`""
            try {
                $consumer = Get-CimInstance -InputObject $binding.Consumer
                foreach ($field in @('CommandLineTemplate', 'ExecutablePath', 'ScriptFileName', 'ScriptText')) {
                    $property = $consumer.CimInstanceProperties[$field]
                    if ($null -ne $property -and $property.Value) { $command += ": $($property.Value)" }
                }
                $filter = Get-CimInstance -InputObject $binding.Filter
                $command += " [$($filter.Query)]"
            } catch {
                $command += ' (it could not be read whole)'
            }
            $note = if (@('SCM Event Log Consumer', 'BVTConsumer') -contains $name) { 'as Windows sets it' } else { $null }
            Add-LrFind 'wmi-subscriptions' 'T1546.003' "$space`:__FilterToConsumerBinding" @{ name = $name; command = $command; note = $note }
        }
    }
}

function Find-LrAccounts {
    foreach ($account in @(Get-CimInstance -ClassName Win32_UserAccount -Filter 'LocalAccount=TRUE')) {
        $rid = ([string]$account.SID).Split('-')[-1]
        $note = "RID $rid"
        if (@('500', '501', '503', '504') -contains $rid) { $note += ', built in' }
        if ($account.Disabled) { $note += ', disabled' }
        Add-LrFind 'local-accounts' 'T1136.001' "HKLM\SAM\SAM\Domains\Account\Users\Names\$($account.Name)" @{ name = $account.Name; note = $note }
    }
}

Invoke-LrScript 'persistence' {
    param($Arguments)
    $script:LrTechnique = Get-LrArg $Arguments 'technique' 'text' ''
    $script:LrWho = Get-LrArg $Arguments 'user' 'text' ''
    $script:LrDigests = @{}
    $script:LrMachine = Open-LrHive 'LocalMachine'
    $known = @($script:LrRules) + @($script:LrPlaces) + @($script:LrOthers)
    if (@($known | Where-Object { Test-LrWanted $_[0] $_[1] }).Count -eq 0) {
        $names = @($known | ForEach-Object { $_[0] } | Sort-Object -Unique) -join ', '
        Stop-Lr 'E_BAD_ARGS' "$($script:LrTechnique) is no technique of Windows: an ATT&CK id, or one of $names"
    }
    $script:LrHasRows = $true
    $profiles = @(Get-LrProfiles)
    $steps = @(
        @('run-keys', '', { Find-LrKeys $profiles }), @('services', 'T1543.003', { Find-LrServices }), @('scheduled-tasks', 'T1053.005', { Find-LrTasks }),
        @('startup-folders', 'T1547.001', { Find-LrStartup $profiles }), @('files', '', { Find-LrFiles $profiles }),
        @('accessibility', 'T1546.008', { Find-LrAccessibility }), @('wmi-subscriptions', 'T1546.003', { Find-LrWmi }),
        @('local-accounts', 'T1136.001', { Find-LrAccounts }))
    foreach ($step in $steps) {
        # Keys and files look at each of their places by themselves.
        if ($step[1].Length -gt 0 -and -not (Test-LrWanted $step[0] $step[1])) { continue }
        try {
            [void](& $step[2])
        } catch [System.OperationCanceledException] {
            throw
        } catch {
            Add-LrWarning "$($step[0]) could not be read whole: $($_.Exception.GetBaseException().Message)"
        }
    }
    Add-LrUnloaded $profiles
}
