"""The inputs of a job: what `--images` means, and which files a collection holds."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from beam_pipeline.inputs.containers import list_container
from beam_pipeline.inputs.folders import Place, place_of_pattern, walk
from beam_pipeline.inputs.input_file import UNKNOWN, InputFile, is_container, split_member_uri
from beam_pipeline.inputs.left_out import (
    CONTAINER,
    EXCLUDED,
    OWN,
    SHADOW,
    Excluded,
    left_out_folder_kind,
    left_out_kind,
)
from beam_pipeline.inputs.lists import ByContainer, Entry, is_list, read_list
from beam_pipeline.inputs.own_files import OwnFiles
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.image_suffixes import IMAGE_SUFFIXES
from beam_pipeline.runtime.text import reason
from training.errors import UserError
from training.files import not_a_file
from training.text.plurals import counted

FOLDER, PATTERN, FILE, LIST = "folder", "pattern", "file", "list"
_NO_MATCH = "no file matches this pattern; check it, and quote it for the shell"


@dataclass(frozen=True)
class Source:
    """What one `--images` names: a folder to walk, a pattern of pictures and containers, one of them, or a list.

    Attributes:
      kind: FOLDER, PATTERN, FILE or LIST.
      path: path or URL of the folder, file or list, or the pattern.
      remote_lists: whether a list may name addresses on file systems other than its own. Otherwise whoever wrote the
        list could have requests sent with the user's credentials.
    """

    kind: str
    path: str
    remote_lists: bool = False

    @property
    def may_hold_captions(self) -> bool:
        """Whether pictures may come with captions of their own, from an archive or a table."""
        plain = os.path.splitext(self.path)[1].lower() in (*IMAGE_SUFFIXES, ".txt")
        return self.kind != FOLDER and not plain


@dataclass(frozen=True)
class Collection:
    """What all `--images` name together.

    Attributes:
      sources: each of them.
      exclude: patterns of what is left out, see `Excluded`.
    """

    sources: tuple[Source, ...]
    exclude: tuple[str, ...] = ()

    def __str__(self) -> str:
        paths = [source.path for source in self.sources]
        return " ".join(paths[:3] + ["..."] * (len(paths) > 3))

    @property
    def may_hold_captions(self) -> bool:
        """Whether pictures may come with captions of their own, from an archive or a table."""
        return any(source.may_hold_captions for source in self.sources)

    def passed_over(self) -> frozenset[Source]:
        """Sources that are left out by their names: as `photos/*`, a shell names thumbnails and trash too.

        One that is named without others of its folder is meant.
        """
        local = [one for one in self.sources if one.kind in (FOLDER, FILE) and storage.is_local(one.path)]
        beside = Counter(os.path.dirname(one.path) for one in local)
        among = [one for one in local if beside[os.path.dirname(one.path)] > 1]
        return frozenset(one for one in among if _name_leaves_out(one))


def _name_leaves_out(source: Source) -> bool:
    name = os.path.basename(source.path)
    kind = left_out_folder_kind(name, "") if source.kind == FOLDER else left_out_kind(name, by_suffix=False)
    return kind != ""


def resolve_collection(
    images: str | Sequence[str], remote_lists: bool = False, exclude: Sequence[str] = ()
) -> Collection:
    """Values of `--images` and `--exclude` -> Collection; a path that exists is taken literally before it is a pattern.

    Args:
      remote_lists: whether a list may name addresses on file systems other than its own.

    Raises:
      UserError: one of them names nothing, or nothing that could be a picture.
    """
    Excluded(exclude)
    names = (images,) if isinstance(images, str) else tuple(images)
    sources = tuple(replace(_resolve(name), remote_lists=remote_lists) for name in names)
    collection = Collection(sources, tuple(exclude))
    passed_over = collection.passed_over()
    for name, source in zip(names, sources, strict=True):
        if source not in passed_over:
            _check(name, replace(collection, sources=(source,)))
    return collection


def _check(images: str, collection: Collection) -> None:
    """Value of `--images` -> nothing, if it holds anything.

    Raises:
      UserError: it does not, or cannot be read.
    """
    (source,) = collection.sources
    listing = Listing(collection)
    try:
        # Of a list the first entry will do: where it names members of archives, it is read to its end before them.
        found = read_list(source.path, listing.ignored) if source.kind == LIST else listing
        first = list(itertools.islice(found, 2))
    except OSError as error:
        raise UserError(f"--images {images}: cannot be read ({reason(error)})") from error
    if not first:
        raise UserError(f"--images {images}: {_why_empty(source, listing.ignored)}")
    problem = first[0].problem if len(first) == 1 and isinstance(first[0], InputFile) else ""
    begin = _begin(source).path if source.kind in (FOLDER, PATTERN) else source.path
    if problem and (is_container(first[0].uri) or first[0].uri == begin):
        raise UserError(f"--images {images}: {problem}")


def _begin(source: Source) -> Place:
    return Place(source.path) if source.kind == FOLDER else place_of_pattern(source.path)


def _why_empty(source: Source, ignored: Counter[str]) -> str:
    if source.kind == PATTERN and not ignored:
        return _NO_MATCH
    if source.kind == LIST:
        return "the list names no image"
    if ignored[OWN]:
        return (
            "files that captionbeam made, and no picture; give the pictures themselves, or a feature set as --features"
        )
    if ignored[EXCLUDED]:
        return "no image is left in there without what --exclude leaves out"
    if (containers := ignored[CONTAINER]) and source.kind == FOLDER:
        return (
            f"no image in there, only {counted(containers, 'archive')}; name them to have them read, as in --images "
            f"'{source.path}/*.tar'"
        )
    others = sum(ignored.values())
    return "no image in there" + (f", only {counted(others, 'other file')}" if others else "")


def _is_file_url(uri: str) -> bool:
    return uri[:7].lower() == "file://"


_FILE_URL = "a file:// address; give the plain path, with a space for %20"


def _resolve(images: str) -> Source:
    if storage.is_local(images):
        path = os.path.abspath(images)
        if os.path.isdir(path):
            return Source(FOLDER, path)
        if os.path.isfile(path):
            return Source(LIST if is_list(path) else FILE, path)
        if images == "-" or os.path.exists(path):
            raise UserError(
                f"--images {images}: {'standard input' if images == '-' else 'a pipe, socket or device'} is not read; "
                "write the list to a file that ends in .txt, and give that"
            )
        if os.path.islink(path):
            raise UserError(f"--images {images}: a link to nothing")
        if not glob.has_magic(images):
            raise UserError(
                f"--images {images}: no such file or folder; give a folder, a quoted pattern, an archive or a list"
            )
        if not os.path.isdir(place_of_pattern(path).path):
            raise UserError(f"--images {images}: {_NO_MATCH}")
        return Source(PATTERN, path)
    if _is_file_url(images):
        raise UserError(f"--images {images}: {_FILE_URL}")
    try:
        if is_list(images) and storage.exists(images):
            return Source(LIST, images)
        kind = PATTERN if any(magic in images for magic in "*?[") or is_container(images) else FOLDER
        pattern = images if kind == PATTERN else images.rstrip("/") + "/**"
        storage.find_remote(pattern, limit=1)
    except UserError as error:  # which says what to do
        raise UserError(f"--images {error}") from error
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"--images {images}: cannot be listed ({error}); check the address and the credentials"
        ) from error
    return Source(kind, pattern)


@dataclass
class Listing:
    """The inputs of a collection, members of containers included; every pass lists them anew.

    Attributes:
      collection: what to list.
      ignored: files, folders and members that are no inputs, counted by kind in the latest pass; see `left_out`.
    """

    collection: Collection
    ignored: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self._excluded = Excluded(self.collection.exclude)

    def __iter__(self) -> Iterator[InputFile]:
        self.ignored.clear()
        self._own = OwnFiles()
        begins, passed_over = [], self.collection.passed_over()
        for source in self.collection.sources:
            if source in passed_over:
                self.ignored[SHADOW] += 1
            elif source.kind == LIST:
                yield from self._from_list(source)
            elif not storage.is_local(source.path):
                yield from self._remote(source)
            elif source.kind == FILE:
                yield from self._expand(source.path, os.path.basename(source.path))
            else:
                begins.append(_begin(source))
        # All folders in one walk: what two of them hold is read once.
        for found in walk(begins, self._excluded, self.ignored):
            if isinstance(found, InputFile):
                yield found
            else:
                # The names of the folders were looked at on the way, and the pattern may spell one out.
                name = os.path.basename(found.path)
                for file in self._found(found.path, found.relative, name, by_suffix=not found.parts):
                    yield replace(file, is_link=True) if found.is_link else file

    def _found(self, file: str | InputFile, relative: str, names: str, by_suffix: bool) -> Iterator[InputFile]:
        """A file that was found -> what `_expand` gives, unless its name, or that of a folder, leaves it out.

        Args:
          names: the end of its path that is looked at.
          by_suffix: whether the ending of its name may leave it out.
        """
        uri = file if isinstance(file, str) else file.uri
        kind = OWN if uri in self._own else left_out_kind(names, by_suffix)
        if kind:
            self.ignored[kind] += 1
        else:
            yield from self._expand(file, relative)

    def _expand(self, file: str | InputFile, relative: str) -> Iterator[InputFile]:
        """A file -> itself or, if it is a container, its members; nothing if it is captionbeam's own or excluded.

        Args:
          file: its address, or what was listed of it.
          relative: its path below what the user named.
        """
        if self._takes(file if isinstance(file, str) else file.uri, relative):
            file = stat_file(file) if isinstance(file, str) else file
            if not is_container(file.uri):
                yield file
                return
            for member in list_container(file, self.ignored):
                if not member.member or self._takes(member.uri, relative + member.uri.removeprefix(file.uri)):
                    yield member

    def _takes(self, uri: str, relative: str) -> bool:
        """Whether a file or member is an input; counts it if not."""
        kind = EXCLUDED if self._excluded(relative) else OWN if uri in self._own else ""
        if kind:
            self.ignored[kind] += 1
        return not kind

    def _remote(self, source: Source) -> Iterator[InputFile]:
        fixed = re.split(r"[*?[]", source.path)[0]
        begin = fixed.rindex("/") + 1
        for address, size, mtime in storage.find_remote(source.path):
            relative = address[begin:]
            yield from self._found(InputFile(address, size, mtime), relative, relative, source.kind == FOLDER)

    def _from_list(self, source: Source) -> Iterator[InputFile]:
        folder = os.path.dirname(source.path) + "/"
        with ByContainer() as members:
            try:
                for entry in read_list(source.path, self.ignored):
                    if isinstance(entry, InputFile):
                        yield entry
                        continue
                    uri, relative = entry.uri, entry.uri.removeprefix(folder).lstrip("/")
                    container, _ = split_member_uri(uri) or ("", "")
                    if _is_file_url(uri):
                        yield InputFile(uri, UNKNOWN, UNKNOWN, _FILE_URL)
                    elif not self._may_name(source, container or uri):
                        yield InputFile(uri, UNKNOWN, UNKNOWN, "a remote address in a list; --remote-lists allows them")
                    elif uri in self._own:
                        yield InputFile(uri, UNKNOWN, UNKNOWN, "a file that captionbeam made, and no picture")
                    elif not container:
                        for file in self._expand(uri, relative):
                            yield replace(file, captions=file.captions + entry.captions)
                    elif self._takes(uri, relative):
                        members.add(container, entry)
            except OSError as error:
                raise UserError(f"--images {source.path}: cannot be read to its end ({reason(error)})") from error
            for container, entries in members:
                yield from self._some_members(container, entries)

    def _may_name(self, source: Source, uri: str) -> bool:
        """Whether a list may name an address: a local path, or one on its own file system, or any if asked for."""
        return source.remote_lists or storage.is_local(uri) or _scheme(uri) == _scheme(source.path)

    def _some_members(self, container: str, entries: list[Entry]) -> Iterator[InputFile]:
        wanted: dict[str, list[Entry]] = {}
        for entry in entries:
            wanted.setdefault(entry.uri, []).append(entry)
        problem = "no such member in the archive"
        found = set()
        for file in list_container(stat_file(container), Counter()):
            if file.uri in wanted:
                found.add(file.uri)
                for entry in wanted[file.uri]:
                    yield replace(file, captions=file.captions + entry.captions)
            elif file.problem and not file.member:
                problem = file.problem  # the archive's own: what is missing may have stood behind that place
        for uri in (uri for uri in wanted if uri not in found):
            yield InputFile(uri, UNKNOWN, UNKNOWN, problem)


def _scheme(path: str) -> str | None:
    return None if storage.is_local(path) else path.partition("://")[0]


def stat_file(uri: str) -> InputFile:
    """Path or URL of a file -> InputFile with its size and time, or with the reason why it cannot be read."""
    try:
        if storage.is_local(uri):
            status = os.stat(uri)
            if problem := not_a_file(status.st_mode):
                return InputFile(uri, UNKNOWN, UNKNOWN, problem)
            return InputFile(uri, status.st_size, status.st_mtime)
        found = storage.find_remote(uri)
        if not found:
            return InputFile(uri, UNKNOWN, UNKNOWN, "no such file")
        _, size, mtime = found[0]
        return InputFile(uri, size, mtime)
    except FileNotFoundError as error:
        return InputFile(uri, UNKNOWN, UNKNOWN, "a link to nothing" if os.path.islink(uri) else reason(error))
    except OSError as error:
        return InputFile(uri, UNKNOWN, UNKNOWN, reason(error))
    except ValueError as error:  # ValueError: a NUL in the name, or a scheme that nobody knows
        return InputFile(uri, UNKNOWN, UNKNOWN, str(error))
