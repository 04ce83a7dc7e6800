"""Splits and checks the names of plain rows as columns of Arrow, without an object per name."""

# pyarrow is an optional package and takes 0.2 s and 50 MB to load, so only a large manifest loads it.
# Whatever a function here does not take is read in another way, with the same result.

from __future__ import annotations

from typing import Any, Final

from asyncgg.manifest.rows import COLUMN_ALIASES, NAME_BYTES, Columns
from asyncgg.models import MAX_NAME_LENGTH
from asyncgg.name_columns import NameColumns

MIN_SIZE: Final = 4 * 1024 * 1024
"""Bytes of text from which on loading pyarrow costs less than it saves."""

MIN_BLOCK: Final = 32 * 1024
"""Bytes of text from which on columns are faster."""

_ALIAS_LENGTHS: Final = tuple({len(alias) for alias in COLUMN_ALIASES})


def is_available() -> bool:
    """Whether pyarrow can be used; loads it."""
    try:
        import pyarrow.compute  # noqa: F401 - loaded on first use
    except ImportError:
        return False
    return True


def split_names(data: bytes, delimiter: bytes, columns: Columns) -> tuple[Any, Any]:
    """The cores and things of lines that each have exactly `columns.count` cells, in UTF-8 and without quotes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pa.array([data.replace(b"\n", delimiter)[:-1]], pa.string())
    cells = pc.split_pattern(text, delimiter.decode()).values
    rows = pa.FixedSizeListArray.from_arrays(cells, columns.count)
    return pc.list_element(rows, columns.core), pc.list_element(rows, columns.thing)


def as_strings(array: Any) -> Any:
    """An Arrow array of any type of text as one of plain strings.

    Raises `pyarrow.ArrowInvalid` if bytes are not UTF-8.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.string())


def valid_columns(cores: Any, things: Any) -> NameColumns | None:
    """Two Arrow arrays of strings as columns, or None if a name in them is not valid."""
    return NameColumns(cores, things) if _are_valid_names(cores) and _are_valid_names(things) else None


def find_valid_rows(cores: Any, things: Any) -> Any:
    """Whether both names of a row are valid and none is a column name, as an Arrow array, for two arrays of strings."""
    import pyarrow.compute as pc

    return pc.and_(_find_valid_names(cores), _find_valid_names(things))


def _find_valid_names(array: Any) -> Any:
    """Whether each name is valid. Slower than `_are_valid_names`, which answers only for all of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_name = pc.match_substring_regex(array, rf"^[a-zA-Z0-9:_-]{{1,{MAX_NAME_LENGTH}}}$")
    is_alias = pc.is_in(pc.ascii_lower(array), value_set=pa.array(list(COLUMN_ALIASES), pa.string()))
    return pc.and_not(is_name, is_alias).fill_null(False)


def _are_valid_names(array: Any) -> bool:
    """As `asyncgg.manifest.rows.are_valid_names`, for a string array with at least one row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(array) or array.null_count:
        return False
    lengths = pc.binary_length(array)
    extremes = pc.min_max(lengths).as_py()
    if extremes["min"] == 0 or extremes["max"] > MAX_NAME_LENGTH:
        return False
    _, offsets, names = array.buffers()
    ends = memoryview(offsets).cast("i")
    if bytes(names[ends[array.offset] : ends[array.offset + len(array)]]).translate(None, NAME_BYTES):
        return False
    may_be_alias = array.filter(pc.is_in(lengths, value_set=pa.array(_ALIAS_LENGTHS, lengths.type)))
    aliases = pa.array(list(COLUMN_ALIASES), pa.string())
    return not (len(may_be_alias) and pc.any(pc.is_in(pc.ascii_lower(may_be_alias), value_set=aliases)).as_py())
