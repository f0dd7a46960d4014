# Tells all about one file: its bytes are read once for three digests.
function Get-LrMagic([string]$Path) {
    $buffer = New-Object byte[] 512
    $stream = New-Object System.IO.FileStream -ArgumentList $Path, ([System.IO.FileMode]::Open), ([System.IO.FileAccess]::Read), ([System.IO.FileShare]'ReadWrite, Delete')
    try { $read = $stream.Read($buffer, 0, 512) } finally { $stream.Dispose() }
    if ($read -eq 0) { return 'empty' }
    $head = [BitConverter]::ToString($buffer, 0, [Math]::Min($read, 8)).Replace('-', '')
    $kinds = @(
        @('4D5A', 'PE executable'), @('7F454C46', 'ELF executable'), @('504B0304', 'application/zip'), @('1F8B', 'application/gzip'),
        @('25504446', 'application/pdf'), @('D0CF11E0A1B11AE1', 'application/x-ole-storage'), @('526172211A07', 'application/vnd.rar'),
        @('377ABCAF271C', 'application/x-7z-compressed'), @('4D534346', 'application/vnd.ms-cab-compressed'),
        @('4C00000001140200', 'application/x-ms-shortcut'), @('456C6646696C6500', 'application/x-ms-evtx'), @('72656766', 'application/x-ms-registry'),
        @('89504E470D0A1A0A', 'image/png'), @('FFD8FF', 'image/jpeg'), @('53514C6974652066', 'application/vnd.sqlite3'))
    foreach ($kind in $kinds) {
        if ($head.StartsWith($kind[0], [System.StringComparison]::Ordinal)) { return $kind[1] }
    }
    if ($head.StartsWith('FFFE') -or $head.StartsWith('FEFF') -or [Array]::IndexOf($buffer, [byte]0, 0, $read) -lt 0) { return 'text' }
    return 'data'
}

Invoke-LrScript 'fileinfo' {
    param($Arguments)
    $path = Resolve-LrPath (Get-LrNeeded $Arguments 'path')
    $item = Get-LrItem $path
    $target = $null
    if (Test-LrLink $item) {
        $target = Get-LrTarget $path
        if (-not (Test-LrEmpty $target)) {
            $target = [System.IO.Path]::GetFullPath([System.IO.Path]::Combine([System.IO.Path]::GetDirectoryName($path), $target))
            $item = Get-LrItem $target
        }
    }
    if ($item -is [System.IO.DirectoryInfo]) { Stop-Lr 'E_NOT_A_FILE' "$path is a directory" }
    $times = @($item.CreationTimeUtc, $item.LastWriteTimeUtc, $item.LastAccessTimeUtc)
    $size = $item.Length
    $digests = Get-LrHashes $item.FullName @('md5', 'sha1', 'sha256')
    $links = 1
    try {
        $links = @((Invoke-LrTool 'fsutil.exe' @('hardlink', 'list', $item.FullName) 30).Split("`n") | Where-Object { $_.Trim() }).Count
    } catch {
        $links = 1
    }
    $script:LrData = [ordered]@{
        path = (ConvertTo-LrPath $path); size_bytes = $size; created = (ConvertTo-LrTime $times[0])
        modified = (ConvertTo-LrTime $times[1]); accessed = (ConvertTo-LrTime $times[2])
        # Windows keeps the time of the entry's own change where no cmdlet of 5.1 reads it.
        changed = (ConvertTo-LrTime $times[1])
        attributes = (Get-LrAttributes $item $true); md5 = $digests['md5']; sha1 = $digests['sha1']; sha256 = $digests['sha256']
        kind = (Get-LrMagic $item.FullName); signature = (Get-LrSignature $item.FullName)['text']; target = (ConvertTo-LrPath $target)
        links = $links
    }
}
