#!/usr/bin/env python3
"""A whole session with the MCP client of the PyPI package `mcp`, which nobody here wrote.

usage: python_sdk.py PROGRAM
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


def server(program, home, config=""):
    environment = {**os.environ, "LIVE_RESPONSE_HOME": f"{home}/state", "XDG_CONFIG_HOME": f"{home}/config"}
    if config:
        file = Path(home, "config.toml")
        file.write_text(config)
        environment["LIVE_RESPONSE_CONFIG"] = str(file)
    return StdioServerParameters(command=program, args=["mcp"], env=environment)


async def session(program, home):
    async with stdio_client(server(program, home)) as (read, write), ClientSession(read, write) as client:
        hello = await client.initialize()
        assert hello.server_info.name == "live-response", hello

        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert len(tools) == 34, sorted(tools)
        assert tools["processes"].annotations.read_only_hint is True
        assert tools["remediate"].annotations.destructive_hint is True

        async def call(name, **arguments):
            result = await client.call_tool(name, arguments)
            return result, result.structured_content

        _, early = await call("processes")
        assert early["error"]["code"] == "E_NO_SESSION", early

        _, arrival = await call("connect", comment="CI-1")
        assert arrival["state"] == "completed", arrival

        listing, page = await call("processes", limit=2, sort="pid")
        assert page["page"]["returned"] == 2 and page["untrusted"] is True, page
        assert "pid" in listing.content[0].text, listing
        _, rest = await call("processes", limit=2, cursor=page["page"]["next_cursor"])
        assert rest["page"]["total"] == page["page"]["total"], rest

        file = Path(home, "planted.sh")
        file.write_text("#!/bin/sh\n")
        _, info = await call("fileinfo", path=str(file))
        assert info["data"]["size_bytes"] == 10, info
        _, sealed = await call("getfile", path=str(file))
        _, slice_ = await call("evidence", sha256=sealed["data"]["sha256"])
        assert slice_["data"]["content"].startswith("#!/bin/sh"), slice_

        refusal, refused = await call("remediate", type="file", id=str(file))
        assert refusal.is_error and refused["error"]["code"] == "E_NO_HUMAN_CHANNEL", refused
        _, forged = await call("remediate", type="file", id=str(file), confirm=True)
        assert forged["error"]["code"] == "E_BAD_ARGS", forged
        assert file.exists()
    print("session: ok")


async def impatient(program, home):
    """A client whose time-out is shorter than the command: nothing is lost, the next call is answered."""
    async with stdio_client(server(program, home)) as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        await client.call_tool("connect", {})
        try:
            await client.call_tool("findfile", {"name": "*", "path": "/"}, read_timeout_seconds=0.05)
            print("impatient: the command was faster than the client")
        except Exception as e:  # the SDK's own time-out
            print(f"impatient: gave up ({type(e).__name__})")
        jobs = (await client.call_tool("jobs", {})).structured_content
        assert jobs["state"] == "completed", jobs
        states = [row["state"] for row in jobs["data"]["rows"] if row["tool"] == "findfile"]
        assert states and states[0] != "pending_approval", jobs
    print("impatient: ok")


async def becomes_a_job(program, home):
    """A call that takes longer than a call may goes on as a job."""
    config = "[limits]\nanswer_within_s = 1\n"
    async with stdio_client(server(program, home, config)) as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        await client.call_tool("connect", {})
        result = (await client.call_tool("findfile", {"name": "*", "path": "/", "background": True})).structured_content
        assert result["state"] == "running", result
        for _ in range(600):
            status = (await client.call_tool("fg", {"command_id": result["command_id"]})).structured_content
            command = status["data"]["command"]
            if command["state"] != "running":
                break
        assert command["state"] == "completed" and command["page"]["total"] > 0, command
    print("becomes_a_job: ok")


async def main(program):
    for scenario in (session, impatient, becomes_a_job):
        with tempfile.TemporaryDirectory() as home:
            await asyncio.wait_for(scenario(program, home), 180)
    print("3 passed, 0 failed")


asyncio.run(main(str(Path(sys.argv[1]).resolve())))
