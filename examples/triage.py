#!/usr/bin/env python3
"""A first look at this host over JSON-RPC: one JSON message a line, to and from `live-response rpc`.

usage: triage.py [PROGRAM]      (default: live-response)

Only reads. Prints a report and ends with 0; ends with 1 when a call was refused or failed.
"""

import json
import subprocess
import sys


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
            sys.exit(f"{method}: {answer['error']['message']}")
        result = answer["result"]
        while result["state"] == "running":  # it took longer than a call may: follow the job
            result = self.call("fg", command_id=result["command_id"])["data"]["command"]
        return result

    def rows(self, method, **params):
        """All rows of a listing, page by page over one snapshot."""
        page = self.call(method, limit=1000, **params)
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

    print("\nexecutables in world-writable places")
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        for f in host.rows("findfile", name="*", path=place, filter="kind=file and attributes.mode~x"):
            digest = host.call("fileinfo", path=f["path"])["data"]["sha256"]
            print(f"  {f['path']}  {f['size_bytes']} bytes  sha256 {digest}")

    return host.close()


if __name__ == "__main__":
    sys.exit(main())
