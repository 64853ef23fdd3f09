from pyruvllm.storage import migrate, open_driver
from pyruvllm.storage.schema import MIGRATIONS


async def test_edges_of_before_are_the_same_edges_after(tmp_path):
    driver = await open_driver(str(tmp_path / "old.db"))
    migrate(driver, MIGRATIONS[:3])
    edges = [
        ("a", "b", "cites", 1.5, 0.5, 7),
        ("b", "a", "cites", 1.0, 1.0, 8),
        ("a", "b", "follows", 0.25, 1.0, 9),
        ("é", "a", "x", 0.0, 0.0, 0),
    ]
    driver.executemany("INSERT INTO edges (source, target, relation, weight, confidence, created_at) VALUES (?, ?, ?, ?, ?, ?)", edges)
    migrate(driver)
    rows = driver.query("SELECT source, target, relation, weight, confidence, created_at FROM edges")
    assert sorted(rows) == sorted(edges)
    assert driver.query("SELECT id FROM nodes ORDER BY id") == [("a",), ("b",), ("é",)]
    await driver.close()
