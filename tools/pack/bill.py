#!/usr/bin/env python3
"""What is shipped, and of whom: an SPDX 2.3 bill of materials of a folder, and the notices of the third parties in it.

    bill.py notices --runner DIR --out FILE
    bill.py sbom --runner DIR --root DIR --packages DIR --name NAME --version VERSION --out FILE

The runner's own list (parvts.deps.json) says which file is of which package; the lock file of the C library says which compiler's runtime
is linked into it. A file that belongs to nobody is an error.
"""
import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml
import zipfile
from datetime import datetime, timezone
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
COMPILER = "runtime.linux-x64.Microsoft.DotNet.ILCompiler"
MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


class Package:
    """A NuGet package of another's that is shipped, whole or linked in."""

    def __init__(self, identity: str, version: str, files: set[str]):
        self.identity, self.version, self.files = identity, version, files
        self.folder = package_cache() / identity.lower() / version
        # Without its namespace: that differs from package to package.
        text = re.sub(r'\sxmlns="[^"]*"', "", (self.folder / f"{identity.lower()}.nuspec").read_text("utf-8-sig"), count=1)
        told = {element.tag: (element.text or "").strip() for element in xml.fromstring(text).find("metadata")}
        self.licence, self.address = told.get("license", ""), told.get("projectUrl", "")
        self.copyright = told.get("copyright") or told["authors"]
        if self.licence != "MIT":
            raise SystemExit(f"{identity} {version} has the licence '{self.licence}': its terms are not in the notices yet")

    @property
    def key(self) -> str:
        return "SPDXRef-Package-" + re.sub(r"[^A-Za-z0-9.-]", "-", self.identity)

    def texts(self) -> list[str]:
        """Its own licence where it brings it, and what it says of those that it holds."""
        found = {path.name.upper(): path for path in self.folder.iterdir()}
        licence = found.get("LICENSE.TXT")
        texts = [licence.read_text("utf-8-sig") if licence else f"The MIT License (MIT)\n\nCopyright (c) {self.copyright}\n\n{MIT}"]
        if notices := found.get("THIRD-PARTY-NOTICES.TXT"):
            texts.append(notices.read_text("utf-8-sig"))
        return [text.replace("\r\n", "\n").strip() + "\n" for text in texts]


_cache: list[Path] = []


def package_cache() -> Path:
    """NuGet's folder of unpacked packages."""
    if not _cache:
        said = subprocess.run(["dotnet", "nuget", "locals", "global-packages", "--list"], check=True, capture_output=True, text=True).stdout
        _cache.append(Path(said.rpartition("global-packages:")[2].strip()))
    return _cache[0]


def third_parties(runner: Path) -> list[Package]:
    """Those inside the runner, by its own list, and the one whose runtime is linked into the C library."""
    listed = json.loads((runner / "parvts.deps.json").read_text())
    (target,) = [entries for name, entries in listed["targets"].items() if "/" in name]
    packages = []
    for name, entry in target.items():
        identity, version = name.split("/")
        if listed["libraries"][name]["type"] != "project":
            files = {os.path.basename(file) for kind in ("runtime", "native") for file in entry.get(kind, {})}
            packages.append(Package(identity.removeprefix("runtimepack."), version, files))
    # These are its, too, and not on the list: the host is copied under the program's name.
    for package in packages:
        if "libcoreclr.so" in package.files:
            package.files |= {"parvts"}
    lock = json.loads((CHECKOUT / "src/ParVts.Native/packages.lock.json").read_text())
    versions = {entries[COMPILER]["resolved"] for entries in lock["dependencies"].values() if COMPILER in entries}
    packages.append(Package(COMPILER, versions.pop(), set()))
    return sorted(packages, key=lambda package: package.identity.lower())


def write_notices(args: argparse.Namespace) -> None:
    rule = "=" * 100
    with open(args.out, "w", encoding="utf-8", newline="\n") as out:
        out.write("ParVts.Native is licensed under Apache-2.0 (LICENSE). It holds the following, under their own licences.\n")
        for package in third_parties(Path(args.runner)):
            where = "linked into libparvts-*.so" if package.identity == COMPILER else "in lib/parvts"
            out.write(f"\n{rule}\n{package.identity} {package.version} ({where})\n{package.address}\nLicence: {package.licence}\n{rule}\n\n")
            out.write("\n".join(package.texts()))


