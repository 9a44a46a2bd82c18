"""Checkpoints on the command line: `python -m core.checkpoints list | fetch | check | import | verify | pin | table`."""

from __future__ import annotations

import argparse
import json
import sys
import unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from core import checkpoints, documents, terminal
from core.checkpoints import Checkpoint, Progress, human, integrity, registry
from core.errors import Refusal
from core.errors import terminal_language as language

if TYPE_CHECKING:
    from core.checkpoints.known import Verdict

BAR = 24  # characters
# What `verify` says of a file, in English and Chinese.
VERDICTS = {
    True: ("right", "正确"),
    False: ("WRONG", "不符"),
    None: ("no digest to compare with", "没有可比对的摘要"),
}


def both(en: str, zh: str) -> str:
    """One of two wordings, by the locale."""
    return zh if language() == "zh" else en


def columns(text: str) -> int:
    """Terminal columns that a text takes: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def show(table: list[tuple[str, ...]]) -> None:
    """Prints rows in aligned columns."""
    widths = [max(columns(cell) for cell in column) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def list_rows(arguments: argparse.Namespace) -> int:
    """Every row: state, size, licence, languages, title."""
    rows = [(row, checkpoints.state(row.name)) for row in checkpoints.rows()]
    if arguments.json:
        listing = [{**asdict(row), "state": state, "pinned": row.pinned} for row, state in rows]
        print(json.dumps(listing, ensure_ascii=False, indent=2))
        return 0
    table: list[tuple[str, ...]] = [
        tuple(both("name state size licence languages title", "名称 状态 大小 许可证 语言 标题").split())
    ]
    for row, state in rows:
        words = ", ".join(row.languages)
        table.append((row.name, state, human(row.size_bytes), row.licence, words, row.title[language()]))
    show(table)
    return 0


def bar(progress: Progress) -> None:
    """One line on standard error, written over itself."""
    share = progress.done / progress.total
    filled = round(share * BAR)
    eta = (
        "" if progress.eta is None else both(f", {progress.eta:.0f} s left", f"，还需 {progress.eta:.0f} 秒")
    )
    counts = f"{human(progress.done)} / {human(progress.total)}  {human(progress.rate)}/s{eta}"
    line = f"[{'#' * filled}{'.' * (BAR - filled)}] {share:4.0%}  {counts}"
    print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)


def fetch(arguments: argparse.Namespace) -> int:
    """Downloads what is missing of a row and prints where its files are."""
    drawn = False

    def draw(progress: Progress) -> None:
        nonlocal drawn
        drawn = True
        bar(progress)

    row = checkpoints.row(arguments.name)
    if row.repo:
        source = f"{row.repo} @ {(row.revision or '')[:7]}"
        licence = both(f"licence: {row.licence}", f"许可证：{row.licence}")
        print(f"{row.title[language()]}  {source}  {human(row.size_bytes)}  {licence}", file=sys.stderr)
    try:
        paths = checkpoints.open(row.name, progress=draw)
    finally:
        if drawn:
            print(file=sys.stderr)
    for path in paths.values():
        print(path)
    return 0


def bring(arguments: argparse.Namespace) -> int:
    """Makes an original file the weights of a row and prints where its files are."""
    from core.checkpoints import originals

    row = checkpoints.row(arguments.name)
    print(f"{row.title[language()]}  {both('licence', '许可证')}: {row.licence}", file=sys.stderr)
    for path in originals.bring(row, Path(arguments.path).expanduser()).values():
        print(path)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Reads every file that is here again and compares digests."""
    rows = [checkpoints.row(arguments.name)] if arguments.name else checkpoints.rows()
    good = True
    table: list[tuple[str, ...]] = []
    for row in rows:
        for file, right in checked(row).items():
            good &= right is not False
            table.append((row.name, file, VERDICTS[right][language() == "zh"]))
    if not table:
        table = [(both("No checkpoint is on this machine.", "本机没有权重。"),)]
    show(table)
    return 0 if good else 1


def checked(row: Checkpoint) -> dict[str, bool | None]:
    """File name -> whether it is right, for the files that are here; None where no digest is known."""
    if not row.bundled:
        from core.checkpoints import hub, originals

        imported = originals.verify(row) if row.original else {}
        return imported | (hub.verify(row) if row.repo else {})
    here = {file.path: row.folder / file.path for file in row.files}
    return {
        file.path: file.sha256 is None or integrity.digest(here[file.path], file.sha256) == file.sha256
        for file in row.files
        if here[file.path].is_file()
    }


def check(arguments: argparse.Namespace) -> int:
    """Compares what rows say with what is published of their weights; 1 where one differs."""
    from core.checkpoints import known

    rows = [checkpoints.row(name) for name in arguments.name] or checkpoints.rows()
    if arguments.cached:
        rows = [row for row in rows if checkpoints.state(row.name) in ("bundled", "cached")]
    elif not arguments.name and not arguments.all:
        raise Refusal("no_row_to_check")
    verdicts: list[known.Verdict] = []
    for row in rows:
        made = known.check(row.name, progress=bar, download=not arguments.cached)
        verdicts += made
        if not arguments.json:
            for verdict in made:
                print("  ".join(format_cells(verdict)), flush=True)
    if arguments.json:
        print(json.dumps([one.to_json() for one in verdicts], ensure_ascii=False, indent=2))
    return 1 if any(one.verdict == "differs" for one in verdicts) else 0


