# Searches below a directory, or below every local drive. Links are not followed, network drives not named are not walked.
Invoke-LrScript 'findfile' {
    param($Arguments)
    $pattern = New-LrGlob (Get-LrNeeded $Arguments 'name')
    $place = Get-LrArg $Arguments 'path' 'text' ''
    $depth = Get-LrArg $Arguments 'max_depth' 'number' 4096
    $least = Get-LrArg $Arguments 'min_size' 'number' $null
    $most = Get-LrArg $Arguments 'max_size' 'number' $null
    $after = Get-LrArg $Arguments 'modified_after' 'time' $null
    $before = Get-LrArg $Arguments 'modified_before' 'time' $null
    $rows = Get-LrArg $Arguments 'max_rows' 'number' 50000
    $script:LrHasRows = $true
    $stack = New-Object System.Collections.Stack
    if ($place.Length -gt 0) {
        $top = Get-LrItem (Resolve-LrPath $place)
        if ($top -isnot [System.IO.DirectoryInfo]) { Stop-Lr 'E_NOT_A_FILE' "$($top.FullName) is no directory" }
        $stack.Push(@($top, 1))
    } else {
        foreach ($drive in [System.IO.DriveInfo]::GetDrives()) {
            if ($drive.DriveType -eq [System.IO.DriveType]::Fixed -or $drive.DriveType -eq [System.IO.DriveType]::Removable) {
                if ($drive.IsReady) { $stack.Push(@($drive.RootDirectory, 1)) }
            } else {
                Add-LrWarning "$($drive.Name) was not searched ($($drive.DriveType)): name it as the path"
            }
        }
    }
    $shut = 0
    $first = ''
    while ($stack.Count -gt 0) {
        $next = $stack.Pop()
        Test-LrTime
        $entries = $null
        try {
            $entries = $next[0].GetFileSystemInfos()
        } catch {
            $shut++
            if ($first.Length -eq 0) { $first = $next[0].FullName }
            continue
        }
        foreach ($entry in $entries) {
            $isDirectory = $entry -is [System.IO.DirectoryInfo]
            if ($isDirectory -and $next[1] -lt $depth -and -not (Test-LrLink $entry)) { $stack.Push(@($entry, ($next[1] + 1))) }
            if (-not $pattern.IsMatch($entry.Name)) { continue }
            if ($null -ne $least -and ($isDirectory -or $entry.Length -lt $least)) { continue }
            if ($null -ne $most -and ($isDirectory -or $entry.Length -gt $most)) { continue }
            if ($null -ne $after -and $entry.LastWriteTimeUtc -lt $after) { continue }
            if ($null -ne $before -and $entry.LastWriteTimeUtc -gt $before) { continue }
            if ($script:LrRowCount -ge $rows) { Stop-LrEarly "more than $rows files: the first $rows are listed" }
            $row = $null
            try {
                $row = New-LrEntry $entry $false
            } catch {
                $shut++
            }
            if ($null -ne $row) { Add-LrRow $row }
        }
    }
    if ($shut -gt 0) { Add-LrWarning "$shut folders and files could not be read, such as $first" }
}
