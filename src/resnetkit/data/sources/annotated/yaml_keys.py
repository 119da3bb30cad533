"""The few keys of a YAML file that describe a set: texts, lists and maps of texts, and nothing else of YAML."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from resnetkit.data.sources.annotated.faults import Wrong, shown

Value = str | list[str] | dict[str, str]

_KEY = re.compile(r"""(?P<quote>["']?)(?P<key>[^\s"':#\[\]{}]+)(?P=quote)\s*:(?:\s+(?P<rest>.*)|$)""")
_WRITE = "write it as a list of names, one a line with - before it"
_ESCAPES = {"n": "\n", "t": "\t", "0": "\0", "r": "\r"}

_Line = tuple[int, str]  # its number and its text


def keys_of(text: str, wanted: Collection[str]) -> dict[str, Value]:
    """Return the values of the `wanted` keys at the top of a YAML file; raises `Wrong` for what is not understood.

    >>> keys_of("path: a  # here\\nnames: [cat, 'big dog']\\ntest:\\n  - b\\n  - c", ("path", "names", "test"))
    {'path': 'a', 'names': ['cat', 'big dog'], 'test': ['b', 'c']}
    """
    found: dict[str, Value] = {}
    for key, lines in _chunks(text):
        if key in found:
            raise Wrong(f"line {lines[0][0]} has {key} again", "write it once")
        if key in wanted:
            found[key] = _value(key, lines)
    return found


def _chunks(text: str) -> Iterator[tuple[str, list[_Line]]]:
    """Yield each key with what stands behind it, up to the next one."""
    key, lines = "", list[_Line]()
    for number, line in enumerate(text.splitlines(), 1):
        begins = _KEY.match(line) if not line[:1].isspace() else None
        if begins and not _open(lines):
            if key:
                yield key, lines
            key, lines = begins["key"], [(number, begins["rest"] or "")]
        elif key and line.rstrip() not in ("---", "..."):
            lines.append((number, line))
    if key:
        yield key, lines


def _open(lines: list[_Line]) -> bool:
    """Tell whether a bracket is open at the end of lines."""
    text = " ".join(_bare(line) for _, line in lines).strip()
    return text[:1] in ("[", "{") and text[-1:] not in ("]", "}")


def _value(key: str, lines: list[_Line]) -> Value:
    number, first = lines[0]
    rest = [(at, _bare(line)) for at, line in lines[1:]]
    rest = [(at, line) for at, line in rest if line.strip()]
    first = _bare(first).strip()
    if first[:1] in ("[", "{"):
        return _flow(" ".join([first, *(line.strip() for _, line in rest)]), number)
    if first and not rest:
        return _scalar(first, number)
    if first:
        raise Wrong(f"line {rest[0][0]} goes on with {key}, which is not understood", _WRITE)
    return _block(key, rest)


def _block(key: str, lines: list[_Line]) -> Value:
    """Read lines `- name`, or `0: name`."""
    if not lines:
        return ""
    if all(line.lstrip().startswith(("- ", "-\t")) or line.strip() == "-" for _, line in lines):
        return [_scalar(line.strip()[1:].strip(), at) for at, line in lines]
    found: dict[str, str] = {}
    for at, line in lines:
        name, colon, value = line.partition(":")
        if not colon or not line[:1].isspace() or line.startswith("\t"):
            raise Wrong(f"line {at} of {key}, {shown(line.strip())}, is not understood", _WRITE)
        name = _scalar(name.strip(), at)
        if name in found:
            raise Wrong(f"line {at} has {key} {name} again", "write it once")
        found[name] = _scalar(value.strip(), at)
    return found


def _scalar(text: str, number: int) -> str:
    """Return a text without its quotes; raises `Wrong` for other things that YAML has."""
    if text[:1] in ('"', "'"):
        value, after = _quoted(text, number)
        if after:
            raise Wrong(f"line {number}: {shown(after)} follows a text in quotes", _WRITE)
        return value
    if text[:1] in ("&", "*", "!", "|", ">", "%", "@", "`", "[", "{"):
        raise Wrong(f"line {number}: {shown(text)} is not understood", _WRITE)
    return "" if text in ("~", "null") else text


def _quoted(text: str, number: int) -> tuple[str, str]:
    """Return a text that begins in quotes, and what stands behind it."""
    quote, letters, at = text[0], [], 1
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 1
            letters.append(_ESCAPES.get(text[at : at + 1], text[at : at + 1]))
        elif text[at] == quote:
            if quote == '"' or text[at + 1 : at + 2] != quote:
                return "".join(letters), text[at + 1 :].strip()
            letters.append(quote)
            at += 1
        else:
            letters.append(text[at])
        at += 1
    raise Wrong(f"line {number}: a quote is not closed", "close it")


def _flow(text: str, number: int) -> Value:
    """Read `[a, b]` or `{0: a, 1: b}`."""
    closing = "]" if text[0] == "[" else "}"
    parts, names, rest = list[str](), dict[str, str](), text[1:].strip()
    while not rest.startswith(closing):
        name, rest = _piece(rest, number, ends=",:]}" if closing == "}" else ",]}")
        if closing == "}":
            if not rest.startswith(":"):
                raise Wrong(f"line {number}: {shown(name)} has no ':' and no value behind it", _WRITE)
            if name in names:
                raise Wrong(f"line {number} has {name} again", "write it once")
            names[name], rest = _piece(rest[1:].strip(), number, ends=",]}")
        else:
            parts.append(name)
        if rest.startswith(","):
            rest = rest[1:].strip()
        elif not rest.startswith(closing):
            raise Wrong(f"line {number}: the bracket {text[0]} is not closed", f"close it with {closing}")
    if rest[1:].strip():
        raise Wrong(f"line {number}: {shown(rest[1:].strip())} follows the closing bracket", _WRITE)
    return names if closing == "}" else parts


def _piece(text: str, number: int, *, ends: str) -> tuple[str, str]:
    """Return the first text of a list, and the rest."""
    if text[:1] in ('"', "'"):
        return _quoted(text, number)
    at = next((place for place, letter in enumerate(text) if letter in ends), len(text))
    return _scalar(text[:at].strip(), number), text[at:].strip()


def _bare(line: str) -> str:
    """Return a line without its comment: a # at its start or behind a space, but not within quotes."""
    quote = ""
    for place, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and (not place or line[place - 1] in " ,[{:-"):
            quote = letter
        elif letter == "#" and (not place or line[place - 1].isspace()):
            return line[:place].rstrip()
    return line.rstrip()
