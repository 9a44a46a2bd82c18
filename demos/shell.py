"""What all pages share: language, header and footer, refusals, result lines, pictures, downloads, links.

Texts with a fixed wording go through `tr` and are translated in the browser; texts that Python composes get the
language as "en" or "zh" from the page's hidden language box (`Shell.lang`).
"""

from __future__ import annotations

import base64
import html
import inspect
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context
from gradio.i18n import I18nData

from core import checkpoints, runtime
from core.errors import Refusal
from demos.page import Page

log = logging.getLogger(__name__)

_TEXTS: dict[str, tuple[str, str]] = {}
WRONG = {
    "en": "Something went wrong on our side; it has been logged. Please try again.",
    "zh": "服务器出了点问题，已经记录下来，请再试一次。",
}


# --- language ------------------------------------------------------------------------------------------------


def tr(en: str, zh: str) -> Any:
    """A text that the browser shows in its language: for labels, placeholders, buttons, tabs and Markdown."""
    key = "t" + blake2b(f"{en}\0{zh}".encode(), digest_size=8).hexdigest()
    _TEXTS[key] = (en, zh)
    return I18nData(key)


def translations() -> gr.I18n:
    """Everything that went through `tr`, for launch()."""
    english = {key: en for key, (en, _) in _TEXTS.items()}
    chinese = {key: zh for key, (_, zh) in _TEXTS.items()}
    return gr.I18n(**{"en": english, "zh-CN": chinese, "zh": chinese, "zh-TW": chinese})


def both(en: str, zh: str) -> str:
    """HTML that holds both languages and shows one; only for texts of our own."""
    return f'<span class="l-en" lang="en">{en}</span><span class="l-zh" lang="zh-CN">{zh}</span>'


def pick(lang: str, en: str, zh: str) -> str:
    """One of two texts, for sentences that Python composes."""
    return zh if lang == "zh" else en


# --- frame of a page -----------------------------------------------------------------------------------------


def top_bar() -> None:
    """The bar on every page: home, language, light or dark."""
    gr.HTML(
        '<nav class="atlas-bar" aria-label="CLIP Atlas"><a class="atlas-home" href="/">CLIP Atlas</a><span>'
        '<button type="button" onclick="atlasSwitch(\'en\')" lang="en">EN</button>'
        '<button type="button" onclick="atlasSwitch(\'zh\')" lang="zh-CN">中文</button>'
        '<button type="button" onclick="atlasTheme()">'
        f"{both('Light / dark', '浅色 / 深色')}</button></span></nav>",
        padding=False,
    )


def header(page: Page) -> None:
    """Title, the idea in one sentence, and the paper."""
    top_bar()
    paper = page.paper
    gr.HTML(
        f"<h1>{both(html.escape(page.title.en), html.escape(page.title.zh))}</h1>"
        f'<p class="atlas-idea">{both(html.escape(page.idea.en), html.escape(page.idea.zh))}</p>'
        f'<p class="atlas-paper"><a href="{html.escape(paper.url)}" rel="noopener">{html.escape(paper.title)}</a>'
        f" · {html.escape(paper.venue)} {paper.year}</p>",
        padding=False,
    )


def footer(page: Page) -> None:
    """Citation at the foot of a page."""
    with gr.Accordion(tr("Citation", "引用"), open=False):
        gr.Code(page.paper.bibtex, label="BibTeX", language=None, interactive=False)


class Shell:
    """The hidden parts of one page: its language box and the place where refusals appear."""

    def __init__(self) -> None:
        self.lang = gr.Textbox("en", visible="hidden", elem_classes="atlas-lang", label="language")
        self.message = gr.HTML("", elem_classes="atlas-message", padding=False)

    def on_load(self, handler: Callable[..., Any], outputs: Sequence[Any]) -> Any:
        """Runs `handler(lang, request)` when the page opens; its outputs are `outputs`."""
        blocks: Any = Context.root_block

        def load(_: str, lang: str, request: gr.Request) -> tuple[Any, ...]:
            language = "zh" if lang == "zh" else "en"
            return language, *handler(language, dict(request.query_params))

        # The script in front of Gradio knows the language; it reaches Python as an input.
        box = gr.Textbox(visible="hidden", label="browser language")
        return blocks.load(
            load,
            [self.lang, box],
            [self.lang, *outputs],
            js="(a, b) => [a, window.atlasLang || 'en']",
            api_visibility="private",
            show_progress="hidden",
        )

    def on(
        self,
        triggers: Callable[..., Any] | Sequence[Callable[..., Any]],
        handler: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        **options: Any,
    ) -> Any:
        """Wires `handler(*inputs, lang)`; a refusal becomes one sentence and leaves the outputs as they are."""
        listen = triggers if isinstance(triggers, list | tuple) else [triggers]
        return gr.on(
            list(listen),
            guarded(handler, len(outputs)),
            [*inputs, self.lang],
            [self.message, *outputs],
            api_visibility="private",
            concurrency_limit=options.pop("concurrency_limit", 8),
            show_progress=options.pop("show_progress", "minimal"),
            **options,
        )


