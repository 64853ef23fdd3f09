"""The prompt with recalled passages."""

from pyruvllm.models.prompt import NOTHING, SYSTEM, grounded_prompt


def test_passages_are_numbered_between_the_question_and_the_question():
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello."}]
    messages = grounded_prompt("Which\nhive? ", [("Hives", "Hive one is strong,\nhive two weak.\n"), ("", "- salt\n- pepper")], said)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"] and messages[1:3] == said
    assert messages[0]["content"] == SYSTEM and NOTHING in SYSTEM
    assert messages[-1]["content"] == (
        "Question: Which hive?\n\nNotes:\n[1] Hives: Hive one is strong, hive two weak.\n[2] - salt\n- pepper\n\nQuestion: Which hive?"
    )


def test_without_passages_the_question_stands_alone():
    assert grounded_prompt("Which hive?", [])[-1] == {"role": "user", "content": "Question: Which hive?"}
