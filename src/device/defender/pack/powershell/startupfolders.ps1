# Lists what lies in the folders that Windows opens at logon, moved or not, and what the shortcuts start.
Invoke-LrScript 'startupfolders' {
    param($Arguments)
    $script:LrHasRows = $true
    $shell = $null
    try { $shell = New-Object -ComObject 'WScript.Shell' } catch { Add-LrWarning 'targets of shortcuts are not known: WScript.Shell is not there' }
    $users = Open-LrHive 'Users'
    $machine = Open-LrHive 'LocalMachine'
    $folders = New-Object System.Collections.ArrayList
    $common = [Environment]::GetFolderPath('CommonApplicationData') + '\Microsoft\Windows\Start Menu\Programs\StartUp'
    [void]$folders.Add(@($null, $common))
    $places = @('Software\Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders', 'Software\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders')
    foreach ($place in $places) {
        $moved = Get-LrValue (Open-LrKey $machine $place 'HKLM') 'Common Startup'
        if ($moved -is [string]) { [void]$folders.Add(@($null, [Environment]::ExpandEnvironmentVariables($moved))) }
    }
    $profiles = @(Get-LrProfiles)
    foreach ($entry in $profiles) {
        [void]$folders.Add(@($entry.Name, "$($entry.Folder)\AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup"))
        if (-not $entry.Loaded) { continue }
        foreach ($place in $places) {
            $moved = Get-LrValue (Open-LrKey $users "$($entry.Sid)\$place" 'HKU') 'Startup'
            if ($moved -isnot [string]) { continue }
            # The variables are those of the user, not of the account that this runs as.
            $own = $moved -replace '(?i)%USERPROFILE%', $entry.Folder.Replace('$', '$$') -replace '(?i)%APPDATA%', "$($entry.Folder.Replace('$', '$$'))\AppData\Roaming"
            [void]$folders.Add(@($entry.Name, [Environment]::ExpandEnvironmentVariables($own)))
        }
    }
    Add-LrUnloaded $profiles
    $seen = @{}
    foreach ($pair in $folders) {
        $folder = $pair[1].TrimEnd('\')
        $mark = "$($pair[0])|$folder"
        if ($seen.ContainsKey($mark) -or -not [System.IO.Directory]::Exists($folder)) { continue }
        $seen[$mark] = $true
        $files = @()
        try {
            $files = (New-Object System.IO.DirectoryInfo $folder).GetFiles()
        } catch {
            Add-LrWarning "$folder could not be read: $($_.Exception.GetBaseException().Message)"
        }
        foreach ($file in $files) {
            # Explorer starts all but this one, which describes the folder.
            if ($file.Name -eq 'desktop.ini') { continue }
            $target = $null
            if ($file.Extension -eq '.lnk' -and $null -ne $shell) {
                try {
                    $link = $shell.CreateShortcut($file.FullName)
                    $target = "$($link.TargetPath) $($link.Arguments)".Trim()
                } catch {
                    Add-LrWarning "the shortcut $($file.FullName) cannot be read"
                }
            }
            Add-LrRow ([ordered]@{
                user = $pair[0]; folder = (ConvertTo-LrPath $folder); file = (ConvertTo-LrPath $file.FullName); target = $target
                modified = (ConvertTo-LrTime $file.LastWriteTimeUtc); sha256 = (Get-LrSha256 $file.FullName)
            })
        }
    }
}
