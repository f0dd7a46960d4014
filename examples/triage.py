#!/usr/bin/env python3
"""A first look at this host over JSON-RPC: one JSON message a line, to and from `live-response rpc`.

usage: triage.py [PROGRAM]      (default: live-response)

Only reads. Prints a report and ends with 0; ends with 1 when a call was refused or failed.
"""

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone

DAYS = 7
SHOWN = 20


class Refused(Exception):
    """A call that was refused or failed; the message begins with the code."""


class LiveResponse:
    """One JSON-RPC connection. A refusal or a failure is error -32000 whose data is the result object."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.last_id = 0

    def call(self, method, **params):
        self.last_id += 1
        message = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise Refused(f"{method}: {answer['error']['message']}")
        result = answer["result"]
        while result["state"] == "running":  # it took longer than a call may: follow the job
            result = self.call("fg", command_id=result["command_id"])["data"]["command"]
        return result

    def rows(self, method, **params):
        """All rows of a listing, page by page over one snapshot."""
        page = self.call(method, limit=1000, **params)
        for warning in page.get("warnings", []):
            print(f"  warning: {warning}")
        while True:
            yield from page["data"]["rows"]
            cursor = page["page"]["next_cursor"]
            if cursor is None:
                return
            page = self.call(method, limit=1000, cursor=cursor)

    def close(self):
        self.process.stdin.close()
        return self.process.wait(timeout=15)


def main():
    host = LiveResponse(sys.argv[1] if len(sys.argv) > 1 else "live-response")

    arrival = host.call("connect", comment="triage.py")["data"]
    print(f"{arrival['device']['name']}: {arrival['os']}, kernel {arrival.get('kernel', '?')}, as {arrival['account']}")
    for line in arrival["hidden"]:
        print(f"  not visible: {line}")

    processes = list(host.rows("processes", fields=["pid", "ppid", "user", "name", "path", "deleted_image"]))
    print(f"\n{len(processes)} processes")
    for p in processes:
        if p.get("deleted_image"):
            print(f"  deleted image: pid {p['pid']} {p.get('name')} ({p.get('path', 'no path')})")

    print("\nlistening")
    for c in host.rows("connections", filter="state=LISTEN", sort="local_port"):
        owner = f"{c.get('process', '?')} ({c['pid']})" if "pid" in c else "unknown owner"
        print(f"  {c['protocol']:5} {c['local_address']}:{c['local_port']}  {owner}")

    print(f"\nexecutables of the last {DAYS} days in world-writable places, the newest {SHOWN} each")
    since = (datetime.now(timezone.utc) - timedelta(days=DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        found = host.call("findfile", name="*", path=place, modified_after=since, sort="-modified", limit=SHOWN,
                          filter="kind=file and attributes.mode~x")
        for f in found["data"]["rows"]:
            try:
                digest = "sha256 " + host.call("fileinfo", path=f["path"])["data"]["sha256"]
            except Refused as gone:  # files come and go in such places
                digest = str(gone)
            print(f"  {f['path']}  {f['size_bytes']} bytes, {f['modified']}  {digest}")
        left = found["page"]["total"] - found["page"]["returned"]
        if left > 0:
            print(f"  {place}: {left} more")

    return host.close()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Refused as refused:
        sys.exit(str(refused))
