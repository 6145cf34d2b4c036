"""Reading text and JSON, and writing so that a file is there whole or as it was: said once for the whole package."""

import json
import os
from pathlib import Path


def read_text(file: str | Path) -> str:
    """A text file in UTF-8, line ends left as they are. Raises ValueError that names the first byte that is not."""
    return decode_text(Path(file).read_bytes(), str(file))


def decode_text(data: bytes, name: str) -> str:
    """Bytes in UTF-8 -> text. Raises ValueError that says where `name` has a byte that is not."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}") from None


def read_json(file: str | Path) -> dict:
    """A JSON object. Raises ValueError when the file holds anything else, OSError when it cannot be read."""
    try:
        fields = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON in UTF-8: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{file}: expected a JSON object, found {type(fields).__name__}")
    return fields


def write_whole(file: str | Path, content: bytes) -> None:
    """Write a file that is there whole, or as it was, at every moment: also after a power cut or a full disk.

    The content goes to NAME.tmp, is forced to the disk, and takes the name in one step. Raises OSError with the old
    file untouched.
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
