# Lists TCP and UDP sockets, listening and unconnected ones too, with the processes that hold them.
function Add-LrSocket([string]$Protocol, [string]$Local, [int]$LocalPort, [string]$Remote, [int]$RemotePort, [string]$State, [long]$Owner, $Names) {
    $zone = $Local.Split('%')[0]
    $kind = $Protocol
    if ($zone.Contains(':')) { $kind = $Protocol + '6' }
    $row = [ordered]@{ protocol = $kind; local_address = $zone; local_port = $LocalPort }
    if ($RemotePort -gt 0) {
        $row['remote_address'] = $Remote.Split('%')[0]
        $row['remote_port'] = $RemotePort
    }
    $row['state'] = $State
    $row['pid'] = $Owner
    $row['process'] = $Names[$Owner]
    Add-LrRow $row
}

# As Linux names them; nothing where the name is none of them.
function ConvertTo-LrState([string]$State) {
    $names = @{
        Listen = 'LISTEN'; Listening = 'LISTEN'; Established = 'ESTABLISHED'; SynSent = 'SYN_SENT'; Syn_Sent = 'SYN_SENT'
        SynReceived = 'SYN_RECV'; Syn_Received = 'SYN_RECV'; FinWait1 = 'FIN_WAIT1'; Fin_Wait_1 = 'FIN_WAIT1'
        FinWait2 = 'FIN_WAIT2'; Fin_Wait_2 = 'FIN_WAIT2'; CloseWait = 'CLOSE_WAIT'; Close_Wait = 'CLOSE_WAIT'
        Closing = 'CLOSING'; LastAck = 'LAST_ACK'; Last_Ack = 'LAST_ACK'; TimeWait = 'TIME_WAIT'; Time_Wait = 'TIME_WAIT'
        Closed = 'CLOSED'; DeleteTCB = 'CLOSED'; Bound = 'CLOSED'
    }
    if ($names.ContainsKey($State)) { return $names[$State] }
    return $null
}

function Split-LrEndpoint([string]$Text) {
    $at = $Text.LastIndexOf(':')
    $port = 0
    if ($at -lt 0) { return @($Text, 0) }
    [void][int]::TryParse($Text.Substring($at + 1), [ref]$port)
    return @($Text.Substring(0, $at).Trim('[', ']'), $port)
}

Invoke-LrScript 'connections' {
    param($Arguments)
    $script:LrHasRows = $true
    $names = @{}
    foreach ($process in [System.Diagnostics.Process]::GetProcesses()) { $names[[long]$process.Id] = $process.ProcessName }
    $tcp = $null
    $udp = $null
    try {
        $tcp = @(Get-NetTCPConnection)
        $udp = @(Get-NetUDPEndpoint)
    } catch {
        Add-LrWarning "Get-NetTCPConnection failed, so netstat was read: $($_.Exception.Message)"
        $tcp = $null
    }
    if ($null -ne $tcp) {
        foreach ($socket in $tcp) {
            Add-LrSocket 'tcp' $socket.LocalAddress $socket.LocalPort $socket.RemoteAddress $socket.RemotePort (ConvertTo-LrState ([string]$socket.State)) $socket.OwningProcess $names
        }
        foreach ($socket in $udp) { Add-LrSocket 'udp' $socket.LocalAddress $socket.LocalPort '' 0 'UNCONNECTED' $socket.OwningProcess $names }
        return
    }
    foreach ($line in (Invoke-LrTool 'netstat.exe' @('-ano') 120).Split("`n")) {
        $words = @($line.Trim() -split '\s+')
        if ($words[0] -eq 'TCP' -and $words.Count -ge 5) {
            $local = Split-LrEndpoint $words[1]
            $remote = Split-LrEndpoint $words[2]
            # The names of states are translated; a listening socket has no remote port in any language.
            $state = ConvertTo-LrState $words[3]
            if ($null -eq $state) { $state = if ($remote[1] -eq 0) { 'LISTEN' } else { 'ESTABLISHED' } }
            Add-LrSocket 'tcp' $local[0] $local[1] $remote[0] $remote[1] $state ([long]$words[-1]) $names
        } elseif ($words[0] -eq 'UDP' -and $words.Count -ge 4) {
            $local = Split-LrEndpoint $words[1]
            Add-LrSocket 'udp' $local[0] $local[1] '' 0 'UNCONNECTED' ([long]$words[-1]) $names
        }
    }
}
