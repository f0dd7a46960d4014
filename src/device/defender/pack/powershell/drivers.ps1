# Lists drivers with the version, size and signature of their files.
Invoke-LrScript 'drivers' {
    param($Arguments)
    $script:LrHasRows = $true
    foreach ($driver in @(Get-CimInstance -ClassName Win32_SystemDriver)) {
        $row = [ordered]@{ name = $driver.Name; path = (ConvertTo-LrPath $driver.PathName) }
        $file = Find-LrProgram $driver.PathName
        if ($null -ne $file) {
            $version = [System.Diagnostics.FileVersionInfo]::GetVersionInfo($file).FileVersion
            $signature = Get-LrSignature $file
            $row['version'] = $version
            $row['path'] = ConvertTo-LrPath $file
            $row['size_bytes'] = (New-Object System.IO.FileInfo $file).Length
            $row['signer'] = $signature['signer']
            $row['signed'] = $signature['signed']
        } elseif (-not (Test-LrEmpty $driver.PathName)) {
            Add-LrWarning "the file of driver $($driver.Name) was not found: $($driver.PathName)"
        }
        $row['loaded'] = [string]$driver.State -eq 'Running'
        Add-LrRow $row
    }
}
