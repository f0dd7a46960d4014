#!/usr/bin/env bash
# A first look at this host with one tool call a line: `live-response call TOOL JSON` prints one result object, jq reads it.
# usage: triage.sh [PROGRAM]      (default: live-response)
# Exit codes of `call`: 0 completed, 1 failed, 2 usage, 3 refused, 4 waits for a person.
set -euo pipefail

live_response=${1:-live-response}
call() { "$live_response" call "$@"; }

call connect | jq -r '.data | "\(.device.name): \(.os), as \(.account)"'

echo; echo "newest processes"
call processes '{"sort":"-started","limit":5,"fields":["pid","user","started","name"]}' |
  jq -r '.data.rows[] | [.pid, .user, .started, .name] | @tsv'

echo; echo "listening"
call connections '{"filter":"state=LISTEN","limit":1000}' |
  jq -r '.data.rows[] | [.protocol, "\(.local_address):\(.local_port)", (.process // "?"), (.pid // "?")] | @tsv'

echo; echo "hashes of this shell"
call fileinfo "$(jq -n --arg path "/proc/$$/exe" '{path: $path}')" | jq -r '.data | "\(.path) \(.sha256)"'

echo; echo "a change is refused or waits for a person, it never just happens"
file=$(mktemp)
trap 'rm -f "$file"' EXIT
code=0
call remediate "$(jq -n --arg id "$file" '{type: "file", id: $id}')" | jq -r '"\(.state): \(.error.code // .approval.how)"' || code=$?
test -e "$file" && test "$code" -ne 0
