"""Writing under ids that the caller chooses: what is there already makes way."""

from collections.abc import Sequence

from ..errors import DuplicateError
from ..memory.unified import UnifiedMemory
from ..types import Draft


def write(memory: UnifiedMemory, collection: str, drafts: Sequence[Draft]) -> None:
    """Puts records with an id each, in the place of those of the same ids where there are some. All or none; durable with the next flush.

    A draft without a vector is a record without one, whatever was there. DuplicateError for an id of another collection.
    """
    there = set(memory.records.taken([draft.id for draft in drafts]))  # type: ignore[misc]
    others = [id for id in there if memory.get(id).collection != collection]
    if others:
        raise DuplicateError(f"the id {others[0]!r} is taken, in {memory.get(others[0]).collection!r}; nothing was written")
    with memory.transaction():
        for draft in drafts:
            if draft.id in there and draft.vector is not None:
                memory.revise(draft.id, text=draft.text, vector=draft.vector, metadata=draft.metadata)
        bare = [draft.id for draft in drafts if draft.id in there and draft.vector is None]
        memory.remove(bare)  # type: ignore[arg-type]
        memory.put(collection, [draft for draft in drafts if draft.id not in there or draft.vector is None])
