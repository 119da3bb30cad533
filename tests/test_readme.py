"""The README and the docs say what is true: commands run, lists are complete, links lead somewhere."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from resnetkit import runtime
from resnetkit.cli import cli, main
from resnetkit.cli.demo import write_digits
from resnetkit.training.recipe import settable

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
VERBS = cli.list_commands(click.Context(cli))
DOCS = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"(?:<!-- (?P<note>.*?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, unless the comment before it says `not run: REASON`."""

    language: str
    text: str


def blocks_to_run() -> Iterator[Block]:
    for found in BLOCK.finditer(README.read_text(encoding="utf-8")):
        note = found["note"] or ""
        if found["language"] in ("console", "python") and not note.startswith("not run: "):
            yield Block(found["language"], found["text"])


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Yield each command with the lines it is shown to print; `...` stands for lines left out."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, *shown = part.splitlines()
        yield command, [line for line in shown if line.strip() not in ("", "...")]


def without_figures(line: str) -> str:
    """Return what a line says apart from its figures, which differ from one computer to the next.

    So does the class that comes second with less than one in a hundred.
    """
    line = re.sub(r"\b\w+ 0\.\d %$", "ANY 0 %", line)
    line = re.sub(r"(\d+ h )?(\d+ min )?\d+ s\b", "TIME", line)
    line = re.sub(r"\d[\d.,]*(e[+-]?\d+)?", "#", line)
    return " ".join(line.replace("alarms", "alarm").split())


def run_command(command: str, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = shlex.split(command)
    assert program == "resnetkit", f"the test runs resnetkit only: {command}"
    with pytest.raises(SystemExit) as left:
        main(arguments)
    said = capsys.readouterr()
    assert left.value.code == 0, f"{command}\n{said.err}"
    printed = {without_figures(line) for line in (said.out + said.err).splitlines()}
    missing = [line for line in shown if without_figures(line) not in printed]
    assert missing == [], f"{command} prints\n{said.err}{said.out}"


def test_the_readme_s_blocks_run_in_order_and_print_what_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # So small a network is fastest on one thread, and a busy computer does not slow it down a hundred times.
    monkeypatch.setattr(runtime, "available_threads", lambda: 1)
    write_digits(Path("demo/digits"))  # what `make demo` left there
    names: dict[str, object] = {}
    languages = set()
    for block in blocks_to_run():
        languages.add(block.language)
        if block.language == "python":
            exec(compile(block.text, "README.md", "exec"), names)
            capsys.readouterr()
            continue
        for command, shown in commands_of(block):
            run_command(command, shown, capsys)
    assert languages == {"console", "python"}


def test_the_architecture_has_one_line_for_every_file() -> None:
    source = ROOT / "src" / "resnetkit"
    section = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Every file")[1].split("```")[1]
    listed = [line.split()[0] for line in section.splitlines()[1:] if line]
    there = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sorted(listed) == sorted(path.relative_to(source).as_posix() for path in there)
    assert all(len(line.split()) > 1 for line in section.splitlines()[1:] if line)


def test_the_readme_is_short() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200
    assert [line for line in lines if len(line) > 100] == []


def test_the_readme_names_every_command() -> None:
    table = README.read_text(encoding="utf-8").split("## The commands")[1]
    assert re.findall(r"^\| `resnetkit (\w+)", table, re.MULTILINE) == VERBS


def test_every_dependency_has_a_line_that_says_why() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    packages = {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in wanted} - {"resnetkit"}
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^- `([\w.-]+)`", text, re.MULTILINE)) == packages


def test_the_constraints_name_every_dependency_and_no_place() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line) for line in pinned)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = {re.split(r"[\[<>=]", each)[0] for each in project["dependencies"]}
    assert direct <= {line.split("==")[0] for line in pinned}


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.name)
def test_commands_options_and_settings_that_are_written_down_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    surface = (ROOT / "tests" / "cli" / "surface.txt").read_text(encoding="utf-8")
    option = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
    of_other_programs = {"--index-url", "--seeds"}  # the second is of examples/
    of_torchrun = {"--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--max-restarts"}
    assert set(option.findall(text)) <= {*option.findall(surface), *of_other_programs, *of_torchrun}
    assert set(re.findall(r"(?:`|\$ |/|^ +)resnetkit ([a-z]+)", text, re.MULTILINE)) <= set(VERBS)
    assert set(re.findall(r"--set ([a-z_.]+)=", text)) <= set(settable())


def test_docs_are_listed_in_their_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in DOCS if page.name != "README.md" and f"({page.name})" not in index] == []
