import steps
from steps import once


def test_a_step_runs_again_when_an_input_changed_or_an_output_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "BUILD", tmp_path / "build")
    monkeypatch.setattr(steps, "ROOT", tmp_path)
    source, made = tmp_path / "source", tmp_path / "made"
    source.write_text("1")

    def make():
        made.write_text(source.read_text())
        return [made]

    assert once("copy", [source], make)
    assert not once("copy", [source], make)
    source.touch()
    assert not once("copy", [source], make), "only content counts"
    source.write_text("2")
    assert once("copy", [source], make) and made.read_text() == "2"
    made.unlink()
    assert once("copy", [source], make) and made.exists()
    assert once("copy", [source], make, also="another version")


def test_what_a_step_no_longer_makes_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "BUILD", tmp_path / "build")
    monkeypatch.setattr(steps, "ROOT", tmp_path)
    old, new = tmp_path / "old", tmp_path / "new"

    def make(path):
        path.touch()
        return [path]

    once("names", [], lambda: make(old), also="1")
    once("names", [], lambda: make(new), also="2")
    assert new.exists() and not old.exists()


def test_a_step_that_failed_is_not_done(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "BUILD", tmp_path / "build")
    monkeypatch.setattr(steps, "ROOT", tmp_path)
    attempts = []

    def make():
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("half way")
        return []

    for expected in (1, 2, 2):
        try:
            once("fragile", [], make)
        except OSError:
            pass
        assert len(attempts) == expected
