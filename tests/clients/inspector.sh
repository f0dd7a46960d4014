#!/usr/bin/env bash
# The command line of the MCP Inspector (npm) against the real binary.
# usage: inspector.sh PROGRAM SCRATCH
# Runs everything twice: with and without output schemas, which the TypeScript SDK holds every answer against.
set -euo pipefail
program=$(realpath "$1")
scratch=$2/inspector
mkdir -p "$scratch" && cd "$scratch"
npm install --silent --no-audit --no-fund --prefix "$scratch" @modelcontextprotocol/inspector@2.12.0
options=()
inspect() { timeout 60 "$scratch/node_modules/.bin/mcp-inspector" --cli "$program" mcp "${options[@]}" "$@"; }
# The Inspector prints the result of a tool that answered an error, and ends with 5.
refused() { local code=0; inspect "$@" 2>/dev/null || code=$?; test "$code" -eq 5; }

check() { jq -e "$1" >/dev/null || { echo "inspector: not so with ${options[*]:-no option}: $1" >&2; return 1; }; }

for extra in "" --output-schemas; do
  options=(${extra:+"$extra"})
  inspect --method tools/list | check '.tools | length == 34'
  inspect --method tools/list | check "all(.tools[]; has(\"outputSchema\") == $([ -n "$extra" ] && echo true || echo false))"
  inspect --method tools/call --tool-name connect | check '.structuredContent.state == "completed"'
  inspect --method tools/call --tool-name help --tool-arg command=remediate |
    check '.structuredContent.data.help | contains("remediate")'
  refused --method tools/call --tool-name processes |
    check '.isError and .structuredContent.error.code == "E_NO_SESSION"'
  refused --method tools/call --tool-name connect --tool-arg device=nowhere |
    check '.isError and .structuredContent.error.code == "E_NO_DEVICE"'
done
echo "inspector: 12 passed, 0 failed"
