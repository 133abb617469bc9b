"""Reading YAML with line numbers, and saying what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.config.tree import places, plain
from gateway_sessions.config.yaml_file import MAX_FILE_BYTES, parsed, read_file, value_from_text
from gateway_sessions.errors import ConfigError


def read(text: str, **environ: str) -> Any:
    return plain(parsed(text, "f.yaml", environ))


def sentence(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(text, "f.yaml", {})
    return str(caught.value)


def test_each_value_knows_its_line() -> None:
    tree = parsed("a:\n  b: 1\n\n  c:\n    - x\n    - y\n", "f.yaml", {})
    assert dict(places(tree)) == {
        "a.b": "f.yaml, line 2",
        "a.c.0": "f.yaml, line 5",
        "a.c.1": "f.yaml, line 6",
    }


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n", "~\n"])
def test_an_empty_file_is_an_empty_configuration(text: str) -> None:
    assert read(text) == {}


def test_merge_keys_and_aliases_work_and_own_keys_win() -> None:
    text = "base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo: *b\nthree: {<<: *b}\nfour: *b\n"
    value = read(text)
    assert value["one"] == {"x": 1, "y": 3}
    assert value["two"] == value["three"] == value["four"] == {"x": 1, "y": 2}


def test_a_merged_mapping_that_is_used_twice_has_no_doubled_keys() -> None:
    text = "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: *b\nd: *b\n"
    assert read(text)["d"] == {"x": 2}


def test_an_unquoted_variable_has_its_yaml_type_and_a_quoted_one_is_text() -> None:
    assert read("a: ${P}\nb: '${P}'\nc: \"x${P}\"\n", P="80") == {"a": 80, "b": "80", "c": "x80"}


def test_a_variable_is_never_read_as_structure() -> None:
    assert read("a: ${P}\n", P="{b: [1, 2]}") == {"a": "{b: [1, 2]}"}


def test_an_empty_variable_is_null() -> None:
    assert read("a: ${P:-}\n") == {"a": None}


def test_what_only_looks_like_a_date_stays_text() -> None:
    assert read("a: 2024-99-99\n") == {"a": "2024-99-99"}


def test_keys_are_taken_as_written() -> None:
    assert read("on: 1\n8080: 2\n") == {"on": 1, "8080": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n\tb: 1\n", "line 2: YAML is indented with spaces; replace the tab."),
        ("a: b: c\n", "line 1: a value that contains `: ` needs quotes."),
        ("a: 1\nb c\nd: 2\n", "line 3: a colon is missing after the key."),
        ("a:\n    b: 1\n  c: 2\n", "line 3: the indentation does not fit the lines above."),
        ("a: 1\n---\nb: 2\n", "line 2: a configuration is one document; remove the `---`."),
        ("a: *b\n", "line 1: the name after * is defined nowhere above."),
        ("a: !b c\n", "line 1: tags (!…) are not used in a configuration."),
        ("{a: ${B}}\n", "line 1: between braces or brackets a ${VAR} needs quotes."),
        ("a: 1\nb: \x01\n", "line 2: the file contains a control character; remove it."),
        (
            "a: [1\n",
            "line 2: this is not valid YAML: expected ',' or ']', but got '<stream end>'.",
        ),
        (
            "a: 1\nb: 2\na: 3\n",
            "line 3: the key a is there twice, first in line 1; keep one of them.",
        ),
        ("? [a]\n: b\n", "line 1: a key is a plain word, not a list or a mapping."),
        ("a: &a [*a]\n", "line 1: the configuration is nested deeper than 50 levels."),
        (
            "- a\n",
            (
                "line 1: a configuration is a mapping of keys to values, such as"
                " `server: {port: 3000}`."
            ),
        ),
        (
            "\nwords\n",
            (
                "line 2: a configuration is a mapping of keys to values, such as"
                " `server: {port: 3000}`."
            ),
        ),
    ],
)
def test_mistakes_name_file_line_and_cure(text: str, expected: str) -> None:
    assert sentence(text) == f"f.yaml, {expected}"


def test_brackets_without_end_are_an_error_and_not_a_crash() -> None:
    assert sentence("a: " + "[" * 20_000) == "f.yaml is nested deeper than 50 levels."


def test_nested_aliases_can_not_eat_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert sentence("\n".join(lines)).endswith(": the configuration is too large.")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_file(tmp_path / "none.yaml", {})
    assert str(caught.value) == (
        f"{tmp_path}/none.yaml: the configuration file can not be read: no such file or directory."
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_file(tmp_path, {})
    assert str(caught.value) == (
        f"{tmp_path}: the configuration file can not be read: is a directory."
    )


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError) as caught:
        read_file(path, {})
    assert str(caught.value) == f"{path}, line 2: the file is not UTF-8; save it as UTF-8."


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert plain(read_file(path, {})) == {"a": 1}


def test_a_huge_file_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "f.log"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError) as caught:
        read_file(path, {})
    assert str(caught.value) == f"{path} is larger than 1 MiB; is it a configuration file?"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3001", 3001),
        ("true", True),
        ("null", None),
        ("", None),
        ("0.5", 0.5),
        ("text with: colon # and *", "text with: colon # and *"),
        ("*star", "*star"),
        ("[a, 1]", ["a", 1]),
        ("{a: {b: 2}}", {"a": {"b": 2}}),
        ('"3001"', "3001"),
        ("[broken", "[broken"),
        ("${HOME}", "${HOME}"),
    ],
)
def test_options_have_yaml_types(text: str, value: Any) -> None:
    assert plain(value_from_text(text, "option --set x")) == value


def test_options_keep_their_characters() -> None:
    assert value_from_text("0123", "option --set x").text == "0123"
