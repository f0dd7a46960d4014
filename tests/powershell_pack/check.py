"""Parses and lints scripts for Windows PowerShell 5.1: `check.py PRELUDE BODY...`; a line for each complaint.

Needs the PyPI packages tree-sitter and tree-sitter-powershell.
"""

import re
import sys

import tree_sitter
import tree_sitter_powershell

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
LONGEST = 200_000

# What Windows PowerShell 5.1 brings along, as far as it only reads, and what `remediate` and `undo` need besides.
CMDLETS = set(
    """
    Add-Type ConvertTo-Csv ForEach-Object Get-AuthenticodeSignature Get-CimInstance Get-DnsClientCache Get-Item
    Get-LocalGroupMember Get-MpPreference Get-MpThreatDetection Get-NetIPAddress Get-NetNeighbor Get-NetRoute
    Get-NetTCPConnection Get-NetUDPEndpoint Get-PnpDevice Get-ScheduledTask Get-ScheduledTaskInfo Get-SmbSession
    Get-SmbShare Get-WinEvent Group-Object Invoke-CimMethod Join-Path New-Object Select-Object Set-StrictMode
    Sort-Object Where-Object Write-Output
    """.split()
)
ACTING = {
    "remediate": {"Get-Service", "Set-Service", "Stop-Service"},
    "undo": {"Set-Service", "Start-Service"},
}
# Members that change the device or start something: only in the scripts that say so.
EFFECTS = r"\b(Delete|Move|WriteAllText|WriteAllBytes|Kill|DeleteValue|SetValue|DeleteTask|RegisterTask|SetAccessControl|CreateDirectory|DeleteSubKey\w*|CreateSubKey)\(|\[System\.IO\.File\]::Replace\("
MAY_ACT = {"remediate", "undo", "collect"}
# Killed is only what Invoke-LrTool itself started.
PRELUDE_EFFECTS = {"Kill("}
AUTOMATIC = {"_", "true", "false", "null", "matches", "executioncontext"}
PREFERENCES = {"erroractionpreference", "progresspreference", "warningpreference", "verbosepreference"}
BANNED = [
    (r"(?i)\b(Invoke-Expression|iex|Write-Host|Invoke-WebRequest|Invoke-RestMethod|Start-BitsTransfer|Start-Process)\b", "is banned"),
    (r"(?i)-Enc(odedCommand|oded)?\b", "is banned"),
    (r"(?i)\[scriptblock\]::Create|\bInvokeScript\b|\bNewScriptBlock\b|\bAddScript\b", "makes code of text"),
    (r"(?i)\b(WebClient|HttpClient|TcpClient|DownloadString)\b", "is for the network"),
    (r"\?\?|&&|\|\||\?\.|\?\[", "is syntax of PowerShell 7"),
    (r"(?i)-Parallel\b", "is syntax of PowerShell 7"),
    (r"(?i)::new\(", "New-Object does the same where the language mode is constrained"),
]


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def text(node):
    return node.text.decode("ascii", "replace")


def name_of(variable):
    """Scope and name, lower case; none for `$($x)` and the like."""
    word = text(variable).lstrip("$").strip("{}").lower()
    scope, _, name = word.rpartition(":")
    return scope, name


def code_alone(source, root):
    """The source with comments and literal texts blanked."""
    out = bytearray(source)
    for node in walk(root):
        if node.type in ("comment", "verbatim_string_literal", "verbatim_string_characters"):
            for at in range(node.start_byte, node.end_byte):
                if out[at] != 10:
                    out[at] = 32
    return out.decode("ascii")


def functions(root):
    return [node for node in walk(root) if node.type == "function_statement"]


def child(node, kind):
    return next((c for c in node.children if c.type == kind), None)


def parameters(node):
    """Names of the parameters of a function or of a script block, in order."""
    found = []
    for part in walk(node):
        if part.type == "script_parameter":
            variable = child(part, "variable")
            found.append(name_of(variable)[1])
    return found


def assigned(node, skip):
    found = set()
    stack = [node]
    while stack:
        at = stack.pop()
        if at in skip and at != node:
            continue
        stack.extend(at.children)
        if at.type == "left_assignment_expression":
            whole = [v for v in walk(at) if v.type == "variable"]
            if whole:
                found.add(name_of(whole[0]))
        elif at.type == "foreach_statement":
            found.add(name_of(child(at, "variable")))
        elif at.type == "script_parameter":
            found.add(name_of(child(at, "variable")))
    return found


