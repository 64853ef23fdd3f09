"""What is held in working memory: what the page can ask of it. Runs after ``service.py``, in its namespace."""


@method  # noqa: F821
async def in_use(emit):
    """answering: the conversations that a model is writing in."""
    return {**llm.in_use(), "answering": [session for session, stream in asking.items() if stream.generating]}  # noqa: F821
