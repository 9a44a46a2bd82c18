"""The named endpoints as tools of the Model Context Protocol, for programs that let a language model call them.

Gradio makes the tools from the endpoints' docstrings. Here it learns what this server takes as an image: Gradio
would tell a model to send web addresses, which are not fetched, and would keep each data URI as a file on the disk.
"""

from __future__ import annotations

import json
from typing import Any

import gradio.mcp
from gradio_client.utils import is_file_obj_with_meta

IMAGE = "a data URI (data:image/png;base64,...), or the path that POST /gradio_api/upload answered with"
ONLY_TEXT = "An image is one text: a data URI, or the path of an upload to this server."


class Tools(gradio.mcp.GradioMCPServer):
    """Gradio's tool server with the words and the rules of this one."""

    _file_data_tool_description = ""

    def simplify_filedata_schema(
        self, schema: dict[str, Any]
    ) -> tuple[dict[str, Any], list[list[str | int]]]:
        """Gradio's schema of a tool, in which a file is a text and says which."""
        simple, positions = super().simplify_filedata_schema(schema)
        for way in positions:
            field = simple["properties"]
            for step in way:
                field = field[step]
            field.pop("required", None)
            field["format"] = IMAGE
        return simple, positions

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list[list[str | int]]) -> Any:
        """The arguments as they came: `demos.kit.files.uploaded` reads data URIs and paths itself.

        File data in place of a text is refused: Gradio's client, which passes the call on, runs on this server and
        would upload any file of its disk that a caller names.
        """
        pending = [value]
        while pending:
            item = pending.pop()
            if isinstance(item, dict):
                if item is not value and "path" in item:
                    raise ValueError(ONLY_TEXT)
                pending += item.values()
            elif isinstance(item, list):
                pending += item
        return value

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        """Gradio's content blocks; an answer of names and numbers is JSON, not Python's notation of it."""
        return super().postprocess_output_data([_text(item) for item in data], root_url)


def _text(item: Any) -> Any:
    if isinstance(item, dict | list) and not is_file_obj_with_meta(item):
        return json.dumps(item, ensure_ascii=False)
    return item


def install() -> None:
    """Makes `launch(mcp_server=True)` use `Tools`; Gradio names its class in one place and offers no parameter."""
    gradio.mcp.GradioMCPServer = Tools  # type: ignore[misc]
