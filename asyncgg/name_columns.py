"""Associations as two columns of Arrow, so that many are handled at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload


@dataclass(frozen=True, slots=True, eq=False)
class NameColumns(Sequence[tuple[str, str]]):
    """(core, thing) pairs of valid names. As a sequence it makes the pairs, which costs more than the rest."""

    cores: Any
    """A `pyarrow.StringArray` without nulls."""
    things: Any
    """As `cores`, and as long."""

    def __len__(self) -> int:
        return len(self.cores)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(*self.to_lists(), strict=True)

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> NameColumns: ...
    def __getitem__(self, index: int | slice) -> tuple[str, str] | NameColumns:
        if isinstance(index, slice):
            return NameColumns(self.cores[index], self.things[index])
        return self.cores[index].as_py(), self.things[index].as_py()

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(self.cores.nbytes + self.things.nbytes)

    def to_lists(self) -> tuple[list[str], list[str]]:
        """The names of the cores and those of the things."""
        return self.cores.to_pylist(), self.things.to_pylist()

    def filter(self, mask: Any) -> NameColumns:
        """The pairs for which `mask`, booleans of Python or Arrow, is true."""
        import pyarrow as pa

        selected = pa.array(mask, pa.bool_())
        return NameColumns(self.cores.filter(selected), self.things.filter(selected))
