"""Groups columns of names by core."""

from __future__ import annotations

from collections.abc import Iterator

from asyncgg.name_columns import NameColumns

_ROWS_AT_ONCE = 1000


def joined_names(columns: list[NameColumns], max_names: int) -> Iterator[tuple[str, str]]:
    """Each core and its things, separated by one space, in the order of the cores.

    A core with more than `max_names` things comes several times. Empties `columns`, to free memory.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    cores = pa.concat_arrays([part.cores for part in columns]).dictionary_encode()
    things = pa.concat_arrays([part.things for part in columns])
    columns.clear()
    by_name = pc.sort_indices(cores.dictionary)
    ranks = pc.sort_indices(by_name).cast(pa.uint32()).take(cores.indices)  # the inverse permutation
    names = cores.dictionary.take(by_name)
    del cores
    order = pc.sort_indices(ranks)
    things = things.take(order)
    runs = pc.run_end_encode(ranks.take(order), run_end_type=pa.int32())
    starts: list[int] = []
    group_cores: list[int] = []
    start = 0
    for core, end in enumerate(runs.run_ends.to_pylist()):
        for first in range(start, end, max_names):
            starts.append(first)
            group_cores.append(core)
        start = end
    groups = pa.ListArray.from_arrays(pa.array([*starts, start], pa.int32()), things)
    for first in range(0, len(groups), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        core_names = names.take(pa.array(group_cores[part], pa.int32())).to_pylist()
        yield from zip(core_names, pc.binary_join(groups[part], " ").to_pylist(), strict=True)
