"""The checkpoint menu of a page: what there is, what it weighs and may be used for, and how to get it."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import gradio as gr

from core import checkpoints, runtime
from core.checkpoints import Checkpoint, Progress, known
from core.errors import Refusal
from core.runtime import Cancel
from demos.kit import jobs, library
from demos.kit.components import visibility
from demos.kit.events import Shell, browser_state, refusal_html
from demos.kit.html import escape, tag
from demos.kit.language import Text, both, both_of, pick, tr

log = logging.getLogger(__name__)

# Downloads that the server runs at once; more of them wait.
DOWNLOADS = 2
# Of events that the button of an answer did not cause: its sentence stays.
BACKGROUND: dict[str, Any] = {"show_progress": "hidden", "clears": False}
STATES = {
    "bundled": Text("built in, works offline", "内置，可离线使用"),
    "cached": Text("downloaded", "已下载"),
    "absent": Text("not on this machine yet", "尚未下载"),
    "unpinned": Text("not on this machine yet, without a fixed revision", "尚未下载，且没有固定版本"),
}
LANGUAGES = {"en": Text("English", "英文"), "zh": Text("Chinese", "中文")}


def needs_download(name: str) -> bool:
    """Whether a row is not on this machine yet."""
    return checkpoints.state(name) in ("absent", "unpinned")


def fetchable(name: str) -> bool:
    """Whether a row is not here yet and can be downloaded; some can only be imported from a file of one's own."""
    return needs_download(name) and checkpoints.row(name).repo is not None


def offered(paper: str, language: str | None = None) -> list[Checkpoint]:
    """The rows of a paper; only those that read labels in a language where one is named."""
    return [row for row in checkpoints.rows(paper) if language is None or language in row.languages]


def start_row(paper: str, language: str | None = None) -> str:
    """The row a menu starts on: the paper's default one if it is offered, else the first with the same origin."""
    names = [row.name for row in offered(paper, language)]
    start = checkpoints.default(paper)
    if start in names:
        return start
    return next((row.name for row in offered(paper, language) if row.repo), [*names, start][0])


def label_language(paper: str, checkpoint: str | None, lang: str) -> str:
    """The page's language where a row of the paper reads it, else the first that it reads.

    Without a row it is the start row that reads; a paper without rows has the page's language.
    """
    if not checkpoint and not checkpoints.rows(paper):
        return lang
    languages = checkpoints.row(checkpoint or start_row(paper)).languages
    return lang if lang in languages else languages[0]


def choices(paper: str, lang: str, language: str | None = None) -> list[tuple[str, str]]:
    """The rows of a paper as the dropdown shows them: title, then "built in", "downloaded" or the size.

    Args:
        paper: whose rows.
        lang: of the dropdown, "en" or "zh".
        language: only rows that read labels in it; all where it is None.
    """
    found = []
    for row in offered(paper, language):
        state = checkpoints.state(row.name)
        shown = {"bundled": pick(lang, "built in", "内置"), "cached": pick(lang, "downloaded", "已下载")}
        elsewhere = (
            f"↓ {checkpoints.human(row.size_bytes)}" if row.repo else pick(lang, "to import", "需导入")
        )
        note = shown.get(state, elsewhere)
        found.append((f"{row.title[lang]} · {note}", row.name))
    return found


def card(name: str, checking: bool = False) -> str:
    """What a person should know of a row before choosing it: state, size, licence, languages, limits.

    Args:
        name: of the row.
        checking: whether its published answers are being checked.
    """
    row = checkpoints.row(name)
    state = STATES[checkpoints.state(name)]
    size = checkpoints.human(row.size_bytes)
    languages = ", ".join(both_of(LANGUAGES[code]) for code in row.languages)
    facts = [
        (both("State", "状态"), f"{both_of(state)}, {size}"),
        (both("Labels in", "标签语言"), languages),
        (both("Licence", "许可证"), f"{escape(row.licence)}. {both_of(Text(**row.licence_note))}"),
        (both("Knows", "擅长"), both_of(Text(**row.knows))),
        (both("Does not know", "不擅长"), both_of(Text(**row.lacks))),
        (both("Source", "来源"), _source(row)),
        (both("Published answers", "已公布的答案"), both_of(verdict(name, checking))),
        (both("Cite", "引用"), escape(row.citation)),
    ]
    rows = "".join(f"<dt>{term}</dt><dd>{fact}</dd>" for term, fact in facts)
    return f'<dl class="atlas-facts">{rows}</dl>'


