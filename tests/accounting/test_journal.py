from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import journal
from accounting.journal import Journal, Segment


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def drain(segment: Segment, max_lines: int = 500) -> list[bytes]:
    drained: list[bytes] = []
    while lines := segment.read(max_lines):
        segment.advance(lines)
        drained += lines
    return drained


def test_lines_come_back_in_order_and_once(directory: Path):
    segments = Journal(directory, fsync=False)
    lines = [f"line {number}".encode() for number in range(25)]
    for line in lines:
        segments.append(line + b"\n")
    assert drain(segments.current, max_lines=7) == lines
    assert segments.current.is_drained
    assert segments.current.lines == segments.current.drained_lines == 25


@pytest.mark.parametrize("size", [journal.BLOCK_BYTES - 1, journal.BLOCK_BYTES, 3 * journal.BLOCK_BYTES])
def test_a_line_may_be_longer_than_a_block(directory: Path, size: int):
    segments = Journal(directory, fsync=False)
    segments.append(b"x" * size + b"\n")
    segments.append(b"short\n")
    assert [len(line) for line in drain(segments.current)] == [size, 5]


def test_only_its_owner_reads_what_it_holds(directory: Path):
    segments = Journal(directory, fsync=False)
    segments.append(b"{}\n")
    assert os.stat(segments.current.path).st_mode & 0o077 == 0
    assert os.stat(directory).st_mode & 0o077 == 0


def test_a_live_segment_is_not_adopted_and_a_dead_one_once(directory: Path):
    dead, one, other = (Journal(directory, fsync=False) for _ in range(3))
    dead.append(b"left behind\n")
    assert one.adopt() == []
    dead.current.close()
    (adopted,) = one.adopt()
    assert drain(adopted) == [b"left behind"]
    assert other.adopt() == []
    adopted.retire()
    assert other.adopt() == []


def test_an_adopted_segment_that_is_not_finished_passes_to_the_next(directory: Path):
    dead, one, other = (Journal(directory, fsync=False) for _ in range(3))
    dead.append(b"left behind\n")
    dead.current.close()
    assert one.adopt()
    one.close()
    assert [segment.read(9) for segment in other.adopt()] == [[b"left behind"]]


def test_closing_unlinks_what_is_drained_and_leaves_the_rest(directory: Path):
    segments = Journal(directory, fsync=True)
    segments.append(b"written\n")
    drain(segments.current)
    segments.rotate()
    segments.append(b"waiting\n")
    segments.close()
    assert [path.read_bytes() for path in directory.iterdir()] == [b"waiting\n"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        segments.append(b"late\n")


class FailingTruncate:
    """A disk that neither takes the end of a line nor lets go of its beginning."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._write = os.write
        self._patch = monkeypatch

    def __enter__(self) -> None:
        def write(descriptor: int, data: bytes) -> int:
            if len(data) > 4:
                return self._write(descriptor, data[:4])
            raise OSError(28, "No space left on device")

        def ftruncate(descriptor: int, size: int) -> None:
            raise OSError(5, "Input/output error")

        self._patch.setattr(os, "write", write)
        self._patch.setattr(os, "ftruncate", ftruncate)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


def test_a_line_that_can_neither_be_finished_nor_taken_back_spoils_no_other(directory: Path, monkeypatch):
    segments = Journal(directory, fsync=False)
    segments.append(b"first\n")
    with FailingTruncate(monkeypatch), pytest.raises(OSError, match="No space"):
        segments.append(b"broken line\n")
    assert segments.current.read(9) == [b"first"]
    segments.append(b"second\n")
    assert drain(segments.current) == [b"first", b"broken l", b"second"]
    assert segments.current.lines == segments.current.drained_lines == 3


def test_the_latest_line_of_a_request_is_found_in_any_segment(directory: Path):
    one, other = (Journal(directory, fsync=False) for _ in range(2))
    one.append(b'{"id":"a","n":1}\n')
    one.append(b'{"id":"a","n":2}\n')
    other.append(b'{"id":"b","text":"{\\"id\\":\\"c\\","}\n')
    assert journal.find(directory, b'{"id":"a",') == b'{"id":"a","n":2}'
    assert journal.find(directory, b'{"id":"b",') == b'{"id":"b","text":"{\\"id\\":\\"c\\","}'
    assert journal.find(directory, b'{"id":"c",') is None


def test_a_line_that_is_still_being_written_is_not_found(directory: Path):
    directory.mkdir()
    (directory / "1-1.ndjson").write_bytes(b'{"id":"a","n":1')
    assert journal.find(directory, b'{"id":"a",') is None


def test_only_the_end_of_a_long_segment_is_searched(directory: Path, monkeypatch):
    monkeypatch.setattr(journal, "SCAN_BYTES", 100)
    segments = Journal(directory, fsync=False)
    segments.append(b'{"id":"old",}\n')
    segments.append(b"x" * 80 + b"\n")
    segments.append(b'{"id":"new",}\n')
    assert journal.find(directory, b'{"id":"new",') is not None
    assert journal.find(directory, b'{"id":"old",') is None


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=40), st.integers(1, 9))
def test_whatever_the_lines_are_they_come_back(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], batch: int):
    segments = Journal(tmp_path_factory.mktemp("journal"), fsync=False)
    for line in lines:
        segments.append(line + b"\n")
    assert drain(segments.current, max_lines=batch) == lines
    segments.close()