def digest(data: bytes, algorithm: str) -> dict[str, str]:
    return {"algorithm": algorithm.upper(), "checksumValue": hashlib.new(algorithm, data).hexdigest()}


def described(key: str, name: str, version: str, licence: str, holder: str, **more) -> dict:
    return {
        "SPDXID": key, "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
        "licenseConcluded": licence, "licenseDeclared": licence, "copyrightText": holder, **more}


def related(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def nuget_reference(identity: str, version: str) -> list[dict[str, str]]:
    return [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": f"pkg:nuget/{identity}@{version}"}]


def write_bill(args: argparse.Namespace) -> None:
    root, product, ours = Path(args.root), "SPDXRef-Package-parvts", "The ParVts.Native authors"
    parties = third_parties(Path(args.runner))
    files, relations = [], [related("SPDXRef-DOCUMENT", "DESCRIBES", product)]
    for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
        data, name, key = path.read_bytes(), path.relative_to(root).as_posix(), f"SPDXRef-File-{len(files) + 1}"
        inside = path.parent.name == "parvts" and path.parent.parent.name == "lib"
        owner = next((package for package in parties if inside and path.name in package.files), None)
        if inside and owner is None and not re.match(r"(lib)?parvts[.-]", path.name, re.IGNORECASE):
            raise SystemExit(f"{name}: no package that is known holds this file")
        files.append({
            "SPDXID": key, "fileName": f"./{name}", "checksums": [digest(data, "sha1"), digest(data, "sha256")],
            "licenseConcluded": owner.licence if owner else "Apache-2.0", "licenseInfoInFiles": ["NOASSERTION"],
            "copyrightText": owner.copyright if owner else ours})
        relations.append(related(owner.key if owner else product, "CONTAINS", key))
        if re.match(r"libparvts-\w+\.so$", path.name):
            relations += [related(key, "STATIC_LINK", package.key) for package in parties if package.identity in (COMPILER, "System.Numerics.Tensors")]

    packages = [described(
        product, "parvts", args.version, "Apache-2.0", ours, primaryPackagePurpose="APPLICATION", supplier=f"Organization: {ours}")]
    for package in parties:
        packages.append(described(
            package.key, package.identity, package.version, package.licence, package.copyright,
            homepage=package.address, externalRefs=nuget_reference(package.identity, package.version)))
        relations.append(related(product, "DEPENDS_ON", package.key))
    for path in sorted(Path(args.packages).glob("*.nupkg")):
        add_own_package(path, args.version, packages, relations, ours)

    # The name of the document is made of what it says: the same content, the same name.
    content = hashlib.sha256(json.dumps([packages, files, relations], sort_keys=True).encode()).hexdigest()
    created = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
    bill = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": args.name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{args.name}-{content}",
        "creationInfo": {"created": created.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: ParVts.Native tools/pack", f"Organization: {ours}"]},
        "packages": packages, "files": files, "relationships": relations}
    Path(args.out).write_text(json.dumps(bill, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def add_own_package(path: Path, version: str, packages: list, relations: list, ours: str) -> None:
    """A NuGet package of this project, and what it asks NuGet for."""
    identity = path.name.removesuffix(f".{version}.nupkg")
    key = f"SPDXRef-Package-{identity}"
    packages.append(described(
        key, identity, version, "Apache-2.0", ours, packageFileName=path.name, primaryPackagePurpose="LIBRARY",
        checksums=[digest(path.read_bytes(), "sha256")], externalRefs=nuget_reference(identity, version)))
    relations.append(related("SPDXRef-DOCUMENT", "DESCRIBES", key))
    with zipfile.ZipFile(path) as archive:
        asked = re.findall(r'<dependency id="([^"]+)"', archive.read(f"{identity}.nuspec").decode("utf-8-sig"))
    relations += [related(key, "DEPENDS_ON", f"SPDXRef-Package-{other}") for other in sorted(set(asked))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, action, options in (
        ("notices", write_notices, ("runner", "out")),
        ("sbom", write_bill, ("runner", "root", "packages", "name", "version", "out")),
    ):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        for option in options:
            command.add_argument(f"--{option}", required=True)
    args = parser.parse_args(sys.argv[1:])
    args.action(args)


if __name__ == "__main__":
    main()