def verdict(name: str, checking: bool = False) -> Text:
    """Whether a row answers as its authors, or others, published; why that is not known; in both languages, escaped."""
    answers = known.answers(name)
    if not answers:
        reason = known.unknown(checkpoints.row(name))
        return Text(escape(f"none: {reason['en']}"), escape(f"无：{reason['zh']}"))
    source = escape(answers[0].source)
    if checking:
        return Text(f"being checked … ({source})", f"正在核对……（{source}）")
    last = known.remembered(name)
    if last is None:
        when = (
            Text("to be checked after the download", "下载后核对")
            if needs_download(name)
            else Text("not checked yet", "尚未核对")
        )
        return Text(f"{when.en} ({source})", f"{when.zh}（{source}）")
    source = escape(last.source)
    if last.verdict == "as published":
        return Text(f"answers as published ({source})", f"回答与公布的一致（{source}）")
    if last.difference is None:
        return Text(f"does not answer as published ({source})", f"回答与公布的不一致（{source}）")
    apart, allowed = f"{last.difference:.2g}", f"{last.tolerance:.2g}"
    return Text(
        f"answers differ from what is published by {apart} where {allowed} is allowed ({source})",
        f"回答与公布的相差 {apart}，允许 {allowed}（{source}）",
    )


def _source(row: Checkpoint) -> str:
    if row.original and not row.repo:
        return escape(row.original.source)
    if not row.repo:
        return f"<code>{escape(row.bundled or '')}</code>"
    address = escape(f"https://huggingface.co/{row.repo}/tree/{row.revision}")
    return (
        f'<a href="{address}" target="_blank" rel="noopener">{escape(row.repo)}</a> '
        f"<code>@ {escape((row.revision or '')[:12])}</code>"
    )


def lean(paper: str, language: str | None = None) -> str:
    """The row that a phone or a slow line should take; the style sheet shows it only there. "" where a paper has none."""
    row = next((row for row in offered(paper, language) if row.options.get("lean")), None)
    if row is None:
        return ""
    size = checkpoints.human(row.size_bytes)
    sentences = (library.kit("lean", lang, title=row.title[lang], size=size) for lang in ("en", "zh"))
    return tag("p", both(*map(escape, sentences)), class_="atlas-hint atlas-lean")


def cost(name: str, lang: str) -> str:
    """What a download would bring and under which licence, or how to import; nothing for a row that is here."""
    if not needs_download(name):
        return ""
    row = checkpoints.row(name)
    if row.original and not row.repo:
        sentence = Refusal("not_imported", checkpoint=name, source=row.original.source).text(lang)
    else:
        size = checkpoints.human(row.size_bytes)
        sentence = library.kit("not_here", lang, size=size, licence=row.licence)
    return tag("p", sentence, class_="atlas-hint")


def bar(progress: Progress | None, lang: str) -> str:
    """A download's progress as an accessible bar with bytes, speed and the time that is left."""
    if progress is None or not progress.total:
        share, text = 0.0, pick(lang, "Asking the Hub …", "正在连接 Hub……")
    else:
        share = progress.done / progress.total
        parts = [
            f"{share:.0%}",
            f"{checkpoints.human(progress.done)} / {checkpoints.human(progress.total)}",
        ]
        if progress.rate:
            parts.append(f"{checkpoints.human(progress.rate)}/s")
        if progress.eta:
            minutes, seconds = divmod(round(progress.eta), 60)
            parts.append(pick(lang, f"{minutes}:{seconds:02d} left", f"剩余 {minutes}:{seconds:02d}"))
        text = " · ".join(parts)
    return jobs.progress(share, text, pick(lang, "Download", "下载"))


def download(name: str, cancel: Cancel) -> Generator[Progress | None, None, None]:
    """Fetches a row and yields how far it is, about ten times a second; first None, while the Hub is asked.

    Setting `cancel` stops the download, and so does closing the generator, as a closed tab does; what has arrived is
    kept.

    Raises:
        Refusal: "cancelled", or what the Hub, the network or the disk refused.
    """
    yield None
    yield from checkpoints.steps(name, cancel=cancel)


