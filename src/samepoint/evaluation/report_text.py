"""A report as Markdown or LaTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from samepoint.errors import InputError
from samepoint.evaluation.report import Picture, Section, Table

LEAD = (
    "Scores are percentages unless a column says otherwise. Rows share a table only where scoring protocol, size, "
    "query mode, aggregation and scored items are the same; bold is the best of rows that can be compared."
)
_FORMATS = {".md": "markdown", ".tex": "latex"}
_PAGE = 40  # rows of a LaTeX table that fit a page


def choose_format(name: str | None, output: Path | None) -> str:
    """``markdown`` or ``latex``, by name or by the suffix of the file; Markdown where neither is given.

    Raises:
        InputError: an unknown name or suffix, or a name that is not the suffix's.

    >>> choose_format(None, Path("table.tex"))
    'latex'
    """
    if name is not None and name not in _FORMATS.values():
        raise InputError(f"--format {name}: unknown; expected one of {', '.join(_FORMATS.values())}")
    if output is None:
        return name or "markdown"
    suffix = output.suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(f"{output}: unknown suffix {suffix or '(none)'}; expected one of {', '.join(_FORMATS)}")
    if name is not None and name != _FORMATS[suffix]:
        raise InputError(f"{output}: {suffix} is {_FORMATS[suffix]}, --format says {name}")
    return _FORMATS[suffix]


def write_text(sections: Sequence[Section], form: str, folder: Path | None = None) -> str:
    """The whole report in ``markdown`` or ``latex``; links to pictures are relative to ``folder`` where they can be."""
    writer = _markdown if form == "markdown" else _latex
    return writer(sections, lambda picture: _relative(picture.path, folder))


def escape_markdown(text: str) -> str:
    """One line that Markdown shows as it is, within a table too.

    >>> escape_markdown("a|b *c* delta_avg _d_")
    'a\\\\|b \\\\*c\\\\* delta_avg \\\\_d\\\\_'
    """
    escaped = re.sub(r"([\\`*|<>\[\]~&#])", r"\\\1", _one_line(text))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)  # within a word an underscore is harmless


def escape_latex(text: str) -> str:
    """One line of ASCII that every LaTeX engine prints as the text, without a package.

    Accents become their commands; a character that LaTeX has no command for appears as ``U+`` and its number.

    >>> escape_latex("50% of car_S é")
    "50\\\\% of car\\\\_S \\\\'{e}"
    """
    escaped = "".join(map(_latex_character, unicodedata.normalize("NFC", _one_line(text))))
    return re.sub("([-'])(?=\\1)", r"\1{}", escaped)  # two would become a dash or a quotation mark


def _markdown(sections: Sequence[Section], link: Callable[[Picture], str]) -> str:
    lines = ["# Comparison", "", LEAD, ""]
    for section in sections:
        lines += [f"## {escape_markdown(section.title)}", ""]
        for table in section.tables:
            lines += [f"### {escape_markdown(table.title)}", ""]
            lines += [line for fact in table.facts for line in (escape_markdown(fact), "")]
            if table.rows:
                lines += [*_markdown_table(table), ""]
            lines += [line for note in table.notes for line in (escape_markdown(note), "")]
        lines += [line for note in section.notes for line in (escape_markdown(note), "")]
        if section.pictures:
            lines += ["### Best and worst items", ""]
        for picture in section.pictures:
            caption = escape_markdown(picture.caption)
            lines += [f"![{caption}]({quote(link(picture))})", "", caption, ""]
    return "\n".join(lines[:-1]) + "\n"


def _markdown_table(table: Table) -> list[str]:
    rows = [
        [f"**{escape_markdown(cell.text)}**" if cell.best else escape_markdown(cell.text) for cell in row]
        for row in table.rows
    ]
    head = [escape_markdown(column.name) for column in table.columns]
    rule = ["--:" if column.numeric else "---" for column in table.columns]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def _latex(sections: Sequence[Section], link: Callable[[Picture], str]) -> str:
    lines = ["% Made by samepoint report. \\input this file into a document; it needs no package.", ""]
    lines += [f"\\noindent {escape_latex(LEAD)}\\par", ""]
    for section in sections:
        lines += [f"\\subsection*{{{escape_latex(section.title)}}}", ""]
        for table in section.tables:
            lines += [f"\\subsubsection*{{{escape_latex(table.title)}}}"]
            lines += [f"\\noindent {escape_latex(fact)}\\par" for fact in table.facts]
            lines += [line for start in range(0, len(table.rows), _PAGE) for line in _latex_table(table, start)]
            lines += [f"\\noindent {escape_latex(note)}\\par" for note in table.notes]
            lines += [""]
        lines += [f"\\noindent {escape_latex(note)}\\par" for note in section.notes]
        if section.pictures:
            lines += ["\\subsubsection*{Best and worst items}"]
        lines += [
            f"\\noindent {escape_latex(picture.caption)}: \\texttt{{{escape_latex(link(picture))}}}\\par"
            for picture in section.pictures
        ]
        lines += [""]
    return "\n".join(lines[:-1]) + "\n"


def _latex_table(table: Table, start: int) -> list[str]:
    kinds = ["r" if column.numeric else "p{0.2\\linewidth}" if column.wide else "l" for column in table.columns]
    rows = [
        [f"\\textbf{{{escape_latex(cell.text)}}}" if cell.best else escape_latex(cell.text) for cell in row]
        for row in table.rows[start : start + _PAGE]
    ]
    head = [escape_latex(column.name) for column in table.columns]
    return [
        "\\begin{center}\\scriptsize\\setlength{\\tabcolsep}{3pt}",
        f"\\begin{{tabular}}{{{''.join(kinds)}}}",
        "\\hline",
        f"{' & '.join(head)} \\\\",
        "\\hline",
        *(f"{' & '.join(cells)} \\\\" for cells in rows),
        "\\hline",
        "\\end{tabular}",
        "\\end{center}",
    ]


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "\\char34{}",
    # After a row's end [ and * would be read as its options.
    **{character: f"{{{character}}}" for character in "[]*`"},
}
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0304": "=", "\u0307": "."},
    **{"\u0306": "u", "\u030c": "v", "\u030b": "H", "\u0327": "c", "\u030a": "r"},
}


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if " " <= character <= "~":
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[1] in _ACCENTS and parts[0].isascii() and parts[0].isalpha():
        return f"\\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return f"U+{ord(character):04X}"


def _one_line(text: str) -> str:
    """Without line ends and other control characters, and without what cannot be written as UTF-8."""
    plain = "".join(" " if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character for character in text)
    return " ".join(plain.encode("utf-8", "replace").decode().split())


def _relative(path: Path, folder: Path | None) -> str:
    try:
        return path.resolve().relative_to((folder or Path()).resolve()).as_posix()
    except ValueError:
        return path.resolve().as_posix()
