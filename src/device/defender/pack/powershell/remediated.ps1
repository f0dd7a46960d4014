# Lists what `remediate` took on this device, and what became of it.
Invoke-LrScript 'remediated' {
    param($Arguments)
    $kind = Get-LrArg $Arguments 'kind' 'text' ''
    $script:LrHasRows = $true
    foreach ($record in @(Get-LrRecords)) {
        if ($kind.Length -gt 0 -and $record['kind'] -ne $kind) { continue }
        $row = [ordered]@{ type = $record['kind']; id = $record['id']; outcome = $record['outcome']; undo_id = $record['undo_id'] }
        foreach ($field in @('path', 'sha256')) {
            if ($record.ContainsKey($field)) { $row[$field] = $record[$field] }
        }
        if ($record.ContainsKey('size_bytes')) { $row['size_bytes'] = [long]$record['size_bytes'] }
        $row['at'] = $record['at']
        if ($record['outcome'] -eq 'begun') { $row['note'] = 'it was begun and its end is not known' }
        Add-LrRow $row
    }
}
