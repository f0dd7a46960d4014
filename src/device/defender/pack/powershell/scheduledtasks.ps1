# Lists the tasks of the Task Scheduler, hidden ones too, from the definitions that it runs.
function Get-LrTaskText($Nodes) {
    $texts = New-Object System.Collections.ArrayList
    foreach ($node in $Nodes) {
        $parts = New-Object System.Collections.ArrayList
        foreach ($name in @('Command', 'Arguments', 'ClassId', 'Data')) {
            $part = $node.SelectSingleNode("*[local-name()='$name']")
            if ($null -ne $part -and $part.InnerText.Length -gt 0) { [void]$parts.Add($part.InnerText) }
        }
        [void]$texts.Add($parts.ToArray() -join ' ')
    }
    return $texts.ToArray() -join '; '
}

function Get-LrTriggerText($Nodes) {
    $texts = New-Object System.Collections.ArrayList
    foreach ($node in $Nodes) {
        $text = $node.LocalName -replace 'Trigger\z', ''
        foreach ($name in @('StartBoundary', 'Interval', 'Delay', 'UserId')) {
            $part = $node.SelectSingleNode(".//*[local-name()='$name']")
            if ($null -ne $part) { $text += " $name=$($part.InnerText)" }
        }
        $schedule = $node.SelectSingleNode("*[starts-with(local-name(),'ScheduleBy')]")
        if ($null -ne $schedule) { $text += " $($schedule.LocalName)" }
        [void]$texts.Add($text)
    }
    return $texts.ToArray() -join '; '
}

function New-LrTaskRow($Task) {
    $row = [ordered]@{ name = $Task.Path; kind = 'task' }
    try {
        # Entities of others are never fetched.
        $xml = New-Object System.Xml.XmlDocument
        $xml.XmlResolver = $null
        $xml.LoadXml($Task.Xml)
        $row['schedule'] = Get-LrTriggerText ($xml.SelectNodes("/*/*[local-name()='Triggers']/*"))
        $row['command'] = Get-LrTaskText ($xml.SelectNodes("/*/*[local-name()='Actions']/*"))
        $user = $xml.SelectSingleNode("/*/*[local-name()='Principals']/*/*[local-name()='UserId' or local-name()='GroupId']")
        if ($null -ne $user) {
            $row['user'] = $user.InnerText
            if ($user.InnerText -match '\AS-1-') { $row['user'] = Get-LrAccount $user.InnerText }
        }
    } catch {
        Add-LrWarning "the definition of task $($Task.Path) cannot be read: $($_.Exception.GetBaseException().Message)"
    }
    $row['enabled'] = [bool]$Task.Enabled
    $row['source'] = [Environment]::SystemDirectory + '\Tasks' + $Task.Path
    # A task without a next run has the year 1899.
    $row['next_run'] = ConvertTo-LrTime $Task.NextRunTime
    if (([datetime]$Task.NextRunTime).Year -lt 1970) { $row['next_run'] = $null }
    return $row
}

Invoke-LrScript 'scheduledtasks' {
    param($Arguments)
    $script:LrHasRows = $true
    $wanted = Get-LrArg $Arguments 'name' 'text' ''
    $wanted = $wanted.Trim('\')
    $service = New-Object -ComObject 'Schedule.Service'
    [void]$service.Connect()
    $stack = New-Object System.Collections.Stack
    $stack.Push($service.GetFolder('\'))
    while ($stack.Count -gt 0) {
        $folder = $stack.Pop()
        Test-LrTime
        try {
            foreach ($below in @($folder.GetFolders(0))) { $stack.Push($below) }
            # 1: hidden tasks too.
            $tasks = @($folder.GetTasks(1))
        } catch {
            Add-LrWarning "the tasks of $($folder.Path) could not be read: $($_.Exception.GetBaseException().Message)"
            continue
        }
        foreach ($task in $tasks) {
            $isWanted = $wanted.Length -eq 0 -or $task.Path.Trim('\') -eq $wanted -or $task.Name -eq $wanted
            if ($isWanted) { Add-LrRow (New-LrTaskRow $task) }
        }
    }
    # A task whose key has no security descriptor is shown by no tool of Windows.
    $cache = Open-LrKey (Open-LrHive 'LocalMachine') 'SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tree' 'HKLM'
    $keys = New-Object System.Collections.Stack
    if ($null -ne $cache) { $keys.Push(@($cache, '')) }
    while ($keys.Count -gt 0) {
        $next = $keys.Pop()
        Test-LrTime
        foreach ($name in @($next[0].GetSubKeyNames())) {
            $key = Open-LrKey $next[0] $name "TaskCache\Tree$($next[1])"
            if ($null -eq $key) { continue }
            $path = "$($next[1])\$name"
            $keys.Push(@($key, $path))
            if ($null -eq (Get-LrValue $key 'Id') -or $null -ne (Get-LrValue $key 'SD')) { continue }
            Add-LrWarning "the task $path has no security descriptor: tools of Windows do not show it"
            if ($wanted.Length -eq 0 -or $path.Trim('\') -eq $wanted -or $name -eq $wanted) {
                Add-LrRow ([ordered]@{ name = $path; kind = 'task'; source = "HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tree$path" })
            }
        }
    }
}