def used(node, skip):
    stack = [node]
    while stack:
        at = stack.pop()
        if at in skip and at != node:
            continue
        stack.extend(at.children)
        if at.type == "variable":
            yield at


def check(name, prelude, body):
    source = prelude + body
    skipped = prelude.count(b"\n") if body else 0

    def where(node):
        row = node.start_point.row
        return f"{name}.ps1:{row - skipped + 1}" if row >= skipped else f"prelude.ps1:{row + 1}"

    if len(source) > LONGEST:
        yield f"{name}: longer than {LONGEST} bytes"
    if not source.isascii():
        yield f"{name}: not ASCII"
        return
    if b"\r" in source or b"\t" in source:
        yield f"{name}: carriage returns or tabs"
    root = PARSER.parse(source).root_node
    for node in walk(root):
        if node.type == "ERROR" or node.is_missing:
            yield f"{where(node)}: cannot be parsed: {text(node)[:60]!r}"
        if "ternary" in node.type:
            yield f"{where(node)}: ternary is syntax of PowerShell 7"
    code = code_alone(source, root)
    for pattern, why in BANNED:
        for hit in re.finditer(pattern, code):
            yield f"{name}: {hit.group(0)} {why}"
    for hit in re.finditer(EFFECTS, code):
        is_prelude = hit.start() < len(prelude)
        if is_prelude and hit.group(0) not in PRELUDE_EFFECTS:
            yield f"prelude: {hit.group(0)} changes the device"
        if not is_prelude and name not in MAY_ACT:
            yield f"{name}: {hit.group(0)} changes the device, and this script only reads"

    own = {text(child(f, "function_name")): f for f in functions(root)}
    arity = {}
    for title, function in own.items():
        head = child(function, "function_parameter_declaration")
        arity[title] = len(parameters(head)) if head else 0
    known = CMDLETS | set(own) | ACTING.get(name, set())
    for node in walk(root):
        if node.type != "command":
            continue
        command = child(node, "command_name")
        if child(node, "command_invokation_operator"):
            called = text(child(node, "command_name_expr"))
            if called.lower() not in ("$body", "$rows", "$step", "$step[2]"):
                yield f"{where(node)}: calls {called}"
            continue
        if command is None or text(command) not in known:
            yield f"{where(node)}: {text(command or node)[:40]} is no cmdlet of the list and no function"
            continue
        if text(command) in arity:
            elements = child(node, "command_elements")
            parts = elements.children if elements else []
            if any(part.type == "command_parameter" for part in parts):
                yield f"{where(node)}: {text(command)} is called by position"
            given = len([part for part in parts if part.is_named and part.type != "command_argument_sep"])
            if given > arity[text(command)]:
                yield f"{where(node)}: {text(command)} takes {arity[text(command)]} arguments, not {given}"

    # Strict mode: a variable that nobody set is an error at run time.
    all_functions = functions(root)
    shared = {n for scope, n in assigned(root, set()) if scope == "script"}
    top = {n for scope, n in assigned(root, set(all_functions))}
    dynamic = {"profiles", "digests", "places", "days", "scratch", "key", "path", "shown", "security"} if name in ("collect", "persistence") else set()
    for scope_node in [root] + all_functions:
        local = {n for scope, n in assigned(scope_node, set(all_functions)) if scope == ""}
        # `[ref]$x` is set by who is called, and was assigned before.
        for variable in used(scope_node, set(all_functions)):
            scope, title = name_of(variable)
            if not re.fullmatch(r"\w+", title) or title in AUTOMATIC:
                continue
            if scope == "script":
                if title not in shared:
                    yield f"{where(variable)}: $script:{title} is never set"
            elif scope:
                yield f"{where(variable)}: ${scope}:{title} is of a scope of its own"
            elif title not in local and title not in PREFERENCES and title not in dynamic and not (title == "word" and title in top):
                yield f"{where(variable)}: ${title} is never set"


def main():
    prelude_path, *bodies = sys.argv[1:]
    with open(prelude_path, "rb") as file:
        prelude = file.read()
    complaints = []
    for path in bodies:
        with open(path, "rb") as file:
            body = file.read()
        name = re.sub(r"^.*/|\.ps1$", "", path)
        complaints.extend(check(name, prelude, body))
        if f"Invoke-LrScript '{name}' {{".encode() not in body:
            complaints.append(f"{name}: it does not say its own name")
    for complaint in dict.fromkeys(complaints):
        print(complaint)
    print(f"{len(bodies)} scripts checked")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