def format_cells(verdict: Verdict) -> list[str]:
    """A verdict in cells: row, verdict, value, published, difference, seconds, device, source or reason."""
    from core.checkpoints import known

    cells = [verdict.row, known.TITLES[verdict.verdict][language()]]
    if verdict.value is not None:
        apart = "-" if verdict.difference is None else f"{verdict.difference:.2g}"
        apart += "" if verdict.pixels is None else f", {verdict.pixels:.1f} px"
        cells += [
            f"{known.shorten(verdict.value, verdict.published)}  {both('published', '公布')} {known.shorten(verdict.published)}",
            f"{both('difference', '差')} {apart}",
        ]
    if verdict.device:
        cells += [f"{verdict.seconds:.1f} s", verdict.device]
    return [*cells, verdict.reason.get(language()) or verdict.source]


def pin(arguments: argparse.Namespace) -> int:
    """Writes digests, sizes and revisions into the registry, from the disk and from the Hub."""
    from core.checkpoints import pins

    rows = [checkpoints.row(name) for name in arguments.name] or checkpoints.rows()
    # An imported row has the digests of its import alone.
    rows = [row for row in rows if row.repo or row.bundled]
    path = registry.path()
    text = path.read_text(encoding="utf-8")
    unreachable: Refusal | None = None
    good = True
    for row in rows:
        try:
            if row.repo and unreachable:
                continue
            files, revision = pins.of(row)
        except Refusal as refusal:
            if refusal.code not in ("hub_unreachable", "hub_offline") or arguments.name:
                print(f"{row.name}: {refusal.text(language())}", file=sys.stderr)
                good = False
            else:
                unreachable = refusal
            continue
        text = registry.edited(text, row.name, files, revision, pins.requirements(row))
        print(f"{row.name}: {', '.join(files)}")
    path.write_text(text, encoding="utf-8")
    if unreachable:
        kept = both("Hub rows stay as they are.", "Hub 的行保持不变。")
        print(f"{unreachable.text(language())} {kept}", file=sys.stderr)
    return 0 if good else 1


def described(which: str, lang: str) -> str:
    """The rows of a paper, the "bundled" ones or "all", as a table in Markdown."""
    head = {
        "en": ("row", "checkpoint", "size", "licence", "languages"),
        "zh": ("名称", "权重", "大小", "许可证", "语言"),
    }[lang]
    return documents.table(
        head,
        (
            (f"`{row.name}`", row.title[lang], human(row.size_bytes), row.licence, ", ".join(row.languages))
            for row in checkpoints.rows()
            if which in ("all", row.paper) or (which == "bundled" and row.bundled)
        ),
    )


def known_table(which: str, lang: str) -> str:
    """The known answers as a table in Markdown: what each kind "catches", or the "results" of the last check."""
    from core.checkpoints import known

    book = known.book()
    if which == "catches":
        head = {"en": "published answer", "zh": "已公布的答案"}[lang]
        return documents.table(
            (head, *(words[lang] for words in book.mistakes.values())),
            (
                (kind["title"][lang], *("✓" if name in kind["catches"] else "" for name in book.mistakes))
                for kind in book.kinds.values()
            ),
        )
    results = known.results()
    heads = {"en": ("row", "published by", "last check"), "zh": ("名称", "公布者", "最近一次核对")}[lang]
    return documents.table(
        heads,
        (
            (f"`{row.name}`", *_known_cells(row, results.get(row.name), lang))
            for row in checkpoints.rows()
            if not row.bundled
        ),
    )


def _known_cells(row: Checkpoint, result: Verdict | None, lang: str) -> tuple[str, str]:
    from core.checkpoints import known

    listed = known.answers(row.name)
    if not listed:
        return f"{known.TITLES['no known answer'][lang]}: {known.unknown(row)[lang]}", ""
    sources = "; ".join(dict.fromkeys(answer.source for answer in listed))
    if result is None:
        return sources, {"en": "not yet run", "zh": "尚未运行"}[lang]
    return sources, known.TITLES[result.verdict][lang]


def tables(arguments: argparse.Namespace) -> int:
    """Prints the rows as a table in Markdown, or puts it and the tables of known answers into the documents."""
    if arguments.write:
        documents.write("checkpoints", described)
        documents.write("known", known_table)
    else:
        print(described("all", language()))
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m core.checkpoints`."""
    main = argparse.ArgumentParser(prog="python -m core.checkpoints", description=__doc__)
    verbs = main.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("list", help="the registry and what of it is on this machine")
    verb.add_argument("--json", action="store_true", help="print every field as JSON")
    verb.set_defaults(run=list_rows)
    verb = verbs.add_parser("fetch", help="download a checkpoint, or finish an interrupted download")
    verb.add_argument("name")
    verb.set_defaults(run=fetch)
    verb = verbs.add_parser(
        "check", help="compare what checkpoints say with what is published of their weights"
    )
    verb.add_argument("name", nargs="*")
    which = verb.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every row; what is missing is downloaded")
    which.add_argument("--cached", action="store_true", help="only rows that are on this machine")
    verb.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    verb.set_defaults(run=check)
    verb = verbs.add_parser("import", help="make an original weight file, not from the Hub, a row's weights")
    verb.add_argument("name")
    verb.add_argument("path", help="the file as its authors published it")
    verb.set_defaults(run=bring)
    verb = verbs.add_parser("verify", help="check the files on this machine against their digests")
    verb.add_argument("name", nargs="?")
    verb.set_defaults(run=verify)
    verb = verbs.add_parser("pin", help="write digests, sizes and revisions into the registry")
    verb.add_argument("name", nargs="*")
    verb.set_defaults(run=pin)
    verb = verbs.add_parser("table", help="the rows as a table in Markdown")
    verb.add_argument("--write", action="store_true", help="put it into the documents")
    verb.set_defaults(run=tables)
    return main


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and returns the exit status."""

    def program() -> int:
        arguments = parser().parse_args(argv)
        return int(arguments.run(arguments))

    return terminal.run(program)


if __name__ == "__main__":
    sys.exit(main())
