#!/usr/bin/env bash
# The command line of the MCP Inspector (npm) against the real binary.
# usage: inspector.sh PROGRAM SCRATCH
set -euo pipefail
program=$(realpath "$1")
scratch=$2/inspector
mkdir -p "$scratch" && cd "$scratch"
npm install --silent --no-audit --no-fund --prefix "$scratch" @modelcontextprotocol/inspector@2.12.0
inspect() { timeout 60 "$scratch/node_modules/.bin/mcp-inspector" --cli "$program" mcp "$@"; }

inspect --method tools/list | jq -e '.tools | length == 34' >/dev/null
inspect --method tools/call --tool-name connect | jq -e '.structuredContent.state == "completed"' >/dev/null
inspect --method tools/call --tool-name help --tool-arg command=remediate |
  jq -e '.structuredContent.data.help | contains("remediate")' >/dev/null
inspect --method tools/call --tool-name processes |
  jq -e '.isError and .structuredContent.error.code == "E_NO_SESSION"' >/dev/null
echo "inspector: 4 passed, 0 failed"
