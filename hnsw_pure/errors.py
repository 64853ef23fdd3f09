"""Every error this package raises on purpose. After any of them the index is what it was before the call.

    HNSWError                      (also a ValueError)
    ├── ParameterError             a setting or argument that cannot work: M, k, metric, a filter of the wrong shape
    │   └── EfError                ef smaller than k: the search could not return k hits
    ├── DimensionError             vectors of another length than the index's, or not one per id
    ├── NonFiniteError             a NaN, an infinity, or a vector too long for float32 arithmetic
    ├── ZeroVectorError            a vector of length zero has no direction, so no cosine
    ├── InvalidIdError             an id that is not an integer in 0 ... 2**63 - 1
    ├── DuplicateIdError           an id that is taken, or named twice in one call
    ├── UnknownIdError             an id the index does not hold       (also a KeyError)
    └── SegmentError               bytes that are not a saved index
        ├── CorruptSegmentError    truncated, altered, missing, or from another moment than the rest
        └── NewerSegmentError      written by a newer version of this package
"""


class HNSWError(ValueError):
    """The root: ``except HNSWError`` catches all that is listed above."""

    def __str__(self) -> str:  # KeyError would put the message in quotes
        return str(self.args[0]) if self.args else self.__class__.__name__


class ParameterError(HNSWError):
    pass


class EfError(ParameterError):
    pass


class DimensionError(HNSWError):
    pass


class NonFiniteError(HNSWError):
    pass


class ZeroVectorError(HNSWError):
    pass


class InvalidIdError(HNSWError):
    pass


class DuplicateIdError(HNSWError):
    pass


class UnknownIdError(HNSWError, KeyError):
    pass


class SegmentError(HNSWError):
    pass


class CorruptSegmentError(SegmentError):
    pass


class NewerSegmentError(SegmentError):
    pass
