"""Opening what a person has: a folder, an archive, a CSV, an .npz or a name becomes one `Dataset`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from resnetkit.data import classes
from resnetkit.data.dataset import SPLITS, Dataset, Item, Marked, Reader, Split, decoded
from resnetkit.data.opening.video import is_video, parted
from resnetkit.data.several import counted_labels
from resnetkit.data.sources import (
    annotated,
    arranging,
    arrays,
    by_number,
    clips,
    dicomdir,
    folders,
    intervals,
    labelling,
    moments,
    tables,
)
from resnetkit.data.sources.annotated import Fault, Faulty, Recognised
from resnetkit.data.sources.archives import is_archive
from resnetkit.data.sources.folders import FolderReader, Tree
from resnetkit.data.sources.labelling import Asked, asked
from resnetkit.data.sources.no_data import Refused, missing, several_folders
from resnetkit.errors import DataError, UsageError

__all__ = ["SPLITS", "Asked", "Dataset", "Item", "Reader", "Split", "asked", "decoded", "open_data", "open_pictures"]

_KINDS = "a folder, .zip, .tar, .csv, .npz or COCO .json, or a name: " + ", ".join(sorted(arrays.NAMED))


@dataclass(kw_only=True, slots=True)
class _Collected:
    """What the sources opened so far gave.

    `names` are classes that a source names, whatever its pictures are; `columns` those of lists of pictures to predict.
    """

    items: list[Item] = field(default_factory=list)
    origins: dict[str, tuple[Reader, str]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    several: bool = False
    unites: bool = False
    objects: Marked = "none"
    faults: tuple[Fault, ...] = ()

    def add(self, reader: Reader, found: list[tuple[str, Item]]) -> None:
        """Add pictures; one that is there already is not added again."""
        for key, item in found:
            if item.source not in self.origins:
                self.origins[item.source] = (reader, key)
                self.items.append(item)

    def add_tree(self, tree: Tree, layout: folders.Layout) -> None:
        """Add the pictures of a tree with their classes, the frames of its videos, and what lies beside them."""
        pictures, frames = clips.taken(tree, layout.labelled)
        self.add(tree.reader, pictures)
        self.add(moments.VideoFrames(), frames)
        self.ignored += [tree.path(key) for key in tree.others]
        self.unreadable += tree.unreadable
        self.notes += tree.notes
        self.roots += [] if tree.inside_archive else [tree.source]
        self.outside += layout.outside
        keys = {tree.path(key): key for key in tree.pictures} if layout.outside else {}
        self.origins.update((path, (tree.reader, keys[path])) for path in layout.outside)
        self.empty += layout.empty

    def dataset(self, name: str, *, names: tuple[str, ...] | None = None) -> Dataset:
        """Return all of it, with its classes in order where no `names` are given."""
        return Dataset(
            name=name,
            items=tuple(self.items),
            classes=classes.class_names(label for item in self.items for label in item.labels or ())
            if names is None
            else names,
            ignored=tuple(self.ignored),
            outside=tuple(self.outside),
            empty=tuple(self.empty),
            unreadable=tuple(self.unreadable),
            notes=tuple(self.notes),
            roots=tuple(self.roots),
            several=self.several,
            unites=self.unites,
            objects=self.objects,
            faults=self.faults,
            origins=self.origins,
        )


def open_data(
    *data: Any,
    group_by: str | None = None,
    rename: Mapping[str, str] | None = None,
    limit: int | None = None,
    task: str = "auto",
    faulty: Faulty = "stop",
) -> Dataset:
    """Open labelled pictures: `DATA/<class>/**`, `DATA/{train,val,test}/<class>/**`, or any other source.

    A single pair `(images, labels)` of arrays is a source too, see `arrays.read_given`.

    `group_by` says which pictures are of one group, see `grouping.grouped`: these are never parted. `rename` maps wrong
    class names to right ones. `limit` keeps at most so many pictures of each part, the same number of each class as far
    as they go; which ones depends on their paths below DATA alone. `task` says whether a picture has one label or may
    have several, or objects that are marked on it; `auto` finds several where a CSV plainly says so, see
    `labelling.read_list`, and objects where the pictures are annotated, see `annotated.recognised`; for `multilabel`
    these have the names of their objects as labels. `faulty`: whether faults of annotations stop, or are left out and
    counted.

    Raises `UsageError` for wrong calls and missing paths, `DataError` for data that cannot be used.
    """
    asking = asked(task)
    if (given := arrays.pair_of(data)) is None:
        sources = [os.path.expanduser(path) for path in arrays.paths_of(data)]
        collected = _collect(sources, group_by, asking, faulty)
    else:
        sources, collected = [arrays.GIVEN], _given(*given, asking)
    found = replace(collected.dataset(_name(sources), names=()), bases=arranging.bases(sources, collected.roots))
    found = by_number.named(found, sources, group_by, columns=_columns(sources) if group_by else ())
    items, notes = found.items, list(found.notes)
    if rename:
        items = classes.renamed(items, rename, more=collected.names)
    named = classes.renamed_names(collected.names, rename or {})
    by_number.check_classes(found, [*named, *(name for item in items for name in item.names)])
    names = arranging.checked_classes(list(map(found.shown, sources)), items, named=named)
    if collected.several:
        classes.check_writable(names)
    marked = collected.objects != "none"
    if marked:  # files name classes that no object is of
        names, more = arranging.with_objects(names, items)
        notes += more
    if limit is not None:
        root = sources[0] if _is_tree(sources[0]) or not found.roots else found.roots[0]
        items, note = arranging.limited(items, limit, names, root=root, several=collected.several)
        notes += note
    if marked:
        notes.insert(0, annotated.counted_objects(items, collected.objects))
    elif collected.several and not collected.unites:  # which files are one picture is known by their content
        notes.insert(0, counted_labels(items))
    return replace(found, items=tuple(items), classes=names, columns=named, limit=limit, notes=tuple(notes))


def _given(images: Any, named: Any, task: Asked) -> _Collected:
    """Open arrays that were given."""
    collected = _Collected(several=task == "multilabel")
    annotated.check_not_asked(task, arrays.GIVEN)
    reader, found = arrays.read_given(images, named, several=collected.several)
    if collected.several:
        found, collected.notes = labelling.parted(found)
    collected.add(reader, found)
    return collected


def _collect(sources: list[str], group_by: str | None, task: Asked, faulty: Faulty) -> _Collected:
    collected = _Collected(several=task == "multilabel", unites=task == "multilabel")
    if not sources:
        raise UsageError(f"DATA is missing: {_KINDS}")
    if len(sources) > 1:
        annotated.check_not_asked(task, " ".join(sources))
        for source in several_folders(sources):
            one = clips.with_videos(folders.read_tree(source))
            collected.add_tree(one, folders.one_class(one))
        collected.notes += clips.said(collected.items)
        return collected
    (source,) = sources
    tree = folders.read_tree(source) if _is_tree(source) else None
    if (marked := annotated.recognised(source, tree)) is not None:
        return _annotated(marked, task, faulty)
    if os.path.exists(source) or source in arrays.NAMED:
        annotated.check_not_asked(task, source)
    if tree is not None:
        tree = clips.with_videos(tree)
        layout = folders.class_folders(tree)
        if not layout.labelled and tree.pictures and is_video(first := tree.pictures[0]):
            raise DataError(clips.nobody_says(os.path.join(tree.source, first), folder=tree.source))
        collected.add_tree(tree, layout)
        collected.notes += clips.said(collected.items)
    elif _suffix(source) == ".csv" and os.path.isfile(source):
        listed = labelling.read_list(source, task=task, group_by=group_by)
        _add_listed(collected, listed.pictures, listed.table)
        collected.notes += listed.notes
        collected.names, collected.several, collected.unites = listed.names, listed.several, False
    elif found := _as_arrays(source):
        collected.add(*found)
    elif os.path.isfile(source) and dicomdir.is_dicomdir(source):
        raise UsageError(
            f"{source}: lists pictures and not what they show: put them into a folder of each class, or name them and "
            "their classes in a .csv (image_path,label)"
        )
    elif os.path.exists(source):
        if is_video(source):
            raise UsageError(clips.nobody_says(source))
        raise UsageError(f"{source}: is no data set; DATA is {_KINDS}")
    else:
        raise missing(source)
    return collected


def _annotated(found: Recognised, task: Asked, faulty: Faulty) -> _Collected:
    """Open annotated pictures: with their objects, or with the names of these as labels."""
    if task == "classification":
        raise UsageError(
            f"{found.name}: is a set of annotated pictures ({found.kind}), which have no one class, and "
            "classification, by --task or by the model, needs one: leave --task out to find objects, or say --task "
            "multilabel to name what is on a picture"
        )
    said = annotated.read(found, faulty=faulty)
    tree, pictures = said.tree, said.pictures
    if task == "multilabel":
        pictures = [(key, replace(item, marks=None)) for key, item in pictures]
    collected = _Collected(several=True, objects="none" if task == "multilabel" else said.objects)
    collected.faults = said.faults
    collected.add_tree(tree, folders.Layout(labelled=pictures, outside=[], empty=[]))
    collected.ignored, collected.names, collected.notes = list(said.ignored), said.classes, list(said.notes)
    return collected


def _is_tree(source: str) -> bool:
    return os.path.isdir(source) or (os.path.isfile(source) and is_archive(Path(source)))


def _as_arrays(source: str) -> arrays.Found | None:
    if _suffix(source) == ".npz" and os.path.isfile(source):
        return arrays.read_npz(source)
    if source in arrays.NAMED and not os.path.exists(source):
        return arrays.NAMED[source](source)
    return None


def _suffix(source: str) -> str:
    return os.path.splitext(source)[1].lower()


def _columns(sources: list[str]) -> tuple[str, ...]:
    """Return the columns of a list, none for other sources."""
    if len(sources) > 1 or _suffix(sources[0]) != ".csv" or not os.path.isfile(sources[0]):
        return ()
    return tables.read_table(sources[0], needed=()).columns


def called(data: Sequence[Any]) -> str:
    """Return what to call DATA in a file: its first path, or that it was arrays."""
    return _bare(arrays.GIVEN if arrays.pair_of(data) else arrays.paths_of(data)[0])


def _bare(source: str) -> str:
    return source.strip("<>") if source == arrays.GIVEN else source


def _name(sources: list[str]) -> str:
    """Return a readable name for runs: the folder, the file without its suffix, or the class folders."""
    names = [Path(os.path.realpath(_bare(source))).name or "data" for source in sources]
    if len(names) == 1:
        return names[0] if os.path.isdir(sources[0]) else os.path.splitext(names[0])[0]
    return "-".join(names[:3]) + (f"-and-{len(names) - 3}-more" if len(names) > 3 else "")


def open_arrays(images: Any) -> Dataset:
    """Open arrays of pictures without labels."""
    collected = _Collected()
    pixels = arrays.pixels_of(images)
    collected.add(*arrays.read_given(pixels, [0] * len(pixels)))
    return collected.dataset(_bare(arrays.GIVEN))


def open_pictures(*sources: str | Path, group_by: str | None = None) -> Dataset:
    """Open pictures to predict, without labels: files of any suffix, folders, patterns, archives, lists, names.

    `archive.zip::member` is one picture of an archive. What is named twice is taken once. An archive that cannot
    be opened counts as one picture that cannot be read. `group_by` as in `open_data`. Raises `UsageError` for a path
    that is not there, `DataError` where no picture was found, and for a list that is wrong, with its line.
    """
    collected, given = _listed(sources, group_by)
    return by_number.named(collected.dataset(_name(given)), given, group_by, columns=collected.columns)


def listed_pictures(*sources: str | Path) -> Dataset:
    """Return what `open_pictures` does, by their paths, whatever these tell."""
    collected, given = _listed(sources, None)
    return collected.dataset(_name(given))


def _listed(sources: Sequence[str | Path], group_by: str | None) -> tuple[_Collected, list[str]]:
    """Return the pictures of sources without labels, and the sources as paths."""
    collected = _Collected()
    given = [os.path.expanduser(os.fspath(source)) for source in sources]
    for source in given:
        _add_pictures(collected, source, group_by)
    if not collected.items:
        others = collected.ignored
        ignored = f" (ignored files: {len(others):,}, the first {others[0]})" if others else ""
        raise DataError(f"{' '.join(given) or 'SOURCE'}: no pictures found{ignored}")
    collected.items = [Item(item.source, group=item.group) for item in collected.items]
    return collected, given


def _add_pictures(collected: _Collected, source: str, group_by: str | None = None) -> None:
    try:
        _add_readable(collected, source, group_by)
    except DataError as error:
        if _suffix(source) == ".csv":
            raise  # somebody wrote it, and can mend the line
        collected.add(Refused(error), [("", Item(folders.readable(source)))])


def _add_readable(collected: _Collected, source: str, group_by: str | None = None) -> None:
    if _is_tree(source):
        tree = clips.with_videos(folders.read_tree(source))
        found = [(key, Item(tree.path(key))) for key in tree.pictures]
        collected.add_tree(tree, folders.Layout(labelled=found, outside=[], empty=[]))
    elif found_arrays := _as_arrays(source):
        collected.add(*found_arrays)
    elif os.path.isfile(source) and _suffix(source) == ".csv":
        table = intervals.read(source, needed=("image_path",), group_by=group_by)
        paths = [tables.picture_path(table, line, row) for line, row in table.rows]
        groups = [row.get(group_by, "") if group_by else "" for _, row in table.rows]
        listed: dict[str, tuple[str, Item]] = {}  # each file once, as in a list with labels: their numbers are the same
        for path, group in zip(paths, groups, strict=True):
            listed.setdefault(os.path.normpath(path), (path, Item(path, group=group or None)))
        _add_listed(collected, list(listed.values()), table)
        collected.columns += table.columns
    elif os.path.isfile(source) and dicomdir.is_dicomdir(source):
        listed_there = dicomdir.read(source)
        collected.add(tables.ListedFiles(), [(path, Item(folders.readable(path))) for path in listed_there.paths])
        if listed_there.others:
            collected.notes.append(f"{source}: {listed_there.others:,} of the files that it lists are no pictures")
    elif os.path.isfile(source):
        collected.add(FolderReader(""), [(source, Item(folders.readable(source)))])
    elif (frame := parted(source)) is not None and os.path.isfile(frame[0]):
        collected.add(moments.VideoFrames(), [(source, Item(folders.readable(source)))])
    elif os.path.exists(source):
        raise UsageError(f"{source}: is neither a file nor a folder")
    elif "::" in source:
        _add_member(collected, source)
    else:
        matches = list(folders.matching(source))
        if matches in ([], [source]):  # a link that leads nowhere matches itself
            raise missing(source)
        for match in matches:
            if os.path.isfile(match) or os.path.isdir(match):
                _add_pictures(collected, match, group_by)
            else:  # nobody named it: it stops nothing
                why = "is neither a file nor a folder" if os.path.exists(match) else "is a link that leads nowhere"
                error = DataError(f"{folders.readable(match)}: {why}")
                collected.add(Refused(error), [("", Item(folders.readable(match)))])


def _add_listed(collected: _Collected, listed: list[tuple[str, Item]], table: tables.Table) -> None:
    """Add the pictures of a list: files, frames of videos, and `archive.zip::member`, each archive opened once."""
    if table.moments:
        collected.notes.append(intervals.words(table))
    else:
        tables.check_some_exist(table, [path for path, _ in listed])
    files, frames, opened = tables.ListedFiles(), moments.VideoFrames(), dict[str, _Collected]()
    for path, item in listed:
        container, inside, _ = path.partition("::")
        is_frame = parted(path) is not None
        if is_frame or not inside or os.path.exists(path):
            collected.add(frames if is_frame else files, [(path, item)])
            continue
        if container not in opened:
            opened[container] = _container(container)
        gone = Refused(DataError(f"{path}: {container} has no such picture"))
        reader, key = opened[container].origins.get(path, (gone, ""))
        collected.add(reader, [(key, item)])


def _add_member(collected: _Collected, source: str) -> None:
    """Add one picture of an archive or of a set of arrays."""
    container = source.partition("::")[0]
    origins = _container(container).origins
    if source not in origins:
        raise UsageError(f"{source}: {container} has no such picture")
    reader, key = origins[source]
    collected.add(reader, [(key, Item(source))])


def _container(path: str) -> _Collected:
    """Open an archive or a set of arrays for single pictures of it."""
    if not (_is_tree(path) or path in arrays.NAMED or os.path.isfile(path)):
        raise missing(path)
    everything = _Collected()
    _add_readable(everything, path)
    return everything
