"""Plugins: where they are found, what they give, and what is said when they fail."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from inlay_shard.errors import ModelRefused
from inlay_shard.model import plugins
from inlay_shard.model.plugins import load_plugins

ADAPTER = """
from inlay_shard.adapter import ImageAdapter

class Adapter(ImageAdapter):
    image_token = "<x>"

CALLS = []

def register():
    CALLS.append(1)
    return {"toy": Adapter}
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing is loaded before a test, or stays behind it."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    for cached in (load_plugins, plugins._installed, plugins._named):
        cached.cache_clear()
    yield
    for cached in (load_plugins, plugins._installed, plugins._named):
        cached.cache_clear()
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, code: str = ADAPTER) -> str:
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    return name


def test_a_module_is_found_by_its_name(tmp_path: Path) -> None:
    name = write(tmp_path, "toy_by_name")
    assert load_plugins((name,))["toy"].image_token == "<x>"


def test_a_file_is_a_module_of_its_name(tmp_path: Path) -> None:
    write(tmp_path, "toy_by_path")
    assert load_plugins((str(tmp_path / "toy_by_path.py"),)).keys() == {"toy"}
    assert sys.modules["toy_by_path"].__file__ == str(tmp_path / "toy_by_path.py")


def test_a_function_may_have_another_name(tmp_path: Path) -> None:
    name = write(tmp_path, "toy_named", ADAPTER.replace("def register", "def setup"))
    assert load_plugins((f"{name}:setup",)).keys() == {"toy"}


def test_each_is_called_once(tmp_path: Path) -> None:
    first, second = write(tmp_path, "toy_once"), write(tmp_path, "toy_text", "register = dict")
    load_plugins((first,))
    load_plugins((first, second))
    load_plugins((first,))
    assert sys.modules["toy_once"].CALLS == [1]


def install(package: str, code: str, into: Path) -> None:
    """A package of one module and one entry point, by pip and without network."""
    wheel, about = into.parent / f"{package}-1.0-py3-none-any.whl", f"{package}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{package}.py", code)
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any")
        archive.writestr(f"{about}/RECORD", "")
        points = f"[{plugins.GROUP}]\ntoy = {package}:register\n"
        archive.writestr(f"{about}/entry_points.txt", points)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, f"--target={into}", wheel], check=True, capture_output=True)


def test_installed_plugins_need_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    install("toy_installed", ADAPTER, site)
    assert load_plugins() == {}
    for cached in (load_plugins, plugins._installed):
        cached.cache_clear()
    monkeypatch.syspath_prepend(site)
    assert load_plugins().keys() == {"toy"}
    assert load_plugins((write(tmp_path, "toy_text", "register = dict"),)).keys() == {"toy"}
    assert sys.modules["toy_installed"].CALLS == [1]


def test_a_model_that_follows_the_conventions_needs_no_adapter(tmp_path: Path) -> None:
    name = write(tmp_path, "toy_plain", "def register():\n    pass\n")
    assert load_plugins((name,)) == {}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", "fails: ZeroDivisionError: division by zero"),
        ("x = 1", "fails: AttributeError: .*register"),
        ("def register():\n    raise KeyError('k')", "fails: KeyError: 'k'"),
        ("def register():\n    return 7", "fails: TypeError"),
    ],
)
def test_what_fails_is_named(tmp_path: Path, code: str, words: str) -> None:
    name = write(tmp_path, "toy_broken", code)
    with pytest.raises(ModelRefused, match=f"plugin toy_broken {words}"):
        load_plugins((name,))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="plugin toy_absent fails: ModuleNotFoundError"):
        load_plugins(("toy_absent",))
    with pytest.raises(ModelRefused, match="absent.py: there is no such file"):
        load_plugins((str(tmp_path / "absent.py"),))


def test_a_file_does_not_take_the_name_of_another_module(tmp_path: Path) -> None:
    write(tmp_path, "json")
    with pytest.raises(ModelRefused, match="a module of this name is loaded already"):
        load_plugins((str(tmp_path / "json.py"),))


def test_two_adapters_for_one_model_are_refused(tmp_path: Path) -> None:
    names = (write(tmp_path, "toy_first"), write(tmp_path, "toy_second"))
    with pytest.raises(ModelRefused, match="there is an adapter for toy already"):
        load_plugins(names)
