"""The public surface of CloudKit's crates, as rustdoc sees it, one text file a crate in client/surface.

Reads the pages that rustdoc wrote (`cargo doc --no-deps`), so that what macros make and what modules re-export is in it. Each line is
a place and what is there: an item with its declaration, a method of a type, a trait that a type implements, or what another crate declares.

    surface.py DOC_DIRECTORY            compares with the files, shows the difference, and ends with 1 if there is one
    surface.py DOC_DIRECTORY --write    writes the files
"""

import difflib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "client" / "surface"
# Who wrote the pages that the files were made of: another one may lay them out otherwise.
MAKER = FILES / "rustdoc-version.txt"
CRATES = ("cloudkit", "cloudkit_api", "cloudkit_core", "cloudkit_object_store", "cloudkit_spi", "cloudkit_testing", "cloudkit_zero")
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Node:
    """An element with its attributes and, in their order, elements and texts."""

    def __init__(self, tag: str, attributes: dict[str, str]):
        self.tag, self.attributes, self.children = tag, attributes, []

    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    def find_all(self, wanted) -> list["Node"]:
        found = []
        for child in self.children:
            if isinstance(child, Node):
                if wanted(child):
                    found.append(child)
                else:
                    found += child.find_all(wanted)
        return found

    def by_id(self, name: str) -> "Node | None":
        found = self.find_all(lambda node: node.attributes.get("id") == name)
        return found[0] if found else None

    def text(self) -> str:
        """What is to be read, without the words of folded parts and links to the source."""
        parts = []
        for child in self.children:
            if isinstance(child, str):
                parts.append(child)
            elif not (child.tag == "summary" and "hideme" in child.classes()) and "src" not in child.classes():
                parts.append(child.text())
                if child.tag == "div" or child.tag == "br":
                    parts.append(" ")
        return "".join(parts)


class Tree(HTMLParser):
    """A page as nodes."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self.open = [self.root]
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        node = Node(tag, {name: value or "" for name, value in attributes})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag):
        for place in range(len(self.open) - 1, 0, -1):
            if self.open[place].tag == tag:
                del self.open[place:]
                return

    def handle_data(self, data):
        self.open[-1].children.append(data)


def line(text: str) -> str:
    """A declaration in one line; comments of rustdoc's own stay, the layout goes."""
    text = re.sub(r"\s+", " ", text.replace("\u00a0", " ").replace("\u200b", "")).strip()
    text = re.sub(r" ([,;)])", r"\1", text.replace("( ", "("))
    return text.replace(",)", ")")


def headers(section: Node | None, tag: str) -> list[str]:
    if section is None:
        return []
    found = section.find_all(lambda node: node.tag == tag and "code-header" in node.classes())
    return [line(node.text()) for node in found]


def parts(declaration: str) -> list[str]:
    """A declaration; of a trait, its head and each of its methods."""
    head, brace, body = declaration.partition(" { ")
    if not re.search(r"\btrait \w", head) or not brace:
        return [declaration]
    body = re.sub(r"// (Required|Provided) [a-z ]+? (?=fn |type |const |async )", "", body.removesuffix("}"))
    return [head, *filter(None, re.split(r"(?:(?<=;)|(?<=\{ \.\.\. \}))\s+", body.strip()))]


def item(page: Path, place: str) -> list[str]:
    """The lines of one item; of one that another of our crates declares, its name there."""
    root = Tree(page.read_text()).root
    sources = root.find_all(lambda node: node.tag == "a" and "src" in node.classes())
    declared = re.search(r"/src/(\w+)/", sources[0].attributes.get("href", "")) if sources else None
    if declared and declared[1] != place.split("::")[0]:
        kind, name = page.name.split(".")[:2]
        return [f"{place}: {kind} {name} of {declared[1]}"]
    declarations = root.find_all(lambda node: node.tag == "pre" and "item-decl" in node.classes())
    lines = [f"{place}: {part}" for node in declarations for part in parts(line(node.text()))]
    if not lines:
        raise SystemExit(f"{page} has no declaration: rustdoc writes other pages than this tool reads")
    # The methods of a trait stand in its declaration already.
    for header in headers(root.by_id("implementations-list"), "h4"):
        lines.append(f"{place}: {header}")
    for header in headers(root.by_id("trait-implementations-list"), "h3"):
        lines.append(f"{place}: {header}")
    return lines


def surface(directory: Path) -> str:
    """All lines of a crate."""
    crate = directory.name
    lines = []
    listed = Tree((directory / "all.html").read_text()).root
    links = listed.find_all(lambda node: node.tag == "a" and node.attributes.get("href", "").endswith(".html"))
    for link in links:
        href = link.attributes["href"]
        kind = href.rsplit("/", 1)[-1].split(".")[0]
        if "://" in href or href.startswith("..") or kind in ("index", "all", "settings", "help"):
            continue
        place = "::".join([crate, *href.split("/")[:-1], href.rsplit("/", 1)[-1].split(".")[1]])
        lines += item(directory / href, place)
    # By the links from the root: pages of what is gone may still lie beside the others.
    modules = [directory / "index.html"]
    for page in modules:
        place = "::".join([crate, *page.relative_to(directory).parts[:-1]])
        root = Tree(page.read_text()).root
        lines.append(f"{place}: mod")
        inner = root.find_all(lambda node: node.tag == "a" and "mod" in node.classes())
        links = (node.attributes.get("href", "") for node in inner)
        pages = (page.parent / link for link in links if not link.startswith(".."))
        modules += [page for page in pages if page.is_file() and page not in modules]
        for node in root.find_all(lambda node: node.attributes.get("id", "").startswith("reexport.")):
            lines.append(f"{place}: {line(node.text())}")
    return "".join(f"{text}\n" for text in sorted(set(lines)))


def main() -> int:
    documentation, write = Path(sys.argv[1]), "--write" in sys.argv[2:]
    maker = subprocess.run(["rustdoc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1] + "\n"
    if write:
        FILES.mkdir(exist_ok=True)
        MAKER.write_text(maker)
    elif maker != MAKER.read_text():
        print(f"surface: not judged: it was written with rustdoc {MAKER.read_text().strip()}, and this is {maker.strip()}")
        return 0
    differs = 0
    for crate in CRATES:
        found, file = surface(documentation / crate), FILES / f"{crate}.txt"
        if write:
            file.write_text(found)
        kept = file.read_text() if file.exists() else ""
        shown = list(difflib.unified_diff(kept.splitlines(), found.splitlines(), f"client/surface/{crate}.txt", "rustdoc", lineterm="", n=0))
        print(f"surface: {crate}: {found.count(chr(10))} lines, {'as committed' if not shown else 'differs'}")
        print("\n".join(shown), end="\n" if shown else "")
        differs += bool(shown)
    if differs:
        print("surface: if that is meant, tests/tools/cloudkit.py surface --write, and commit it")
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
