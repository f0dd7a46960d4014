# Lists processes: parents before their children with `tree`, the image's SHA-256 with `sha256`.
Invoke-LrScript 'processes' {
    param($Arguments)
    $script:LrHasRows = $true
    $only = Get-LrArg $Arguments 'pid' 'number' $null
    $glob = Get-LrArg $Arguments 'name' 'text' ''
    $tree = Get-LrArg $Arguments 'tree' 'flag' $false
    $hash = Get-LrArg $Arguments 'sha256' 'flag' $false
    $pattern = $null
    if ($glob.Length -gt 0) { $pattern = New-LrGlob $glob }
    $digests = @{}
    $blind = 0
    $byId = @{}
    $all = @(Get-CimInstance -ClassName Win32_Process)
    foreach ($process in $all) { $byId[[uint32]$process.ProcessId] = $process }

    $ordered = New-Object System.Collections.ArrayList
    if ($tree) {
        $children = @{}
        $tops = New-Object System.Collections.ArrayList
        foreach ($process in $all) {
            $parent = $byId[[uint32]$process.ParentProcessId]
            # A pid is used again: a parent that began later is another process.
            $isChild = $null -ne $parent -and $process.ProcessId -ne $process.ParentProcessId -and
                ($null -eq $parent.CreationDate -or $null -eq $process.CreationDate -or $parent.CreationDate -le $process.CreationDate)
            if (-not $isChild) { [void]$tops.Add($process); continue }
            $key = [uint32]$process.ParentProcessId
            if (-not $children.ContainsKey($key)) { $children[$key] = New-Object System.Collections.ArrayList }
            [void]$children[$key].Add($process)
        }
        $stack = New-Object System.Collections.Stack
        foreach ($top in @($tops | Sort-Object -Property ProcessId -Descending)) { $stack.Push(@($top, 0)) }
        $seen = @{}
        while ($stack.Count -gt 0) {
            $next = $stack.Pop()
            $id = [uint32]$next[0].ProcessId
            if ($seen.ContainsKey($id)) { continue }
            $seen[$id] = $true
            [void]$ordered.Add($next)
            if (-not $children.ContainsKey($id)) { continue }
            foreach ($child in @($children[$id] | Sort-Object -Property ProcessId -Descending)) { $stack.Push(@($child, ($next[1] + 1))) }
        }
    } else {
        foreach ($process in $all) { [void]$ordered.Add(@($process, $null)) }
    }

    foreach ($pair in $ordered) {
        $process = $pair[0]
        if ($null -ne $only -and [long]$process.ProcessId -ne $only) { continue }
        if ($null -ne $pattern) {
            $leaf = if ($process.ExecutablePath) { $process.ExecutablePath.Split('\')[-1] } else { '' }
            if (-not $pattern.IsMatch([string]$process.Name) -and -not $pattern.IsMatch($leaf)) { continue }
        }
        $user = $null
        try {
            $owner = Invoke-CimMethod -InputObject $process -MethodName GetOwner
            if ($owner.ReturnValue -eq 0 -and $owner.User) { $user = "$($owner.Domain)\$($owner.User)" }
        } catch {
            $user = $null
        }
        if ($null -eq $user -and $process.ProcessId -gt 4) { $blind++ }
        $row = [ordered]@{
            pid = [long]$process.ProcessId; ppid = [long]$process.ParentProcessId; name = [string]$process.Name
            path = (ConvertTo-LrPath $process.ExecutablePath); command_line = $process.CommandLine; user = $user
            started = (ConvertTo-LrTime $process.CreationDate)
        }
        if ($process.ExecutablePath) {
            if (-not [System.IO.File]::Exists($process.ExecutablePath)) { $row['deleted_image'] = $true }
            if ($hash) {
                if (-not $digests.ContainsKey($process.ExecutablePath)) { $digests[$process.ExecutablePath] = Get-LrSha256 $process.ExecutablePath }
                $row['sha256'] = $digests[$process.ExecutablePath]
            }
        }
        $row['cpu_ms'] = [long](([uint64]$process.KernelModeTime + [uint64]$process.UserModeTime) / 10000)
        $row['rss_bytes'] = [long]$process.WorkingSetSize
        $row['depth'] = $pair[1]
        Add-LrRow $row
    }
    if ($blind -gt 0) { Add-LrWarning "of $blind processes the user is not known: they are protected, or ended meanwhile" }
    if ($null -ne $only -and $script:LrRowCount -eq 0) { Stop-Lr 'E_NOT_FOUND' "there is no process $only" }
}
