# Lists services. `path` is the DLL where the image only hosts it, otherwise the command line.
Invoke-LrScript 'services' {
    param($Arguments)
    $script:LrHasRows = $true
    $machine = Open-LrHive 'LocalMachine'
    foreach ($service in @(Get-CimInstance -ClassName Win32_Service)) {
        $key = Open-LrKey $machine "SYSTEM\CurrentControlSet\Services\$($service.Name)" 'HKLM'
        $below = if ($null -ne $key) { Open-LrKey $key 'Parameters' $service.Name } else { $null }
        $dll = Get-LrValue $below 'ServiceDll'
        if ($dll -isnot [string]) { $dll = Get-LrValue $key 'ServiceDll' }
        $path = if ($dll -is [string] -and $dll.Length -gt 0) { $dll } else { $service.PathName }
        $mode = ([string]$service.StartMode).ToLowerInvariant() -replace '\Aauto\z', 'automatic'
        if ($mode -eq 'automatic' -and [bool](Get-LrValue $key 'DelayedAutoStart')) { $mode = 'automatic, delayed' }
        $row = [ordered]@{
            name = $service.Name; description = $service.DisplayName; state = ([string]$service.State).ToLowerInvariant(); start_mode = $mode
            path = (ConvertTo-LrPath $path); account = $service.StartName
        }
        if ($service.ProcessId -gt 0) { $row['pid'] = [long]$service.ProcessId }
        Add-LrRow $row
    }
}
