"""Which packages a root file system is made from, as the machine's own apt is set."""

from __future__ import annotations

from pathlib import Path

from shopfloor.engine.sandbox.apt_sources import own_release


def _etc(folder: Path, release: str, **files: str) -> Path:
    (folder / "apt" / "sources.list.d").mkdir(parents=True)
    (folder / "os-release").write_text(release)
    for name, text in files.items():
        place = folder / "apt" / "sources.list" if name == "main" else None
        stem, _, ending = name.rpartition("_")
        (place or folder / "apt" / "sources.list.d" / f"{stem}.{ending}").write_text(text)
    return folder


def _found(etc: Path) -> tuple[str, list[str]]:
    name, sources = own_release(etc)
    return name, [str(source) for source in sources]


def test_debian_in_the_new_format_with_its_keyring(tmp_path: Path):
    text = (
        "Types: deb\n# a mirror\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        "Types: deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n\n"
        "Enabled: no\nTypes: deb\nURIs: http://old.example/debian\nSuites: bookworm\nComponents: main\n"
    )
    etc = _etc(tmp_path, 'ID=debian\nVERSION_CODENAME="bookworm"\n', debian_sources=text)
    keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    assert _found(etc) == (
        "bookworm",
        [
            f"deb {keys} http://mirror.example/debian bookworm main",
            f"deb {keys} http://mirror.example/debian bookworm-updates main",
        ],
    )


def test_ubuntu_is_made_from_ubuntu_and_from_nobody_elses_packages(tmp_path: Path):
    etc = _etc(
        tmp_path,
        "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n",
        ubuntu_sources="Types: deb\nURIs: http://archive.example/ubuntu\nSuites: noble noble-backports\n"
        "Components: main universe\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n",
        other_list="deb [arch=amd64 signed-by=/k.gpg] https://tools.example/apt stable main\n# deb http://x noble y\n",
    )
    assert _found(etc) == ("noble", ["deb http://archive.example/ubuntu noble main universe"])


def test_a_derivative_names_the_release_that_its_packages_are_from(tmp_path: Path):
    etc = _etc(
        tmp_path,
        "ID=linuxmint\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n",
        main="deb [signed-by=/usr/share/keyrings/u.gpg] http://archive.example/ubuntu noble main universe\n"
        "deb http://mint.example wilma main\n",
    )
    assert _found(etc) == (
        "noble",
        ["deb [signed-by=/usr/share/keyrings/u.gpg] http://archive.example/ubuntu noble main universe"],
    )


def test_a_disc_is_no_place_to_build_from(tmp_path: Path):
    etc = _etc(tmp_path, "ID=debian\nVERSION_CODENAME=bookworm\n", main="deb cdrom:[Debian]/ bookworm main\n")
    assert _found(etc) == ("", [])


def test_another_family_has_none(tmp_path: Path):
    (tmp_path / "os-release").write_text("ID=fedora\nVERSION_CODENAME=\n")
    assert _found(tmp_path) == ("", [])
