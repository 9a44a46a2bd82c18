"""The checkpoint menu of a page: what there is, what it weighs and may be used for, and how to get it."""

from __future__ import annotations

import html
import os
import threading
import time
from collections.abc import Generator
from typing import Any

import gradio as gr

from core import checkpoints
from core.checkpoints import Checkpoint, Progress
from core.errors import Refusal
from core.runtime import Cancel
from demos import shell
from demos.shell import Shell, both, pick, tr

POLL_SECONDS = 0.2


def label(row: Checkpoint) -> Any:
    """A row in the dropdown: its title, and what it would cost."""
    if row.bundled:
        return tr(f"{row.title['en']} · built in", f"{row.title['zh']} · 内置")
    size = checkpoints.human(row.size_bytes)
    return tr(f"{row.title['en']} · {size}", f"{row.title['zh']} · {size}")


def card(name: str) -> str:
    """What a person should know of a row before choosing it: state, size, licence, languages, limits."""
    row = checkpoints.row(name)
    state = checkpoints.state(name)
    size = checkpoints.human(row.size_bytes)
    states = {
        "bundled": both("built in, works offline", "内置，可离线使用"),
        "cached": both(f"downloaded, {size}", f"已下载，{size}"),
        "absent": both(f"not on this machine yet, {size}", f"尚未下载，{size}"),
        "unpinned": both(
            f"not on this machine yet, {size}; no fixed revision is known", f"尚未下载，{size}；没有固定版本"
        ),
    }
    languages = " + ".join(
        both(*{"en": ("English", "英文"), "zh": ("Chinese", "中文")}[code]) for code in row.languages
    )
    source = f"{row.repo} @ {(row.revision or '')[:12]}" if row.repo else row.bundled or ""
    facts = [
        (both("State", "状态"), states[state]),
        (both("Labels in", "标签语言"), languages),
        (both("Licence", "许可证"), f"{html.escape(row.licence)}. {_pair(row.licence_note)}"),
        (both("Knows", "擅长"), _pair(row.knows)),
        (both("Does not know", "不擅长"), _pair(row.lacks)),
        (both("Source", "来源"), f"<code>{html.escape(source)}</code>"),
    ]
    rows = "".join(f"<dt>{term}</dt><dd>{fact}</dd>" for term, fact in facts)
    return f'<dl class="atlas-card-facts">{rows}</dl>'


def _pair(text: Any) -> str:
    return both(html.escape(text["en"]), html.escape(text["zh"]))


def bar(progress: Progress, lang: str) -> str:
    """A download's progress as an accessible bar."""
    share = progress.done / progress.total if progress.total else 0.0
    done, total = checkpoints.human(progress.done), checkpoints.human(progress.total)
    rate = f"{checkpoints.human(progress.rate)}/s" if progress.rate else ""
    left = pick(lang, f"{progress.eta:.0f} s left", f"剩余 {progress.eta:.0f} 秒") if progress.eta else ""
    text = " · ".join(part for part in (f"{share:.0%}", f"{done} / {total}", rate, left) if part)
    return (
        f'<div class="atlas-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}"><span style="width:{100 * share:.1f}%"></span></div>'
        f'<p class="atlas-line">{html.escape(text)}</p>'
    )


def download(name: str, lang: str) -> Generator[tuple[Any, ...], None, None]:
    """Fetches a row in a thread and shows its progress; stopping the generator stops the download.

    Yields:
        Updates of (progress, card, download button, stop button).
    """
    cancel = Cancel()
    latest: list[Progress] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            checkpoints.open(name, progress=lambda now: latest.__setitem__(slice(None), [now]), cancel=cancel)
        except BaseException as error:
            failure.append(error)

    worker = threading.Thread(target=work, name=f"download {name}", daemon=True)
    worker.start()
    try:
        yield pick(lang, "Asking the Hub …", "正在连接 Hub……"), gr.skip(), _button(False), _button(True)
        while worker.is_alive():
            time.sleep(POLL_SECONDS)
            if latest:
                yield bar(latest[0], lang), gr.skip(), gr.skip(), gr.skip()
        worker.join()
        if failure:
            shown = failure[0]
            if not isinstance(shown, Refusal):
                raise shown
            yield shell.refusal_html(shown, lang), card(name), _button(True), _button(False)
        else:
            yield "", card(name), _button(False), _button(False)
    finally:
        cancel.set()


def _button(visible: bool) -> Any:
    return gr.update(visible=visible)


def needs_download(name: str) -> bool:
    """Whether the Download button has something to do."""
    return checkpoints.state(name) in ("absent", "unpinned")


class CheckpointMenu:
    """Dropdown, card, download and stop; `value` is the component that holds the chosen row's name."""

    def __init__(self, paper: str, page: Shell) -> None:
        self.paper = paper
        self.names = [row.name for row in checkpoints.rows(paper)]
        self.remembered = shell.browser_state(f"checkpoint_{paper}", "")
        start = checkpoints.default(paper)
        self.value = gr.Dropdown(
            [(label(row), row.name) for row in checkpoints.rows(paper)],
            value=start,
            label=tr("Checkpoint", "检查点"),
            elem_id="checkpoint",
            filterable=False,
        )
        with gr.Row():
            self.button = gr.Button(
                tr("Download", "下载"), visible=needs_download(start), size="sm", elem_id="download"
            )
            self.stop = gr.Button(tr("Stop", "停止"), visible=False, size="sm", elem_id="stop-download")
        self.progress = gr.HTML("", padding=False)
        with gr.Accordion(tr("About this checkpoint", "关于这个检查点"), open=False):
            self.card = gr.HTML(card(start), padding=False)

        page.on(
            self.value.change,
            self.chosen,
            [self.value],
            [self.card, self.button, self.progress, self.remembered],
            show_progress="hidden",
        )
        running = page.on(
            self.button.click,
            download,
            [self.value],
            [self.progress, self.card, self.button, self.stop],
            show_progress="hidden",
            concurrency_limit=2,
            concurrency_id="download",
        )
        self.downloaded = running
        self.stop.click(
            lambda name: ("", gr.update(visible=needs_download(name)), gr.update(visible=False)),
            [self.value],
            [self.progress, self.button, self.stop],
            cancels=[running],
            api_visibility="private",
            show_progress="hidden",
        )

    def chosen(self, name: str, lang: str) -> tuple[Any, ...]:
        """The card of a newly chosen row; sizes and licence are seen before anything is downloaded."""
        row = checkpoints.row(name)
        note = ""
        if needs_download(name):
            size, licence = checkpoints.human(row.size_bytes), row.licence
            note = (
                '<p class="atlas-hint">'
                + html.escape(
                    pick(
                        lang,
                        f"{size} to download once, licence: {licence}.",
                        f"需要下载一次，{size}，许可证：{licence}。",
                    )
                )
                + "</p>"
            )
        return card(name), gr.update(visible=needs_download(name)), note, name

    def on_open(self, remembered: str | None, asked: str | None) -> str:
        """The row a page opens on: the link's, else the remembered one when it is here, else the default."""
        if asked in self.names:
            return str(asked)
        if "CLIP_ATLAS_DEFAULT" not in os.environ and remembered in self.names:
            return str(remembered) if not needs_download(str(remembered)) else checkpoints.default(self.paper)
        return checkpoints.default(self.paper)
