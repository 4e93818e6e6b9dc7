"""Build the documentation site: gather the pages, make the reference, run zensical, check every link.

    python docs/site/build.py [FOLDER]      writes FOLDER/html; `make docs` does this

Nothing is fetched, neither now nor when the site is read.
"""

import hashlib
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urlsplit

import reference

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("zensical.toml")
FROM_ROOT = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE")
# mermaid 11.16.0, byte for byte as its makers publish it; the wheel of mermaidx carries it.
MERMAID_SHA256 = "74d7c46dabca328c2294733910a8aa1ed0c37451776e8d5295da38a2b758fb9b"  # pragma: allowlist secret
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def build(folder: Path) -> Path:
    """Build the site in this folder, which is emptied; return where its pages are."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "pages"
    shutil.copytree(ROOT / "docs", pages, ignore=shutil.ignore_patterns("site", "*.jsonl"))
    for name in FROM_ROOT:
        shutil.copy(ROOT / name, pages)
    (pages / "decisions" / "index.md").write_text(decisions(pages / "decisions"))
    (pages / "reference").mkdir()
    for name, text in reference.pages().items():
        (pages / "reference" / name).write_text(text)
    for page in pages.rglob("*.md"):
        page.write_text(with_links_of_the_site(page, pages))
        draw(page)
    (pages / "mermaid.min.js").write_bytes(mermaid())
    (folder / "zensical.toml").write_text(configuration(pages))
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, check=True)
    return folder / "html"


def configuration(pages: Path) -> str:
    """Return the configuration, without pages that are not written yet. Exits if a page is not in the menu."""
    lines = CONFIG.read_text().splitlines(keepends=True)
    named = {line: re.search(r'= "([^"]+\.md)"', line) for line in lines}
    kept = "".join(line for line in lines if not (found := named[line]) or (pages / found[1]).exists())
    in_menu = set(re.findall(r'= "([^"]+\.md)"', kept))
    missing = {page.relative_to(pages).as_posix() for page in pages.rglob("*.md")} - in_menu
    if missing := {page for page in missing if not page.startswith("decisions/")}:
        sys.exit(f"not in the menu of {CONFIG.relative_to(ROOT)}: {', '.join(sorted(missing))}")
    tomllib.loads(kept)
    return kept


def decisions(folder: Path) -> str:
    """Return a page that lists the decisions by their titles."""
    titles = [
        (page.name, page.read_text().partition("\n")[0].removeprefix("# "))
        for page in sorted(folder.glob("0*.md"))
    ]
    lines = [f"- [{title.replace('. ', ' · ', 1)}]({name})" for name, title in titles]
    return "# Decisions\n\nThe choices that are hard to take back, each with what was not taken.\n\n" + "\n".join(
        lines
    )


def mermaid() -> bytes:
    """Return the script that draws the diagrams. Exits if it is another than we have checked."""
    script = (files("mermaidx") / "assets" / "mermaid.js").read_bytes()
    if hashlib.sha256(script).hexdigest() != MERMAID_SHA256:
        sys.exit("mermaid is another than the one whose hash stands in docs/site/build.py")
    return script


def draw(page: Path) -> None:
    """Draw every diagram of a page once, to see that it can be drawn. Exits if not."""
    import mermaidx

    for diagram in DIAGRAM.findall(page.read_text()):
        try:
            mermaidx.render(diagram).svg()
        except RuntimeError as error:
            sys.exit(f"{page.name}: {error}")


def with_links_of_the_site(page: Path, pages: Path) -> str:
    """Return a page with links to where things are on the site; files of the repository come along as they are."""
    text = page.read_text()
    home = page.relative_to(pages)
    original = Path(home.name) if home.name in FROM_ROOT and home.parent == Path() else Path("docs") / home
    code = [match.span() for match in CODE.finditer(text)]

    def moved(link: re.Match[str]) -> str:
        mark, label, target = link.groups()
        if urlsplit(target).scheme or target.startswith("#") or any(a <= link.start() < b for a, b in code):
            return link[0]
        path, _, anchor = target.partition("#")
        found = posixpath.normpath((original.parent / path).as_posix())
        there = on_the_site(found, pages)
        if there is None:
            return label
        relative = posixpath.relpath(there, home.parent.as_posix())
        return f"{mark}[{label}]({relative}{'#' if anchor else ''}{anchor})"

    return LINK.sub(moved, text)


def on_the_site(path: str, pages: Path) -> str | None:
    """Return where a file of the repository is on the site; None for a folder."""
    if path == "README.md":
        return "index.md"
    if (ROOT / path).is_dir():
        index = f"{path.removeprefix('docs/')}/index.md"
        return index if (pages / index).exists() else None
    if path.startswith("docs/") and (pages / path.removeprefix("docs/")).exists():
        return path.removeprefix("docs/")
    if path in FROM_ROOT:
        return path
    copy = pages / "files" / path
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / path, copy)
    return f"files/{path}"


class Page(HTMLParser):
    """What one page of the site has: anchors, links, and what a browser loads with it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attributes if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given["href"]] if tag == "a" and "href" in given else []
        self.loaded += [given["src"]] if "src" in given else []
        relation = given.get("rel", "")
        self.loaded += [given["href"]] if tag == "link" and relation != "canonical" and "href" in given else []


def faults(html: Path) -> Iterator[str]:
    """Give every link of the site that leads nowhere, and everything that it loads from elsewhere."""
    site = {page: Page(page.read_text()) for page in html.rglob("*.html")}
    for page, content in site.items():
        where = page.relative_to(html)
        for target in [*content.links, *content.loaded]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in content.loaded and parts.scheme != "data":
                    yield f"{where}: loads {target}"
                continue
            if where.name == "404.html":
                continue  # its links begin at the root of wherever the site is put
            there = Path(os.path.normpath(page.parent / unquote(parts.path))) if parts.path else page
            there = there / "index.html" if there.is_dir() else there
            if not there.is_file():
                yield f"{where}: {target} leads nowhere"
            elif there in site and unquote(parts.fragment) not in site[there].anchors:
                yield f"{where}: {target} has no such anchor"


def main() -> None:
    """Build, check, and say where the site is."""
    html = build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "site").resolve())
    if found := sorted(set(faults(html))):
        sys.exit("\n".join(found))
    count = len(list(html.rglob("*.html")))
    print(f"{count} pages. No link leads nowhere, and nothing is loaded from elsewhere. To read them:")
    print(f"  python3 -m http.server --bind 127.0.0.1 --directory {os.path.relpath(html)} 8090")


if __name__ == "__main__":
    main()
