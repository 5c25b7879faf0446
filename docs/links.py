"""The links of built pages, followed: every local address, with its fragment, has to be there."""

from collections.abc import Iterable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ADDRESSES = {"href", "src", "action", "poster"}


class Page(HTMLParser):
    """What a page can be linked by, and where it links to.

    Attributes
    ----------
    anchors : set of str
        All values of ``id``, and of ``name`` in ``<a>``.
    links : list of (int, str)
        Line and address, in the order of the page.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[int, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect from one element."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value)
            elif name in _ADDRESSES:
                self.links.append((self.getpos()[0], value))


def broken(root: Path, pages: Iterable[str]) -> list[str]:
    """Return ``page:line: address`` for each link to a file, or a place in a page, that is not there.

    Links to other hosts are not followed. A folder is no target, since from a disk it opens as a list of files. A
    fragment that holds ``=`` is a state that a page's script reads.

    Parameters
    ----------
    root : Path
        The folder of the built pages; a link out of it is broken.
    pages : iterable of str
        The pages whose links are followed, relative to `root`.
    """

    @cache
    def read(path: Path) -> Page:
        return Page(path.read_text(encoding="utf-8"))

    root = root.resolve()
    found = []
    for name in pages:
        page = root / name
        for line, address in read(page).links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            there = target.is_file() and target.is_relative_to(root) and not parts.path.startswith("/")
            fragment = unquote(parts.fragment)
            if there and fragment and "=" not in fragment and target.suffix == ".html":
                there = fragment in read(target).anchors
            if not there:
                found.append(f"{name}:{line}: {address}")
    return found
