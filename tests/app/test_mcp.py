"""The endpoints as tools: the protocol's own client against the running app, its limits, what a model is told."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import gradio.mcp
import pytest
from gradio_client import Client, handle_file
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult, Tool

from demos.app import mcp as tools
from demos.app import site
from demos.kit import library

PICTURE = Path(library.shared()["red_envelope"]["path"])
URI = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()
LABELS = ["red envelope", "dog", "airplane"]
MCP = "/gradio_api/mcp/"

Answer = TypeVar("Answer")


def session(server: str, work: Callable[[ClientSession], Awaitable[Answer]]) -> Answer:
    """What `work` does with an initialised session of the protocol's own client."""

    async def run() -> Answer:
        async with (
            streamablehttp_client(server + MCP) as (read, write, _),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            return await work(client)

    # In a thread of its own: playwright's loop, where a browser test ran before, goes on in this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, run()).result(timeout=3000)  # type: ignore[arg-type]


def call(server: str, **arguments: Any) -> CallToolResult:
    """One call of `clip_classify`."""
    return session(server, lambda client: client.call_tool("clip_classify", arguments))


def words(result: CallToolResult) -> str:
    """The one text of a result."""
    (block,) = result.content
    assert block.type == "text"
    return block.text


@pytest.fixture(scope="module")
def listed(server: str) -> dict[str, Tool]:
    async def work(client: ClientSession) -> dict[str, Tool]:
        return {tool.name: tool for tool in (await client.list_tools()).tools}

    return session(server, work)


def test_every_public_endpoint_is_a_tool_and_nothing_else_is(client: Client, listed: dict[str, Tool]) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert set(listed) == {name.lstrip("/") for name in endpoints["named_endpoints"]}
    assert {"clip_classify", "clip_compare_templates"} <= set(listed)


def test_a_tool_says_what_it_does_and_what_each_parameter_is(listed: dict[str, Tool]) -> None:
    for tool in listed.values():
        description = str(tool.description)
        assert len(description) > 40 and "Returns" in description, tool.name
        # Gradio's own words name a tool that this server lacks, and addresses, which it does not fetch.
        assert "upload_file_to_gradio" not in description
        assert "https url" not in json.dumps(tool.inputSchema)
        for name, schema in tool.inputSchema["properties"].items():
            assert schema.get("description"), f"{tool.name}.{name} has no description"
    image = listed["clip_classify"].inputSchema["properties"]["image"]
    assert image["type"] == "string" and "data URI" in image["format"]
    assert listed["clip_classify"].inputSchema["required"] == ["image", "labels"]


def test_a_call_gives_the_endpoints_answer_as_json(server: str, client: Client) -> None:
    result = call(server, image=URI, labels=LABELS)
    assert not result.isError
    there = json.loads(words(result))
    here = client.predict(handle_file(str(PICTURE)), LABELS, api_name="/clip_classify")
    assert there["results"] == here["results"] and there["results"][0]["label"] == "red envelope"


def test_a_refusal_is_the_endpoints_sentence(server: str) -> None:
    result = call(server, image=URI, labels=" , ")
    assert (
        result.isError
        and words(result) == "There are no labels yet; type some, separated by commas or lines."
    )


@pytest.mark.parametrize("labels", ['["red envelope", "dog"]', ' ["dog", "red envelope"]'])
def test_a_list_that_was_sent_as_its_text_is_read_as_the_list(server: str, labels: str) -> None:
    result = call(server, image=URI, labels=labels)
    assert not result.isError
    assert {row["label"] for row in json.loads(words(result))["results"]} == {"dog", "red envelope"}


def test_a_call_without_a_value_says_which(server: str) -> None:
    result = call(server, labels="dog")
    assert result.isError and "image" in words(result)


@pytest.mark.parametrize(
    "image",
    [
        "http://127.0.0.1:1/x.png",
        "https://example.org/x.png",
        "/etc/hostname",
        "app.py",
        {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}},
    ],
)
def test_no_file_of_the_server_and_no_address_is_read(server: str, image: Any) -> None:
    result = call(server, image=image, labels=LABELS)
    assert result.isError
    assert "Traceback" not in words(result) and "500" not in words(result)
    if isinstance(image, str):
        assert words(result) == "The image must be a file uploaded to this server or a data URI."


def test_file_data_is_refused_whatever_a_schema_allows() -> None:
    server = tools.Tools.__new__(tools.Tools)
    for deep in ({"x": {"path": "/etc/passwd"}}, {"x": [{"y": {"path": "a"}}]}):
        with pytest.raises(ValueError, match="one text"):
            server.convert_strings_to_filedata(deep, [])
    same = {"path": "a tool may have a parameter of this name", "labels": ["a"]}
    assert server.convert_strings_to_filedata(same, []) is same


def test_the_door_holds_its_limits_for_tools_too(server: str) -> None:
    place = urlsplit(server)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=300)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "y" * (9 << 20)}})
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    connection.putrequest("POST", MCP)
    for name, value in {**headers, "content-length": str(len(body))}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413 and "8 MB" in json.loads(answer.read())["error"]
    connection.close()

    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=300)
    connection.request("POST", MCP, json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}), headers)
    answer = connection.getresponse()
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["content-security-policy"] and answer.headers["x-content-type-options"] == "nosniff"
    assert '"result":{}' in answer.read().decode()
    connection.close()


def test_gradio_takes_our_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradio.mcp, "GradioMCPServer", tools.Tools.__base__)
    assert site.launch_options()["mcp_server"] is True
    assert gradio.mcp.GradioMCPServer is tools.Tools
