"""Text that has to be of a form: JSON that a schema is valid for."""

from .constraint import Constraint, json_schema, matching

__all__ = ["Constraint", "json_schema", "matching"]
