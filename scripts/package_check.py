"""Usage: package_check.py TOOLS FOLDER PATH...

Fails unless each library in FOLDER (TARGET.so) is what the package promises of it: made for its machine, stripped, with
an entry for the runtime, asking for no library but the system's own C library in a version that old systems have, and
with none of the PATHs in it. TOOLS is where package_tools.sh keeps what reads such files.
"""
import pathlib
import sys

tools, folder, *paths = sys.argv[1:]
sys.path.insert(0, f"{tools}/python")

from elftools.elf.elffile import ELFFile  # noqa: E402
from elftools.elf.gnuversions import GNUVerNeedSection, GNUVerSymSection  # noqa: E402
from macholib.mach_o import CPU_TYPE_NAMES, MH_FILETYPE_NAMES  # noqa: E402
from macholib.MachO import MachO  # noqa: E402
from macholib.SymbolTable import SymbolTable  # noqa: E402

MACHINES = {"x86_64": ("EM_X86_64", "x86_64"), "aarch64": ("EM_AARCH64", "ARM64")}
OLDEST_GLIBC = (2, 17)
# glibc has had all of these in one since 2.34; the loader is asked for thread-local storage.
GNU_LIBRARIES = {"libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1",
                 "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
# A name that musl's loader answers to itself.
MUSL_LIBRARIES = {"libc.so"}
# The last two come with Rust's standard library, and every macOS has them.
DARWIN_LIBRARIES = {"/usr/lib/libSystem.B.dylib", "/usr/lib/libiconv.2.dylib", "/usr/lib/libcharset.1.dylib"}


def unlike(what, found, wanted):
    if found != wanted:
        yield f"{what} is {found}, not {wanted}"


def beyond(found, allowed):
    if found - allowed:
        yield f"asks for {', '.join(sorted(found - allowed))}"


def newer(version):
    name, _, number = version.rpartition("_")
    return name != "GLIBC" or tuple(map(int, number.split("."))) > OLDEST_GLIBC


def unversioned(elf):
    """What the library asks for and the chosen glibc has not: the linker leaves it to whoever loads the library."""
    [versions] = [section for section in elf.iter_sections() if isinstance(section, GNUVerSymSection)]
    for symbol, version in zip(elf.get_section_by_name(".dynsym").iter_symbols(), versions.iter_symbols()):
        wanted = symbol["st_shndx"] == "SHN_UNDEF" and symbol["st_info"]["bind"] == "STB_GLOBAL"
        if wanted and isinstance(version["ndx"], str) and not symbol.name.startswith("enif_"):
            yield symbol.name


def faults_of_elf(file, machine, libc):
    elf = ELFFile(file)
    yield from unlike("the machine", elf["e_machine"], MACHINES[machine][0])
    yield from unlike("the type", elf["e_type"], "ET_DYN")
    if elf.get_section_by_name(".symtab"):
        yield "is not stripped"
    tags = list(elf.get_section_by_name(".dynamic").iter_tags())
    libraries = {tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"}
    yield from beyond(libraries, GNU_LIBRARIES if libc == "gnu" else MUSL_LIBRARIES)
    versions = {aux.name for section in elf.iter_sections() if isinstance(section, GNUVerNeedSection)
                for _, auxiliaries in section.iter_versions() for aux in auxiliaries}
    yield from beyond({version for version in versions if newer(version)}, set())
    if libc == "gnu":
        yield from beyond(set(unversioned(elf)), set())
    entries = elf.get_section_by_name(".dynsym").get_symbol_by_name("nif_init") or []
    if not any(entry["st_shndx"] != "SHN_UNDEF" for entry in entries):
        yield "exports no nif_init"


def faults_of_macho(path, machine):
    macho = MachO(str(path))
    [header] = macho.headers
    yield from unlike("the machine", CPU_TYPE_NAMES[header.header.cputype], MACHINES[machine][1])
    yield from unlike("the type", MH_FILETYPE_NAMES[header.header.filetype], "dynamically bound shared library")
    yield from beyond({name for _, _, name in header.walkRelocatables()}, DARWIN_LIBRARIES)
    if b"_nif_init" not in {name for _, name in SymbolTable(macho).extdefsyms}:
        yield "exports no nif_init"


def faults(path):
    machine, _, *system = path.stem.split("-")
    if system[0] == "darwin":
        yield from faults_of_macho(path, machine)
    else:
        with path.open("rb") as file:
            yield from faults_of_elf(file, machine, system[1])
    contents = path.read_bytes()
    for known in paths:
        if known.encode() in contents:
            yield f"has the path {known} in it"


found = [f"{path.stem} {fault}" for path in sorted(pathlib.Path(folder).glob("*.so")) for fault in faults(path)]
for line in found:
    print(f"package: {line}", file=sys.stderr)
sys.exit(bool(found))
