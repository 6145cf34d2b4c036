"""Read text and JSON files, and write files so that at every moment each is complete, or as it was before."""

import codecs
import json
import os
import re
from pathlib import Path


def read_text(file: str | Path) -> str:
    """The text of a file in UTF-8. Line ends stay as they are; a byte-order mark at the start is left out.

    Raises ValueError that names the first byte that is not UTF-8, the encoding that it looks like, and what to do;
    OSError when the file cannot be read.
    """
    return decode_text(Path(file).read_bytes(), str(file))


def decode_text(data: bytes, name: str) -> str:
    """Bytes in UTF-8 -> text, as `read_text`. name is what the error calls them."""
    problem = None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        problem, encoding = "it begins with the mark of UTF-16", "UTF-16"
    elif data[:4096].count(0) > len(data[:4096]) / 10:  # a text has no zeros; in UTF-16 every English letter has one
        little = data[1:4096:2].count(0) >= data[:4096:2].count(0)
        problem, encoding = f"byte 0x00 at offset {data.index(0)}", "UTF-16LE" if little else "UTF-16BE"
    else:
        try:
            return data.decode("utf-8-sig")  # without the mark, if there is one
        except UnicodeDecodeError as error:
            place = error.start + (len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0)
            problem, encoding = f"byte 0x{data[place]:02x} at offset {place}", _likely_encoding(data)
    raise ValueError(
        f"{name} is not UTF-8 text: {problem}. It looks like {encoding}; convert it, for example with "
        f"iconv -f {encoding} -t UTF-8"
    )


def _likely_encoding(data: bytes) -> str:
    """GB18030 where the bytes make common Chinese characters, else WINDOWS-1252, which fits any western text."""
    for cut in range(4):  # the last character may be cut in half
        try:
            text = data[: len(data) - cut].decode("gb18030")
        except UnicodeDecodeError:
            continue
        foreign = [character for character in text if ord(character) > 127]
        chinese = re.findall(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]", text)  # and punctuation
        if foreign and len(chinese) > 0.8 * len(foreign):
            return "GB18030"  # GBK and GB2312 are parts of it
    return "WINDOWS-1252"


def read_json(file: str | Path) -> dict:
    """The JSON object in a file. Raises ValueError when it holds anything else, OSError when it cannot be read."""
    try:
        fields = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON in UTF-8: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{file}: expected a JSON object, found {type(fields).__name__}")
    return fields


def write_whole(file: str | Path, content: bytes) -> None:
    """Write a file so that at every moment it is complete, or as it was before: also after a power cut or a full disk.

    The content goes to NAME.tmp, is forced to the disk, and takes the name in one step. Raises OSError where that
    fails; the old file is then untouched.
    """
    file = Path(file)
    temporary = file.with_name(file.name + ".tmp")
    try:
        temporary.write_bytes(content)
        force_to_disk(temporary)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    os.replace(temporary, file)
    force_to_disk(file.parent)


def force_to_disk(path: str | Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk and not only on their way to it."""
    path = Path(path)
    if path.is_dir() and os.name == "nt":  # Windows has no such call for folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
