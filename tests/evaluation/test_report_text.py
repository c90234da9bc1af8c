"""Markdown and LaTeX that show any name as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.evaluation.report import Cell, Column, Picture, Section, Table, build
from samepoint.evaluation.report_text import choose_format, escape_latex, escape_markdown, write_text
from samepoint.evaluation.result_file import read_result
from tests.evaluation.results import write

COMMANDS = {
    **{"\\textbackslash{}": "\\", "\\textasciitilde{}": "~", "\\textasciicircum{}": "^", "\\textless{}": "<"},
    **{"\\textgreater{}": ">", "\\textbar{}": "|", "\\char34{}": '"', "-{}": "-", "'{}": "'"},
    **{f"{{{character}}}": character for character in "[]*`"},
    **{f"\\{character}": character for character in "&%$#_{}"},
}


def printed(text: str) -> str:
    """What LaTeX prints; fails at anything that it would take for a command of another kind."""
    token = "|".join(map(re.escape, sorted(COMMANDS, key=len, reverse=True))) + r"|[^\\{}&%$#_~^<>|\"\[\]*`]"
    assert re.fullmatch(f"(?:{token})*", text), text
    return re.sub(token, lambda match: COMMANDS.get(match[0], match[0]), text)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
@example("a--b---c ''d'' \\{}[*")
@settings(max_examples=200)
def test_latex_prints_what_was_given(text: str) -> None:
    escaped = escape_latex(text)
    assert printed(escaped) == " ".join(text.split())
    assert not re.search("--|''|``|[?!]`", escaped)


@given(st.text(max_size=20))
@settings(max_examples=200)
def test_latex_is_plain_text_of_one_line_with_closed_braces(text: str) -> None:
    escaped = escape_latex(text)
    assert escaped.isascii()
    assert escaped.isprintable()
    bare = re.sub(r"\\[\\{}&%$#_]", "", escaped)
    assert bare.count("{") == bare.count("}")


def test_accents_and_what_latex_does_not_know() -> None:
    assert escape_latex("Åse Müller č ç") == '\\r{A}se M\\"{u}ller \\v{c} \\c{c}'
    assert escape_latex("模 \ud800\n☃") == "U+6A21 ? U+2603"


@given(st.text(max_size=20))
@settings(max_examples=200)
def test_markdown_stays_in_its_cell(text: str) -> None:
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*<>\[\]]", re.sub(r"\\[^\\]", "", escaped.replace("\\\\", "")))
    assert re.sub(r"\\(.)", r"\1", escaped) == " ".join(
        "".join(one if one.isprintable() or not one.isspace() else " " for one in clean(text)).split()
    )


def clean(text: str) -> str:
    controls = re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)
    return controls.encode("utf-8", "replace").decode()


TABLE = Table(
    "Table 1: a_b",
    ("50 % & more.",),
    (Column("model"), Column("J&F", True), Column("why", wide=True)),
    ((Cell("[x]"), Cell("71.2", True), Cell("-")), (Cell("y|z"), Cell("3.0"), Cell("*"))),
    ("Note.",),
)


def test_a_table_as_latex() -> None:
    text = write_text((Section("davis-2017", (TABLE,), ("End.",)),), "latex")
    body = text[text.index("\\subsection*") :]
    assert body == (
        "\\subsection*{davis-2017}\n\n"
        "\\subsubsection*{Table 1: a\\_b}\n"
        "\\noindent 50 \\% \\& more.\\par\n"
        "\\begin{center}\\scriptsize\\setlength{\\tabcolsep}{3pt}\n"
        "\\begin{tabular}{lrp{0.2\\linewidth}}\n"
        "\\hline\n"
        "model & J\\&F & why \\\\\n"
        "\\hline\n"
        "{[}x{]} & \\textbf{71.2} & - \\\\\n"
        "y\\textbar{}z & 3.0 & {*} \\\\\n"
        "\\hline\n"
        "\\end{tabular}\n"
        "\\end{center}\n"
        "\\noindent Note.\\par\n\n"
        "\\noindent End.\\par\n"
    )


def test_a_long_table_is_cut_into_pages() -> None:
    long = Table("t", (), (Column("item"),), tuple((Cell(str(index)),) for index in range(95)))
    text = write_text((Section("badja", (long,)),), "latex")
    assert text.count("\\begin{tabular}{l}") == text.count("\\end{tabular}") == 3
    assert re.findall(r"^(\d+) \\\\$", text, re.MULTILINE) == [str(index) for index in range(95)]


def test_every_row_has_as_many_cells_as_columns(tmp_path: Path) -> None:
    name = "a|b & c_d \\ {e}"
    result = read_result(write(tmp_path / "a.json", model={"name": name}, per_item={name: {"PCK@0.2": 1}}))
    sections = build([result], per_item=True)
    for block in re.findall(r"(?:^\|.*\n)+", write_text(sections, "markdown"), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row.replace("\\\\", ""))) for row in block.splitlines()}) == 1
    for block in re.findall(r"\\hline\n(.*?)\\end", write_text(sections, "latex"), re.DOTALL):
        rows = [row for row in block.splitlines() if row.endswith("\\\\")]
        assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1


def test_pictures_are_linked_from_where_the_report_lies(tmp_path: Path) -> None:
    inside = Picture(tmp_path / "pics of" / "best-1.png", "best 1, camel")
    outside = Picture(tmp_path.parent / "other.png", "worst 1")
    sections = (Section("badja", (), (), (inside, outside)),)
    text = write_text(sections, "markdown", tmp_path)
    assert "![best 1, camel](pics%20of/best-1.png)" in text
    assert f"![worst 1]({(tmp_path.parent / 'other.png').as_posix()})" in text
    assert "best 1, camel: \\texttt{pics of/best-1.png}\\par" in write_text(sections, "latex", tmp_path)


@pytest.mark.parametrize(
    ("name", "output", "message"),
    [
        ("html", None, "--format html: unknown; expected one of markdown, latex"),
        (None, Path("a.html"), r"a\.html: unknown suffix \.html; expected one of \.md, \.tex"),
        (None, Path("a"), r"a: unknown suffix \(none\)"),
        ("latex", Path("a.md"), r"a\.md: \.md is markdown, --format says latex"),
    ],
)
def test_formats_that_are_refused(name: str | None, output: Path | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_format(name, output)


def test_formats() -> None:
    assert [choose_format(None, None), choose_format("latex", None), choose_format("latex", Path("a.TEX"))] == [
        *("markdown", "latex", "latex")
    ]