def guarded(handler: Callable[..., Any], outputs: int) -> Callable[..., Any]:
    """A handler that never raises: its last argument is the language, its first output the page's message."""
    still = [gr.skip()] * outputs

    def sentence(error: Exception, lang: str) -> str:
        if isinstance(error, Refusal):
            return refusal_html(error, lang)
        log.error("a handler failed", exc_info=error)
        return f'<p role="alert" class="atlas-refusal">{WRONG[lang]}</p>'

    if inspect.isgeneratorfunction(handler):

        def stream(*values: Any) -> Generator[tuple[Any, ...], None, None]:
            steps = handler(*values)
            try:
                for result in steps:
                    yield ("", *result)
            except Exception as error:
                yield (sentence(error, _lang(values)), *still)
            finally:
                steps.close()

        return stream

    def call(*values: Any) -> tuple[Any, ...]:
        try:
            return ("", *handler(*values))
        except Exception as error:
            return (sentence(error, _lang(values)), *still)

    return call


@contextmanager
def api_errors() -> Iterator[None]:
    """Around the body of a named endpoint: a refusal reaches the caller as one English sentence."""
    try:
        yield
    except Refusal as refusal:
        raise gr.Error(refusal.text("en"), print_exception=False) from None


def _lang(values: Sequence[Any]) -> str:
    return "zh" if values[-1] == "zh" else "en"


def refusal_html(refusal: Refusal, lang: str) -> str:
    """A refusal as an alert; what a user typed is escaped."""
    return f'<p role="alert" class="atlas-refusal">{html.escape(refusal.text(lang))}</p>'


def result_line(seconds: float, checkpoint: str, device: str, lang: str, extra: str = "") -> str:
    """The line under every result: time, checkpoint, machine."""
    row = checkpoints.row(checkpoint)
    kind = pick(lang, "miniature", "微缩模型") if row.bundled else pick(lang, "real weights", "真实权重")
    parts = [
        f"{1000 * seconds:.0f} ms",
        f"{row.title['zh' if lang == 'zh' else 'en']} ({kind})",
        runtime.system_line(device, lang=lang),
        extra,
    ]
    return '<p class="atlas-line">' + " · ".join(html.escape(part) for part in parts if part) + "</p>"


def hint(lang: str) -> str:
    """Said when a picture from outside is given to a miniature."""
    text = pick(
        lang,
        "This miniature has only seen the drawings of the classroom: on a photo its answer is a guess. "
        "Choose real weights above for photos.",
        "这个微缩模型只见过“教室”里的图画：它对照片的回答只是猜测。要看照片请在上面选择真实权重。",
    )
    return f'<p class="atlas-hint">{text}</p>'


# --- files in and out ----------------------------------------------------------------------------------------


class Picture(gr.Image):
    """A picture input that hands the uploaded file over unopened: decoding and refusing is core's business."""

    is_template = True

    def preprocess(self, payload: Any) -> str | None:
        if payload is None:
            return None
        if payload.url and payload.url.startswith("data:"):
            return payload.url
        return payload.path


def picture_input(**options: Any) -> Picture:
    """The picture input of every page: upload, paste or webcam."""
    return Picture(
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard", "webcam"],
        label=tr("Picture", "图片"),
        buttons=["fullscreen"],
        **options,
    )


def picture_source(value: str | None) -> str | bytes:
    """What `core.inputs.image` gets from a picture input.

    Raises:
        Refusal: "no_picture" when there is none, "bad_data_uri" for a broken data URI.
    """
    if not value:
        raise Refusal("no_picture")
    return from_data_uri(value) if value.startswith("data:") else value


def uploaded(value: Any) -> str | bytes:
    """What an API caller sent as a picture: an uploaded file of this server, or a data URI.

    Raises:
        Refusal: "not_uploaded" for any other path or address, "bad_data_uri" for a broken data URI.
    """
    address = value.get("url") or value.get("path") if isinstance(value, dict) else value
    if isinstance(address, str) and address.startswith("data:"):
        return from_data_uri(address)
    path = value.get("path") if isinstance(value, dict) else value
    from gradio.utils import get_upload_folder

    if not isinstance(path, str) or not path:
        raise Refusal("not_uploaded")
    file = Path(path).resolve()
    if not file.is_relative_to(Path(get_upload_folder()).resolve()) or not file.is_file():
        raise Refusal("not_uploaded")
    return str(file)


def from_data_uri(uri: str) -> bytes:
    """The bytes of a base64 data URI."""
    head, _, body = uri.partition(",")
    if not head.endswith(";base64"):
        raise Refusal("bad_data_uri")
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        raise Refusal("bad_data_uri") from None


def downloads(files: Sequence[tuple[str, str, bytes]]) -> str:
    """Download links (name, MIME type, bytes) that carry their data: nothing stays on the server."""
    links = [
        f'<a download="{html.escape(name)}" '
        f'href="data:{mime};base64,{base64.b64encode(data).decode()}">{html.escape(name.rpartition(".")[2].upper())}</a>'
        for name, mime, data in files
    ]
    return f'<p class="atlas-downloads">{both("Download", "下载")}: {" ".join(links)}</p>'


# --- checkpoints ---------------------------------------------------------------------------------------------


@cache
def _secret() -> str:
    # Not a secret: BrowserState forgets its value at a restart unless it is given a fixed one.
    return "clip-atlas"


def browser_state(name: str, default: Any) -> gr.BrowserState:
    """A value that this browser remembers for this page."""
    return gr.BrowserState(default, storage_key=f"atlas_{name}", secret=_secret())


def current_page() -> str:
    """The route of the page that is being built."""
    root: Any = Context.root_block
    return root.current_page
