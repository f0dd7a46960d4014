# Lists one directory, hidden entries too.
Invoke-LrScript 'dir' {
    param($Arguments)
    $path = Resolve-LrPath (Get-LrNeeded $Arguments 'path')
    $item = Get-LrItem $path
    if ($item -isnot [System.IO.DirectoryInfo]) { Stop-Lr 'E_NOT_A_FILE' "$path is no directory" }
    $script:LrHasRows = $true
    foreach ($entry in $item.EnumerateFileSystemInfos()) {
        $row = $null
        try {
            $row = New-LrEntry $entry $true
        } catch {
            Add-LrWarning "an entry was left out: $($_.Exception.GetBaseException().Message)"
        }
        if ($null -ne $row) { Add-LrRow $row }
    }
}