class CheckpointMenu:
    """Dropdown, card, download and stop; `value` is the component that holds the chosen row's name.

    The choice is remembered in the browser; a link with `?checkpoint=NAME` wins over it. `downloaded` is the event
    after a download, for `.then`.
    """

    def __init__(
        self,
        paper: str,
        page: Shell,
        *,
        language: str | None = None,
        remember: str | None = None,
        opens: bool = True,
    ) -> None:
        """Lays the menu out.

        Args:
            paper: whose rows are offered.
            page: the page that it is on.
            language: only rows that read labels in it.
            remember: the name under which the browser keeps the choice, where it is not the paper's.
            opens: whether the menu sets itself when the page opens; otherwise the page calls `opened` with the value of
                `remembered` and gives the result to `outputs`.
        """
        self.paper, self.language, self.page = paper, language, page
        self.names = [row.name for row in offered(paper, language)]
        self.remembered = browser_state(f"checkpoint_{remember or paper}", "")
        start = start_row(paper, language)
        with gr.Column(elem_classes="atlas-checkpoint"):
            self.value = gr.Dropdown(
                choices(paper, "en", language),
                value=start,
                label=tr("Checkpoint", "权重"),
                elem_id="checkpoint",
                filterable=False,
            )
            with gr.Row(elem_classes="atlas-download-row"):
                self.button = gr.Button(
                    tr("Download", "下载"),
                    variant="primary",
                    size="sm",
                    visible=visibility(fetchable(start)),
                    elem_id="download-checkpoint",
                )
                self.stop = gr.Button(
                    tr("Stop", "停止"), variant="stop", size="sm", visible="hidden", elem_id="stop-download"
                )
            self.note = gr.HTML("", padding=False, elem_id="download-note")
            if hint := lean(paper, language):
                gr.HTML(hint, padding=False, elem_id="lean-checkpoint")
            with gr.Accordion(
                tr("About this checkpoint", "关于这组权重"), open=False, elem_id="about-checkpoint"
            ):
                self.card = gr.HTML(card(start), padding=False, elem_id="checkpoint-card")

        state = [self.note, self.card, self.button, self.stop]
        self.outputs = [self.value, *state]
        if opens:
            page.on_load(self.opened, self.outputs, [self.remembered])
        page.on(self.value.change, self._shown, [self.value], state, **BACKGROUND)
        page.on(self.value.input, lambda name, lang: (name,), [self.value], [self.remembered], **BACKGROUND)
        self.downloaded = page.on(
            self.button.click,
            self._download,
            [self.value],
            [self.value, *state],
            session=True,
            concurrency_limit=DOWNLOADS,
            concurrency_id="download",
            **BACKGROUND,
        )
        self._checked(self.downloaded)
        # Gradio's own `cancels` would let a last bar arrive after the answer to Stop: here one handler writes both.
        page.on(self.stop.click, self._stop, [], [self.stop], session=True, queue=False, **BACKGROUND)

    def fetch(self, event: Any) -> Any:
        """Downloads the chosen row behind an event; one that is here already takes no time. Returns the event after it."""
        fetched = self.page.on(
            None, self._download, [self.value], self.outputs, session=True, behind=event, clears=False
        )
        self._checked(fetched)
        return fetched

    def _checked(self, event: Any) -> None:
        """Compares the row with its published answers behind an event, while the page goes on."""
        self.page.on(
            None,
            self._check,
            [self.value],
            [self.card],
            behind=event,
            concurrency_limit=1,
            concurrency_id="known",
            **BACKGROUND,
        )

    def _check(self, name: str, lang: str) -> Generator[tuple[Any, ...], None, None]:
        """The card while the first published answer of a row that is here is checked, and after it."""
        done = needs_download(name) or not known.answers(name) or known.remembered(name) is not None
        if done or runtime.zero_gpu():
            yield (gr.skip(),)
            return
        yield (card(name, checking=True),)
        try:
            known.check(name, download=False, first=True)
        except Exception:
            # The visitor asked for a download, not for this: it is logged and the page goes on.
            log.exception("the published answers of %s could not be checked", name)
        yield (card(name),)

    def _shown(self, name: str, lang: str) -> tuple[Any, ...]:
        """Note, card and buttons of a chosen row."""
        return (
            cost(name, lang),
            card(name),
            gr.update(visible=visibility(fetchable(name))),
            gr.update(visible="hidden"),
        )

    def opened(self, remembered: str | None, lang: str, query: dict[str, str]) -> tuple[Any, ...]:
        """The row that a page opens on: the link's, else the remembered one if it is here, else the default."""
        name = query.get("checkpoint") or remembered or ""
        if name not in self.names or (name == remembered and needs_download(name)):
            name = start_row(self.paper, self.language)
        return gr.update(choices=choices(self.paper, lang, self.language), value=name), *self._shown(
            name, lang
        )

    def _stop(self, session: str, lang: str) -> tuple[Any, ...]:
        """Asks the session's download to stop; its own handler shows that it has."""
        jobs.STOPS.stop(session, "download")
        return (gr.update(interactive=False),)

    def _download(self, session: str, name: str, lang: str) -> Generator[tuple[Any, ...], None, None]:
        """The progress bar while a row is fetched, then its new state."""
        same = gr.skip()
        with jobs.STOPS.job(session, "download") as cancel:
            try:
                for progress in download(name, cancel):
                    shown = gr.update(visible=True, interactive=not cancel.is_set())
                    yield same, bar(progress, lang), same, gr.update(visible="hidden"), shown
            except Refusal as refusal:
                note, *rest = self._shown(name, lang)
                yield same, note if refusal.code == "cancelled" else refusal_html(refusal, lang), *rest
                return
        yield gr.update(choices=choices(self.paper, lang, self.language)), *self._shown(name, lang)
