"""The sources of an answer: made from hits, kept with the turn without their text, and made again from what is still remembered."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ..errors import NotFoundError
from ..types import Hit, Metadata, Source, Why
from .extractive import Quote

if TYPE_CHECKING:
    from ..memory.unified import UnifiedMemory


def cited(hits: Sequence[Hit], quotes: Sequence[Quote]) -> tuple[Source, ...]:
    """Source n is ``hits[n - 1]``, a passage of a document, with its quotes highlighted."""
    return tuple(
        _source(place + 1, hit, hit.score, hit.why, tuple((quote.start, quote.end) for quote in quotes if quote.hit == place))
        for place, hit in enumerate(hits)
    )


def kept(kind: str, sources: Sequence[Source], notes: Sequence[str] = (), behind: Sequence[str] = ()) -> Metadata:
    """What a turn keeps of its answer: references, never text, so that what is forgotten is not kept here.

    behind: ids of passages that earlier answers drew on, where a model was told of those answers.
    """
    references = [{"number": s.number, "id": s.id, "score": s.score, "highlight": s.highlight, "why": asdict(s.why)} for s in sources]
    told = {name: list(values) for name, values in (("notes", notes), ("behind", behind)) if values}
    return {"kind": kind, "sources": json.loads(json.dumps(references)), **told}  # tuples become lists, as they will be when read back


def recited(metadata: Metadata, memory: "UnifiedMemory") -> tuple[Source, ...]:
    """The sources of a turn whose passages are still there, under the numbers they had."""
    sources = []
    for reference in metadata["sources"]:
        try:
            record = memory.get(reference["id"])
        except NotFoundError:
            continue
        why = Why(**reference["why"] | {"terms": tuple(reference["why"]["terms"]), "graph": tuple(reference["why"]["graph"])})
        sources.append(
            _source(reference["number"], record, reference["score"], why, tuple((start, end) for start, end in reference["highlight"]))
        )
    return tuple(sources)


def _source(number: int, passage, score: float, why: Why, highlight: tuple[tuple[int, int], ...]) -> Source:
    """``passage``: a Hit or a Record of the collection "documents"."""
    metadata = passage.metadata
    return Source(
        number=number,
        id=passage.id,
        document=metadata["document"],
        title=metadata["title"],
        heading=metadata.get("heading") or "",
        text=passage.text,
        score=score,
        why=why,
        start=metadata["start"],
        end=metadata["end"],
        highlight=highlight,
    )
